"""Decide when the user's speech interrupts the agent."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from difflib import SequenceMatcher
from enum import Enum
from typing import Literal, NamedTuple

import anyio

from bargein.pipeline import (
    Frame,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    Resume,
    SpeechStarted,
    SpeechStopped,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.pipeline.lowlevel import check_not_negative, check_options
from bargein.processors.frames import AgentActivity, Heard, SpeechContinued, TurnControl
from bargein.processors.words import words

__all__ = ["BACKCHANNELS", "STOP_WORDS", "BargeIn", "Decision", "Evidence", "decide"]

Mute = Literal["always", "first response", "tools"]

BACKCHANNELS = frozenset(
    {"uh", "huh", "mm", "mhm", "mmhm", "hmm", "hm", "yeah", "yep", "ok", "okay", "right", "aha", "ah"}
)
"""Words with which English listeners show attention without wanting to speak."""

STOP_WORDS = frozenset({"stop", "wait", "no", "cancel"})
"""English words that want an interruption."""

LONG_SPEECH_MS = 2000.0
"""Speech of this many milliseconds interrupts even if no word of it is known yet: some recognisers send no partial
transcripts, and a longer hold would leave the user in silence. Coughs, laughs and slamming doors are shorter."""
ECHO_WORDS = 60
"""Number of the agent's latest words that may come back as an echo."""
ECHO_WORDS_AHEAD = 8
"""Number of words about to be played that count as echo, too: a recogniser may be faster than the playback report."""


class Decision(Enum):
    """What to do about the user's speech."""

    NOTHING = "nothing"
    HOLD = "hold"
    INTERRUPT = "interrupt"
    RESUME = "resume"


class Evidence(NamedTuple):
    """What is known about one stretch of the user's speech."""

    speaking: bool
    """The user is still speaking."""
    long_enough: bool
    """The speech has reached the minimum duration; if words are required, a duration that needs none."""
    enough_words: bool
    """It has the minimum number of words, and at least one, not counting echo and backchannels, and they are certain:
    the transcript is final, the speech has the minimum duration, or one of them is a stop word."""
    transcript_due: bool
    """The speech has ended, and its transcript may still arrive."""
    muted: bool
    """Interruptions are not allowed now."""
    heard: bool
    """The agent is being heard."""
    echo: bool
    """It may be the agent's own sound: the echo guard is on, and no word of the user has been recognised."""
    held: bool
    """The agent is on hold."""


def decide(evidence: Evidence, *, tentative: bool = True) -> Decision:
    """Return what to do. The first row of the table that applies decides.

    | muted | enough words or long enough | speaking | transcript due | decision |
    |---|---|---|---|---|
    | yes | | | | resume if held |
    | no | yes | | | interrupt |
    | no | no | yes | | hold if `tentative`, the agent is heard and it cannot be echo |
    | no | no | no | yes | nothing: wait for the transcript |
    | no | no | no | no | resume if held |

    Args:
        evidence: What is known about the speech.
        tentative: Whether to put the agent on hold before the speech is known to be an interruption.
    """
    if not evidence.muted:
        if evidence.enough_words or evidence.long_enough:
            return Decision.INTERRUPT
        if evidence.speaking:
            hold = tentative and evidence.heard and not evidence.held and not evidence.echo
            return Decision.HOLD if hold else Decision.NOTHING
        if evidence.transcript_due:
            return Decision.NOTHING
    return Decision.RESUME if evidence.held else Decision.NOTHING


class _Speech:
    """The state of one stretch of the user's speech."""

    def __init__(self, frame: SpeechStarted, now: float) -> None:
        self.item = frame.item_id
        self.began_at = now - frame.lag_ms / 1000
        self.speech_ms: float | None = None  # speech without pauses, if a `Vad` counts it
        self.ended_at: float | None = None  # time at which its end was reported
        self.ms = 0.0  # its length, once it has ended
        self.transcript: Transcript | None = None
        self.response = ""  # the agent's response during the speech
        self.items = {frame.item_id}  # ids of its transcripts
        self.last_sign = now  # time of the latest sign of it
        self.no_effect: tuple[str, bool] | None = None  # the agent's state when an interrupt had no effect


class BargeIn(Processor):
    """Sends an `Interrupt` when the user's speech interrupts the agent.

    Place it below the speech detector and the recogniser, and above the brain. Speech interrupts when it has words
    that are not backchannels. They count at any length if the transcript is final, because "Two." is short. In partial
    transcripts they count after `min_ms`, because recognisers begin with a guess, and stop words count at once. Typed
    text interrupts at once.

    Without `min_words`, speech also interrupts when it is long enough. With `min_words`, it needs that many words from
    the first speech of the session on; use that below a recogniser. Then speech without any transcript interrupts
    after two seconds only.

    While that is not known yet, a `Hold` silences the agent. It is followed by the `Interrupt`, or by a `Resume` when
    the speech turns out to be something else. A transcript that arrives later may still interrupt the same response,
    but never the answer to it. Without speech events the transcripts show when somebody speaks, and one word is
    needed.

    A response that is `protected` is not interrupted. Speech that lasts longer than the protection interrupts then.
    While a `TurnControl` from above is in force, nothing is held or interrupted here.

    It learns from a `Spoken` below what the agent says and does, and from `Played` that the agent is heard.

    Args:
        min_ms: Minimum speech in milliseconds, with partial or without transcripts. A `Vad` counts it without pauses;
            otherwise the clock decides.
        min_words: Minimum number of words, not counting `backchannels`. 0 if no transcripts are expected.
        tentative: Whether to hold the agent before it is known whether the speech is an interruption.
        mute: When the user cannot interrupt: `"always"`, `"first response"` (until it has been heard), `"tools"` (while
            a tool runs).
        echo_guard: For agents whose sound comes back through the microphone. Words that the agent is just saying do
            not count, one word of the user is needed, and nothing is held before. It needs transcripts.
        backchannels: Words that do not count as an interruption.
        stop_words: Words that interrupt alone and at once, whatever `min_words` and `min_ms` are.
        transcript_ms: How long to wait for the final transcript after the speech has ended, in milliseconds.
        hold_ms: Maximum length of a hold without a further sign of speech, in milliseconds.

    Raises:
        ValueError: A number or a rule is out of its range.
    """

    @check_options
    def __init__(
        self,
        *,
        min_ms: float = 300.0,
        min_words: int = 0,
        tentative: bool = True,
        mute: Collection[Mute] = (),
        echo_guard: bool = False,
        backchannels: Collection[str] = BACKCHANNELS,
        stop_words: Collection[str] = STOP_WORDS,
        transcript_ms: float = 700.0,
        hold_ms: float = 3000.0,
    ) -> None:
        check_not_negative("BargeIn", min_ms=min_ms, transcript_ms=transcript_ms, hold_ms=hold_ms)
        if type(min_words) is not int or min_words < 0:
            raise ValueError(f"BargeIn(min_words={min_words!r}): expected a number of words, 0 or more")
        if isinstance(mute, str) or (unknown := set(mute) - {"always", "first response", "tools"}):
            raise ValueError(
                f"BargeIn(mute={mute!r}): expected a collection of 'always', 'first response' and 'tools'"
                + ("" if isinstance(mute, str) else f"; {sorted(unknown)} is not among them")
            )
        self.min_ms = min_ms
        self.min_words = max(min_words, 1) if echo_guard else min_words
        self.tentative = tentative
        self.mute = frozenset(mute)
        self.echo_guard = echo_guard
        self.backchannels = frozenset(word for each in backchannels for word in words(each))
        self.stop_words = frozenset(word for each in stop_words for word in words(each))
        self.transcript_ms = transcript_ms
        self.hold_ms = hold_ms
        self._has_speech_events = False  # speech events arrive
        self._speech: _Speech | None = None  # until it has been decided about
        self._earlier: deque[str] = deque(maxlen=32)  # items of earlier speech
        self._epoch = 0
        self._agent: AgentActivity = AgentActivity()
        self._has_activity = False  # a `Spoken` reports what the agent does
        self._answered_calls: set[str] = set()  # tool calls that have a result
        self._first_response: str | None = None  # id of the first response
        self._first_is_over = False
        self._playing: set[tuple[str, str]] = set()
        self._on_hold = False
        self._agent_words: deque[str] = deque(maxlen=ECHO_WORDS)
        self._agent_items: dict[tuple[str, str], Heard] = {}
        self._external_control = False

    async def run(
        self,
        inbox: Inbox[
            SpeechStarted
            | SpeechContinued
            | SpeechStopped
            | Transcript
            | UserText
            | TurnControl
            | Heard
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
            | TurnControl
            | Hold
            | Resume
            | Interrupt
        ],
    ) -> None:
        """Decide until the end, and leave nothing on hold."""
        while True:
            frame = None
            with anyio.move_on_after(max(0.0, self._next_deadline() - anyio.current_time())):
                try:
                    frame = await inbox.receive()
                except anyio.EndOfStream:
                    break
            if inbox.epoch != self._epoch:  # after any interrupt, the old state is void
                self._epoch, self._on_hold = inbox.epoch, False
                self._playing.clear()
                self._agent_items.clear()
            if isinstance(frame, TurnControl):
                self._external_control = frame.external
                self._finish_speech()
                await self._resume(out)
            elif frame is not None:
                self._handle(frame)
            if not self._external_control:
                await self._act(inbox, out, typed=isinstance(frame, UserText))
            if isinstance(frame, SpeechStarted | SpeechContinued | SpeechStopped | Transcript | UserText | TurnControl):
                await out.send(frame)  # after its interrupt, which must not wait for room
        await self._resume(out)

    # Evidence ------------------------------------------------------------------------------------------------

    def _handle(self, frame: Frame) -> None:
        now = anyio.current_time()
        speech = self._speech
        if isinstance(frame, SpeechStarted):
            self._has_speech_events = True
            self._begin(frame, now)
        elif isinstance(frame, SpeechContinued):
            if speech is not None and speech.ended_at is None:
                speech.speech_ms, speech.last_sign = frame.ms, now
        elif isinstance(frame, SpeechStopped):
            if speech is not None and speech.ended_at is None:
                speech.ended_at = now
                speech.ms = (now - speech.began_at) * 1000 - frame.lag_ms
        elif isinstance(frame, Transcript):
            self._on_transcript(frame)
        elif isinstance(frame, Played):
            self._on_played(frame)
        elif isinstance(frame, Heard):
            self._on_heard(frame)
        elif isinstance(frame, AgentActivity):
            self._on_activity(frame)
        elif isinstance(frame, ToolResult) and frame.call_id in self._agent.call_ids:
            self._answered_calls.add(frame.call_id)

    def _on_transcript(self, frame: Transcript) -> None:
        """Add a transcript to its speech, by item. Without a known item it belongs to the latest speech."""
        if frame.speaker != "user":
            return
        if frame.item_id and frame.item_id in self._earlier:
            return
        if not self._has_speech_events:  # the words are the only sign of speech
            if self._speech is None:
                self._begin(SpeechStarted(item_id=frame.item_id), anyio.current_time()).speech_ms = math.inf
            if frame.final and self._speech is not None and self._speech.ended_at is None:
                self._speech.ended_at = anyio.current_time()
        speech = self._speech
        if speech is None:
            if frame.item_id:
                self._earlier.append(frame.item_id)
            return
        speech.transcript, speech.last_sign = frame, anyio.current_time()
        speech.items.add(frame.item_id)

    def _begin(self, frame: SpeechStarted, now: float) -> _Speech:
        self._finish_speech()
        self._speech = _Speech(frame, now)
        self._speech.response = self._agent.response_id
        return self._speech

    def _finish_speech(self) -> None:
        """Finish with the current speech. Its transcripts that still arrive are late."""
        if self._speech is not None:
            self._earlier.extend(item for item in self._speech.items if item)
        self._speech = None

    def _on_played(self, frame: Played) -> None:
        (self._playing.discard if frame.done else self._playing.add)((frame.response_id, frame.item_id))
        if not self._has_activity:  # without a `Spoken`, the first response ends with its first item
            self._first_response = self._first_response or frame.response_id
            self._first_is_over = self._first_is_over or frame.done or frame.response_id != self._first_response

    def _on_activity(self, frame: AgentActivity) -> None:
        self._agent, self._has_activity = frame, True
        self._answered_calls &= set(frame.call_ids)
        if self._speech is not None and self._speech.ended_at is None:
            self._speech.response = frame.response_id
        if frame.response_id and self._first_response is None:
            self._first_response = frame.response_id
        elif self._first_response is not None and frame.response_id != self._first_response:
            self._first_is_over = True

    def _on_heard(self, frame: Heard) -> None:
        """Note the agent's latest words, and the next ones."""
        key = (frame.response_id, frame.item_id)
        before = self._agent_items.pop(key, None)
        known = len(words(before.text)) if before is not None else 0
        self._agent_words.extend(words(frame.text)[known:])
        if not frame.done:
            self._agent_items[key] = frame

    @property
    def _is_muted(self) -> bool:
        return (
            "always" in self.mute
            or self._agent.protected
            or ("first response" in self.mute and not self._first_is_over)
            or ("tools" in self.mute and bool(set(self._agent.call_ids) - self._answered_calls))
        )

    def _user_words(self, text: str) -> list[str]:
        """Return the words that are neither echo nor backchannel."""
        own = words(text)
        if self.echo_guard:
            coming = [word for each in self._agent_items.values() for word in words(each.remaining)[:ECHO_WORDS_AHEAD]]
            own = _without_echo(own, [*self._agent_words, *coming])
        return [word for word in own if word not in self.backchannels]

    def _evidence(self, speech: _Speech) -> Evidence:
        now = anyio.current_time()
        speaking = speech.ended_at is None
        ms = (now - speech.began_at) * 1000 if speaking else speech.ms
        ms = ms if speech.speech_ms is None else speech.speech_ms
        needs_words = bool(self.min_words) or not self._has_speech_events
        transcript = speech.transcript
        own = self._user_words(transcript.text) if transcript is not None else []
        final = transcript is not None and transcript.final
        due = needs_words and not final and not speaking and now < (speech.ended_at or 0.0) + self.transcript_ms / 1000
        certain = final or not self._has_speech_events or ms >= self.min_ms - 1e-6
        if needs_words:
            long_enough = transcript is None and not self.echo_guard and ms >= LONG_SPEECH_MS - 1e-6
        else:
            long_enough = ms >= self.min_ms - 1e-6
        return Evidence(
            speaking=speaking,
            long_enough=long_enough,
            enough_words=not self.stop_words.isdisjoint(own) or (certain and len(own) >= max(1, self.min_words)),
            transcript_due=due,
            muted=self._is_muted,
            heard=bool(self._playing) and now < speech.last_sign + self.hold_ms / 1000,
            echo=self.echo_guard and not own,
            held=self._on_hold,
        )

    # Decisions -------------------------------------------------------------------------------------------------

    def _next_deadline(self) -> float:
        """Return the time of the next deadline, or infinity."""
        speech, now = self._speech, anyio.current_time()
        if speech is None or self._external_control:
            return math.inf
        hold = speech.last_sign + self.hold_ms / 1000 if self._on_hold else math.inf
        if speech.ended_at is not None:
            due = speech.ended_at + self.transcript_ms / 1000
        else:
            least = LONG_SPEECH_MS if self.min_words else self.min_ms
            due = speech.began_at + least / 1000 if speech.speech_ms is None else math.inf
        return min((each for each in (due, hold) if each > now), default=math.inf)

    async def _act(self, inbox: Inbox[Frame], out: Outlet[Hold | Resume | Interrupt], *, typed: bool) -> None:
        if typed and not self._is_muted:
            await self._interrupt(inbox, out, "the user wrote")
        speech = self._speech
        if speech is None:
            return
        if speech.ended_at is not None and self._agent.response_id not in ("", speech.response):
            self._finish_speech()  # the agent is answering already: late words must not interrupt the answer
            await self._resume(out)
            return
        evidence = self._evidence(speech)
        decision = decide(evidence, tentative=self.tentative)
        agent = (self._agent.response_id, bool(self._playing))
        if decision is Decision.HOLD:
            self._on_hold = True
            await out.send(Hold())
        elif decision is Decision.INTERRUPT:
            if speech.no_effect is None or (speech.no_effect != agent and any(agent)):
                if await self._interrupt(inbox, out, "the user spoke") or speech.speech_ms == math.inf:
                    self._finish_speech()
                else:  # a response that begins before the user has finished is interrupted then
                    speech.no_effect = agent
        elif decision is Decision.RESUME:
            await self._resume(out)
        if self._on_hold and anyio.current_time() >= speech.last_sign + self.hold_ms / 1000:
            await self._resume(out)
        if not evidence.speaking and not evidence.transcript_due:
            final = speech.transcript is not None and speech.transcript.final
            late = not evidence.enough_words and not final
            if not (late and speech.response):
                self._finish_speech()

    async def _interrupt(self, inbox: Inbox[Frame], out: Outlet[Hold | Resume | Interrupt], reason: str) -> bool:
        """Send an interrupt, and end any hold. Return False if there was nothing to interrupt."""
        epoch = inbox.epoch
        await out.send(Interrupt(reason=reason))
        if inbox.epoch == epoch:
            await self._resume(out)
        self._on_hold = False
        return inbox.epoch != epoch

    async def _resume(self, out: Outlet[Hold | Resume | Interrupt]) -> None:
        if self._on_hold:
            self._on_hold = False
            await out.send(Resume())


def _without_echo(own: list[str], said: list[str]) -> list[str]:
    """Return the words that do not repeat the agent: an echo is two or more words in a row, or all words."""
    matcher = SequenceMatcher(None, said, own, autojunk=False)
    echo = [block for block in matcher.get_matching_blocks() if block.size >= min(2, len(own)) > 0]
    repeated = {at for block in echo for at in range(block.b, block.b + block.size)}
    if len(repeated) >= 0.75 * len(own):  # recognisers mishear parts of an echo
        return []
    return [word for at, word in enumerate(own) if at not in repeated]
