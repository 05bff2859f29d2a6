"""One run of one brain: a session inside the session, whose failure is its own."""

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
from bargein.pipeline.lowlevel import Wakeup
from bargein.processors import Resample
from bargein.services.history import History
from bargein.services.tools import ToolRunner

from ._ids import HistoryView, Ids
from ._tools import SharedToolRunner

__all__ = ["BrainSession", "Host", "leaves"]

FULL = 256
"""So many frames of the user's may wait for a brain; then the user waits."""
EARLY = 64
"""And so much news from below, until it has begun."""
STOPS_WITHIN = 0.5
"""Seconds that a brain has to stop."""


class Host(Protocol):
    """What a run needs of its failover. All but `give` are called in the same step in which the brain acts."""

    bell: Wakeup
    """Rings when there is something to decide."""

    def watch(self, run: BrainSession, frame: Frame) -> None:
        """The brain has made a frame, which is on its way."""

    def interrupt(self, run: BrainSession, frame: Interrupt | Hold | Resume) -> None:
        """The brain interrupts."""

    def failing(self, run: BrainSession, frame: Failure) -> None:
        """A part of the brain has failed."""

    def asked(self, run: BrainSession) -> None:
        """The brain has heard something new of the user's."""

    async def give(self, run: BrainSession, frame: Frame, outlet: Outlet[Any] | None) -> None:
        """Give a frame to the graph; through the outlet of its response, if it belongs to one."""

    def reply(self) -> Outlet[Any]:
        """Begin a response in the graph."""


class BrainSession:
    """A brain at work, from its start until it is left, fails, or ends."""

    def __init__(
        self, host: Host, index: int, brain: Processor, ids: Ids, history: Any, after: BrainSession | None
    ) -> None:
        self.index = index
        """Which brain it is of."""
        self.error: Exception | None = None
        """What it failed with."""
        self.started = False
        """Its task has been started."""
        self.probed = False
        """It is to show whether it could have the conversation."""
        self.over = False
        """It has ended, however."""
        self.left = False
        """It is the brain no more: nothing of it is given."""
        self.blocked = False
        """It waits for room below."""
        self.began = anyio.current_time()
        self.open: dict[str, None] = {}
        """Responses that were begun below, and have neither ended nor been interrupted."""
        self.unended: dict[str, None] = {}
        """These, and those that were interrupted, but whose end has not been told."""
        self.failed = False
        """The latest response to end there had failed."""
        self.speech: dict[str, None] = {}
        """Items of the user's speech that it began there, and has not ended."""
        self.ids = ids
        self.part = HistoryView(history, ids, lambda: host.asked(self))
        self.calls: set[str] = set()
        """Calls that the application has been told of."""
        self.leaves = leaves(brain)
        self.runners: list[SharedToolRunner] = []
        self._after = after if after is not None and after.started else None
        self._gone = anyio.Event()
        self._host = host
        self._history = history
        self._queue: deque[Frame] = deque()
        self._feeding = Wakeup()
        self._early: deque[Frame] = deque(maxlen=EARLY)
        self._ending = False
        self._scope = anyio.CancelScope()
        self._session: Session | None = None
        self._epoch = -1  # of the brain's session, and the outlet of what belongs to it
        self._outlet: Outlet[Any] | None = None
        self._interrupting = False
        hears = next((leaf.audio_in for leaf in self.leaves if leaf.contract.accepts(Audio)), None)
        self._graph = Pipeline(_Above(self), _Fit(hears), brain, _Below(self), inputs=Frame)

    @property
    def mending(self) -> bool:
        """It has no connection, and is working on it."""
        return any(getattr(leaf, "connected", True) is False for leaf in self.leaves)

    @property
    def ready(self) -> bool:
        """It can be talked to."""
        return self._session is not None and not self.mending

    @property
    def waiting(self) -> tuple[Frame, ...]:
        """What it has not taken."""
        return tuple(self._queue)

    @property
    def full(self) -> bool:
        """It does not take what it is given."""
        return len(self._queue) > FULL

    @property
    def speaks(self) -> bool:
        """It has a voice."""
        voices = [leaf for leaf in self.leaves if leaf.contract.promises(Audio)]
        return bool(voices) and getattr(getattr(voices[-1], "settings", None), "output", "audio") != "text"

    def accepts(self, kind: type[Frame]) -> bool:
        """Whether the brain takes frames of a class."""
        return any(leaf.contract.accepts(kind) for leaf in self.leaves)

    # Its life -----------------------------------------------------------------------------------------------------

    async def live(self, keep: Callable[[ToolRunner], SharedToolRunner]) -> None:
        """Run until it is over. What it raises is its `error`."""
        if self._after is not None:  # processors, and parts, serve one session at a time
            await self._after._gone.wait()
            self._after = None
        lent = [leaf for leaf in self.leaves if isinstance(getattr(leaf, "history", None), History | HistoryView)]
        tooled = [leaf for leaf in self.leaves if isinstance(getattr(leaf, "runner", None), ToolRunner)]
        try:
            for leaf in lent:
                leaf.history = self.part  # type: ignore[attr-defined]
            for leaf in tooled:
                leaf.runner = kept = keep(leaf.runner)  # type: ignore[attr-defined]
                self.runners.append(kept)
            with self._scope:
                async with self._graph.session(cancel_within=STOPS_WITHIN) as session:
                    await self._talk(session)
        except Exception as error:
            self.error = _sole(error)
        finally:
            for leaf in lent:
                leaf.history = self._history  # type: ignore[attr-defined]
            for leaf, kept in zip(tooled, self.runners, strict=False):
                leaf.runner = kept.runner  # type: ignore[attr-defined]
            self.over = True
            self._gone.set()
            self._host.bell.set()

    async def _talk(self, session: Session) -> None:
        if self.ids.later:
            session.interrupt("it begins")  # a brain that has run before forgets what it was about
            session.begin_response()  # what another has said may still be heard, and interrupted
        self._session = session
        self._host.bell.set()
        async with anyio.create_task_group() as group:
            group.start_soon(self._feed, session)
            for frame in self._early:
                self.news(frame)
            async for frame in session:
                await self._give(frame)
            group.cancel_scope.cancel()

    async def _feed(self, session: Session) -> None:
        while True:
            while self._queue:
                await session.send(self.ids.taken(self._queue.popleft()))
            if self._ending:
                session.end()
                return
            await self._feeding.wait()

    def leave(self) -> None:
        """From now on nothing of it counts; it is stopped."""
        self.left = self.part.closed = True
        for runner in self.runners:
            runner.leave()
        self._scope.cancel()

    def end(self) -> None:
        """Nothing more comes from the user: it finishes what is under way."""
        self._ending = True
        self._feeding.set()

    # From the graph -----------------------------------------------------------------------------------------------

    def put(self, frame: Frame) -> None:
        """The user sent this."""
        self._queue.append(frame)
        self._feeding.set()

    def news(self, frame: Frame) -> None:
        """This came from below."""
        if not self.accepts(type(frame)):
            return
        if self._session is None:
            self._early.append(frame)
            return
        with suppress(Exception):  # it has failed or ended, which its task tells
            self._session.offer(self.ids.taken(frame))

    def interrupt(self, reason: str) -> None:
        """The graph has been interrupted above."""
        self.open.clear()
        if self._session is None:
            return
        self._interrupting = True
        try:
            with suppress(Exception):  # as above
                self._session.interrupt(reason)
        finally:
            self._interrupting = False

    # From the brain -----------------------------------------------------------------------------------------------

    def seen(self, frame: Frame) -> None:
        """The brain has made a frame."""
        if not self.left:
            self._host.watch(self, frame)

    def urgent(self, frame: Interrupt | Hold | Resume) -> None:
        """The brain interrupts, or holds; but for what it was told to."""
        if not (self.left or self._interrupting or self._session is None):
            if isinstance(frame, Interrupt):
                self.open.clear()
            self._host.interrupt(self, frame)

    def troubled(self, frame: Failure) -> None:
        """A part of the brain has failed."""
        if not self.left:
            self._host.failing(self, frame)

    async def _give(self, frame: Frame) -> None:
        """To the graph, in the graph's epochs: what belongs to one here belongs to one response there."""
        if self.left or isinstance(frame, Interrupt | Hold | Resume):  # these were given at once
            return
        if isinstance(frame, Audio) and not frame.response_id:
            return  # the user's own
        outlet = None
        if frame.delivery is Delivery.STREAM and frame.epoch != LIVE:
            outlet = self._reply(frame.epoch)
            frame = frame.stamped(outlet.epoch)
            if outlet.stale:
                return
        elif isinstance(frame, ResponseStarted) and self._session is not None:
            self._reply(self._session.epoch)
        self._note(frame)
        self.blocked = True
        await self._host.give(self, frame, outlet)
        self.blocked = False

    def _note(self, frame: Frame) -> None:
        if isinstance(frame, ResponseStarted):
            self.open[frame.response_id] = self.unended[frame.response_id] = None
            self.failed = False
        elif isinstance(frame, ResponseEnded):
            self.open.pop(frame.response_id, None)
            self.unended.pop(frame.response_id, None)
            self.failed = frame.outcome == "failed"
        elif isinstance(frame, ToolCall):
            self.calls.add(frame.call_id)
        elif isinstance(frame, SpeechStarted):
            self.speech[frame.item_id] = None
        elif isinstance(frame, SpeechStopped):
            for item in [frame.item_id] if frame.item_id else list(self.speech):
                self.speech.pop(item, None)

    def _reply(self, epoch: int) -> Outlet[Any]:
        if self._outlet is None or epoch != self._epoch:
            self._epoch, self._outlet = epoch, self._host.reply()
        return self._outlet


class _Above(Processor):
    """Stands above the brain, and hears what goes wrong in it."""

    name = "failover above"

    def __init__(self, run: BrainSession) -> None:
        self._run = run

    def process(self, frame: Failure) -> None:
        self._run.troubled(frame)


class _Fit(Processor):
    """The user's sound as the brain hears it."""

    name = "failover fit"

    def __init__(self, form: AudioFormat | None) -> None:
        self._form = form or AudioFormat()
        self._resample: Resample | None = None

    def process(self, frame: Audio) -> Iterator[Audio]:
        rates, channels = self._form.rates, self._form.channels
        allowed = (rates,) if isinstance(rates, int) else rates
        if (allowed is None or frame.rate in allowed) and channels in (None, frame.channels):
            yield frame
            return
        if self._resample is None:
            self._resample = Resample(frame.rate if allowed is None else allowed[0], channels)
        for each in self._resample.process(frame):
            if isinstance(each, Audio):
                yield each


class _Below(Processor):
    """Stands below the brain, and sees at once what comes of it."""

    name = "failover below"

    def __init__(self, run: BrainSession) -> None:
        self._run = run

    def process(self, frame: Frame | Interrupt | Hold | Resume) -> Iterator[Frame]:
        if isinstance(frame, Interrupt | Hold | Resume):
            self._run.urgent(frame)
            return
        frame = self._run.ids.given(frame)
        self._run.seen(frame)
        yield frame


def leaves(brain: Processor) -> tuple[Processor, ...]:
    """The processors that a brain is made of."""
    return brain.processors if isinstance(brain, Graph) else (brain,)


def _sole(error: Exception) -> Exception:
    """The exception that a group holds, when it is one alone."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
