"""The user's turn: from speech and transcripts to one thing that was said."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Literal

import anyio
from bargein.pipeline import (
    Delivery,
    Frame,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.processors.speaking.spoken import AgentActivity

from .turn_taking import TurnControl
from .vad import SpeechContinued

__all__ = ["Commit", "Turn", "Turns", "UserIdle"]

Reason = Literal["silence", "transcript", "commit", "model", "typed", "length", "end"]

LATE_S = 3.0
"""For how many seconds after a turn a transcript of no known item may still be taken for it."""
LOST_S = 3.0
"""Speech that nobody has counted for so many seconds is over, though nobody said so: its sound has stopped coming."""


class Commit(Frame, frozen=True, kw_only=True):
    """The user's turn is over, now: a key was released, a button pressed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT


class Turn(Frame, frozen=True, kw_only=True):
    """What the user said before letting the agent speak. `pts` is when the turn began."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    turn: int
    """Its number in the session, from 1. A turn that is given again, because more of it became known, keeps it."""
    text: str
    """All its transcripts, joined by spaces."""
    item_ids: tuple[str, ...] = ()
    """The items it is made of."""
    reason: Reason = "silence"
    """What ended it."""
    end_pts: int = 0
    """When the user's speech ended, in nanoseconds of media time, as far as it is known."""
    final: bool = True
    """Whether all its transcripts are final."""
    revision: int = 0
    """How often it has been given before."""


class UserIdle(Frame, frozen=True, kw_only=True):
    """Nobody has said anything for too long."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    ms: float
    """How long."""
    count: int
    """The how-many-eth time since the user's last words, from 1."""


class _Open:
    """A turn while it is being put together."""

    def __init__(self, pts: int) -> None:
        self.number = 0  # when it has been given
        self.pts = self.until = pts
        self.began = anyio.current_time()
        self.spoken = False  # somebody says when speech starts and stops
        self.speech: set[str] = set()  # items of speech whose final transcript has not come
        self.counted: dict[str, float] = {}  # milliseconds of speech, by item, where somebody counts them
        self.items: dict[str, Transcript] = {}
        self.news = self.began  # when anything was last heard of its speech
        self.reason: Reason = "silence"
        self.over = math.inf  # when it ended, or will if nobody speaks
        self.closed = 0.0
        self.given = 0
        self.said = ""

    @property
    def waits(self) -> bool:
        """A transcript of it may still change."""
        return bool(self.speech) or not all(each.final for each in self.items.values())

    def short(self, least_ms: float) -> bool:
        """It is known to have less speech than that."""
        if self.counted:
            return sum(self.counted.values()) < least_ms
        return 0 < (self.until - self.pts) / 1e6 < least_ms

    def answered_by(self, frame: Transcript) -> bool:
        """A transcript of an item that nobody has named may be what this turn waits for."""
        unnamed = any(not each.item_id and not each.final for each in self.items.values())
        return bool(self.speech) or (not frame.item_id and unnamed)

    def hear(self, frame: Transcript) -> None:
        """Take a transcript, which replaces what was known of its item."""
        name = frame.item_id
        if not name:  # from a recogniser that knows no items: partials replace each other until one is final
            name = f" {sum(each.final for each in self.items.values() if not each.item_id)}"
        if name in self.items and self.items[name].final and not frame.final:
            return
        self.items[name] = frame
        if frame.final:
            if frame.item_id in self.speech:
                self.speech.remove(frame.item_id)
            else:
                self.speech.clear()  # the recogniser counts in its own way: this answers what was said until now

    @property
    def text(self) -> str:
        """All that was said."""
        return " ".join(text for each in self.items.values() if (text := each.text.strip()))

    def told(self) -> Turn:
        """What is known of it."""
        return Turn(
            pts=self.pts,
            turn=self.number,
            text=self.text,
            item_ids=tuple(each.item_id for each in self.items.values() if each.item_id),
            reason=self.reason,
            end_pts=self.until,
            final=not self.waits,
            revision=self.given,
        )


class Turns(Processor):
    """Put the user's speech and transcripts together, and give a `Turn` when it is the agent's.

    What ends a turn is `end`:

    * `"silence"`: nobody has spoken for `silence_ms`, counted from when speech stopped, not from when that was
      noticed; it may be a function of the words so far, for those who know when a sentence is complete;
    * `"transcript"`: a final transcript, for recognisers that find the end themselves;
    * `"commit"`: a `Commit` (which also ends it in the other cases), for push to talk;
    * `"model"`: a `SpeechStopped` or the `ResponseStarted` of a model that takes turns itself, which stands above.

    Then the final transcripts of what was said are waited for, at most `transcript_ms`. One that is later still goes to
    the turn whose item it is: that `Turn` is given again, with the next `revision`. With `transcript_ms=0` a turn is
    given at once, even without a word, if its speech lasted `min_ms` milliseconds (as a `Vad` counts them); otherwise
    only with words. So a cough is no turn. Speech that goes on before a turn is given belongs to it. A turn that lasts
    longer than `longest_ms` is ended, and one whose sound has stopped coming. What is typed (`UserText`) is a turn of
    its own.

    While somebody above takes the turns (`TurnControl`), what ends one is a `Commit`. Each is answered by a turn, even
    without words, once their transcript is final; but for one that an `Interrupt` has overtaken: its words belong to
    the next turn.

    With `idle_ms` a `UserIdle` is given after so long without anything said by the user or heard of the agent, and
    again after the same time. All that is taken passes, before what it causes.

    Raises `ValueError` for durations that cannot be.
    """

    def __init__(
        self,
        end: Literal["silence", "transcript", "commit", "model"] = "silence",
        *,
        silence_ms: float | Callable[[str], float] = 700.0,
        transcript_ms: float = 1500.0,
        min_ms: float = 300.0,
        longest_ms: float = 120_000.0,
        idle_ms: float | None = None,
    ) -> None:
        if end not in ("silence", "transcript", "commit", "model"):
            raise ValueError(f"Turns({end!r}): expected 'silence', 'transcript', 'commit' or 'model'")
        for name, value in {"silence_ms": silence_ms, "transcript_ms": transcript_ms, "min_ms": min_ms}.items():
            if not callable(value) and not 0 <= value < math.inf:
                raise ValueError(f"Turns({name}={value}): expected milliseconds, 0 or more")
        for name, length in {"longest_ms": longest_ms, "idle_ms": idle_ms}.items():
            if length is not None and not 0 < length < math.inf:
                raise ValueError(f"Turns({name}={length}): expected a positive number of milliseconds")
        self.end: Literal["silence", "transcript", "commit", "model"] = end
        self.silence_ms = silence_ms
        self.transcript_ms = transcript_ms
        self.min_ms = min_ms
        self.longest_ms = longest_ms
        self.idle_ms = idle_ms
        self._count = 0
        self._open: _Open | None = None
        self._closed: deque[_Open] = deque(maxlen=8)  # for transcripts that come late
        self._speaking = False
        self._counted: dict[str, float] = {}  # what belongs to turns that were ended in the middle of speech
        self._committed = -math.inf  # when a key was released before anything had been heard
        self._quiet = 0.0  # when anything was last said or heard
        self._idle = 0
        self._busy = AgentActivity()
        self._above = False

    async def run(
        self,
        inbox: Inbox[
            SpeechStarted
            | SpeechContinued
            | SpeechStopped
            | Transcript
            | UserText
            | Commit
            | TurnControl
            | ResponseStarted
            | AgentActivity
            | ToolResult
            | Played
            | Interrupt
        ],
        out: Outlet[
            SpeechStarted
            | SpeechContinued
            | SpeechStopped
            | Transcript
            | UserText
            | Commit
            | TurnControl
            | ResponseStarted
            | Turn
            | UserIdle
        ],
    ) -> None:
        """Listen until the end; then give what is open."""
        self._quiet = anyio.current_time()
        while True:
            frame = None
            with anyio.move_on_after(max(0.0, self._next() - anyio.current_time())):
                try:
                    frame = await inbox.receive()
                except anyio.EndOfStream:
                    break
            if frame is not None:
                if not isinstance(frame, Played | AgentActivity | ToolResult | Interrupt):
                    await out.send(frame)
                await self._take(frame, out)
            await self._look(out)
        if self._open is not None:
            self._open.reason = "end"
            await self._close(out)

    # What comes ---------------------------------------------------------------------------------------------------

    async def _take(self, frame: Frame, out: Outlet[Turn | UserIdle]) -> None:
        if isinstance(frame, Transcript) and frame.speaker != "user":
            return
        if isinstance(frame, Interrupt):
            if self._above:
                self._take_back()
            return
        self._quiet = anyio.current_time()
        if isinstance(frame, AgentActivity):
            self._busy = frame
        elif isinstance(frame, TurnControl):
            self._above = frame.external
        elif isinstance(frame, Commit):
            if self._open is not None:
                self._over(self._open, "commit")
            else:
                self._committed = self._quiet
        elif isinstance(frame, ResponseStarted):
            if self._open is not None and self._end == "model":
                self._over(self._open, "model")
        elif not isinstance(frame, Played | ToolResult):
            self._idle = 0
            if isinstance(frame, SpeechStarted):
                await self._started(frame, out)
            elif isinstance(frame, SpeechContinued):
                self._continued(frame)
            elif isinstance(frame, SpeechStopped):
                self._stopped(frame)
            elif isinstance(frame, Transcript):
                await self._heard(frame, out)
            elif isinstance(frame, UserText):
                self._count += 1
                typed = (frame.item_id,) if frame.item_id else ()
                await out.send(Turn(pts=frame.pts, turn=self._count, text=frame.text, item_ids=typed, reason="typed"))

    async def _started(self, frame: SpeechStarted, out: Outlet[Turn | UserIdle]) -> None:
        now = anyio.current_time()
        self._speaking = True
        turn = self._open
        if turn is not None and turn.over <= now and turn.reason in ("commit", "model", "length"):
            await self._close(out)  # that one is over for good, with what is known of it
            turn = None
        turn = turn or self._begin(frame.pts)
        turn.over = math.inf
        turn.news = now
        turn.spoken = True
        turn.speech.add(frame.item_id)

    def _continued(self, frame: SpeechContinued) -> None:
        if self._open is None and self._speaking and not self.transcript_ms:
            self._begin(frame.pts).spoken = True  # the last turn was ended in the middle of the speech
        if self._open is not None:
            self._open.counted[frame.item_id] = frame.ms - self._counted.get(frame.item_id, 0.0)
            self._open.news = anyio.current_time()

    def _stopped(self, frame: SpeechStopped) -> None:
        self._speaking = False
        self._counted.clear()
        if (turn := self._open) is not None:
            turn.until = max(turn.until, frame.pts)
            if turn.over < math.inf:
                return
            if self._end == "model":
                self._over(turn, "model")
            elif self._end == "silence":
                self._over(turn, "silence", self._silence(turn) - frame.lag_ms)
            elif self._end == "transcript" and any(each.final for each in turn.items.values()):
                self._over(turn, "transcript")

    @property
    def _end(self) -> Literal["silence", "transcript", "commit", "model"]:
        return "commit" if self._above else self.end

    def _take_back(self) -> None:
        """What was committed, and has not been given, is not to be answered now: it goes on."""
        for late in [turn for turn in reversed(self._closed) if not turn.given]:
            self._closed.remove(late)
            if self._open is not None:
                late.speech |= self._open.speech
                late.items |= self._open.items
                late.until = max(late.until, self._open.until)
            self._open = late
        if self._open is not None:
            self._open.over = math.inf

    def _silence(self, turn: _Open) -> float:
        return self.silence_ms(turn.text) if callable(self.silence_ms) else self.silence_ms

    async def _heard(self, frame: Transcript, out: Outlet[Turn | UserIdle]) -> None:
        turn = self._whose(frame)
        turn.hear(frame)
        turn.news = anyio.current_time()
        if turn is self._open and turn.over == math.inf and turn.began <= self._committed + LATE_S:
            self._committed = -math.inf  # the key was faster than the recogniser
            self._over(turn, "commit")
        if turn is not self._open:
            if frame.final or not turn.given:  # its time is over: the first words that come are the turn
                await self._give(turn, out)
        elif self._speaking:
            return
        elif self._end == "transcript" and frame.final and turn.over == math.inf:
            self._over(turn, "transcript")
        elif self._end == "silence" and not turn.spoken:  # nobody says when speech stops, so its words do
            self._over(turn, "silence", self._silence(turn))

    def _whose(self, frame: Transcript) -> _Open:
        """The turn that a transcript belongs to: by its item, never by when it came."""
        for turn in (*self._closed, self._open):
            if turn is not None and frame.item_id and (frame.item_id in turn.items or frame.item_id in turn.speech):
                return turn
        if frame.final or not self._speaking:
            now = anyio.current_time()
            for turn in self._closed:  # an item that nobody has named answers the oldest open question
                if turn.answered_by(frame) and now - turn.closed < LATE_S and not turn.short(self.min_ms):
                    return turn
        return self._open or self._begin(frame.pts)

    # What is due --------------------------------------------------------------------------------------------------

    def _begin(self, pts: int) -> _Open:
        self._open = _Open(pts)
        return self._open

    def _over(self, turn: _Open, reason: Reason, ms: float = 0.0) -> None:
        turn.over, turn.reason = anyio.current_time() + max(0.0, ms) / 1000, reason

    def _next(self) -> float:
        """When there will be something to do if nothing comes."""
        if (turn := self._open) is not None:
            if self._above and turn.over == math.inf:
                return math.inf  # only the owner of the turn ends it: no timer does
            limit = turn.began + self.longest_ms / 1000
            if turn.over == math.inf or turn.over > limit:
                lost = turn.news + LOST_S if self._speaking and turn.counted else math.inf
                return min(limit, lost)
            return turn.over + (self.transcript_ms / 1000 if turn.waits else 0.0)
        if self.idle_ms is None or self._speaking or self._busy.response_id or self._busy.call_ids:
            return math.inf
        return self._quiet + self.idle_ms / 1000

    async def _look(self, out: Outlet[Turn | UserIdle]) -> None:
        """Do what is due."""
        now = anyio.current_time()
        while (due := self._next()) <= now:
            if self._open is None:
                self._idle, self._quiet = self._idle + 1, due
                await out.send(UserIdle(ms=self.idle_ms or 0.0, count=self._idle))
            elif self._open.over > now and now >= self._open.began + self.longest_ms / 1000:
                self._over(self._open, "length")
            elif self._open.over == math.inf:
                self._speaking = False
                self._over(self._open, "silence")
            else:
                await self._close(out)

    async def _close(self, out: Outlet[Turn | UserIdle]) -> None:
        turn, self._open = self._open, None
        if turn is not None:
            turn.closed = self._quiet = anyio.current_time()
            if self._speaking:
                for item, ms in turn.counted.items():
                    self._counted[item] = self._counted.get(item, 0.0) + ms
            self._closed.append(turn)
            await self._give(turn, out)

    async def _give(self, turn: _Open, out: Outlet[Turn | UserIdle]) -> None:
        """Give what is known of it, if that is a turn and says something new."""
        text = turn.text
        owed = self._above and turn.reason == "commit" and not turn.waits
        worth = owed or text or turn.given or not (self.transcript_ms or turn.short(self.min_ms))
        if worth and (text != turn.said if turn.given else True):
            if not turn.given:
                self._count += 1
                turn.number = self._count
            await out.send(turn.told())
            turn.given, turn.said = turn.given + 1, text
