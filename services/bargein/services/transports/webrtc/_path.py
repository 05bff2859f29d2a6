"""An ICE restart, which aiortc has not: another way to the same peer, under a DTLS association that goes on."""

from __future__ import annotations

import asyncio

from aioice import Connection
from aiortc import RTCIceServer, RTCIceTransport
from aiortc.rtcicetransport import connection_kwargs

__all__ = ["Path"]


class Path:
    """The way to a peer: stands between an ICE transport of aiortc and its connection, which it can replace.

    A restart has two steps, with an offer and its answer in between: `renew`, from when on descriptions have the new
    credentials and addresses, and `switch`, once those of the peer are known. Until that has succeeded, the old way is
    used.
    """

    def __init__(self, ice: RTCIceTransport, servers: list[RTCIceServer]) -> None:
        self._ice = ice
        self._servers = servers
        self._now: Connection = ice._connection
        self._next: Connection | None = None
        # What DTLS reads and writes by; it looks them up for each packet.
        ice._recv, ice._send = self._receive, self._transmit

    @property
    def lost(self) -> bool:
        """It leads nowhere any more: the peer has not answered ICE's questions."""
        return self._now._closing

    async def renew(self) -> None:
        """Prepare another way."""
        await self.abandon()
        connection = Connection(ice_controlling=self._now.ice_controlling, **connection_kwargs(self._servers))
        await connection.gather_candidates()
        self._next = connection
        self._describe(connection)
        self._ice.iceGatherer._remote_candidates_end = False

    async def switch(self, username: str, password: str) -> None:
        """Go over to it. Raises `ConnectionError` if it leads nowhere; then the old one stays."""
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
            return  # there has been yet another restart meanwhile
        old, self._now, self._next = self._now, connection, None
        # aiortc's monitor would take the end of the old connection for the end of all.
        name = "_RTCIceTransport__monitor_task"
        getattr(self._ice, name).cancel()
        setattr(self._ice, name, asyncio.ensure_future(self._ice._monitor()))
        await old.close()

    async def abandon(self) -> None:
        """Stay on the present way, of which alone aiortc knows how to end it."""
        unused, self._next = self._next, None
        if unused is not None:
            self._describe(self._now)
            await unused.close()

    def _describe(self, connection: Connection) -> None:
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
