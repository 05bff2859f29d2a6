"""`Failover`: lets another brain take over during a call, when the first one fails or when the application asks for
it."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any, Literal

import anyio
import msgspec

from bargein.pipeline import (
    Failure,
    Frame,
    Graph,
    Inbox,
    Interrupt,
    Outlet,
    Processor,
    ResponseEnded,
    Session,
    SpeechStopped,
)
from bargein.pipeline.lowlevel import Wakeup, catch_up, check_instance, check_options, check_positive, wait_at_most
from bargein.services.brain import Greeting, find_brain, find_brains, greeting_frame
from bargein.services.frames import BrainSwitched
from bargein.services.history import History
from bargein.services.tools import Toolbox

from ._backlog import Backlog
from ._brain_session import BrainSession, parts_of
from ._breaker import Breaker
from ._candidate import BrainSource, Candidate, output_format, union_contract
from ._exchange import FailoverExchange
from ._ids import RunIds
from ._turn_state import NOT_HEARD

__all__ = ["Failover", "FailoverError", "FailoverStatistics"]

log = logging.getLogger("bargein.failover")

SETTLE_SECONDS = 0.1
"""Maximum wait for the report of what was heard of a reply that was cut short, in seconds."""
PAUSE_SECONDS = 1.0
"""Time without any event before an earlier brain is tried again, in seconds."""
PROBE_SECONDS = 5.0
"""Minimum time between two attempts with an earlier brain, in seconds."""
CONNECT_SECONDS = 15.0
"""Maximum time in which an earlier brain has to become ready, in seconds."""
STABLE_SECONDS = 30.0
"""A brain that has run for this long (seconds) shows that the network works: brains that failed before may be tried
again."""
ROOM_SECONDS = 0.02
"""Interval at which it is checked whether a full brain has room again, in seconds."""


class FailoverStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one `Failover`."""

    active: str
    """The name of the brain that has the conversation."""
    moves: int
    """Number of moves to another brain."""
    failures: dict[str, int]
    """Number of failures of each brain, by name."""
    dropped_ms: float
    """Amount of the user's sound that no brain has received, in milliseconds."""


class FailoverError(ConnectionError):
    """All brains of a `Failover` have failed.

    Args:
        reasons: Why each brain failed, by name.
    """

    def __init__(self, reasons: dict[str, str]) -> None:
        each = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"no brain is left ({each}); give Failover another one, or ask the user to call again")
        self.reasons = reasons


class Failover(Processor):
    """A brain that consists of several brains. The first one talks; when it fails, the next one continues the call::

        brain = Failover(OpenAIRealtime(), lambda: Cascade(stt, llm, tts))

    One brain runs at a time, in its own session. The others cost nothing, and connect when they are needed. All brains
    share one `history`.

    A brain counts as failed when it raises an exception, when it sends a fatal `Failure`, when a response fails or
    nothing of it can be heard, when its speech-to-text part fails, or when it is silent although an answer is due. Then
    the next brain takes over at once:

    * What the old brain was saying is interrupted, and what was heard of it is remembered. An answer that is already
      complete is played to its end.
    * The new brain answers all input of the user that has not been answered. It gets the words if they are known, and
      otherwise the sound.
    * Running tools continue, and the new brain gets their results.

    `switch()` moves the conversation on request. `BrainSwitched` reports each move. When no brain is left, the session
    ends with a `FailoverError`. The user's sound may have any rate (this needs the extra `audio`). If the brains speak
    at different rates, put a `Resample` below.

    Args:
        primary: The brain that talks first: a processor, a graph, or a function that creates one for each run. Realtime
            models and cascades can run again. For other graphs pass a function, because their processors keep the state
            of a call.
        others: The brains that take over, in this order.
        silence_seconds: Maximum time without any output of the brain while an answer is due, in seconds. None: no
            limit, for calls in which the agent need not answer.
        max_failures: Number of failures within `window_seconds` after which a brain is not tried for a while.
        window_seconds: Period over which failures are counted, in seconds.
        cooldown_seconds: Time for which a brain is then not tried, in seconds.
        returns: Whether an earlier brain is tried again after that time, during a pause of the conversation. It takes
            over if it becomes ready before the pause ends.
        keep_seconds: Maximum length of the user's sound that is kept for the next brain, in seconds.
        history: The conversation; by default the history of the first brain that has one.
        greeting: The agent's first words: the words, or a `Say` or `Respond`. Pass it here and not to the brains.

    Raises:
        ValueError: There is no second brain, two have the same name, or a number is out of range.
    """

    name = "failover"
    capacity = 256

    @check_options
    def __init__(
        self,
        primary: BrainSource,
        *others: BrainSource,
        silence_seconds: float | None = 10.0,
        max_failures: int = 1,
        window_seconds: float = 60.0,
        cooldown_seconds: float = 60.0,
        returns: bool = True,
        keep_seconds: float = 15.0,
        history: History | None = None,
        greeting: Greeting | None = None,
    ) -> None:
        if not others:
            raise ValueError("Failover(brain): expected a second brain, for when the first fails")
        check_positive(
            "Failover",
            silence_seconds=silence_seconds,
            window_seconds=window_seconds,
            cooldown_seconds=cooldown_seconds,
            keep_seconds=keep_seconds,
        )
        if type(max_failures) is not int or max_failures < 1:
            raise ValueError(f"Failover(max_failures={max_failures!r}): expected a number of failures, 1 or more")
        check_instance("Failover", History, history=history)
        self.greeting = greeting_frame("Failover", greeting)
        self.silence_seconds = silence_seconds
        self.returns = returns
        self.keep_seconds = keep_seconds
        self._make_breaker = partial(Breaker, max_failures, window_seconds, cooldown_seconds)
        self._candidates = [Candidate(source) for source in (primary, *others)]
        if len({candidate.name for candidate in self._candidates}) < len(self._candidates):
            names = ", ".join(candidate.name for candidate in self._candidates)
            raise ValueError(f"Failover({names}): two of the same name; name one: brain.options(name='reserve')")
        processors = [candidate.processor for candidate in self._candidates]
        known = [brain.history for processor in processors for brain in find_brains(processor)]
        self.history: History = history if history is not None else known[0] if known else History()
        """The conversation that all brains share."""
        parts = [parts_of(processor) for processor in processors]
        # Brains differ in what they take and send. The graph is linked for all of them together.
        self.contract_ = union_contract([part for each in parts for part in each])  # type: ignore[misc]
        self.audio_out = output_format(parts)
        self._changed = Wakeup()
        self._backlog = Backlog(keep_seconds)
        self._index = 0
        self._wanted: tuple[int, str] | None = None  # the brain that `switch` asks for, and why
        self._chosen_by_hand = False
        self._runs = self._moves = 0
        self._failed: set[int] = set()  # brains that have failed since any brain last worked
        self._next_probe_at = 0.0

    @property
    def brains(self) -> tuple[str, ...]:
        """The names of the brains, in the order in which they are tried."""
        return tuple(candidate.name for candidate in self._candidates)

    @property
    def active(self) -> str:
        """The name of the brain that has the conversation."""
        return self._candidates[self._index].name

    @property
    def running(self) -> tuple[Graph, Session] | None:
        """The graph and the session of the brain that has the conversation, for drawing; None while it has none."""
        run = self._candidates[self._index].run
        return None if run is None else run.running

    @property
    def toolbox(self) -> Toolbox:
        """The tools of the brain that has the conversation; empty if it has none."""
        brain = find_brain(self._candidates[self._index].processor)
        return Toolbox() if brain is None else brain.toolbox

    @property
    def ready(self) -> bool:
        """Whether the brain that has the conversation can act on the user's input now."""
        run = self._candidates[self._index].run
        return run is not None and not run.left and run.ready

    @property
    def dropped_ms(self) -> float:
        """Amount of the user's sound that no brain has received, in milliseconds."""
        return self._backlog.dropped_ms

    def statistics(self) -> FailoverStatistics:
        """Return the counters of this failover."""
        return FailoverStatistics(
            active=self.active,
            moves=self._moves,
            failures={candidate.name: candidate.breaker.count for candidate in self._candidates},
            dropped_ms=self.dropped_ms,
        )

    def switch(self, to: str | int | None = None, reason: str = "by hand") -> None:
        """Move the conversation to another brain. This returns at once.

        A brain that was chosen in this way stays until it fails.

        Args:
            to: The name or the number of the brain, from 0; by default the next one.
            reason: The reason, for `BrainSwitched`.

        Raises:
            ValueError: There is no such brain.
        """
        current = self._index if self._wanted is None else self._wanted[0]
        names = self.brains
        if to is None:
            index = (current + 1) % len(names)
        elif isinstance(to, int) and 0 <= to < len(names):
            index = to
        elif to in names:
            index = names.index(str(to))
        else:
            raise ValueError(f"Failover.switch({to!r}): there is no such brain; expected {', '.join(map(repr, names))}")
        self._wanted = index, reason
        self._changed.set()

    # The loop -----------------------------------------------------------------------------------------------------

    async def run(self, inbox: Inbox[Frame | Interrupt], out: Outlet[Frame]) -> None:
        """Talk until the user's frames end and the last answer is complete, or until a brain ends by itself."""
        self._runs = self._moves = 0
        self._failed.clear()
        self._next_probe_at = 0.0
        self._backlog = Backlog(self.keep_seconds)
        for candidate in self._candidates:
            # Failures of an earlier session do not count in a new one.
            candidate.breaker = self._make_breaker()
        async with anyio.create_task_group() as group:
            exchange = FailoverExchange(out, group, self.history, self._changed, self._backlog)
            group.start_soon(self._listen, inbox, exchange)
            await self._supervise(out, group, exchange)
            group.cancel_scope.cancel()

    async def _listen(self, inbox: Inbox[Any], exchange: FailoverExchange) -> None:
        async for frame in inbox:
            exchange.take(frame)
            # While the brain is full, frames stay in the inbox, so that their sender waits. Only urgent frames are
            # taken. No event reports that there is room again, so this polls.
            while exchange.active is not None and exchange.active.full and not inbox.ending:
                if (urgent := await inbox.urgent(ROOM_SECONDS)) is not None:
                    exchange.take(urgent)
        exchange.end()

    async def _supervise(self, out: Outlet[Any], group: anyio.abc.TaskGroup, exchange: FailoverExchange) -> None:
        """Begin with one brain, and move to another whenever there is a reason, until one ends by itself."""
        self._out, self._group, self._exchange = out, group, exchange
        if self._wanted is not None:
            (self._index, _), self._wanted = self._wanted, None
            self._chosen_by_hand = True
        run = self._make_some_run(self._index)
        self._start(run)
        exchange.begin(run)
        if self.greeting is not None and not self.history.has_begun:
            exchange.take(self.greeting)
        while (move := await self._wait_for_move(run)) is not None:
            await self._move(run, *move)
            run = move[0]

    async def _wait_for_move(self, run: BrainSession) -> tuple[BrainSession, str, bool] | None:
        """Wait for a reason to move. Return the next run, the reason, and whether this run has failed; None if it has
        ended."""
        judged = False
        while True:
            # After the event loop was blocked, frames of the brain may wait to be read. They are read first.
            if not judged and self.silence_seconds is not None:
                judged = True
                if await catch_up(self._silence_deadline(run), self.silence_seconds):
                    continue
            # Faults are checked first, because a run that has failed is over as well.
            if fault := self._fault(run):
                # This brain has worked for a while, so the others may work again too.
                if self._exchange.served or anyio.current_time() > run.started_at + STABLE_SECONDS:
                    self._failed.clear()
                return self._make_some_run(self._fail(run.index, fault, run.error)), fault, True
            if run.over:
                return None
            if (wanted := self._wanted) is not None:
                self._wanted = None
                if wanted[0] != run.index:
                    self._chosen_by_hand = True
                    return self._make_some_run(wanted[0]), wanted[1], False
            if anyio.current_time() >= self._next_return(run) and (better := await self._probe(run)) is not None:
                return better, "it is back", False
            with anyio.move_on_after(min(self._silence_deadline(run), self._next_return(run)) - anyio.current_time()):
                await self._changed.wait()
            judged = False

    # Failing ------------------------------------------------------------------------------------------------------

    def _fault(self, run: BrainSession) -> str:
        """Return why a run must be left; empty if it has not failed."""
        if run.error is not None:
            return str(run.error) or type(run.error).__name__
        fault = self._exchange.turn.fault
        if not fault and anyio.current_time() >= self._silence_deadline(run):
            return f"silent for {self.silence_seconds:g} s while an answer was due"
        return fault

    def _silence_deadline(self, run: BrainSession) -> float:
        """Return when the silence of a run will have lasted too long."""
        if self.silence_seconds is None:
            return math.inf
        since = self._exchange.turn.silent_since()
        # Waiting for room below does not count as silence.
        return (anyio.current_time() if run.blocked and since < math.inf else since) + self.silence_seconds

    def _fail(self, index: int, reason: str, error: Exception | None) -> int:
        """Report that a brain has failed, and return the number of the next one."""
        candidate = self._candidates[index]
        candidate.breaker.add_failure(reason)
        self._failed.add(index)
        self._chosen_by_hand = False
        log.warning("%s failed: %s", candidate.name, reason)
        left = [at for at in range(len(self._candidates)) if at not in self._failed]
        if not left:
            raise FailoverError({each.name: each.breaker.reason for each in self._candidates if each.breaker.reason})
        self._out.offer(Failure(message=f"{candidate.name}: {reason}", processor=candidate.name, error=error))
        breakers = {at: self._candidates[at].breaker for at in left}
        # Take the first brain whose breaker is closed, in the given order. If all are open, take the one that closes
        # first, because any brain is better than none.
        return min(left, key=lambda at: breakers[at].until if breakers[at].open else 0.0)

    def _make_some_run(self, index: int) -> BrainSession:
        """Return a new run of a brain, or of the next one if the brain cannot be created."""
        while True:
            try:
                # The application's function creates the brain, and may fail as the brain itself may.
                return self._make_run(index)
            except Exception as error:
                index = self._fail(index, str(error) or type(error).__name__, error)

    def _make_run(self, index: int) -> BrainSession:
        candidate, exchange = self._candidates[index], self._exchange
        self._runs += 1
        ids = RunIds(self._runs, exchange.external_ids)
        processor = candidate.take_processor()
        candidate.run = BrainSession(exchange, index, processor, ids, self.history, candidate.run)
        return candidate.run

    # Moving -------------------------------------------------------------------------------------------------------

    def _start(self, run: BrainSession) -> None:
        """Start a run if it does not run yet; it is the active one unless it is a probe."""
        if not run.started:
            run.started = True
            self._group.start_soon(run.run, partial(self._exchange.share_runner, run))
        if not run.is_probe:
            self._index = run.index

    async def _move(self, old: BrainSession, new: BrainSession, reason: str, failed: bool) -> None:
        """Move the conversation from one run to another."""
        out, exchange, names = self._out, self._exchange, self.brains
        self._moves += 1
        exchange.served = False
        # An answer that is complete is played to its end, although its brain has failed since.
        cut_short = bool(old.open_responses) or old.last_response_failed or reason == NOT_HEARD
        # Leave the old run before the first await. From here on, none of its frames can mix with those of the new one.
        exchange.leave(old)
        if cut_short:
            exchange.interrupt_below(reason)
        # Processors below rely on pairs of frames, so responses and speech of the old brain are ended here.
        for response_id in old.unended_responses:
            outcome: Literal["failed", "interrupted"]
            outcome = "failed" if failed and response_id in old.open_responses else "interrupted"
            await out.send(ResponseEnded(response_id=response_id, outcome=outcome, reason=reason))
        for item_id in old.open_speech:
            await out.send(SpeechStopped(item_id=item_id))
        exchange.ledger.leave(old.history, speaks=old.speaks)
        # The new brain should read what was heard, and not all that was said. The wait for that report is short.
        if cut_short:
            await wait_at_most(exchange.ledger.decided, SETTLE_SECONDS)
        # Sent before any frame of the new brain.
        await out.send(BrainSwitched(name=names[new.index], before=names[old.index], reason=reason, failed=failed))
        new.is_probe = False
        self._start(new)
        exchange.hand_over(old, new)

    # Returning ----------------------------------------------------------------------------------------------------

    def _next_return(self, run: BrainSession) -> float:
        """Return when an earlier brain may be tried again."""
        exchange = self._exchange
        if not self.returns or self._chosen_by_hand or exchange.ended or not run.index or not exchange.is_pause:
            return math.inf
        earliest = min(candidate.breaker.until for candidate in self._candidates[: run.index])
        return max(earliest, self._next_probe_at, exchange.turn.changed_at + PAUSE_SECONDS)

    async def _probe(self, run: BrainSession) -> BrainSession | None:
        """Start an earlier brain, and return it if it becomes ready before the pause is over."""
        now = anyio.current_time()
        # Set before the attempt, so that an attempt that fails at once is not repeated at once.
        self._next_probe_at = now + PROBE_SECONDS
        candidate = next(candidate for candidate in self._candidates if candidate.breaker.until <= now)
        try:
            other = self._make_run(self._candidates.index(candidate))
        except Exception as error:
            candidate.breaker.add_failure(str(error) or type(error).__name__)
            return None
        other.is_probe = True
        self._start(other)
        # The probe ends as soon as anybody speaks, because a move must not interrupt a sentence.
        while self._exchange.is_pause and not (self._fault(run) or self._wanted or run.over):
            if other.over or anyio.current_time() >= now + CONNECT_SECONDS:
                late = f"not ready within {CONNECT_SECONDS:g} s"
                candidate.breaker.add_failure(late if other.error is None else str(other.error))
                break
            if other.ready:
                return other
            with anyio.move_on_after(now + CONNECT_SECONDS - anyio.current_time()):
                await self._changed.wait()
        other.leave()
        return None
