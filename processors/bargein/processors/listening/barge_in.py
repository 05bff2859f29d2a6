"""Deciding when the user's speech interrupts the agent."""

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
from bargein.processors.speaking._words import words
from bargein.processors.speaking.spoken import AgentActivity, Heard

from .turn_taking import TurnControl
from .vad import SpeechContinued

__all__ = ["BACKCHANNELS", "BargeIn", "Decision", "Evidence", "decide"]

Mute = Literal["always", "first response", "tools"]

BACKCHANNELS = frozenset(
    {"uh", "huh", "mm", "mhm", "mmhm", "hmm", "hm", "yeah", "yep", "ok", "okay", "right", "aha", "ah"}
)
"""What listeners say without wanting the floor, in English."""

SAID = 60
"""So many of the agent's latest words can come back as an echo."""
AHEAD = 8
"""And so many that are about to be heard: a recogniser may be faster than the report of what was played."""


class Decision(Enum):
    """What to do about the user's speech."""

    NOTHING = "nothing"
    HOLD = "hold"
    INTERRUPT = "interrupt"
    RESUME = "resume"


class Evidence(NamedTuple):
    """What is known of one stretch of the user's speech."""

    speaking: bool
    """It goes on."""
    long_enough: bool
    """It has lasted the minimum duration."""
    enough_words: bool | None
    """It has the minimum of words that are no echo; None where words do not count."""
    transcript_due: bool
    """It is over, and its transcript may still come."""
    muted: bool
    """Nothing may interrupt now."""
    heard: bool
    """The agent is being heard."""
    echo: bool
    """It may be the agent's own sound: that is guarded against, and no word of the user's own has come."""
    held: bool
    """The agent is on hold."""


def decide(evidence: Evidence, *, tentative: bool = True) -> Decision:
    """The one decision, from top to bottom.

    | muted | long and words enough | speaking | transcript due | | decision |
    |---|---|---|---|---|---|
    | yes | | | | | resume if held |
    | no | yes | | | | interrupt |
    | no | no | yes | | | hold, if tentative and the agent is heard, but for what may be its echo |
    | no | no | no | yes | | nothing: stay as it is |
    | no | no | no | no | | resume if held |
    """
    if not evidence.muted:
        if evidence.long_enough and evidence.enough_words is not False:
            return Decision.INTERRUPT
        if evidence.speaking:
            hold = tentative and evidence.heard and not evidence.held and not evidence.echo
            return Decision.HOLD if hold else Decision.NOTHING
        if evidence.transcript_due:
            return Decision.NOTHING
    return Decision.RESUME if evidence.held else Decision.NOTHING


class _Speech:
    """One stretch of the user's speech."""

    def __init__(self, frame: SpeechStarted, now: float) -> None:
        self.item = frame.item_id
        self.began = now - frame.lag_ms / 1000
        self.counted: float | None = None  # milliseconds of speech without pauses, where somebody counts them
        self.ended: float | None = None  # when the news of its end came
        self.ms = 0.0  # how long it was
        self.transcript: Transcript | None = None
        self.response = ""  # what the agent was saying while it went on
        self.items = {frame.item_id}  # under which its transcripts come
        self.news = now  # when anything was last heard of it
        self.nothing: tuple[str, bool] | None = None  # what the agent did when an interrupt found nothing to interrupt


class BargeIn(Processor):
    """Turn the user's speech into an `Interrupt`, when it is one.

    Stands between whatever hears speech (`Vad`, and a recogniser where there is one) and whatever answers. Speech
    interrupts once it has lasted `min_ms` milliseconds and, where transcripts come, has `min_words` words, those of
    `backchannels` not counted. A `Vad` counts speech without its pauses; with other sources the clock is asked.

    Until that is known a `Hold` silences the agent at once, if `tentative`. It ends in the `Interrupt`, or in a
    `Resume` when the speech is over: at once without `min_words`, else with its final transcript, or `transcript_ms`
    later; in any case after `hold_ms` without a sign of the speech. A transcript that is later still may yet interrupt
    the same response, but never the reply to it. What is typed interrupts at once. Where nobody says when speech
    starts, transcripts do, and one word is needed.

    Nothing interrupts a response that is `protected`, nor while a rule of `mute` holds: `"always"`, `"first response"`
    (until it has been heard), `"tools"` (while a tool runs). Speech that lasts until then interrupts then.

    With `echo_guard`, for where the agent's sound comes back through the microphone, words that it is just saying do
    not count, at least one word of the user's own is needed, and nothing is put on hold before. It needs transcripts.

    While somebody above takes the turns (`TurnControl`), nothing is held or interrupted here.

    What the agent says and does it learns from a `Spoken` below; that it is heard at all, from `Played`. Raises
    `ValueError` for numbers that cannot be.
    """

    def __init__(
        self,
        *,
        min_ms: float = 300.0,
        min_words: int = 0,
        tentative: bool = True,
        mute: Collection[Mute] = (),
        echo_guard: bool = False,
        backchannels: Collection[str] = BACKCHANNELS,
        transcript_ms: float = 700.0,
        hold_ms: float = 3000.0,
    ) -> None:
        for name, value in {"min_ms": min_ms, "transcript_ms": transcript_ms, "hold_ms": hold_ms}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"BargeIn({name}={value}): expected milliseconds, 0 or more")
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
        self.transcript_ms = transcript_ms
        self.hold_ms = hold_ms
        self._heard_speech = False  # somebody says when speech starts
        self._speech: _Speech | None = None  # until it is decided
        self._earlier: deque[str] = deque(maxlen=32)  # items of speech before that
        self._epoch = 0
        self._transcripts = False  # some have been seen
        self._agent: AgentActivity = AgentActivity()
        self._told = False  # somebody tells what the agent does
        self._answered: set[str] = set()  # tool calls
        self._first: str | None = None  # the first response, once there is one
        self._first_over = False
        self._playing: set[tuple[str, str]] = set()
        self._held = False
        self._said: deque[str] = deque(maxlen=SAID)
        self._saying: dict[tuple[str, str], Heard] = {}
        self._above = False

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
        """Listen until the end, and leave nobody on hold."""
        while True:
            frame = None
            with anyio.move_on_after(max(0.0, self._next() - anyio.current_time())):
                try:
                    frame = await inbox.receive()
                except anyio.EndOfStream:
                    break
            if inbox.epoch != self._epoch:  # whoever interrupted, all of that is over
                self._epoch, self._held = inbox.epoch, False
                self._playing.clear()
                self._saying.clear()
            if isinstance(frame, TurnControl):
                self._above = frame.external
                self._decided()
                await self._resume(out)
            elif frame is not None:
                self._take(frame)
            if not self._above:
                await self._act(inbox, out, typed=isinstance(frame, UserText))
            if isinstance(frame, SpeechStarted | SpeechContinued | SpeechStopped | Transcript | UserText | TurnControl):
                await out.send(frame)  # behind what it causes: an interrupt is no later for it, and the words survive
        await self._resume(out)

    # What is known ------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        now = anyio.current_time()
        speech = self._speech
        if isinstance(frame, SpeechStarted):
            self._heard_speech = True
            self._begin(frame, now)
        elif isinstance(frame, SpeechContinued):
            if speech is not None and speech.ended is None:
                speech.counted, speech.news = frame.ms, now
        elif isinstance(frame, SpeechStopped):
            if speech is not None and speech.ended is None:
                speech.ended = now
                speech.ms = (now - speech.began) * 1000 - frame.lag_ms
        elif isinstance(frame, Transcript):
            self._hears(frame)
        elif isinstance(frame, Played):
            self._plays(frame)
        elif isinstance(frame, Heard):
            self._says(frame)
        elif isinstance(frame, AgentActivity):
            self._does(frame)
        elif isinstance(frame, ToolResult) and frame.call_id in self._agent.call_ids:
            self._answered.add(frame.call_id)

    def _hears(self, frame: Transcript) -> None:
        """A transcript belongs to its speech by its item; a recogniser with items of its own means the latest."""
        if frame.speaker != "user":
            return
        self._transcripts = True
        if frame.item_id and frame.item_id in self._earlier:
            return
        if not self._heard_speech:  # its words are the only sign of speech
            if self._speech is None:
                self._begin(SpeechStarted(item_id=frame.item_id), anyio.current_time()).counted = math.inf
            if frame.final and self._speech is not None and self._speech.ended is None:
                self._speech.ended = anyio.current_time()
        speech = self._speech
        if speech is None:
            if frame.item_id:
                self._earlier.append(frame.item_id)
            return
        speech.transcript, speech.news = frame, anyio.current_time()
        speech.items.add(frame.item_id)

    def _begin(self, frame: SpeechStarted, now: float) -> _Speech:
        self._decided()
        self._speech = _Speech(frame, now)
        self._speech.response = self._agent.response_id
        return self._speech

    def _decided(self) -> None:
        """There is nothing more to decide about the present speech; what still comes of it is late."""
        if self._speech is not None:
            self._earlier.extend(item for item in self._speech.items if item)
        self._speech = None

    def _plays(self, frame: Played) -> None:
        (self._playing.discard if frame.done else self._playing.add)((frame.response_id, frame.item_id))
        if not self._told:  # without a Spoken the first response is over when its first item is
            self._first = self._first or frame.response_id
            self._first_over = self._first_over or frame.done or frame.response_id != self._first

    def _does(self, frame: AgentActivity) -> None:
        self._agent, self._told = frame, True
        self._answered &= set(frame.call_ids)
        if self._speech is not None and self._speech.ended is None:
            self._speech.response = frame.response_id
        if frame.response_id and self._first is None:
            self._first = frame.response_id
        elif self._first is not None and frame.response_id != self._first:
            self._first_over = True

    def _says(self, frame: Heard) -> None:
        """Keep the agent's latest words, and those that come next."""
        key = (frame.response_id, frame.item_id)
        before = self._saying.pop(key, None)
        known = len(words(before.text)) if before is not None else 0
        self._said.extend(words(frame.text)[known:])
        if not frame.done:
            self._saying[key] = frame

    @property
    def _muted(self) -> bool:
        return (
            "always" in self.mute
            or self._agent.protected
            or ("first response" in self.mute and not self._first_over)
            or ("tools" in self.mute and bool(set(self._agent.call_ids) - self._answered))
        )

    def _count(self, text: str) -> int:
        """How many words are the user's own, and not meant as a nod."""
        own = words(text)
        if self.echo_guard:
            coming = [word for each in self._saying.values() for word in words(each.remaining)[:AHEAD]]
            own = _without_echo(own, [*self._said, *coming])
        return sum(word not in self.backchannels for word in own)

    def _evidence(self, speech: _Speech) -> Evidence:
        now = anyio.current_time()
        speaking = speech.ended is None
        ms = (now - speech.began) * 1000 if speaking else speech.ms
        least = self.min_words if self._heard_speech else max(1, self.min_words)
        counts = bool(least) and (self._transcripts or self.echo_guard)
        transcript = speech.transcript
        own = self._count(transcript.text) if counts and transcript is not None else 0
        final = transcript is not None and transcript.final
        due = counts and not final and speech.ended is not None and now < speech.ended + self.transcript_ms / 1000
        return Evidence(
            speaking=speaking,
            long_enough=(ms if speech.counted is None else speech.counted) >= self.min_ms - 1e-6,
            enough_words=own >= least if counts else None,
            transcript_due=due,
            muted=self._muted,
            heard=bool(self._playing) and now < speech.news + self.hold_ms / 1000,
            echo=self.echo_guard and not own,
            held=self._held,
        )

    # What is done -------------------------------------------------------------------------------------------------

    def _next(self) -> float:
        """When something will have changed if nothing comes."""
        speech, now = self._speech, anyio.current_time()
        if speech is None or self._above:
            return math.inf
        hold = speech.news + self.hold_ms / 1000 if self._held else math.inf
        if speech.ended is not None:
            due = speech.ended + self.transcript_ms / 1000
        else:
            due = speech.began + self.min_ms / 1000 if speech.counted is None else math.inf
        return min((each for each in (due, hold) if each > now), default=math.inf)

    async def _act(self, inbox: Inbox[Frame], out: Outlet[Hold | Resume | Interrupt], *, typed: bool) -> None:
        if typed and not self._muted:
            await self._interrupt(inbox, out, "the user wrote")
        speech = self._speech
        if speech is None:
            return
        if speech.ended is not None and self._agent.response_id not in ("", speech.response):
            self._decided()  # the agent answers already: what comes now must not interrupt the answer
            await self._resume(out)
            return
        evidence = self._evidence(speech)
        decision = decide(evidence, tentative=self.tentative)
        agent = (self._agent.response_id, bool(self._playing))
        if decision is Decision.HOLD:
            self._held = True
            await out.send(Hold())
        elif decision is Decision.INTERRUPT:
            if speech.nothing is None or (speech.nothing != agent and any(agent)):
                if await self._interrupt(inbox, out, "the user spoke") or speech.counted == math.inf:
                    self._decided()
                else:  # what the agent begins before the user has finished is interrupted then
                    speech.nothing = agent
        elif decision is Decision.RESUME:
            await self._resume(out)
        if self._held and anyio.current_time() >= speech.news + self.hold_ms / 1000:
            await self._resume(out)
        if not evidence.speaking and not evidence.transcript_due:
            final = speech.transcript is not None and speech.transcript.final
            late = evidence.enough_words is False and not final
            if not (late and speech.response):
                self._decided()

    async def _interrupt(self, inbox: Inbox[Frame], out: Outlet[Hold | Resume | Interrupt], why: str) -> bool:
        """Interrupt; False if there was nothing to interrupt. Either way nothing is on hold afterwards."""
        epoch = inbox.epoch
        await out.send(Interrupt(reason=why))
        if inbox.epoch == epoch:
            await self._resume(out)
        self._held = False
        return inbox.epoch != epoch

    async def _resume(self, out: Outlet[Hold | Resume | Interrupt]) -> None:
        if self._held:
            self._held = False
            await out.send(Resume())


def _without_echo(own: list[str], said: list[str]) -> list[str]:
    """The words that are not a repetition of what was said: two or more in a row, or all there are, come back."""
    matcher = SequenceMatcher(None, said, own, autojunk=False)
    echo = [block for block in matcher.get_matching_blocks() if block.size >= min(2, len(own)) > 0]
    repeated = {at for block in echo for at in range(block.b, block.b + block.size)}
    if len(repeated) >= 0.75 * len(own):  # a recogniser mishears some of an echo, too
        return []
    return [word for at, word in enumerate(own) if at not in repeated]
