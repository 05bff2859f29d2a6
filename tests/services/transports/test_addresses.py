"""How much of a server the peers of one network address may take."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import anyio
import pytest

from bargein.pipeline import Text, UserText
from bargein.services.sockets import SocketClosedError, pipe
from bargein.services.transports import (
    ConnectionRequest,
    RefusedError,
    SessionLimits,
    Sessions,
    WebSocketClient,
    accept_websocket,
    serve_websocket_peer,
)
from bargein.services.transports.sessions import address_key
from bargein.services.transports.websocket.accept import limit_waiting

from .kit import agent, connected, served, until


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("", ""),
        ("192.0.2.1:5000", "192.0.2.1"),
        ("::ffff:192.0.2.1:5000", "192.0.2.1"),
        ("2001:db8::1:5000", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::2:5001", "2001:db8::/64"),
        ("fe80::1%eth0:5000", "fe80::/64"),
        ("/run/agent.sock", "/run/agent.sock"),
    ],
)
def test_what_counts_as_one_address(address: str, key: str) -> None:
    """The host without its port, and of IPv6 the network that one customer has."""
    assert address_key(address) == key


@pytest.mark.virtual
async def test_one_address_does_not_take_all_the_room() -> None:
    """One more session from it is refused, others are not, and there is room again when one has ended."""
    sessions = Sessions(agent, limits=SessionLimits(max_per_address=2))
    first = connected(sessions, address="192.0.2.1:1")
    async with first as client, connected(sessions, address="192.0.2.1:2"):
        await client.send(UserText("hello"))
        await until(client, Text)
        with pytest.raises(RefusedError, match="your address has 2 sessions"):
            sessions.admit("192.0.2.1:7")
        async with served(sessions, address="192.0.2.1:3") as third:
            with pytest.raises(RefusedError, match="your address has 2 sessions"):
                await WebSocketClient.begin(third.socket)
        async with connected(sessions, address="192.0.2.2:1") as other:
            await other.send(UserText("hello"))
            await until(other, Text)
    sessions.admit("192.0.2.1:7")
    assert not sessions._addresses


@pytest.mark.virtual
async def test_one_address_does_not_wait_for_all() -> None:
    """Connections without a first message are counted by address, too."""
    sessions = Sessions(agent, limits=SessionLimits(max_per_address=1))
    accept = limit_waiting(sessions, accept_websocket)
    closed: list[int] = []

    async def come(address: str) -> None:
        ours, theirs = pipe(4)
        group.start_soon(partial(serve_websocket_peer, accept=accept), theirs, sessions, request(address))
        with suppress(SocketClosedError):
            try:
                await ours.receive()
            except SocketClosedError as error:
                closed.append(error.code)

    def request(address: str) -> ConnectionRequest:
        return ConnectionRequest(address=address, limits=sessions.limits)

    async with anyio.create_task_group() as group:
        for address in ("192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"):
            group.start_soon(come, address)
        await anyio.sleep(1)
        assert closed == [1013]
        group.cancel_scope.cancel()
