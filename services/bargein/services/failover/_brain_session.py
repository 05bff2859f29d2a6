"""`BrainSession`: one run of one brain, in its own inner session, which keeps failures away from the outer session."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import anyio

from bargein.pipeline import (
    LIVE,
    Audio,
    AudioFormat,
    Delivery,
    Failure,
    Frame,
    Graph,
    Hold,
    Interrupt,
    Outlet,
    Pipeline,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Resume,
    Session,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
)
from bargein.pipeline.lowlevel import Wakeup, unwrap_exception, wait_at_most
from bargein.processors import Resample
from bargein.processors.observe.watch import Watch
from bargein.services.brain import find_brains
from bargein.services.frames import Respond
from bargein.services.history import History
from bargein.services.realtime import Realtime
from bargein.services.tools import RunsTools, ToolRunner

from ._history_view import HistoryView
from ._ids import RunIds
from ._tool_runner import SharedToolRunner

__all__ = ["BrainSession", "SessionHost", "parts_of"]

MAX_WAITING = 256
"""Number of the user's frames that may wait for a brain. After that, the source of the frames has to wait."""
MAX_EARLY_REPORTS = 64
"""Number of frames from below that are kept until the brain's session has begun."""
RELEASE_SECONDS = 10.0
"""Maximum wait for the processors of an earlier run of the same brain that did not stop in time, in seconds."""
RELEASE_CHECK_SECONDS = 0.05
"""Interval at which it is checked whether these processors have stopped, in seconds."""
STOP_SECONDS = 0.5
"""Maximum time for a brain to stop, in seconds."""


class SessionHost(Protocol):
    """The part of the failover that a run needs. All methods except `forward` are called synchronously, as soon as the
    brain acts."""

    changed: Wakeup
    """Set when there is something to decide."""

    def on_frame(self, run: BrainSession, frame: Frame) -> None:
        """Note a frame of the brain, before it is forwarded."""

    def on_interrupt(self, run: BrainSession, frame: Interrupt | Hold | Resume) -> None:
        """Pass on an interrupt, a hold or a resume of the brain."""

    def on_part_failed(self, run: BrainSession, frame: Failure) -> None:
        """Note that a part of the brain has failed."""

    def on_user_entry(self, run: BrainSession) -> None:
        """Note that the brain has recorded new words of the user."""

    async def forward(self, run: BrainSession, frame: Frame, outlet: Outlet[Any] | None) -> None:
        """Send a frame into the outer graph: through the outlet of its response, if it belongs to one."""

    def begin_reply(self) -> Outlet[Any]:
        """Begin a response in the outer graph, and return its outlet."""


class BrainSession:
    """One run of a brain, from its start until the failover leaves it, or it fails or ends.

    Args:
        host: The failover's exchange.
        index: The number of the brain among the candidates.
        brain: The processor that runs.
        ids: The ids of this run.
        history: The conversation that all brains share.
        before: The earlier run of the same brain, if any. Processors serve one session at a time, so this run waits for
            its end.
    """

    def __init__(
        self,
        host: SessionHost,
        index: int,
        brain: Processor,
        ids: RunIds,
        history: History,
        before: BrainSession | None,
    ) -> None:
        self.index = index
        self.error: Exception | None = None
        """The exception that ended the run; None if there was none."""
        self.started = False
        """Whether the task of the run has been started."""
        self.is_probe = False
        """Whether the run only tests whether the brain could take over the conversation."""
        self.over = False
        """Whether the run has ended, for any reason."""
        self.left = False
        """Whether the failover has left this run. Its frames are then not forwarded."""
        self.blocked = False
        """Whether the run waits for room in the processors below the failover."""
        self.started_at = anyio.current_time()
        self.open_responses: dict[str, None] = {}
        """Responses that have begun in the graph, and have neither ended nor been interrupted."""
        self.unended_responses: dict[str, None] = {}
        """Responses that have begun in the graph, and whose end has not been sent."""
        self.last_response_failed = False
        """Whether the latest response that ended in the graph had failed."""
        self.open_speech: dict[str, None] = {}
        """Items of the user's speech whose start was sent to the graph, but not their end."""
        self.ids = ids
        self.history = HistoryView(history, ids, lambda: host.on_user_entry(self))
        self.application_calls: set[str] = set()
        """Ids of the tool calls that were sent to the application."""
        self.parts = parts_of(brain)
        self.runners: list[SharedToolRunner] = []
        self._brains = find_brains(brain)
        self._before = before if before is not None and before.started else None
        self._gone = anyio.Event()
        self._host = host
        self._shared_history = history
        self._queue: deque[Frame] = deque()
        self._queue_changed = Wakeup()
        self._early: deque[Frame] = deque(maxlen=MAX_EARLY_REPORTS)
        self._ending = False
        self._scope = anyio.CancelScope()
        self._session: Session | None = None
        self._epoch = -1  # the epoch of the brain's session that the outlet belongs to
        self._outlet: Outlet[Any] | None = None
        self._interrupting = False
        audio_in = next((part.audio_in for part in self.parts if part.contract.accepts(Audio)), None)
        self._graph = Pipeline(Watch(self._on_failure, Failure), _FitAudio(audio_in), brain, _Below(self), inputs=Frame)

    @property
    def running(self) -> tuple[Graph, Session] | None:
        """The brain's graph and its session; None before and after the session."""
        return None if self._session is None else (self._graph, self._session)

    @property
    def reconnecting(self) -> bool:
        """Whether the brain has lost its connection and is restoring it."""
        return not all(brain.ready for brain in self._brains)

    @property
    def ready(self) -> bool:
        """Whether the brain can take part in the conversation now."""
        return self._session is not None and not self.reconnecting

    @property
    def waiting(self) -> tuple[Frame, ...]:
        """Frames of the user that the brain has not taken yet."""
        return tuple(self._queue)

    @property
    def full(self) -> bool:
        """Whether the maximum number of frames waits for the brain."""
        return len(self._queue) > MAX_WAITING

    @property
    def speaks(self) -> bool:
        """Whether the brain sends sound."""
        # The last processor that sends sound decides. For example, a realtime model may write text for a text-to-speech
        # part below it.
        voices = [part for part in self.parts if part.contract.promises(Audio)]
        if not voices:
            return False
        last = voices[-1]
        return not isinstance(last, Realtime) or last.settings.output == "audio"

    @property
    def answers_requests(self) -> bool:
        """Whether a `Respond` makes it answer from the conversation."""
        models = [part for part in self.parts if isinstance(part, Realtime)]
        return self.accepts(Respond) and all(
            model.profile.supports_response_requests and model.profile.supports_history_seeding for model in models
        )

    def accepts(self, kind: type[Frame]) -> bool:
        """Return whether the brain takes frames of a class."""
        return any(part.contract.accepts(kind) for part in self.parts)

    # Its life -----------------------------------------------------------------------------------------------------

    async def run(self, share_runner: Callable[[ToolRunner], SharedToolRunner]) -> None:
        """Run the brain until it ends. An exception is stored in `error`, and not raised.

        Args:
            share_runner: Creates the tool runner that the brain uses instead of its own.
        """
        if self._before is not None:
            await self._before._gone.wait()
            self._before = None
            await wait_at_most(self._release, RELEASE_SECONDS)  # a timeout here is not a failure of this run
        tool_users = [
            part for part in self.parts if isinstance(part, RunsTools) and isinstance(part.runner, ToolRunner)
        ]
        try:
            # These are replaced only for the time of the run, because the application owns the brain and may use it
            # elsewhere later.
            for brain in self._brains:
                brain.history = self.history
            for user in tool_users:
                shared = share_runner(user.runner)
                self.runners.append(shared)
                user.runner = shared
            with self._scope:
                # An exception of the brain ends this inner session only.
                async with self._graph.session(cancel_seconds=STOP_SECONDS) as session:
                    await self._serve(session)
        except Exception as error:
            found = unwrap_exception(error)
            self.error = found if isinstance(found, Exception) else error
        finally:
            for brain in self._brains:
                brain.history = self._shared_history
            # The run may have failed before all runners were replaced, so the lists may differ in length.
            for user, shared in zip(tool_users, self.runners, strict=False):
                user.runner = shared.runner
            self.over = True
            self._gone.set()
            self._host.changed.set()

    async def _release(self) -> None:
        """Wait until the processors belong to no session."""
        while any(part.in_session for part in self.parts):  # noqa: ASYNC110  # no event says so
            await anyio.sleep(RELEASE_CHECK_SECONDS)

    async def _serve(self, session: Session) -> None:
        if not self.ids.is_first:
            session.interrupt("another run begins")  # a brain that has run before drops its unfinished work
            session.begin_response()  # sound of another brain may still be heard, and be interrupted
        self._session = session
        self._host.changed.set()
        async with anyio.create_task_group() as group:
            group.start_soon(self._feed, session)
            for frame in self._early:
                self.report(frame)
            async for frame in session:
                await self._forward(frame)
            # The brain has ended and takes no more frames.
            group.cancel_scope.cancel()

    async def _feed(self, session: Session) -> None:
        while True:
            while self._queue:
                await session.send(self.ids.frame_inward(self._queue.popleft()))
            # Checked here and not in `end`, because the frames that still wait were sent before the end.
            if self._ending:
                session.end()
                return
            await self._queue_changed.wait()

    def leave(self) -> None:
        """Stop the brain. From now on its frames and its entries in the history are discarded."""
        # Mark the run as left before cancelling it. A brain may need time to stop, and its frames of that time must not
        # count.
        self.left = self.history.closed = True
        for runner in self.runners:
            runner.leave()
        self._scope.cancel()

    def end(self) -> None:
        """End the brain's input. The brain finishes its present answer."""
        self._ending = True
        self._queue_changed.set()

    # From the graph -----------------------------------------------------------------------------------------------

    def put(self, frame: Frame) -> None:
        """Queue a frame of the user for the brain."""
        self._queue.append(frame)
        self._queue_changed.set()

    def report(self, frame: Frame) -> None:
        """Queue a frame from below for the brain, if it takes such frames."""
        if not self.accepts(type(frame)):
            return
        if self._session is None:
            self._early.append(frame)
            return
        with suppress(Exception):  # the session may have failed or ended; its own task reports that
            self._session.offer(self.ids.frame_inward(frame))

    def interrupt(self, reason: str) -> None:
        """Interrupt the brain, because the graph was interrupted above."""
        self.open_responses.clear()
        if self._session is None:
            return
        # The brain's session interrupts `_Below` within this call. The flag distinguishes this from an interrupt of the
        # brain itself, which must be passed on to the outer graph.
        self._interrupting = True
        try:
            with suppress(Exception):  # as above
                self._session.interrupt(reason)
        finally:
            self._interrupting = False

    # From the brain -----------------------------------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        """Note a frame of the brain."""
        if not self.left:
            self._host.on_frame(self, frame)

    def on_urgent(self, frame: Interrupt | Hold | Resume) -> None:
        """Pass on an interrupt, a hold or a resume of the brain, but not an interrupt that came from above."""
        if not (self.left or self._interrupting or self._session is None):
            if isinstance(frame, Interrupt):
                self.open_responses.clear()
            self._host.on_interrupt(self, frame)

    def _on_failure(self, frame: Failure) -> None:
        """Note a failure of the brain."""
        if not self.left:
            self._host.on_part_failed(self, frame)

    async def _forward(self, frame: Frame) -> None:
        """Send a frame into the outer graph, whose epochs are its own: each epoch of the brain is one response
        there."""
        if self.left or isinstance(frame, Interrupt | Hold | Resume):  # urgent frames were passed on at once
            return
        if isinstance(frame, Audio) and not frame.response_id:
            return  # a frame of the user
        outlet = None
        if frame.delivery is Delivery.STREAM and frame.epoch != LIVE:
            outlet = self._outlet_for(frame.epoch)
            frame = frame.stamped(outlet.epoch)
            if outlet.stale:
                return
        # The response gets its epoch at its beginning and not at its first sound, so that an interrupt between the two
        # drops it.
        elif isinstance(frame, ResponseStarted) and self._session is not None:
            self._outlet_for(self._session.epoch)
        self._note(frame)
        # A brain that waits for room below does not count as silent; see `Failover._silence_deadline`.
        self.blocked = True
        await self._host.forward(self, frame, outlet)
        self.blocked = False

    def _note(self, frame: Frame) -> None:
        if isinstance(frame, ResponseStarted):
            self.open_responses[frame.response_id] = self.unended_responses[frame.response_id] = None
            self.last_response_failed = False
        elif isinstance(frame, ResponseEnded):
            self.open_responses.pop(frame.response_id, None)
            self.unended_responses.pop(frame.response_id, None)
            self.last_response_failed = frame.outcome == "failed"
        elif isinstance(frame, ToolCall):
            self.application_calls.add(frame.call_id)
        elif isinstance(frame, SpeechStarted):
            self.open_speech[frame.item_id] = None
        elif isinstance(frame, SpeechStopped):
            for item_id in [frame.item_id] if frame.item_id else list(self.open_speech):
                self.open_speech.pop(item_id, None)

    def _outlet_for(self, epoch: int) -> Outlet[Any]:
        # Epoch numbers of two sessions are unrelated and are never compared. Each epoch of the brain gets one outlet of
        # the outer graph, which has that graph's epoch.
        if self._outlet is None or epoch != self._epoch:
            self._epoch, self._outlet = epoch, self._host.begin_reply()
        return self._outlet


class _FitAudio(Processor):
    """Converts the user's sound to a format that the brain takes."""

    name = "failover fit"

    def __init__(self, audio_format: AudioFormat | None) -> None:
        self._format = audio_format or AudioFormat()
        self._resample: Resample | None = None

    def process(self, frame: Audio) -> Iterator[Audio]:
        rates, channels = self._format.rates, self._format.channels
        allowed = (rates,) if isinstance(rates, int) else rates
        if (allowed is None or frame.rate in allowed) and channels in (None, frame.channels):
            yield frame
            return
        # Created only when it is needed, because it needs an extra.
        if self._resample is None:
            self._resample = Resample(frame.rate if allowed is None else allowed[0], channels)
        for each in self._resample.process(frame):
            if isinstance(each, Audio):
                yield each


class _Below(Processor):
    """Stands directly below the brain, and reports each of its frames as soon as it is sent."""

    name = "failover below"

    def __init__(self, run: BrainSession) -> None:
        self._run = run

    def process(self, frame: Frame | Interrupt | Hold | Resume) -> Iterator[Frame]:
        if isinstance(frame, Interrupt | Hold | Resume):
            self._run.on_urgent(frame)
            return
        frame = self._run.ids.frame_outward(frame)
        self._run.on_frame(frame)
        yield frame


def parts_of(brain: Processor) -> tuple[Processor, ...]:
    """Return the processors that a brain is made of, from the top down."""
    return brain.processors if isinstance(brain, Graph) else (brain,)
