"""Put speech and transcripts together into the user's turns."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from types import TracebackType
from typing import Literal, Self

import anyio
from anyio.abc import TaskGroup

from bargein.pipeline import (
    Audio,
    Failure,
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
from bargein.pipeline.lowlevel import check_not_negative, check_options, check_positive
from bargein.processors.frames import (
    AgentActivity,
    Commit,
    PauseRequest,
    SpeechContinued,
    SpeechPaused,
    Turn,
    TurnControl,
    TurnEnd,
    UserIdle,
)
from bargein.processors.words import words

from ._open_turn import OpenTurn
from ._turn_silence import PAUSE_MS, TurnSilence, trim
from .barge_in import BACKCHANNELS
from .turn_detectors import TurnDetector

__all__ = ["Turns"]

MAX_LATE_SECONDS = 3.0
"""A transcript of an unknown item may belong to a turn that ended up to this many seconds ago."""
LOST_SECONDS = 3.0
"""Speech without `SpeechContinued` for this many seconds has ended: its audio has stopped arriving."""
OVER_AGENT_MS = 300.0
"""Minimum speech in milliseconds for a turn without words while the agent is still heard. It is what `BargeIn` needs
for an interrupt; anything shorter was a noise that the agent talks on over."""
ANSWER_SECONDS = 1.0
"""If the agent falls silent within this time after a turn that only has backchannels, these were an answer: people say
"okay" before a question has quite ended. One second is a choice, not a measurement: a longer one answers more
backchannels."""

Speech = SpeechStarted | SpeechContinued | SpeechStopped
Passed = Speech | Transcript | UserText | Commit | TurnControl | ResponseStarted
Taken = Passed | SpeechPaused | AgentActivity | ToolResult | Played | Interrupt
Given = Passed | Turn | UserIdle | PauseRequest | Failure


class Turns(Processor):
    """Collects the user's speech and transcripts, and sends a `Turn` when it is the agent's turn to speak.

    When a turn has ended, `Turns` waits for its final transcripts. A transcript that comes later still is added to its
    turn, which is then sent again with the next `revision`. Speech that continues before the turn is sent belongs to
    the same turn. Typed text (`UserText`) is a separate turn, and a `Commit` ends a turn in every mode.

    A turn without words is not sent, so a cough is not a turn. With `transcript_ms=0`, for models that hear by
    themselves, the amount of speech decides instead.

    Nor is a turn sent that only has backchannels, such as "uh huh", while the agent speaks on. If the agent falls
    silent within a second after it, it was an answer and is sent then.

    While a `TurnControl` from above is in force, only a `Commit` ends a turn. Each commit is answered by one turn, even
    without words, as soon as its transcripts are final. If an `Interrupt` comes first, the words go to the next turn.

    All frames that it takes from above are passed on, before the `Turn` that they cause.

    Args:
        end: What ends a turn. `"silence"`: nobody has spoken for `silence_ms`. `"transcript"`: a final transcript, for
            recognisers that find the end themselves. `"commit"`: a `Commit`, for push to talk. `"model"`: a
            `SpeechStopped` or `ResponseStarted` of a model above that decides turns itself.
        silence_ms: Silence in milliseconds that ends a turn, counted from the end of speech.
        detectors: What else decides how long the silence must last, such as `TextTurnDetector()`. The longest answer
            counts; the table of `decide_silence` says how they are combined. Only for `end="silence"`.
        detector_ms: Maximum time in milliseconds that a detector may take for an answer. If it is late or fails, that
            is one `Failure`, and `silence_ms` ends the turn.
        transcript_ms: Maximum time in milliseconds to wait for final transcripts after the end of a turn. With 0 the
            turn is sent at once, even without words, if it contains `min_ms` of speech.
        min_ms: Minimum speech in milliseconds, as counted by a `Vad`, for a turn without words. While the agent is
            heard it is 300 at least. The shortest of 40 synthesised one-word answers ("Two.") has 240.
        max_ms: Maximum length of a turn in milliseconds. A longer one is ended.
        idle_ms: Send a `UserIdle` after this many milliseconds without speech of the user or the agent, and again
            after each further period. None for never.
        backchannels: Words that are not a turn while the agent speaks.

    Raises:
        ValueError: `end` has another value, or a duration is out of its range.
    """

    @check_options
    def __init__(
        self,
        end: Literal["silence", "transcript", "commit", "model"] = "silence",
        *,
        silence_ms: float = 700.0,
        detectors: Sequence[TurnDetector] = (),
        detector_ms: float = 500.0,
        transcript_ms: float = 1500.0,
        min_ms: float = 160.0,
        max_ms: float = 120_000.0,
        idle_ms: float | None = None,
        backchannels: Collection[str] = BACKCHANNELS,
    ) -> None:
        if end not in ("silence", "transcript", "commit", "model"):
            raise ValueError(f"Turns({end!r}): expected 'silence', 'transcript', 'commit' or 'model'")
        check_not_negative("Turns", silence_ms=silence_ms, transcript_ms=transcript_ms, min_ms=min_ms)
        check_positive("Turns", detector_ms=detector_ms, max_ms=max_ms, idle_ms=idle_ms)
        _check_detectors(detectors)
        if detectors and end != "silence":
            raise ValueError(f"Turns({end!r}, detectors={list(detectors)}): expected no detectors, or end='silence'")
        self.end: Literal["silence", "transcript", "commit", "model"] = end
        self.silence_ms = silence_ms
        self.detectors = tuple(detectors)
        self.detector_ms = detector_ms
        self._silence = TurnSilence(self.detectors, silence_ms, detector_ms)
        self.transcript_ms = transcript_ms
        self.min_ms = min_ms
        self.max_ms = max_ms
        self.idle_ms = idle_ms
        self.backchannels = frozenset(word for each in backchannels for word in words(each))
        self._turn_count = 0
        self._open: OpenTurn | None = None
        self._closed: deque[OpenTurn] = deque(maxlen=8)  # recent turns, for late transcripts
        self._speaking = False
        self._ended_speech_ms: dict[str, float] = {}  # speech of turns that were ended while it went on, by item
        self._committed_at = -math.inf  # time of a commit that came before any speech or words
        self._quiet_since = 0.0  # time of the latest sign of anybody speaking
        self._idle_count = 0
        self._activity = AgentActivity()
        self._playing: set[tuple[str, str]] = set()  # responses and items that are being heard
        self._aside: OpenTurn | None = None  # backchannels, until it is known whether they are an answer
        self._external_control = False
        self._tasks: TaskGroup
        self._failures: deque[Failure] = deque()  # of detectors, to be sent
        self._waiting: anyio.CancelScope  # around the wait for the next frame; a detector's answer moves its end

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        for detector in self.detectors:
            if isinstance(detector, AbstractAsyncContextManager):
                await self._stack.enter_async_context(detector)
            elif isinstance(detector, AbstractContextManager):
                self._stack.enter_context(detector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Collect until the end, then send the open turn."""
        self._quiet_since = anyio.current_time()
        if self._silence.audio_seconds:
            await out.send(PauseRequest(ms=PAUSE_MS, audio_seconds=self._silence.audio_seconds))
        async with anyio.create_task_group() as self._tasks:
            await self._collect(inbox, out)
            self._tasks.cancel_scope.cancel()

    async def _collect(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        while True:
            frame = None
            while self._failures:
                await out.send(self._failures.popleft())
            with anyio.move_on_after(max(0.0, self._next_deadline() - anyio.current_time())) as self._waiting:
                try:
                    frame = await inbox.receive()
                except anyio.EndOfStream:
                    break
            if frame is not None:
                if not isinstance(frame, Played | AgentActivity | ToolResult | Interrupt | SpeechPaused):
                    await out.send(frame)
                await self._handle(frame, out)
            await self._do_due(out)
        if self._open is not None:
            self._open.reason = "end"
            await self._close(out)

    # Input ---------------------------------------------------------------------------------------------------

    async def _handle(self, frame: Frame, out: Outlet[Turn | UserIdle]) -> None:
        if isinstance(frame, Transcript) and frame.speaker != "user":
            return
        if isinstance(frame, Interrupt):
            self._playing.clear()
            self._aside = None
            if self._external_control:
                self._reopen()
            return
        self._quiet_since = anyio.current_time()
        if isinstance(frame, Played | AgentActivity):
            await self._on_agent(frame, out)
        elif isinstance(frame, TurnControl):
            self._external_control = frame.external
        elif isinstance(frame, Commit):
            if self._open is not None:
                self._end_turn(self._open, "commit")
            else:
                self._committed_at = self._quiet_since
        elif isinstance(frame, ResponseStarted):
            if self._open is not None and self._end == "model":
                self._end_turn(self._open, "model")
        elif not isinstance(frame, ToolResult):
            self._idle_count = 0
            if isinstance(frame, SpeechStarted):
                await self._on_speech_started(frame, out)
            elif isinstance(frame, SpeechContinued):
                self._on_speech_continued(frame)
            elif isinstance(frame, SpeechPaused):
                if self._open is not None and self._end == "silence":
                    self._ask_detectors(self._open, trim(frame.audio, self._open.pts))
            elif isinstance(frame, SpeechStopped):
                self._on_speech_stopped(frame)
            elif isinstance(frame, Transcript):
                await self._on_transcript(frame, out)
            elif isinstance(frame, UserText):
                self._turn_count += 1
                typed = (frame.item_id,) if frame.item_id else ()
                await out.send(
                    Turn(pts=frame.pts, turn=self._turn_count, text=frame.text, item_ids=typed, reason="typed")
                )

    async def _on_agent(self, frame: Played | AgentActivity, out: Outlet[Turn | UserIdle]) -> None:
        if isinstance(frame, AgentActivity):
            self._activity = frame
        else:
            (self._playing.discard if frame.done else self._playing.add)((frame.response_id, frame.item_id))
        if self._aside is not None and not self._playing and not self._activity.response_id:
            turn, self._aside = self._aside, None
            await self._send_turn(turn, out)

    async def _on_speech_started(self, frame: SpeechStarted, out: Outlet[Turn | UserIdle]) -> None:
        now = anyio.current_time()
        self._speaking = True
        turn = self._open
        if turn is not None and turn.ends_at <= now and turn.reason in ("commit", "model", "length"):
            await self._close(out)  # that turn can no longer be continued
            turn = None
        if turn is not None:
            turn.longest_pause_ms = max(turn.longest_pause_ms, (frame.pts - turn.end_pts) / 1e6)
        elif self._closed and self._closed[-1].reason == "silence":
            self._silence.add_late_pause((frame.pts - self._closed[-1].end_pts) / 1e6)
        self._silence.forget()
        turn = turn or self._begin(frame.pts)
        turn.ends_at = math.inf
        turn.last_sign = now
        turn.has_speech_events = True
        turn.awaited_items.add(frame.item_id)

    def _on_speech_continued(self, frame: SpeechContinued) -> None:
        if self._open is None and self._speaking and not self.transcript_ms:
            self._begin(frame.pts).has_speech_events = True  # the previous turn was ended while this speech went on
        if self._open is not None:
            self._open.speech_ms[frame.item_id] = frame.ms - self._ended_speech_ms.get(frame.item_id, 0.0)
            self._open.last_sign = anyio.current_time()

    def _on_speech_stopped(self, frame: SpeechStopped) -> None:
        self._speaking = False
        self._ended_speech_ms.clear()
        if (turn := self._open) is not None:
            turn.end_pts = max(turn.end_pts, frame.pts)
            if turn.ends_at < math.inf:
                return
            if self._end == "model":
                self._end_turn(turn, "model")
            elif self._end == "silence":
                turn.stopped_at, turn.lag_ms = anyio.current_time(), frame.lag_ms
                self._ask_detectors(turn)
                self._plan_end(turn)
            elif self._end == "transcript" and any(each.final for each in turn.transcripts.values()):
                self._end_turn(turn, "transcript")

    @property
    def _end(self) -> Literal["silence", "transcript", "commit", "model"]:
        return "commit" if self._external_control else self.end

    def _reopen(self) -> None:
        """Reopen a committed turn that has not been sent, because an interrupt overtook it."""
        for late in [turn for turn in reversed(self._closed) if not turn.times_sent]:
            self._closed.remove(late)
            if self._open is not None:
                late.awaited_items |= self._open.awaited_items
                late.transcripts |= self._open.transcripts
                late.end_pts = max(late.end_pts, self._open.end_pts)
            self._open = late
        if self._open is not None:
            self._open.ends_at = math.inf

    # Detectors ---------------------------------------------------------------------------------------------------

    def _ask_detectors(self, turn: OpenTurn, audio: Audio | None = None) -> None:
        self._silence.ask(self._tasks, turn.text, audio, self._on_answer, self._on_failure)

    def _on_answer(self) -> None:
        if (turn := self._open) is not None and turn.ends_at < math.inf and turn.reason == "silence":
            self._plan_end(turn)
        self._waiting.deadline = self._next_deadline()

    def _on_failure(self, failure: Failure) -> None:
        self._failures.append(failure)
        self._waiting.deadline = -math.inf  # it is sent by the processor's own task

    def _plan_end(self, turn: OpenTurn) -> None:
        """Set when the turn ends if nobody speaks, by what the detectors have answered so far."""
        turn.ends_at, turn.reason = turn.stopped_at + max(0.0, self._silence.ms - turn.lag_ms) / 1000, "silence"

    async def _on_transcript(self, frame: Transcript, out: Outlet[Turn | UserIdle]) -> None:
        turn = self._find_turn(frame)
        turn.add_transcript(frame)
        turn.last_sign = anyio.current_time()
        if turn is self._open and turn.ends_at == math.inf and turn.began <= self._committed_at + MAX_LATE_SECONDS:
            self._committed_at = -math.inf  # the commit came before the recogniser's first words
            self._end_turn(turn, "commit")
        if turn is not self._open:
            if frame.final or not turn.times_sent:  # the turn has ended: its first words are sent at once
                await self._send_turn(turn, out)
        elif self._speaking:
            return
        elif self._end == "transcript" and frame.final and turn.ends_at == math.inf:
            self._end_turn(turn, "transcript")
        elif self._end == "silence" and (not turn.has_speech_events or turn.ends_at < math.inf):
            if not turn.has_speech_events:  # the transcripts show when speech stops
                turn.stopped_at, turn.lag_ms = anyio.current_time(), 0.0
            if turn.reason == "silence":
                self._ask_detectors(turn)
                self._plan_end(turn)

    def _find_turn(self, frame: Transcript) -> OpenTurn:
        """Return the turn of a transcript, by its item and never by its time of arrival."""
        for turn in (*self._closed, self._open):
            if (
                turn is not None
                and frame.item_id
                and (frame.item_id in turn.transcripts or frame.item_id in turn.awaited_items)
            ):
                return turn
        if frame.final or not self._speaking:
            now = anyio.current_time()
            for turn in self._closed:  # an unknown item belongs to the oldest turn that waits for one
                if (
                    turn.may_contain(frame)
                    and now - turn.closed_at < MAX_LATE_SECONDS
                    and not turn.is_shorter_than(max(self.min_ms, OVER_AGENT_MS))
                ):
                    return turn
        return self._open or self._begin(frame.pts)

    # Deadlines --------------------------------------------------------------------------------------------------

    def _begin(self, pts: int) -> OpenTurn:
        self._open = OpenTurn(pts)
        return self._open

    def _end_turn(self, turn: OpenTurn, reason: TurnEnd, ms: float = 0.0) -> None:
        turn.ends_at, turn.reason = anyio.current_time() + max(0.0, ms) / 1000, reason

    def _next_deadline(self) -> float:
        """Return the time of the next deadline, or infinity."""
        aside = self._aside.closed_at + ANSWER_SECONDS if self._aside is not None else math.inf
        return min(aside, self._next_turn_deadline())

    def _next_turn_deadline(self) -> float:
        if (turn := self._open) is not None:
            if self._external_control and turn.ends_at == math.inf:
                return math.inf  # only the owner of the turn ends it: no timer does
            limit = turn.began + self.max_ms / 1000
            if turn.ends_at == math.inf or turn.ends_at > limit:
                lost = turn.last_sign + LOST_SECONDS if self._speaking and turn.speech_ms else math.inf
                return min(limit, lost)
            ends_at = turn.ends_at + (self.transcript_ms / 1000 if turn.is_pending else 0.0)
            return max(ends_at, self._silence.pending_until) if turn.reason == "silence" else ends_at
        if self.idle_ms is None or self._speaking or self._activity.response_id or self._activity.call_ids:
            return math.inf
        return self._quiet_since + self.idle_ms / 1000

    async def _do_due(self, out: Outlet[Turn | UserIdle]) -> None:
        """Act on all deadlines that have passed."""
        now = anyio.current_time()
        while (due := self._next_deadline()) <= now:
            if self._aside is not None and self._aside.closed_at + ANSWER_SECONDS <= now:
                self._aside = None  # the agent speaks on
            elif self._open is None:
                self._idle_count, self._quiet_since = self._idle_count + 1, due
                await out.send(UserIdle(ms=self.idle_ms or 0.0, count=self._idle_count))
            elif self._open.ends_at > now and now >= self._open.began + self.max_ms / 1000:
                self._end_turn(self._open, "length")
            elif self._open.ends_at == math.inf:
                self._speaking = False
                self._end_turn(self._open, "silence")
            else:
                await self._close(out)

    async def _close(self, out: Outlet[Turn | UserIdle]) -> None:
        turn, self._open = self._open, None
        if turn is not None:
            turn.closed_at = self._quiet_since = anyio.current_time()
            self._silence.forget()
            if turn.reason == "silence":
                self._silence.add_turn(turn.longest_pause_ms)
            if self._speaking:
                for item, ms in turn.speech_ms.items():
                    self._ended_speech_ms[item] = self._ended_speech_ms.get(item, 0.0) + ms
            self._closed.append(turn)
            await self._send_turn(turn, out)

    async def _send_turn(self, turn: OpenTurn, out: Outlet[Turn | UserIdle]) -> None:
        """Send the turn if it is one and contains news."""
        text = turn.text
        if self._is_backchannel(turn):
            self._aside = turn
            return
        owed = self._external_control and turn.reason == "commit" and not turn.is_pending
        least = max(self.min_ms, OVER_AGENT_MS) if self._playing else self.min_ms
        worth = owed or text or turn.times_sent or not (self.transcript_ms or turn.is_shorter_than(least))
        if worth and (text != turn.sent_text if turn.times_sent else True):
            if turn is self._aside:
                self._aside = None
            if not turn.times_sent:
                self._turn_count += 1
                turn.number = self._turn_count
            await out.send(turn.to_frame())
            turn.times_sent, turn.sent_text = turn.times_sent + 1, text

    def _is_backchannel(self, turn: OpenTurn) -> bool:
        """Return whether a turn that has not been sent only shows attention, while the agent is heard."""
        own = words(turn.text)
        expected = turn.reason in ("commit", "end") or self._external_control or not self._playing
        return bool(own) and not turn.times_sent and not expected and self.backchannels.issuperset(own)


def _check_detectors(detectors: object) -> None:
    """Raise `TypeError` unless this is a list of turn detectors."""
    if not isinstance(detectors, Sequence):
        raise TypeError(
            f"Turns(detectors=...): got {type(detectors).__name__}; write a list, such as [TextTurnDetector()]"
        )
    for each in detectors:
        if isinstance(each, type) or not isinstance(each, TurnDetector):
            name = each.__name__ if isinstance(each, type) else type(each).__name__
            raise TypeError(
                f"Turns(detectors=...): {name} is not an object with `audio_seconds` and `silence_ms`; write one such "
                "as TextTurnDetector()"
            )
