"""Another brain takes over in the middle of a call: when the first fails, or by hand."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from bargein.pipeline import (
    Audio,
    AudioFormat,
    Failure,
    Frame,
    Hold,
    Image,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolResult,
    Transcript,
    Travels,
    UserText,
)
from bargein.pipeline._contract import Contract, Rung
from bargein.pipeline.processor import as_processor
from bargein.processors import AgentActivity, Heard

from ._failover_breaker import Breaker
from ._failover_heard import Ledger
from ._failover_ids import ABOVE, Ids, Part
from ._failover_kept import Kept
from ._failover_run import Run, leaves, sound
from ._failover_talk import ASKS, Talk
from ._failover_tools import KeptRunner
from .frames import BrainSwitched, Configure, Connected, Disconnected, Respond, Say
from .history import History
from .realtime._bell import Bell

__all__ = ["Failover", "FailoverError"]

log = logging.getLogger("bargein.failover")

Brain = Processor | Callable[[], Processor]
"""A brain, or a function that makes one."""
SETTLE_S = 0.1
"""How long it is waited for what was heard of a reply that was cut short."""
PAUSE_S = 1.0
"""A pause has lasted so long."""
PROBE_S = 5.0
"""So long after a return that somebody spoke into the next one is tried."""
CONNECT_S = 15.0
"""How long one that may return has to become ready."""
STABLE_S = 30.0
"""A brain that has served so long shows that the world is not broken: the others may be tried anew."""
ROOM_S = 0.02
"""How often a brain that does not take what it is given is looked at."""


class FailoverError(ConnectionError):
    """No brain is left."""

    def __init__(self, reasons: dict[str, str]) -> None:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"no brain is left ({told}); give Failover another one, or ask the user to call again")
        self.reasons = reasons
        """Why each of them failed, by name."""


class _Choice:
    """One of the brains: the processor that runs next, and how it has done."""

    def __init__(self, brain: Brain, breaker: Breaker) -> None:
        self.breaker = breaker
        self.run: Run | None = None  # the latest
        self._make = None if isinstance(brain, Processor) else brain
        self.processor = as_processor(brain if isinstance(brain, Processor) else brain())
        self.name = self.processor.name or type(self.processor).__name__
        self._used = False

    def brain(self) -> Processor:
        """The processor for another run."""
        if self._used and self._make is not None:
            self.processor = as_processor(self._make())
        self._used = True
        return self.processor


class Failover(Processor):
    """Several brains in the place of one: the first talks, and when it fails, the next goes on with the call::

        brain = Failover(OpenAIRealtime(), lambda: Cascade(stt, llm, tts))

    A brain is a processor or a graph; or a function that makes one, each time that it is to run: a realtime model
    begins anew by itself, of a graph a new one is better. One at a time runs, in a session of its own; the others cost
    nothing, and a realtime model is connected when it is needed. All share one `history`, whatever they were made with.

    A brain has failed when it raises or gives a fatal `Failure`, when a response fails or nothing of it can be heard,
    when its ears fail, and after `silence` seconds without a sign of life while an answer is due (None: never; for
    where nobody answers by itself). Then the next one takes over, at once:

    * what the old one was saying is interrupted, like by the user, and what was heard of it is remembered; an answer
      that has been given to its end is played to its end;
    * what the user said, wrote or sent, and nobody answered, is answered by the new one: by its words where they are
      known, else by its sound, of which `keep_seconds` are kept. `dropped_ms` counts what was lost of that;
    * tools go on, and their results reach the new one.

    After `failures` failures within `window` seconds a brain is left alone for `cooldown` seconds. With `returns` one
    that stands further in front is tried again after that: connected in a pause, and in place when it is ready and the
    pause lasts. When no brain is left the session ends with a `FailoverError` that says why for each.

    `switch()` moves by hand, and then nobody returns by himself. `BrainSwitched` tells of every move. Sound of any rate
    is taken, and resampled for the brain that hears it (extra `audio`); if the brains speak at different rates, a
    `Resample` is needed below where one rate is.

    Raises `ValueError` without a second brain, for names that are there twice, and for numbers that cannot be.
    """

    name = "failover"
    capacity = 256

    def __init__(
        self,
        primary: Brain,
        *others: Brain,
        silence: float | None = 10.0,
        failures: int = 1,
        window: float = 60.0,
        cooldown: float = 60.0,
        returns: bool = True,
        keep_seconds: float = 15.0,
        history: History | None = None,
    ) -> None:
        if not others:
            raise ValueError("Failover(brain): expected a second brain, for when the first fails")
        durations = {"silence": silence, "window": window, "cooldown": cooldown, "keep_seconds": keep_seconds}
        for option, value in durations.items():
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"Failover({option}={value}): expected a positive number of seconds")
        if type(failures) is not int or failures < 1:
            raise ValueError(f"Failover(failures={failures!r}): expected a number of failures, 1 or more")
        self.silence = silence
        self.returns = returns
        self.keep_seconds = keep_seconds
        self._choices = [_Choice(brain, Breaker(failures, window, cooldown)) for brain in (primary, *others)]
        if len({choice.name for choice in self._choices}) < len(self._choices):
            names = ", ".join(choice.name for choice in self._choices)
            raise ValueError(f"Failover({names}): two of the same name; name one: brain.options(name='reserve')")
        everybody = [leaf for choice in self._choices for leaf in leaves(choice.processor)]
        known = (each for leaf in everybody if isinstance(each := getattr(leaf, "history", None), History))
        self.history: Any = next(known, History()) if history is None else history
        """The conversation that all of them share: the given one, else the first that a brain has."""
        self.contract_ = _contract(everybody)  # type: ignore[misc]
        self.audio_out = _format([sound(choice.processor)[1] for choice in self._choices])
        self.bell = Bell()
        self._index = 0
        self._wanted: tuple[int, str] | None = None
        self._pinned = False
        self._reset()

    def _reset(self) -> None:
        self._runs = 0
        self._active: Run | None = None
        self._ended = False
        self._kept = Kept(self.keep_seconds)
        self._ledger = Ledger()
        self._above: deque[str] = deque(maxlen=ABOVE)
        self._words: dict[str, str] = {}  # what the user said since the latest response began, by item
        self._configured = Configure()
        self._dead: set[int] = set()  # who has failed since anybody last did well
        self._pending: set[str] = set()  # calls of brains that have been left
        self._deferred = False  # an answer waits for their results
        self._not_before = 0.0  # no return is tried

    @property
    def brains(self) -> tuple[str, ...]:
        """Their names, in the order in which they are tried."""
        return tuple(choice.name for choice in self._choices)

    @property
    def active(self) -> str:
        """The name of the one that has the conversation."""
        return self._choices[self._index].name

    @property
    def dropped_ms(self) -> float:
        """How much of the user's sound was lost that no brain has heard."""
        return self._kept.dropped_ms

    def switch(self, to: str | int | None = None, reason: str = "by hand") -> None:
        """Go on with another brain, now: the one of that name or number; by default the next in the row.

        Returns at once. Raises `ValueError` for one that is not there.
        """
        now = self._index if self._wanted is None else self._wanted[0]
        names = self.brains
        if to is None:
            index = (now + 1) % len(names)
        elif isinstance(to, int) and 0 <= to < len(names):
            index = to
        elif to in names:
            index = names.index(str(to))
        else:
            raise ValueError(f"Failover.switch({to!r}): there is {', '.join(map(repr, names))}")
        self._wanted = index, reason
        self.bell.ring()

    # The loop -----------------------------------------------------------------------------------------------------

    async def run(self, inbox: Inbox[Frame | Interrupt], out: Outlet[Frame]) -> None:
        """Talk until the user's frames end and the last answer has been given, or a brain ends by itself."""
        self._reset()
        self._out, self._talk = out, Talk()
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._listen, inbox)
            await self._supervise()
            group.cancel_scope.cancel()

    async def _listen(self, inbox: Inbox[Any]) -> None:
        async for frame in inbox:
            self._take(frame)
            while self._active is not None and self._active.full and not inbox.ending:
                if (urgent := await inbox.urgent(ROOM_S)) is not None:
                    self._take(urgent)
        self._ended = True
        if self._active is not None:
            self._active.end()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Interrupt):
            self._talk.interrupted(by_brain=False)
            self._kept.answered(self._talk.mark)
            self._ledger.interrupted(frame.epoch)
            self._deferred = False
            if self._active is not None:
                self._active.interrupt(frame.reason)
        elif frame.travels is Travels.UPSTREAM:
            self._news(frame)
        elif not (isinstance(frame, Audio) and frame.response):
            self._user(frame)

    def _user(self, frame: Frame) -> None:
        """The user sent something."""
        kept, run = self._kept, self._active
        if kept.deaf and run is not None and run.ready and not run.waiting:
            kept.deaf = False
        kept.add(frame)
        if not isinstance(frame, Audio):
            if item := getattr(frame, "item", ""):
                self._above.append(item)
            self._talk.above(frame)
            self._speech(frame)
            if isinstance(frame, Configure):
                self._configured = _merged(self._configured, frame)
            self.bell.ring()
        if run is not None:
            run.put(frame)

    def _news(self, frame: Frame) -> None:
        """Something came from below: to the brain that it is about."""
        run = self._active
        if isinstance(frame, Played):
            self._ledger.plays(frame)
        elif isinstance(frame, Heard):
            self._ledger.told()
            self._ledger.heard(frame)
        elif isinstance(frame, AgentActivity):
            self._ledger.told()
        elif isinstance(frame, ToolResult):
            self._talk.answered(frame.call)
            if frame.call in self._pending:
                self._answered(frame.call, frame)
                return
        if run is not None:
            run.news(frame)
        self.bell.ring()

    # What a run tells ---------------------------------------------------------------------------------------------

    def watch(self, run: Run, frame: Frame) -> None:
        """A brain has made a frame."""
        if run is self._active:
            self._talk.below(frame, self._kept.count, mending=run.mending)
            if isinstance(frame, Audio):
                return
            self._speech(frame)
            if isinstance(frame, ResponseEnded):
                self._kept.answered(self._talk.mark)
            elif isinstance(frame, ResponseStarted):
                self._words.clear()
            elif isinstance(frame, Disconnected):
                self._kept.deaf = True
        self.bell.ring()

    def _speech(self, frame: Frame) -> None:
        if isinstance(frame, SpeechStarted):
            self._kept.began(frame.item, frame.pts)
        elif isinstance(frame, SpeechStopped):
            self._kept.stopped(frame.item)
        elif isinstance(frame, Transcript) and frame.speaker == "user" and frame.final and not self._talk.fault:
            self._words[frame.item] = frame.text
            self._kept.understood(frame.item)

    def interrupt(self, run: Run, frame: Interrupt | Hold | Resume) -> None:
        """A brain interrupts, holds or resumes."""
        if run is not self._active:
            return
        if isinstance(frame, Interrupt):
            self._talk.interrupted(by_brain=True)
            self._kept.answered(self._talk.mark)
            self._deferred = False
            self._interrupt(frame.reason)
        else:
            self._out.offer(frame)

    def failing(self, run: Run, frame: Failure) -> None:
        """A part of a brain has failed."""
        if run is self._active:
            self._talk.failing()
            if frame.fatal:
                self._talk.fault = self._talk.fault or frame.message
                self.bell.ring()
            else:
                self._out.offer(frame)

    def asked(self, run: Run) -> None:
        """A brain has written down something new of the user's."""
        if run is self._active:
            self._talk.words()

    def reply(self) -> Outlet[Any]:
        """Begin a response."""
        return self._out.reply()

    async def give(self, run: Run, frame: Frame, outlet: Outlet[Any] | None) -> None:
        """Give what a brain has made to the graph."""
        if run is not self._active:
            return
        self._ledger.gives(frame)
        if isinstance(frame, ResponseEnded) and frame.outcome == "completed":
            self._dead.clear()
        await (outlet or self._out).send(frame)

    def _interrupt(self, reason: str) -> None:
        self._out.offer(Interrupt(reason=reason))
        self._ledger.interrupted(self._out.epoch)

    # Whose conversation it is -------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        """Begin with one, and move to another whenever there is a reason; until one ends by itself."""
        if self._wanted is not None:
            (self._index, _), self._wanted = self._wanted, None
            self._pinned = True
        run = self._begin(self._made(self._index))
        while (move := await self._reason(run)) is not None:
            run = await self._move(run, *move)

    async def _reason(self, run: Run) -> tuple[Run, str, bool] | None:
        """Wait for a reason to move: who is next, why, and whether this one has failed. None: it has ended."""
        while True:
            if fault := self._fault(run):
                if anyio.current_time() > run.began + STABLE_S:
                    self._dead.clear()
                return self._made(self._failed(run.index, fault, run.error)), fault, True
            if run.over:
                return None
            if (wanted := self._wanted) is not None:
                self._wanted = None
                if wanted[0] != run.index:
                    self._pinned = True
                    return self._made(wanted[0]), wanted[1], False
            if anyio.current_time() >= self._return_at(run) and (better := await self._probe(run)) is not None:
                return better, "it is back", False
            with anyio.move_on_after(min(self._silent_at(run), self._return_at(run)) - anyio.current_time()):
                await self.bell.wait()

    def _fault(self, run: Run) -> str:
        if run.error is not None:
            return str(run.error) or type(run.error).__name__
        if not self._talk.fault and anyio.current_time() >= self._silent_at(run):
            return f"silent for {self.silence:g} s while an answer was due"
        return self._talk.fault

    def _silent_at(self, run: Run) -> float:
        """When its silence will have lasted too long."""
        if self.silence is None:
            return math.inf
        since = self._talk.silent_since()
        return (anyio.current_time() if run.blocked and since < math.inf else since) + self.silence

    def _failed(self, index: int, reason: str, error: Exception | None) -> int:
        """A brain has failed: tell everybody, and say who is next."""
        choice = self._choices[index]
        choice.breaker.failed(reason)
        self._dead.add(index)
        self._pinned = False
        log.warning("%s failed: %s", choice.name, reason)
        left = [at for at in range(len(self._choices)) if at not in self._dead]
        if not left:
            raise FailoverError({each.name: each.breaker.reason for each in self._choices if each.breaker.reason})
        self._out.offer(Failure(message=f"{choice.name}: {reason}", processor=choice.name, error=error))
        return min(left, key=lambda at: self._choices[at].breaker.until if self._choices[at].breaker.open else 0.0)

    def _made(self, index: int) -> Run:
        """A run of a brain; of the next one, where it cannot even be made."""
        while True:
            choice = self._choices[index]
            self._runs += 1
            try:
                brain = choice.brain()
                run = Run(self, index, brain, Ids(self._runs, self._above), self.history, choice.run)
            except Exception as error:
                index = self._failed(index, str(error) or type(error).__name__, error)
                continue
            choice.run = run
            return run

    def _start(self, run: Run) -> None:
        if not run.started:
            run.started = True
            self._group.start_soon(run.live, partial(self._keeping, run))

    def _begin(self, run: Run) -> Run:
        """It has the conversation."""
        self._start(run)
        self._index, self._active = run.index, run
        self._talk.speaks = run.speaks
        if self._configured != Configure():
            run.put(self._configured)
        return run

    async def _move(self, old: Run, new: Run, reason: str, failed: bool) -> Run:
        """The conversation passes from one to the other."""
        out = self._out
        self._active = None
        running = {old.ids.outward(call) for runner in old.runners for call in runner.running}
        self._pending |= running | (self._talk.calls & old.calls)
        cut, ended = bool(old.open) or old.failed, list(old.open)
        old.leave()
        if cut:
            self._interrupt(reason)
        for response in ended:
            await out.send(
                ResponseEnded(response=response, outcome="failed" if failed else "interrupted", reason=reason)
            )
        for item in old.speech:
            await out.send(SpeechStopped(item=item))
        self._ledger.leave(old.part, speaks=old.speaks)
        with anyio.move_on_after(SETTLE_S):
            while cut and self._ledger.doubtful:
                await self._ledger.bell.wait()
        names = self.brains
        await out.send(BrainSwitched(name=names[new.index], before=names[old.index], reason=reason, failed=failed))
        self._remember(old)
        self._hand_over(old, new)
        return new

    def _remember(self, old: Run) -> None:
        """Write down what was understood and not written; forget what is going to be heard again."""
        for item in self._kept.speech:
            self.history.forget(item)
            self._words.pop(item, None)
        for item, text in self._words.items():
            if text.strip() and not old.part.said(text):
                self.history.user(text, item)
                self._talk.asks()
        self._words.clear()

    def _hand_over(self, old: Run, new: Run) -> None:
        """Give the new one all that the old one has not dealt with, and have it answer."""
        talk, waiting = self._talk, old.waiting
        heard = bool(self._kept.speech) and not talk.speaking
        talk.moved()
        replay = self._kept.replay(lambda frame: _known(frame, old.part, waiting))
        self._begin(new)
        for frame in replay:
            new.put(frame)
        if any(isinstance(frame, ASKS) for frame in replay):
            talk.expect(by_speech=False)
        elif heard:
            talk.expect(by_speech=True)
        elif talk.owed:
            self._deferred = bool(self._pending)
            if not self._deferred:
                self._ask(new)
        if self._ended:
            new.end()

    def _ask(self, run: Run) -> None:
        """Have a brain answer what is in the conversation."""
        profiles = [profile for leaf in run.leaves if (profile := getattr(leaf, "profile", None)) is not None]
        if run.accepts(Respond) and all(profile.asks and profile.seeds for profile in profiles):
            frame: Frame = Respond()
        else:  # it answers only what it is told: the user's last words, again
            last = next((entry for entry in reversed(list(self.history)) if entry.role == "user" and entry.text), None)
            if last is None:
                return
            frame, last.text = UserText(text=last.text), ""
        self._talk.asks()
        self._talk.expect(by_speech=False)
        run.put(frame)

    # Tools --------------------------------------------------------------------------------------------------------

    def _keeping(self, run: Run, runner: Any) -> KeptRunner:
        async def tell(frame: Frame) -> None:
            await self._out.send(run.ids.given(frame))

        async def orphaned(call: ToolCall, result: ToolResult | None) -> None:
            self._answered(run.ids.outward(call.call), result)

        return KeptRunner(runner, self._group, tell, orphaned)

    def _answered(self, call: str, result: ToolResult | None) -> None:
        """A call of a brain that has been left is over: the present one is told, and answers when all are."""
        self._pending.discard(call)
        run = self._active
        if result is not None:
            self.history.result(call, result.output)
            if run is not None:
                run.news(ToolResult(call=call, output=result.output, error=result.error))
        if not self._pending and self._deferred and run is not None:
            self._deferred = False
            self._ask(run)

    # Returning ----------------------------------------------------------------------------------------------------

    def _return_at(self, run: Run) -> float:
        """When one that stands further in front may be tried again."""
        if not self.returns or self._pinned or self._ended or not run.index or not self._pause:
            return math.inf
        front = min(choice.breaker.until for choice in self._choices[: run.index])
        return max(front, self._not_before, self._talk.since + PAUSE_S)

    @property
    def _pause(self) -> bool:
        return self._talk.pause and not (self._ledger.playing or self._pending or self._deferred)

    async def _probe(self, run: Run) -> Run | None:
        """Start one that stands further in front; it is given back if it is ready before the pause is over."""
        now = anyio.current_time()
        index = next(at for at, choice in enumerate(self._choices) if choice.breaker.until <= now)
        self._not_before = now + PROBE_S
        other = self._made(index)
        self._start(other)
        while self._pause and not (self._fault(run) or self._wanted or run.over) and other.index == index:
            if other.over or anyio.current_time() > now + CONNECT_S:
                why = f"not ready within {CONNECT_S:g} s" if other.error is None else str(other.error)
                self._choices[index].breaker.failed(why)
                break
            if other.ready:
                return other
            with anyio.move_on_after(now + CONNECT_S - anyio.current_time()):
                await self.bell.wait()
        other.leave()
        return None


def _contract(everybody: list[Processor]) -> Contract:
    """What all the processors of all brains take and give, and what a failover adds."""
    kinds = {kind for leaf in everybody for kind in leaf.contract.takes}
    takes = {kind for kind in kinds if kind.travels not in (Travels.URGENT, Travels.LAST)}
    gives = {kind for leaf in everybody for kind in leaf.contract.gives if kind.travels is not Travels.LAST}
    own: set[type[Frame]] = {Interrupt, Failure, ResponseEnded, SpeechStopped, BrainSwitched}
    passing = {kind for kind in takes if kind.travels is not Travels.UPSTREAM}
    heard: set[type[Frame]] = {Played, Heard, AgentActivity, ToolResult, Interrupt}
    return Contract(
        rung=Rung.LOOP,
        takes=frozenset(takes - {Failure} | heard),
        gives=frozenset(gives | own | passing),
        ports=("inbox", "out"),
    )


def _format(voices: list[AudioFormat | None]) -> AudioFormat | None:
    """The sound that comes out: of one rate, or of several."""
    known = [voice for voice in voices if voice is not None]
    if len(known) < len(voices):
        return None
    rates = [rate for each in known for rate in ((each.rates,) if isinstance(each.rates, int) else each.rates or ())]
    channels = {each.channels for each in known}
    distinct = tuple(dict.fromkeys(rates))
    return AudioFormat(
        rates=distinct[0] if len(distinct) == 1 else distinct or None,
        channels=channels.pop() if len(channels) == 1 else None,
    )


def _merged(before: Configure, frame: Configure) -> Configure:
    """All that has been configured, the latest of each."""
    changed = {name: getattr(frame, name) for name in ("instructions", "tools", "voice")}
    known = {name: getattr(before, name) for name in changed}
    return Configure(**known | {name: value for name, value in changed.items() if value is not None})


def _known(frame: Frame, part: Part, waiting: tuple[Frame, ...]) -> bool:
    """Whether a frame of the user's needs not be given to the next brain: the conversation has what it brought."""
    if isinstance(frame, Configure | Connected):
        return True
    if any(frame is each for each in waiting):
        return False
    if isinstance(frame, UserText):
        return part.said(frame.text)
    if isinstance(frame, Image):
        return part.shown(frame.data)
    if isinstance(frame, Say):
        return any(entry.role == "assistant" and frame.text in entry.text for entry in part.mine)
    return True
