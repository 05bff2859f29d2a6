"""`Path`: an ICE restart, which aiortc does not have. The DTLS association stays while the way to the peer changes.

This relies on private attributes of aiortc and aioice:

* `RTCIceTransport._connection`, `._recv`, `._send`, `._monitor` and `.__monitor_task`,
* `RTCIceGatherer._connection` and `._remote_candidates_end`,
* `aioice.Connection._closing`.

They are there in aiortc 1.13 to 1.16 with aioice 0.10 to 0.13. DTLS looks up `_recv` and `_send` for each packet, so
replacing them on the instance takes effect at once. `tests/services/media/test_aiortc.py` fails when one is missing.
"""

from __future__ import annotations

import asyncio

from aioice import Connection
from aiortc import RTCIceServer, RTCIceTransport
from aiortc.rtcicetransport import connection_kwargs

from ._datagrams import bound_datagrams

__all__ = ["MONITOR_TASK", "Path"]

MONITOR_TASK = "_RTCIceTransport__monitor_task"
"""The private attribute of an `RTCIceTransport` that holds the task which watches its connection."""


class Path:
    """The network path to a peer. It stands between an ICE transport of aiortc and the transport's connection.

    A restart has two steps, with an offer and its answer in between. After `renew`, descriptions have the new
    credentials and addresses. `switch` follows when the peer's are known. Until it has succeeded, the old connection is
    used.

    Args:
        ice: aiortc's transport.
        servers: STUN and TURN servers for new connections.
        per_second: Datagrams that are read in a second, at most, on new connections.
    """

    def __init__(self, ice: RTCIceTransport, servers: list[RTCIceServer], per_second: float) -> None:
        self._ice = ice
        self._servers = servers
        self._per_second = per_second
        self._now: Connection = ice._connection
        self._next: Connection | None = None
        ice._recv, ice._send = self._receive, self._transmit

    @property
    def lost(self) -> bool:
        """Whether the peer no longer answers ICE's checks."""
        return self._now._closing

    async def renew(self) -> None:
        """Prepare another connection."""
        await self.abandon()
        connection = Connection(ice_controlling=self._now.ice_controlling, **connection_kwargs(self._servers))
        bound_datagrams(connection, self._per_second)
        await connection.gather_candidates()
        self._next = connection
        self._set_connection(connection)
        self._ice.iceGatherer._remote_candidates_end = False

    async def switch(self, username: str, password: str) -> None:
        """Go over to the prepared connection.

        Args:
            username: The peer's new `ice-ufrag`.
            password: The peer's new `ice-pwd`.

        Raises:
            ConnectionError: The peer cannot be reached that way. The old connection stays.
        """
        connection = self._next
        assert connection is not None
        connection.remote_username, connection.remote_password = username, password
        try:
            await connection.connect()
        except ConnectionError:
            if connection is self._next:
                await self.abandon()
            raise
        if connection is not self._next:
            return  # another restart has begun in the meantime
        old, self._now, self._next = self._now, connection, None
        # aiortc's monitor would take the end of the old connection for the end of the peer, so it watches the new one.
        getattr(self._ice, MONITOR_TASK).cancel()
        setattr(self._ice, MONITOR_TASK, asyncio.ensure_future(self._ice._monitor()))
        await old.close()

    async def abandon(self) -> None:
        """Give up a prepared connection. Call it before closing too, because aiortc closes only the connection it
        knows."""
        unused, self._next = self._next, None
        if unused is not None:
            self._set_connection(self._now)
            await unused.close()

    def _set_connection(self, connection: Connection) -> None:
        self._ice._connection = self._ice.iceGatherer._connection = connection

    async def _receive(self) -> bytes:
        while True:
            connection = self._now
            try:
                return await connection.recv()
            except ConnectionError:
                if connection is self._now:
                    raise

    async def _transmit(self, data: bytes) -> None:
        await self._now.send(data)
