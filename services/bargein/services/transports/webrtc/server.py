"""`WebRtcServer`: signalling for WebRTC without an HTTP framework. Offers in, answers out, a session for each peer."""

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

from bargein.pipeline.lowlevel import check_options, import_extra
from bargein.services.media.ice import IceServer, configuration
from bargein.services.transports.sessions import RefusedError, Sessions
from bargein.services.transports.transport import Peer

from ._fragment import MAX_CANDIDATES, encode_fragment, limit_candidates, parse_fragment
from .transport import WebRtcTransport

if TYPE_CHECKING:
    from aiortc import RTCConfiguration

    from ._connection import RtcConnection

__all__ = ["SdpAnswer", "SignallingError", "WebRtcServer"]

log = logging.getLogger("bargein.webrtc")

_numbers = itertools.count(1)
CLOSE_SECONDS = 5.0
"""Longest time that closing a connection may take."""


class SignallingError(ValueError):
    """An offer or a fragment that cannot be used. The text says why and is sent to the peer."""


class SdpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a peer's offer."""

    sdp: str
    """The session description."""
    name: str
    """The name for `patch` and `delete`: the last part of the `Location` header. It is hard to guess and goes to this
    peer only. In logs and drawings the peer has another name."""


class WebRtcServer:
    """Answers offers, and runs a session for each peer while it is open::

        async with WebRtcServer(Sessions(agent)) as server:
            answer = await server.offer(sdp)   # POST: 201, Location: .../{answer.name}, the answer's sdp
            await server.patch(answer.name, fragment)   # PATCH: more addresses, or an ICE restart
            await server.delete(answer.name)   # DELETE

    This is WHIP without its HTTP. It also serves an endpoint that takes and returns `{"type", "sdp"}`.

    A peer has `open_seconds` of the `SessionLimits` to connect. It counts as gone when nothing has come from it for
    `idle_seconds`, or when ICE's checks have had no answer for about 30 s, whichever comes first.

    Args:
        sessions: Runs the sessions.
        ice_servers: STUN and TURN servers, as URLs or with credentials. None is needed on one network. aiortc uses the
            first STUN server and the first TURN server.
        video_fps: Maximum number of camera pictures a second; 0 for no camera.
        show_video: Whether the agent shows pictures, so that its sink takes `Video`.

    Raises:
        ModuleNotFoundError: aiortc is not installed (extra `webrtc`).
        ValueError: An option is out of range. Entering it raises this for the URL of an ICE server.
        RuntimeError: Entered on another backend than asyncio, the only one that aiortc supports.
    """

    @check_options
    def __init__(
        self,
        sessions: Sessions,
        *,
        ice_servers: Sequence[IceServer | str] = (),
        video_fps: float = 0.0,
        show_video: bool = False,
    ) -> None:
        import_extra("aiortc", "webrtc", "WebRtcServer")
        if not (math.isfinite(video_fps) and video_fps >= 0):
            raise ValueError(f"WebRtcServer(video_fps={video_fps}): expected pictures a second, or 0 for no camera")
        self.sessions = sessions
        """Runs the sessions."""
        self.ice_servers = tuple(IceServer(url=each) if isinstance(each, str) else each for each in ice_servers)
        """STUN and TURN servers."""
        self.video_fps = video_fps
        """Maximum number of camera pictures a second; 0 for no camera."""
        self.show_video = show_video
        """Whether the agent shows pictures."""
        self._open: dict[str, tuple[WebRtcTransport, RtcConnection]] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._configuration: RTCConfiguration | None = None

    async def __aenter__(self) -> Self:
        if (backend := sniffio.current_async_library()) != "asyncio":
            raise RuntimeError(f"WebRTC runs on asyncio only, as aiortc does; this is {backend}: use anyio.run(main)")
        # These modules import aiortc, which takes a third of a second, so they are imported only now.
        self._connections: Any = importlib.import_module("._connection", __package__)
        self._offers: Any = importlib.import_module("._offer", __package__)
        self._configuration = configuration((each.url, each.username, each.credential) for each in self.ice_servers)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._tasks is not None
        tasks, self._tasks = self._tasks, None
        for transport, _ in self._open.values():
            transport.leave("the server is closing", clean=False)
        if error[0] is not None:
            tasks.cancel_scope.cancel()
        # An error of the block is not passed to the group, which would wrap it: it stays as it is.
        await tasks.__aexit__(None, None, None)

    async def offer(
        self,
        sdp: str,
        *,
        name: str = "",
        address: str = "",
        params: Mapping[str, str] | None = None,
        resume: str = "",
    ) -> SdpAnswer:
        """Answer an offer.

        Args:
            sdp: The offer.
            name: The `SdpAnswer.name` of a peer that offers again; an empty string for a new peer.
            address: A new peer's network address, for the limit of each address.
            params: A new peer's parameters for the code that builds its session.
            resume: The `resume` of the `ready` that the peer got before its connection was lost: the new session goes
                on with that conversation. Empty for a new conversation.

        Raises:
            RefusedError: There is no room for one more peer, or its session failed at once.
            SignallingError: The offer is wrong.
            LookupError: No peer has this name, or no longer.
        """
        sdp = self._check(sdp)
        if name:
            transport, connection = self._find(name)
            return SdpAnswer(sdp=await self._answer(transport, connection, sdp), name=name)
        assert self._tasks is not None, "the server is not open; use `async with`"
        self.sessions.admit(address, resume)
        name = secrets.token_urlsafe(12)
        peer = Peer(name=f"webrtc-{next(_numbers)}", address=address, params=params or {})
        transport = WebRtcTransport(peer, self.sessions.limits, pictures=self.video_fps > 0 or self.show_video)
        connection = self._connections.RtcConnection(
            transport, self._configuration, self._tasks, video_fps=self.video_fps, show_video=self.show_video
        )
        transport.link, transport.resumes = connection, resume
        refusals: list[RefusedError] = []
        self._open[name] = (transport, connection)
        self._tasks.start_soon(self._serve, name, transport, connection, refusals)
        await checkpoint()  # the session's task runs up to its first wait, and is refused by then if at all
        if refusals:
            raise refusals[0]
        try:
            return SdpAnswer(sdp=await self._answer(transport, connection, sdp), name=name)
        except BaseException:
            transport.leave("its offer was not answered", clean=False)
            raise

    async def patch(self, name: str, fragment: str) -> str:
        """Add addresses of a peer, or restart ICE, by an `application/trickle-ice-sdpfrag`.

        Args:
            name: The peer's `SdpAnswer.name`.
            fragment: The body of the request.

        Returns:
            The fragment that answers a restart (status 200); an empty string for mere addresses (204).

        Raises:
            SignallingError: The fragment is wrong.
            LookupError: No peer has this name, or no longer.
        """
        _, connection = self._find(name)
        answer = ""
        try:
            parsed = parse_fragment(fragment)
            if parsed.username not in ("", connection.username):
                answer = encode_fragment(await connection.restart(parsed.username, parsed.password))
            await connection.add_fragment(parsed)
        except Exception as error:  # aiortc's parsers raise anything for hostile input
            raise SignallingError(f"this fragment cannot be used: {type(error).__name__}: {error}") from None
        return answer

    async def delete(self, name: str) -> None:
        """End a peer's session, as the peer asks. Raises `LookupError` if no peer has this name, or no longer.

        Args:
            name: The name that the peer's answer gave it.
        """
        transport, _ = self._find(name)
        transport.leave("it said goodbye", clean=True, goodbye=True)

    def _find(self, name: str) -> tuple[WebRtcTransport, RtcConnection]:
        try:
            return self._open[name]
        except KeyError:
            raise LookupError("this session does not exist, or it is over; make a new offer") from None

    def _check(self, sdp: str) -> str:
        """Return an offer without the addresses that are too many. Raise `SignallingError` for a wrong one."""
        if len(sdp) > self.sessions.limits.max_message_bytes:
            raise SignallingError(
                f"this offer has {len(sdp)} characters; at most {self.sessions.limits.max_message_bytes} are taken"
            )
        sdp = limit_candidates(sdp, set(), MAX_CANDIDATES)  # first, because to parse thousands takes long
        try:
            self._offers.parse_offer(sdp)
        except ValueError as error:
            raise SignallingError(str(error)) from None
        return sdp

    async def _answer(self, transport: WebRtcTransport, connection: RtcConnection, sdp: str) -> str:
        try:
            return await connection.answer(sdp)
        except Exception as error:  # aiortc raises anything for an offer that its parser accepted all the same
            log.debug("%s: an offer that could not be answered", transport.peer.name, exc_info=True)
            raise SignallingError(f"this offer cannot be answered: {type(error).__name__}: {error}") from None

    async def _serve(
        self, name: str, transport: WebRtcTransport, connection: RtcConnection, refusals: list[RefusedError]
    ) -> None:
        reason = "the session is over"
        try:
            ending = await self.sessions.run(transport)
            reason = {"failed": "the session failed", "expired": "the time is up"}.get(ending, reason)
            if transport.failure:
                reason = f"{reason}: {transport.failure}"
            if ending == "failed":  # if its offer is not answered yet, the answer to it says why
                refusals.append(RefusedError(reason))
        except RefusedError as error:
            refusals.append(error)
            reason = str(error)
        finally:
            del self._open[name]
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                try:
                    await connection.close(reason)
                except Exception:  # it concerns this peer only
                    log.exception("%s: its connection could not be closed", transport.peer.name)
