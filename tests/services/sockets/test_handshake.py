"""Which pages may talk to a server."""

from __future__ import annotations

import socket

import pytest

from bargein.services.sockets.addresses import is_loopback_host
from bargein.services.sockets.handshake import is_address_or_localhost, refuse_host, refuse_origin


@pytest.mark.parametrize(
    ("origin", "host", "origins", "local", "why"),
    [
        (None, "agent.example", [], False, ""),  # a program
        ("https://agent.example", "agent.example", [], False, ""),
        ("http://localhost:8080", "localhost:8080", [], True, ""),
        ("https://evil.example", "agent.example", [], False, "a page of https://evil.example may not"),
        ("https://evil.example", "agent.example", ["https://evil.example"], False, ""),
        ("https://evil.example", "agent.example", ["*"], True, ""),
        ("http://localhost:3000", "localhost:8080", [], True, "a page of http://localhost:3000 may not"),
        ("null", "localhost:8080", [], True, "a page of null may not"),
        ("null", "", [], True, "a page of null may not"),
        ("http://[", "localhost:8080", [], True, r"a page of http://[ may not"),
        ("http://evil.example:8080", "evil.example:8080", [], True, "not called evil.example:8080"),  # rebound
        (None, "tunnel.example", [], True, ""),  # a program behind a tunnel, such as a telephone company's
        ("https://agent.example", "agent.example", ["https://agent.example"], True, ""),  # behind a proxy
    ],
)
def test_allowed_origins(origin: str | None, host: str, origins: list[str], local: bool, why: str) -> None:
    """The server's own pages, those in `origins`, and programs without an origin."""
    said = refuse_origin(origin, host, origins, local=local)
    assert (why in said) if why else not said


def test_addresses_and_localhost() -> None:
    """A stranger cannot register an address or a name below `localhost`. Any other name may be a stranger's."""
    for host in ("localhost", "LOCALHOST:80", "a.localhost", "127.0.0.1:8080", "[::1]:8080", "192.168.1.7"):
        assert is_address_or_localhost(host), host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "[", "evil.example:80"):
        assert not is_address_or_localhost(host), host


def test_loopback_hosts() -> None:
    """Loopback addresses and `localhost` are only reachable from this machine. Other addresses are not."""
    assert all(map(is_loopback_host, ("127.0.0.1", "127.0.0.2", "localhost", "::1")))
    assert not any(map(is_loopback_host, ("0.0.0.0", "::", "192.168.1.7", "agent.example", "127.agent.example")))


def test_host_name_is_trusted() -> None:
    """A hostile page cannot have this machine's name. Other names of a server are in `origins`."""
    own = socket.gethostname()
    assert refuse_host(f"{own}:8080", []) == ""
    assert refuse_host(f"{own.upper()}.local", []) == ""
    assert "not called agent.example" in refuse_host("agent.example", [])
    assert refuse_host("agent.example", ["https://agent.example"]) == ""
