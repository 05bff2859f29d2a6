"""Which web pages may talk to a server, judged by the `Origin` and `Host` headers of a request. No I/O."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

__all__ = ["is_address_or_localhost", "refuse_host", "refuse_origin"]


def refuse_origin(origin: str | None, host: str, origins: Collection[str], *, local: bool) -> str:
    """Return why a request may not be answered, or an empty string if it may.

    A page may talk to its own server, and to a server that names it in `origins`. Programs send no origin, and may.

    Args:
        origin: The `Origin` header; None where there is none.
        host: The `Host` header.
        origins: Other pages that may talk to this server, such as `https://example.com`; `*` for all.
        local: Whether the host is checked as in `refuse_host`: for a server for this machine only, and for one that
            asks for no token.
    """
    if origin is None or "*" in origins or origin in origins:
        return ""
    if local and (reason := refuse_host(host, origins)):
        return reason
    if host and _host_of(origin) == host:
        return ""
    return f"a page of {origin} may not talk to this agent; name it in origins="


def refuse_host(host: str, origins: Collection[str]) -> str:
    """Return why a server does not answer to a host name, or an empty string if it does.

    A hostile page can have its own name resolved to this server's address (DNS rebinding), 127.0.0.1 or one of the
    local network. Then the browser takes this server for the page's own. The page cannot hide its name, though: it is
    in the `Host` header. Addresses and the name of this machine cannot be rebound. Other names are in `origins`.

    Args:
        host: The `Host` header.
        origins: Pages that may talk to this server; their hosts are accepted too.
    """
    if not host or "*" in origins or is_address_or_localhost(host) or host in map(_host_of, origins):
        return ""
    own = socket.gethostname().lower()
    if own and host.partition(":")[0].lower() in (own, f"{own}.local"):
        return ""
    return f"this server is not called {host}; name its page in origins= (demo: --origin)"


def is_address_or_localhost(host: str) -> bool:
    """Return whether a host, perhaps with a port, is an IP address or a name of this machine.

    Args:
        host: The host, such as `localhost:8000` or `[::1]`.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_of(origin: str) -> str:
    """Return the host and port of an origin; an empty string for an origin that is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
