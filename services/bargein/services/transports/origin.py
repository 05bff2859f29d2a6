"""Whose pages may talk to a server: where a browser says it is, and by what name it found the server. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

__all__ = ["foreign", "is_local", "is_loopback", "misnamed"]


def foreign(origin: str | None, host: str, origins: Collection[str], *, local: bool) -> str:
    """Why a request may not be answered, by its `Origin` and `Host` headers; empty if it may.

    A page may talk to its own server, and to one that names it in `origins` (`*` for all). A program sends no origin,
    and may. `local`: the server is for this machine only; see `misnamed`.
    """
    if origin is None or "*" in origins or origin in origins:
        return ""
    if local and (why := misnamed(host, origins)):
        return why
    if host and _netloc(origin) == host:
        return ""
    return f"a page of {origin} may not talk to this agent"


def misnamed(host: str, origins: Collection[str]) -> str:
    """Why a server for this machine only does not answer to a name; empty if it does.

    A page of a stranger's may have its name resolved to 127.0.0.1 (DNS rebinding) and is then of the same origin as
    what answers there; but it cannot hide its name. Addresses cannot be rebound, and a proxy's name is in `origins`.
    """
    if not host or "*" in origins or is_local(host) or host in map(_netloc, origins):
        return ""
    return f"this server is for its own machine and not called {host}; name its page in origins= (or demo --origin)"


def is_local(host: str) -> bool:
    """Whether a name, perhaps with a port, can mean nothing but what it says: an address, or this machine."""
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


def is_loopback(host: str) -> bool:
    """Whether who listens there is for this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # a stranger's
        return ""
