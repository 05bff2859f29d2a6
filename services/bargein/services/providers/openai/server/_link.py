"""One connection: a socket on one side, a brain's session on the other, and the protocol between them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal

import anyio
import msgspec

from bargein.pipeline import Audio, Failure, Frame, Interrupt, Pipeline, Played, Processor, Session
from bargein.pipeline.errors import SessionError
from bargein.processors import Spoken
from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.sockets import Socket, SocketClosedError

from ._audio import MakeVad, server_vad
from ._faults import Faults, Faulty
from ._session import ServerSession

__all__ = ["Ending", "Limits", "Link", "MakeBrain"]

MakeBrain = Callable[[], Any]
"""Makes a brain: a processor, a graph, or an annotated function. Each session has its own."""
Ending = Literal["closed", "ended", "failed", "expired", "idle", "slow"]
"""How a session ended: the client left, the brain was done, or something went wrong."""

AHEAD_BYTES = 60 * 48_000
"""So much sound may wait for the client; then the brain waits."""
BEHIND_SECONDS = 60.0
"""So much sound may wait for the brain; then the client waits."""
LEAVES_WITHIN = 2.0
"""So many seconds a brain has to leave when its client has left."""
WAITING = 2_000
"""So many messages may wait on either side."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds."""

    session_seconds: float = 3600.0
    """A session, as with the real service."""
    idle_seconds: float = 900.0
    """The client's silence: not a single message."""
    slow_seconds: float = 10.0
    """Taking one message off our hands."""


class _Head(Processor):
    """Stands above the brain, and hears what goes wrong below."""

    name = "server"

    def __init__(self, tell: Callable[[Failure], None]) -> None:
        self._tell = tell

    def process(self, frame: Failure) -> None:
        self._tell(frame)


class _Foot(Processor):
    """Stands below the brain: what comes here is sent, and so begins to be heard. How far, the client will say."""

    name = "client"

    def __init__(self) -> None:
        self._begun: deque[tuple[str, str]] = deque(maxlen=64)

    def process(self, frame: Audio) -> Iterator[Audio | Played]:
        if frame.response_id and (item := (frame.response_id, frame.item_id)) not in self._begun:
            self._begun.append(item)
            yield Played(response_id=frame.response_id, item_id=frame.item_id, ms=0.0)
        yield frame


class Link:
    """Runs one session on a socket. `failure` is what ended it, if something failed."""

    def __init__(
        self,
        socket: Socket,
        make_brain: MakeBrain,
        *,
        model: str = "bargein",
        session: Mapping[str, Any] | None = None,
        rate: int | None = None,
        vad: MakeVad | None = server_vad,
        limits: Limits | None = None,
        faults: Faults | None = None,
        dialect: ServerLanguage = GA,
    ) -> None:
        self.failure: Exception | None = None
        self.limits = limits or Limits()
        self._seconds = self.limits.session_seconds
        if faults is not None and faults.expire_after_seconds:
            self._seconds = min(self._seconds, faults.expire_after_seconds)
        self._socket = socket
        self._make_brain = make_brain
        self._tongue = dialect.begin()
        self._core = ServerSession(
            model=model,
            session={**dialect.begins, **(session or {})},
            rate=rate,
            vad=vad,
            expires_at=int(time.time() + self._seconds),
            lenient=dialect is not GA,
        )
        self._faults = faults or Faults()
        self._faulty = Faulty(faults) if faults is not None else None
        self._session: Session | None = None
        self._out: deque[dict[str, Any] | str] = deque()
        self._in: deque[Frame] = deque()
        self._out_bytes = 0
        self._in_ms = 0.0
        self._sent = 0
        self._writing = False
        self._changed = anyio.Event()
        self._scope = anyio.CancelScope()
        self._ending: Ending | None = None
        self._code, self._reason = 1000, ""

    async def run(self) -> Ending:
        """Serve until either side leaves, something fails, or the time is up; the socket is closed then."""
        try:
            self._core.open()
            self._pump()
            async with anyio.create_task_group() as group:
                group.start_soon(self._write)
                try:
                    await self._converse()
                except Exception as error:
                    self._fail(error)
                if self._ending not in ("closed", "slow"):
                    with anyio.move_on_after(self.limits.slow_seconds):
                        while self._out or self._writing:
                            await self._change()
                group.cancel_scope.cancel()
        except BaseException:
            self._code, self._reason = 1001, "the server is going away"
            raise
        finally:
            await self._socket.close(self._code, self._reason)
        return self._ending or "ended"

    async def _converse(self) -> None:
        graph = Pipeline(_Head(self._failed), self._make_brain(), Spoken(), _Foot(), inputs=Frame)
        async with graph.session() as session:
            self._session = session
            try:
                with self._scope:
                    async with anyio.create_task_group() as group:
                        for each in (self._read, self._feed, self._hear, self._expire):
                            group.start_soon(each)
            finally:
                self._session = None
            if self._ending != "ended":
                await self._leave(session)

    async def _leave(self, session: Session) -> None:
        """The brain is still there: tell it how much was heard, and let it end; then stop it."""
        self._core.close()
        with suppress(SessionError):
            for frame in self._core.frames:
                session.offer(frame)
            session.interrupt("the client has left")
            session.end()
            with anyio.move_on_after(LEAVES_WITHIN):
                await session.drained()
        await session.cancel()

    def _end(self, ending: Ending, code: int = 1000, reason: str = "") -> None:
        """Decide how it ends, if nobody has, and stop."""
        if self._ending is None:
            self._ending, self._code, self._reason = ending, code, reason
        self._scope.cancel()
        self._wake()

    def _fail(self, error: Exception) -> None:
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        self.failure = error
        if self._ending == "ended":
            self._ending = None  # because it failed, as turns out
        if self._ending is None:
            self._core.failed(f"The server had an error: {type(error).__name__}.", "server_error")
            self._pump()
            self._end("failed", 1011, "the session failed")

    def _failed(self, frame: Failure) -> None:
        self._core.given(frame)
        self._pump()

    # From the client ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        limits, faults = self.limits, self._faults
        while True:
            if faults.slow_reader_seconds:
                await anyio.sleep(faults.slow_reader_seconds)
            try:
                with anyio.move_on_after(limits.idle_seconds) as idle:
                    data = await self._socket.receive()
            except SocketClosedError:
                self._end("closed")
                return
            if idle.cancelled_caught:
                self._core.error(
                    "The session was idle for too long.", kind="invalid_request_error", code="session_idle"
                )
                self._pump()
                self._end("idle", 1001, f"nothing came for {limits.idle_seconds:g} s")
                return
            for command in (data,) if self._tongue is GA else self._tongue.read(data):
                self._core.received(command)
            self._pump()
            while self._in_ms > 1000 * BEHIND_SECONDS or len(self._in) > WAITING or len(self._out) > 2 * WAITING:
                await self._change()

    async def _feed(self) -> None:
        """Give the brain what it is to have, and wait for room where it is slow."""
        while True:
            while not self._in:
                await self._change()
            frame = self._in.popleft()
            if isinstance(frame, Audio):
                self._in_ms -= frame.ms
            self._wake()
            if self._session is None:
                return
            try:
                await self._session.send(frame)
            except SessionError:  # it has just ended, which `_hear` will tell
                return

    async def _expire(self) -> None:
        await anyio.sleep(self._seconds)
        said = f"Your session hit the maximum duration of {round(self._seconds / 60)} minutes."
        self._core.error(said, kind="invalid_request_error", code="session_expired")
        self._pump()
        self._end("expired", 1001, said)

    # From the brain -------------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        session = self._session
        assert session is not None
        async for frame in session:
            self._core.given(frame)
            self._pump()
            while self._out_bytes > AHEAD_BYTES or len(self._out) > WAITING:
                await self._change()
        self._end("ended")

    # Between --------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Carry out what the protocol has decided. An interrupt is at once; the rest waits in order."""
        core = self._core
        while core.events:
            event = core.events.popleft()
            if event["type"] == "response.done" and event["response"]["status"] == "cancelled":
                self._silence(event["response"]["id"])
            for each in (event,) if self._faulty is None else self._faulty.spoil(event):
                self._out.append(each)
                self._out_bytes += _size(each)
        while core.frames:
            frame = core.frames.popleft()
            if isinstance(frame, Interrupt):
                if self._session is not None:
                    core.epoch = self._session.interrupt(frame.reason)
                continue
            self._in.append(frame)
            if isinstance(frame, Audio):
                self._in_ms += frame.ms
        self._wake()

    def _silence(self, response: str) -> None:
        """Sound of a cancelled response that still waits is sent no more."""
        kept = [each for each in self._out if not (_size(each) and _of(each, response))]
        if len(kept) < len(self._out):
            self._out = deque(kept)
            self._out_bytes = sum(map(_size, kept))

    async def _write(self) -> None:
        while True:
            while not self._out:
                await self._change()
            event = self._out.popleft()
            self._writing = True
            self._out_bytes -= _size(event)
            try:
                with anyio.move_on_after(self.limits.slow_seconds) as slow:
                    for message in self._worded(event):
                        await self._socket.send(message)
            except SocketClosedError:
                self._gone("closed")
                return
            if slow.cancelled_caught:
                self._gone("slow", 1008, f"a message waited for {self.limits.slow_seconds:g} s")
                return
            self._sent += 1
            self._writing = False
            self._wake()
            if self._sent == self._faults.close_after_events:
                self._gone("closed", 1006)
                await _abort(self._socket)
                return

    def _worded(self, event: dict[str, Any] | str) -> Iterator[str | bytes]:
        """An event as the client is to read it."""
        whole = isinstance(event, str) or self._tongue is GA
        for each in (event,) if whole else self._tongue.write(event):  # type: ignore[arg-type]
            yield msgspec.json.encode(each).decode() if isinstance(each, dict) else each

    def _gone(self, ending: Ending, code: int = 1000, reason: str = "") -> None:
        """Nothing can be sent any more."""
        self._out.clear()
        self._out_bytes, self._writing = 0, False
        self._end(ending, code, reason)

    async def _change(self) -> None:
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _size(event: dict[str, Any] | str) -> int:
    """How much sound is in it, in bytes."""
    delta = event.get("delta") if isinstance(event, dict) else None
    return len(delta) if isinstance(delta, bytes) else 0


def _of(event: dict[str, Any] | str, response: str) -> bool:
    return isinstance(event, dict) and event.get("response_id") == response


async def _abort(socket: Any) -> None:
    """Break the connection, as a network does."""
    connection = getattr(socket, "_connection", None)
    if connection is None:
        await socket.close(1006)
    elif (transport := getattr(connection, "transport", None)) is not None:
        transport.abort()
    else:
        await anyio.aclose_forcefully(connection.stream)
