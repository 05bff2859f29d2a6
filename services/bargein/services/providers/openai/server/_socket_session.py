"""One served session: a socket on one side, a brain's session on the other, and the protocol between them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, TypedDict, Unpack

import anyio
import anyio.abc
import msgspec

from bargein.pipeline import Audio, Failure, Frame, Interrupt, Pipeline, Played, Processor, Session, UserText
from bargein.pipeline.errors import SessionError
from bargein.pipeline.graph import Step
from bargein.pipeline.lowlevel import CheckedFields, stood_still, unwrap_exception, wait_at_most
from bargein.processors import Spoken
from bargein.processors.observe.watch import Watch
from bargein.services.frames import Commit, Configure, Respond, Say, without_details
from bargein.services.providers.openai.dialect import GA, Dialect
from bargein.services.providers.openai.server._core.audio import MakeVad, server_vad
from bargein.services.providers.openai.server._core.session import ServerSession
from bargein.services.providers.openai.server._core.state import Event
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.sockets.rate_limiter import DEFAULT_MESSAGES_PER_SECOND, MessageRate

from ._faults import FaultInjector, Faults

__all__ = ["Ending", "Limits", "MakeBrain", "ServedSessionOptions", "SocketSession"]

MakeBrain = Callable[[], Step]
"""Makes the brain of one session: a processor, a graph, or an annotated function. Each call makes a new one."""
Ending = Literal["closed", "ended", "failed", "expired", "idle", "slow"]
"""How a session ended: `closed` by the client, `ended` by the brain, or by a failure or a limit."""

MAX_AHEAD_BYTES = 60 * 48_000
"""Bytes of sound that may wait for the client before the brain has to wait: a minute at 24 kHz."""
MAX_BEHIND_SECONDS = 60.0
"""Sound that may wait for the brain before the client has to wait, in seconds."""
MAX_WAITING = 2_000
"""Events or frames that may wait on either side before the other one has to wait."""
ACTIONS = UserText | Commit | Respond | Say | Configure | Interrupt
"""What the brain acts on: it may begin an answer, or a request to a provider."""
LEAVE_SECONDS = 2.0
"""How long a brain may take to end, after its client has left, before it is cancelled."""


class Limits(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """What a client may use. Times are in seconds."""

    session_seconds: float = 3600.0
    """Length of a session, as with the real service."""
    open_seconds: float = 10.0
    """Longest time from the connection to the end of its HTTP request."""
    first_message_seconds: float = 20.0
    """Longest time until the client's first message, which is `session.update` in most clients."""
    idle_seconds: float = 900.0
    """Longest time without any message of the client, after the first one."""
    slow_seconds: float = 10.0
    """Longest time that the client may take to accept one message."""
    max_messages_per_second: float = DEFAULT_MESSAGES_PER_SECOND
    """Messages that the client may send in a second, sound included. One on which the brain acts, such as
    `response.create`, counts as 10. More are read later. A quarter of this number may come at once."""


class ServedSessionOptions(TypedDict, total=False):
    """Options of a served session, for `serve` and `serve_socket`."""

    session: Mapping[str, Any] | None
    """Fields that the session begins with, as in a `session.update`."""
    rate: int | None
    """Sampling rate that the brain wants, in Hz; None for that of the session's input."""
    vad: MakeVad | None
    """Makes the detector of the user's speech; None where the brain finds speech and turns by itself."""
    limits: Limits | None
    """Time limits; None for the defaults."""
    faults: Faults | None
    """Faults on demand, for tests of clients."""
    show_errors: bool
    """Whether the client may read what a `Failure` says, which may be a provider's text. If not, it reads a general
    sentence. `serve` allows it by default on this machine alone, without keys and other origins."""
    dialect: ServerLanguage
    """The language of the wire. Default `GA`, OpenAI's protocol of today."""


class _PlaybackStart(Processor):
    """Stands below the brain, and reports an item as begun when its first sound is sent.

    How much of the item was heard only the client knows: it says so when it truncates the item.
    """

    name = "client"

    def __init__(self) -> None:
        self._begun: deque[tuple[str, str]] = deque(maxlen=64)

    def process(self, frame: Audio) -> Iterator[Audio | Played]:
        if frame.response_id and (item := (frame.response_id, frame.item_id)) not in self._begun:
            self._begun.append(item)
            yield Played(response_id=frame.response_id, item_id=frame.item_id, ms=0.0)
        yield frame


class SocketSession:
    """Runs one session on a socket.

    Args:
        socket: The client's socket. It is closed when `run` returns.
        make_brain: Makes the brain.
        model: The model's name in the session object.
        options: See `ServedSessionOptions`.
    """

    def __init__(
        self, socket: Socket, make_brain: MakeBrain, *, model: str = "bargein", **options: Unpack[ServedSessionOptions]
    ) -> None:
        self.failure: Exception | None = None
        """The exception that ended the session."""
        self.limits = options.get("limits") or Limits()
        faults = options.get("faults")
        self._faults = faults or Faults()
        self._fault_injector = FaultInjector(faults) if faults is not None else None
        self._session_seconds = min(
            self.limits.session_seconds, self._faults.expire_after_seconds or self.limits.session_seconds
        )
        self._socket = socket
        self._make_brain = make_brain
        self._show_errors = options.get("show_errors", False)
        language = options.get("dialect", GA)
        self._language = language.for_connection()
        self._core = ServerSession(
            model=model,
            session={**language.session_defaults, **(options.get("session") or {})},
            rate=options.get("rate"),
            vad=options.get("vad", server_vad),
            expires_at=int(time.time() + self._session_seconds),
            lenient=language is not GA,
        )
        self._session: Session | None = None
        self._out: deque[Event | str] = deque()  # for the client
        self._out_bytes = 0  # of sound in it
        self._in: deque[Frame] = deque()  # for the brain
        self._in_ms = 0.0  # of sound in it
        self._sent = 0
        self._writing = False
        self._changed = anyio.Event()  # replaced whenever it is set: several tasks wait for it
        self._scope = anyio.CancelScope()
        self._ending: Ending | None = None
        self._close_code, self._close_reason = 1000, ""

    async def run(self) -> Ending:
        """Serve until either side leaves, something fails, or a limit is reached; then close the socket."""
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
                            await self._changed.wait()
                group.cancel_scope.cancel()
        except BaseException:
            self._close_code, self._close_reason = 1001, "the server is going away"
            raise
        finally:
            await self._socket.close(self._close_code, self._close_reason)
        return self._ending or "ended"

    async def _converse(self) -> None:
        graph = Pipeline(Watch(self._on_failure, Failure), self._make_brain(), Spoken(), _PlaybackStart(), inputs=Frame)
        async with graph.session() as session:
            self._session = session
            try:
                with self._scope:
                    async with anyio.create_task_group() as group:
                        for task in (self._read, self._feed, self._listen, self._expire):
                            group.start_soon(task)
            finally:
                self._session = None
            if self._ending != "ended":
                await self._leave(session)

    async def _leave(self, session: Session) -> None:
        """Tell the brain, which is still there, how much was heard, and let it end; then cancel it."""
        self._core.close()
        with suppress(SessionError):
            for frame in self._core.frames:
                session.offer(frame)
            session.interrupt("the client has left")
            session.end()
            await wait_at_most(session.drained, LEAVE_SECONDS)
        await session.cancel()

    def _end(self, ending: Ending, code: int = 1000, reason: str = "") -> None:
        """Stop; the first call decides how the session ends."""
        if self._ending is None:
            self._ending, self._close_code, self._close_reason = ending, code, reason
        self._scope.cancel()
        self._notify()

    def _fail(self, error: Exception) -> None:
        found = unwrap_exception(error)
        self.failure = error = found if isinstance(found, Exception) else error
        if self._ending == "ended":
            self._ending = None  # the brain's session ended because of this failure
        if self._ending is None:
            self._core.fail(f"The server had an error: {type(error).__name__}.", "server_error")
            self._pump()
            self._end("failed", 1011, "the session failed")

    def _on_failure(self, frame: Failure) -> None:
        self._core.on_frame(frame if self._show_errors else without_details(frame))
        self._pump()

    # From the client ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        wait_seconds, rate = self.limits.idle_seconds, MessageRate(self.limits.max_messages_per_second)
        if isinstance(self._language, Dialect):  # protocols of other kinds need not begin with a message of the client
            wait_seconds = min(wait_seconds, self.limits.first_message_seconds)
        while True:
            if self._faults.slow_reader_seconds:
                await anyio.sleep(self._faults.slow_reader_seconds)
            try:
                data = await self._receive(wait_seconds)
            except SocketClosedError:
                self._end("closed")
                return
            if data is None:
                self._stop_idle(wait_seconds)
                return
            wait_seconds = self.limits.idle_seconds
            for command in (data,) if self._language is GA else self._language.read(data):
                self._core.on_message(command)
            action = any(isinstance(frame, ACTIONS) for frame in self._core.frames)
            self._pump()
            if wait := rate.take(anyio.current_time(), action=action):
                await anyio.sleep(wait)  # what the client sends meanwhile waits in its own buffers
            while (
                self._in_ms > 1000 * MAX_BEHIND_SECONDS
                or len(self._in) > MAX_WAITING
                or len(self._out) > 2 * MAX_WAITING
            ):
                await self._changed.wait()

    async def _receive(self, seconds: float) -> str | bytes | None:
        """Return the next message; None if none comes in time."""
        due = anyio.current_time() + seconds
        with anyio.move_on_after(seconds):
            return await self._socket.receive()
        if stood_still(due):  # it may have come meanwhile
            with anyio.move_on_after(seconds / 16):
                return await self._socket.receive()
        return None

    def _stop_idle(self, seconds: float) -> None:
        self._core.error("The session was idle for too long.", kind="invalid_request_error", code="session_idle")
        self._pump()
        self._end("idle", 1001, f"nothing came for {seconds:g} s")

    async def _feed(self) -> None:
        """Send frames to the brain, and wait for room where it is slow."""
        while True:
            while not self._in:
                await self._changed.wait()
            frame = self._in.popleft()
            if isinstance(frame, Audio):
                self._in_ms -= frame.ms
            self._notify()
            if self._session is None:
                return
            try:
                await self._session.send(frame)
            except SessionError:  # it has just ended; `_listen` sees that
                return

    async def _expire(self) -> None:
        await anyio.sleep(self._session_seconds)
        message = f"Your session hit the maximum duration of {round(self._session_seconds / 60)} minutes."
        self._core.error(message, kind="invalid_request_error", code="session_expired")
        self._pump()
        self._end("expired", 1001, message)

    # From the brain -------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        session = self._session
        assert session is not None
        async for frame in session:
            self._core.on_frame(frame)
            self._pump()
            while self._out_bytes > MAX_AHEAD_BYTES or len(self._out) > MAX_WAITING:
                await self._changed.wait()
        self._end("ended")

    # Between --------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Move what the protocol has decided into the queues. An interrupt is carried out at once."""
        core = self._core
        while core.events:
            event = core.events.popleft()
            if event["type"] == "response.done" and event["response"]["status"] == "cancelled":
                self._drop_audio_of(event["response"]["id"])
            for each in (event,) if self._fault_injector is None else self._fault_injector.apply(event):
                self._out.append(each)
                self._out_bytes += _audio_bytes(each)
        while core.frames:
            frame = core.frames.popleft()
            if isinstance(frame, Interrupt):
                if self._session is not None:
                    core.epoch = self._session.interrupt(frame.reason)
                continue
            self._in.append(frame)
            if isinstance(frame, Audio):
                self._in_ms += frame.ms
        self._notify()

    def _drop_audio_of(self, response_id: str) -> None:
        """Remove sound of a cancelled response that still waits for the client."""
        rest = [each for each in self._out if not (_audio_bytes(each) and _is_of(each, response_id))]
        if len(rest) < len(self._out):
            self._out = deque(rest)
            self._out_bytes = sum(map(_audio_bytes, rest))

    async def _write(self) -> None:
        while True:
            while not self._out:
                await self._changed.wait()
            event = self._out.popleft()
            self._writing = True
            self._out_bytes -= _audio_bytes(event)
            try:
                with anyio.move_on_after(self.limits.slow_seconds) as slow:
                    for message in self._encode(event):
                        await self._socket.send(message)
            except SocketClosedError:
                self._stop_writing("closed")
                return
            if slow.cancelled_caught:
                self._stop_writing("slow", 1008, f"a message waited for {self.limits.slow_seconds:g} s")
                return
            self._sent += 1
            self._writing = False
            self._notify()
            if self._sent == self._faults.close_after_events:
                self._stop_writing("closed", 1006)
                await _abort(self._socket)
                return

    def _encode(self, event: Event | str) -> Iterator[str | bytes]:
        """Return an event as messages of the client's language."""
        translated = (event,) if isinstance(event, str) or self._language is GA else self._language.write(event)
        for each in translated:
            yield msgspec.json.encode(each).decode() if isinstance(each, dict) else each

    def _stop_writing(self, ending: Ending, code: int = 1000, reason: str = "") -> None:
        """End the session because the socket takes no more messages."""
        self._out.clear()
        self._out_bytes, self._writing = 0, False
        self._end(ending, code, reason)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _audio_bytes(event: Event | str) -> int:
    """Return how many bytes of sound are in an event."""
    delta = event.get("delta") if isinstance(event, dict) else None
    return len(delta) if isinstance(delta, bytes) else 0


def _is_of(event: Event | str, response_id: str) -> bool:
    return isinstance(event, dict) and event.get("response_id") == response_id


async def _abort(socket: Socket) -> None:
    """Break the connection without a close frame, as a network does.

    Only tests of clients do this (`Faults.close_after_events`). It relies on `websockets` (15 to 17): its asyncio
    connection has a `transport`, its trio connection a `stream`. `test_on_a_socket.py` fails where that changes.
    """
    connection = getattr(socket, "_connection", None)
    if connection is None:
        await socket.close(1006)
    elif (transport := getattr(connection, "transport", None)) is not None:
        transport.abort()
    else:
        await anyio.aclose_forcefully(connection.stream)
