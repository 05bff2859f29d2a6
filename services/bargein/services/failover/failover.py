"""Another brain takes over in the middle of a call: when the first fails, or by hand."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any, Literal

import anyio
import msgspec

from bargein.pipeline import Failure, Frame, Inbox, Interrupt, Outlet, Processor, ResponseEnded, SpeechStopped
from bargein.pipeline.lowlevel import Wakeup
from bargein.services.brain import find_brain
from bargein.services.frames import BrainSwitched
from bargein.services.history import History
from bargein.services.tools import Toolbox

from ._backlog import Backlog
from ._brain_session import BrainSession, leaves
from ._candidate import Brain, Breaker, Candidate, contract, sound_out
from ._exchange import FailoverExchange
from ._ids import Ids
from ._turn_state import DEAF

__all__ = ["Failover", "FailoverError", "FailoverStatistics"]

log = logging.getLogger("bargein.failover")

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


class FailoverStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A failover, so far."""

    active: str
    """Who has the conversation."""
    moves: int
    """How often it has passed from one to another."""
    failures: dict[str, int]
    """How often each has failed."""
    dropped_ms: float
    """How much of the user's sound was lost that no brain has heard."""


class FailoverError(ConnectionError):
    """No brain is left."""

    def __init__(self, reasons: dict[str, str]) -> None:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"no brain is left ({told}); give Failover another one, or ask the user to call again")
        self.reasons = reasons
        """Why each of them failed, by name."""


class Failover(Processor):
    """Several brains in the place of one: the first talks, and when it fails, the next goes on with the call::

        brain = Failover(OpenAIRealtime(), lambda: Cascade(stt, llm, tts))

    A brain is a processor or a graph; or a function that makes one, each time that it is to run: realtime models and
    cascades begin anew by themselves, of another graph that keeps the state of a call a new one is better. One at a
    time runs, in a session of its own; the others cost nothing, and a realtime model is connected when it is needed.
    All share one `history`, whatever they were made with.

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
        self._breaker = partial(Breaker, failures, window, cooldown)
        self._choices = [Candidate(brain) for brain in (primary, *others)]
        if len({choice.name for choice in self._choices}) < len(self._choices):
            names = ", ".join(choice.name for choice in self._choices)
            raise ValueError(f"Failover({names}): two of the same name; name one: brain.options(name='reserve')")
        everybody = [leaf for choice in self._choices for leaf in leaves(choice.processor)]
        known = (each for leaf in everybody if isinstance(each := getattr(leaf, "history", None), History))
        self.history: Any = next(known, History()) if history is None else history
        """The conversation that all of them share: the given one, else the first that a brain has."""
        self.contract_ = contract(everybody)  # type: ignore[misc]
        self.audio_out = sound_out([leaves(choice.processor) for choice in self._choices])
        self._bell = Wakeup()
        self._kept = Backlog(keep_seconds)
        self._index = 0
        self._wanted: tuple[int, str] | None = None
        self._pinned = False  # somebody has chosen by hand
        self._runs = self._moves = 0
        self._dead: set[int] = set()  # who has failed since anybody last did well
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
    def toolbox(self) -> Toolbox:
        """The tools of the brain that has the conversation; empty if that has none."""
        brain = find_brain(self._choices[self._index].processor)
        return Toolbox() if brain is None else brain.toolbox

    @property
    def ready(self) -> bool:
        """Whether the brain that has the conversation can act on the user's input now."""
        run = self._choices[self._index].run
        return run is not None and not run.left and run.ready

    @property
    def dropped_ms(self) -> float:
        """How much of the user's sound was lost that no brain has heard."""
        return self._kept.dropped_ms

    def statistics(self) -> FailoverStatistics:
        """How it has gone so far."""
        return FailoverStatistics(
            active=self.active,
            moves=self._moves,
            failures={choice.name: choice.breaker.count for choice in self._choices},
            dropped_ms=self.dropped_ms,
        )

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
        self._bell.set()

    # The loop -----------------------------------------------------------------------------------------------------

    async def run(self, inbox: Inbox[Frame | Interrupt], out: Outlet[Frame]) -> None:
        """Talk until the user's frames end and the last answer has been given, or a brain ends by itself."""
        self._runs = self._moves = 0
        self._dead.clear()
        self._not_before = 0.0
        self._kept = Backlog(self.keep_seconds)
        for choice in self._choices:
            choice.begin(self._breaker())
        async with anyio.create_task_group() as group:
            exchange = FailoverExchange(out, group, self.history, self._bell, self._kept)
            group.start_soon(self._listen, inbox, exchange)
            await self._supervise(out, group, exchange)
            group.cancel_scope.cancel()

    async def _listen(self, inbox: Inbox[Any], exchange: FailoverExchange) -> None:
        async for frame in inbox:
            exchange.take(frame)
            while exchange.active is not None and exchange.active.full and not inbox.ending:
                if (urgent := await inbox.urgent(ROOM_S)) is not None:
                    exchange.take(urgent)
        exchange.end()

    async def _supervise(self, out: Outlet[Any], group: anyio.abc.TaskGroup, exchange: FailoverExchange) -> None:
        """Begin with one, and move to another whenever there is a reason; until one ends by itself."""
        self._out, self._group, self._exchange = out, group, exchange
        if self._wanted is not None:
            (self._index, _), self._wanted = self._wanted, None
            self._pinned = True
        run = self._made(self._index)
        self._begin(run)
        exchange.begin(run)
        while (move := await self._reason(run)) is not None:
            await self._move(run, *move)
            run = move[0]

    async def _reason(self, run: BrainSession) -> tuple[BrainSession, str, bool] | None:
        """Wait for a reason to move: who is next, why, and whether this one has failed. None: it has ended."""
        while True:
            if fault := self._fault(run):
                if self._exchange.served or anyio.current_time() > run.began + STABLE_S:
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
                await self._bell.wait()

    # Failing ------------------------------------------------------------------------------------------------------

    def _fault(self, run: BrainSession) -> str:
        """Why it must be left; empty when all is well."""
        if run.error is not None:
            return str(run.error) or type(run.error).__name__
        fault = self._exchange.talk.fault
        if not fault and anyio.current_time() >= self._silent_at(run):
            return f"silent for {self.silence:g} s while an answer was due"
        return fault

    def _silent_at(self, run: BrainSession) -> float:
        """When its silence will have lasted too long."""
        if self.silence is None:
            return math.inf
        since = self._exchange.talk.silent_since()
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

    def _made(self, index: int) -> BrainSession:
        """A run of a brain; of the next one, where it cannot even be made."""
        while True:
            try:
                return self._make(index)
            except Exception as error:
                index = self._failed(index, str(error) or type(error).__name__, error)

    def _make(self, index: int) -> BrainSession:
        choice, exchange = self._choices[index], self._exchange
        self._runs += 1
        ids = Ids(self._runs, exchange.above)
        choice.run = BrainSession(exchange, index, choice.brain(), ids, self.history, choice.run)
        return choice.run

    # Moving -------------------------------------------------------------------------------------------------------

    def _begin(self, run: BrainSession) -> None:
        """It has the conversation, or is to show that it could."""
        if not run.started:
            run.started = True
            self._group.start_soon(run.live, partial(self._exchange.keeping, run))
        if not run.probed:
            self._index = run.index

    async def _move(self, old: BrainSession, new: BrainSession, reason: str, failed: bool) -> None:
        """The conversation passes from one to the other."""
        out, exchange, names = self._out, self._exchange, self.brains
        self._moves += 1
        exchange.served = False
        cut = bool(old.open) or old.failed or reason == DEAF
        exchange.leave(old)
        if cut:
            exchange.interrupt_below(reason)
        for response in old.unended:
            outcome: Literal["failed", "interrupted"] = "failed" if failed and response in old.open else "interrupted"
            await out.send(ResponseEnded(response_id=response, outcome=outcome, reason=reason))
        for item in old.speech:
            await out.send(SpeechStopped(item_id=item))
        exchange.ledger.leave(old.part, speaks=old.speaks)
        with anyio.move_on_after(SETTLE_S):
            while cut and exchange.ledger.doubtful:
                await exchange.ledger.bell.wait()
        await out.send(BrainSwitched(name=names[new.index], before=names[old.index], reason=reason, failed=failed))
        new.probed = False
        self._begin(new)
        exchange.hand_over(old, new)

    def _return_at(self, run: BrainSession) -> float:
        """When one that stands further in front may be tried again."""
        exchange = self._exchange
        if not self.returns or self._pinned or exchange.ended or not run.index or not exchange.pause:
            return math.inf
        front = min(choice.breaker.until for choice in self._choices[: run.index])
        return max(front, self._not_before, exchange.talk.since + PAUSE_S)

    async def _probe(self, run: BrainSession) -> BrainSession | None:
        """Start one that stands further in front; it is given back if it is ready before the pause is over."""
        now = anyio.current_time()
        self._not_before = now + PROBE_S
        choice = next(choice for choice in self._choices if choice.breaker.until <= now)
        try:
            other = self._make(self._choices.index(choice))
        except Exception as error:
            choice.breaker.failed(str(error) or type(error).__name__)
            return None
        other.probed = True
        self._begin(other)
        while self._exchange.pause and not (self._fault(run) or self._wanted or run.over):
            if other.over or anyio.current_time() >= now + CONNECT_S:
                late = f"not ready within {CONNECT_S:g} s"
                choice.breaker.failed(late if other.error is None else str(other.error))
                break
            if other.ready:
                return other
            with anyio.move_on_after(now + CONNECT_S - anyio.current_time()):
                await self._bell.wait()
        other.leave()
        return None
