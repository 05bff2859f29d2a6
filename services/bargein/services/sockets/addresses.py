"""Which hosts and URLs are on this machine or in its network. No I/O."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["is_local_url", "is_loopback_host", "is_loopback_url"]

LOCAL_NAMES = (".local", ".lan", ".internal", ".localhost", ".home.arpa")
"""Endings of host names that exist in local networks only."""


def is_loopback_host(host: str) -> bool:
    """Return whether a host is this machine, which no other machine and no proxy can reach.

    Args:
        host: A name or an IP address, without a port.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_loopback_url(url: str) -> bool:
    """Return whether the host of a URL is this machine.

    Args:
        url: An address with any scheme.
    """
    return is_loopback_host(_host(url))


def is_local_url(url: str) -> bool:
    """Return whether the host of a URL is this machine or in a local network, where servers usually ask for no key.

    Args:
        url: An address with any scheme.
    """
    host = _host(url)
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(LOCAL_NAMES)
    return address.is_loopback or address.is_private or address.is_link_local


def _host(url: str) -> str:
    """Return the host of a URL; an empty string if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
