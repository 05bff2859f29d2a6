"""Signalling for WebRTC, without an HTTP framework: offers in, answers out, and a session for every peer."""

from __future__ import annotations

import importlib
import itertools
import logging
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.abc
import msgspec
import sniffio
from anyio.lowlevel import checkpoint
from bargein.pipeline.lowlevel import import_extra
from bargein.services.media.ice import IceServer, configuration
from bargein.services.transports.sessions import RefusedError, Sessions
from bargein.services.transports.transport import Peer

from ._fragment import parse, written
from .transport import WebRtcTransport

if TYPE_CHECKING:
    from ._connection import RtcConnection

__all__ = ["SdpAnswer", "SignallingError", "WebRtcServer"]

log = logging.getLogger("bargein.webrtc")

_numbers = itertools.count(1)
CLOSE_SECONDS = 5.0
"""How long a connection may take to close."""


class SignallingError(ValueError):
    """An offer or a candidate that cannot be understood; says why, for the peer's eyes."""


class SdpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer gets for its offer."""

    sdp: str
    """The answer, as a session description."""
    name: str
    """What `patch` and `delete` know the peer by, the last part of its `Location`. It is hard to guess, and told to
    the peer alone; in logs and drawings the peer has another name."""


class WebRtcServer:
    """Answers offers, and runs a session for each peer, while it is open::

        async with WebRtcServer(Sessions(build)) as server:
            answer = await server.offer(sdp)   # POST: 201, Location: .../{answer.name}, the answer's sdp
            await server.patch(answer.name, fragment)   # PATCH: more addresses, or an ICE restart
            await server.delete(answer.name)   # DELETE

    It is the whole of WHIP but for HTTP, and as well of an endpoint that takes and gives `{"type", "sdp"}`.

    A peer has `open_seconds` of the `SessionLimits` to connect. One that vanishes is noticed when nothing at all has
    come of it for `idle_seconds`, or when ICE has had no answer to its questions for about 30 s, whichever is sooner.

    Raises `ModuleNotFoundError` without aiortc, `ValueError` for what it cannot be set to, and `RuntimeError` on
    another backend than asyncio, for which alone aiortc is made.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        ice_servers: Sequence[IceServer | str] = (),
        video_fps: float = 0.0,
        show: bool = False,
    ) -> None:
        import_extra("aiortc", "webrtc", "WebRtcServer")
        if not (math.isfinite(video_fps) and video_fps >= 0):
            raise ValueError(f"WebRtcServer(video_fps={video_fps}): expected pictures a second, or 0 for no camera")
        self.sessions = sessions
        """Where the sessions run."""
        self.ice_servers = tuple(IceServer(url=each) if isinstance(each, str) else each for each in ice_servers)
        """What helps peers to find each other; none is needed on one network. Of STUN and of TURN, one is used."""
        self.video_fps = video_fps
        """How many pictures of a camera are taken a second, at most; 0 for no camera."""
        self.show = show
        """Whether the agent shows pictures: a sink that gets `Video`."""
        self._open: dict[str, tuple[WebRtcTransport, RtcConnection]] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._library: Any = None
        self._configuration: Any = None

    async def __aenter__(self) -> Self:
        if (backend := sniffio.current_async_library()) != "asyncio":
            raise RuntimeError(f"WebRTC runs on asyncio only, as aiortc does; this is {backend}: use anyio.run(main)")
        self._library = importlib.import_module("._connection", __package__)
        servers = [(each.url, each.username, each.credential) for each in self.ice_servers]
        self._configuration = configuration(servers)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._tasks is not None
        tasks, self._tasks = self._tasks, None
        for transport, _ in self._open.values():
            transport.left("the server is closing", clean=False)
        if error[0] is not None:
            tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)  # an error of the block is none of its tasks': it stays as it is

    async def offer(
        self, sdp: str, *, name: str = "", address: str = "", wishes: Mapping[str, str] | None = None
    ) -> SdpAnswer:
        """Answer an offer: of a new peer, or a later one of the peer called `name`.

        `wishes` are what a new peer asks for, for who builds its session: the parameters of the address it came to.
        Raises `RefusedError` when there is no room, `SignallingError` for an offer that is wrong, and `LookupError`
        for a name that is not (or no longer) known.
        """
        self._check(sdp)
        if name:
            transport, connection = self._known(name)
            return SdpAnswer(sdp=await self._answered(transport, connection, sdp), name=name)
        assert self._tasks is not None, "the server is not open; use `async with`"
        self.sessions.admit()
        name = secrets.token_urlsafe(12)
        peer = Peer(name=f"webrtc-{next(_numbers)}", address=address, params=wishes or {})
        transport = WebRtcTransport(peer, self.sessions.limits, pictures=self.video_fps > 0 or self.show)
        connection = self._library.RtcConnection(
            transport, self._configuration, self._tasks, video_fps=self.video_fps, show=self.show
        )
        transport.line = connection
        refusals: list[RefusedError] = []
        self._open[name] = (transport, connection)
        self._tasks.start_soon(self._serve, name, transport, connection, refusals)
        await checkpoint()
        if refusals:
            raise refusals[0]
        try:
            return SdpAnswer(sdp=await self._answered(transport, connection, sdp), name=name)
        except BaseException:
            transport.left("its offer was not answered", clean=False)
            raise

    async def patch(self, name: str, fragment: str) -> str:
        """More addresses of a peer, or an ICE restart, as `application/trickle-ice-sdpfrag`.

        Gives the fragment that answers a restart (200), and nothing for mere addresses (204). Raises `SignallingError`
        for a fragment that is wrong, and `LookupError` for a name that is not known.
        """
        _, connection = self._known(name)
        answer = ""
        try:
            parsed = parse(fragment)
            if parsed.username not in ("", connection.username):
                answer = written(await connection.restart(parsed.username, parsed.password))
            await connection.candidates(parsed)
        except Exception as error:  # a parser that was not made for what strangers send
            raise SignallingError(f"this fragment cannot be used: {type(error).__name__}: {error}") from None
        return answer

    async def delete(self, name: str) -> None:
        """The peer ends its session. Raises `LookupError` for a name that is not (or no longer) known."""
        transport, _ = self._known(name)
        transport.left("it said goodbye", clean=True)

    def _known(self, name: str) -> tuple[WebRtcTransport, RtcConnection]:
        try:
            return self._open[name]
        except KeyError:
            raise LookupError("there is no such session, or it is over; make a new offer") from None

    def _check(self, sdp: str) -> None:
        """Refuse what is no offer, before anything is made for it."""
        if len(sdp) > self.sessions.limits.message_bytes:
            raise SignallingError(f"an offer of {len(sdp)} characters; that is too long")
        try:
            self._library.parsed(sdp)
        except ValueError as error:
            raise SignallingError(str(error)) from None

    async def _answered(self, transport: WebRtcTransport, connection: RtcConnection, sdp: str) -> str:
        try:
            return await connection.answer(sdp)
        except Exception as error:  # as above
            log.debug("%s: an offer that could not be answered", transport.peer.name, exc_info=True)
            raise SignallingError(f"this offer cannot be answered: {type(error).__name__}: {error}") from None

    async def _serve(
        self, name: str, transport: WebRtcTransport, connection: RtcConnection, refusals: list[RefusedError]
    ) -> None:
        reason = "the session is over"
        try:
            ending = await self.sessions.run(transport)
            reason = {"failed": "the session failed", "expired": "the time is up"}.get(ending, reason)
        except RefusedError as error:
            refusals.append(error)
        finally:
            del self._open[name]
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                try:
                    await connection.close(reason)
                except Exception:  # of one peer, and no other's business
                    log.exception("%s: its connection could not be closed", transport.peer.name)
