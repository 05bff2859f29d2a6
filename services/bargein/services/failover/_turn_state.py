"""Whose turn it is, as far as a failover must know: whether an answer is due, and what the brain has done about it."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from bargein.pipeline import (
    Audio,
    Frame,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    Transcript,
    UserText,
)
from bargein.processors import Commit, Turn
from bargein.services.frames import Connected, Disconnected, Respond, Say, ToolFinished, ToolProgress, ToolStarted

__all__ = ["DEAF", "TurnState"]

DEAF = "it failed to hear the user"

ASKS = (UserText, Commit, Turn, Respond, Say)
TOOLS = (ToolStarted, ToolProgress, ToolFinished)


class _Reply:
    """A response that is being made."""

    def __init__(self, covers: int, mark: int) -> None:
        self.covers = covers  # how much had been asked when it began
        self.mark = mark  # and how much sent
        self.sounds = self.called = False


class TurnState:
    """Synchronous state: frames of the user's and of the brain's come in, and it can be asked how things are."""

    def __init__(self) -> None:
        self.fault = ""
        """Why the brain must be left; empty as long as all is well."""
        self.calls: dict[str, bool] = {}
        """Calls that have not been answered, and whether the brain answers them itself."""
        self.speaks = True
        """The brain has a voice."""
        self.speaking: set[str] = set()
        """Items that the user is speaking."""
        self.mark = 0
        """Everything up to this frame of the user's has been answered."""
        self.since = anyio.current_time()
        """When anything last happened."""
        self._asked = self._answered = 0
        self._due: float | None = None  # since when an answer has been due that has not begun
        self._by_speech = False  # because somebody spoke, nobody knows what
        self._signed = 0.0  # when the brain last showed that it is at work
        self._troubled = False  # a part of it has failed
        self._ears = False  # the same, since the user began to speak
        self._replies: dict[str, _Reply] = {}

    @property
    def owed(self) -> bool:
        """Something of the user's has not been answered."""
        return self._asked > self._answered or bool(self._replies)

    @property
    def pause(self) -> bool:
        """Nobody speaks or is about to."""
        return not (self._replies or self.speaking or self.calls or self._due is not None)

    def silent_since(self) -> float:
        """Since when the brain has been silent though it should not be; infinite when it may be."""
        if self.speaking or self.calls or (self._due is None and not self._replies):
            return math.inf
        return max(self._due or 0.0, self._signed if self._replies else 0.0)

    def asks(self) -> None:
        """The user has said something new, or an answer is asked for."""
        self._asked += 1
        self.since = anyio.current_time()

    def words(self) -> None:
        """The user's words have been written down. They may be late: then they are those that are being answered."""
        self.asks()
        if not self.speaking and self._due is None:
            for reply in self._replies.values():
                reply.covers = self._asked

    def expect(self, *, by_speech: bool) -> None:
        """An answer is due from now on."""
        self._due, self._by_speech = anyio.current_time(), by_speech

    def above(self, frame: Frame) -> None:
        """The user sent this."""
        if isinstance(frame, ASKS):
            self.asks()
            self.expect(by_speech=False)
        elif isinstance(frame, SpeechStarted | SpeechStopped):
            self._speech(frame)

    def below(self, frame: Frame, mark: int, mending: Callable[[], bool]) -> None:
        """The brain gives this; `mark`: the user's latest frame; `mending()`: it is restoring its
        connection."""
        now = anyio.current_time()
        if isinstance(frame, ResponseStarted):
            self._replies[frame.response_id] = _Reply(self._asked, mark)
            self._due, self._troubled, self._signed = None, False, now
        elif isinstance(frame, Audio | Text):
            self._signed = now
            if (reply := self._replies.get(frame.response_id)) is not None:
                reply.sounds = reply.sounds or isinstance(frame, Audio)
                reply.called = reply.called and isinstance(frame, Audio)
        elif isinstance(frame, ToolCall):
            self.calls[frame.call_id] = frame.handled
            if (reply := self._replies.get(frame.response_id)) is not None:
                reply.called = True
        elif isinstance(frame, TOOLS):
            self._signed = now
            if isinstance(frame, ToolFinished):
                self.answered(frame.call_id)
        elif isinstance(frame, ResponseEnded):
            self._ended(frame, mending)
        elif isinstance(frame, SpeechStarted | SpeechStopped):
            self._speech(frame)
        elif isinstance(frame, Transcript) and frame.speaker == "user" and frame.final:
            self._heard(frame)
        elif isinstance(frame, Turn):
            self.expect(by_speech=False)
        elif isinstance(frame, Disconnected | Connected):
            self._signed = now
        self.since = now

    def answered(self, call: str) -> None:
        """A tool has answered."""
        if call in self.calls:
            del self.calls[call]
            self._signed = anyio.current_time()
            if not self._replies and not self.calls:
                self.expect(by_speech=False)

    def failing(self) -> None:
        """A part of the brain has failed, and the brain goes on."""
        self._troubled = self._ears = True

    def interrupted(self, *, by_brain: bool) -> None:
        """The user has interrupted: what is being answered need not be.

        What has been asked and not begun is dropped by an interrupt from above, which comes before the words that it is
        about. One of the brain's own may come after them.
        """
        if not (self._replies or by_brain):
            self._answered = self._asked
        for reply in self._replies.values():
            self._answered, self.mark = max(self._answered, reply.covers), max(self.mark, reply.mark)
        self._replies.clear()
        self.calls = {call: ours for call, ours in self.calls.items() if ours}  # nobody waits for the application's
        if not by_brain:
            self._due = None
        self.since = anyio.current_time()

    def moved(self) -> None:
        """Another brain takes over: what was being answered is still to be."""
        if self._replies and self._asked <= self._answered:
            self._asked = self._answered + 1
        self._replies.clear()
        self.calls.clear()
        self.speaking.clear()
        self.fault, self._due, self._troubled, self._ears = "", None, False, False

    def _speech(self, frame: SpeechStarted | SpeechStopped) -> None:
        if isinstance(frame, SpeechStarted):
            self.speaking.add(frame.item_id)
            self._ears = False
        else:  # without an item, all of it has stopped
            self.speaking -= {frame.item_id} if frame.item_id else set(self.speaking)
            if self._due is None:
                self.expect(by_speech=True)
        self.since = anyio.current_time()

    def _heard(self, frame: Transcript) -> None:
        if frame.text.strip():
            return
        if self._by_speech:
            self._due = None  # it was nothing
        if self._troubled or self._ears:  # whether or not it has begun to say so
            self.fault = DEAF

    def _ended(self, frame: ResponseEnded, mending: Callable[[], bool]) -> None:
        reply = self._replies.pop(frame.response_id, None)
        if reply is None or self.fault == DEAF:  # what it says to that is no answer
            return
        if frame.outcome == "failed":
            self._asked += self._asked <= self._answered
            self.expect(by_speech=False)
            if not mending():
                self.fault = f"its response failed{': ' if frame.reason else ''}{frame.reason}"
        elif self._troubled and self.speaks and not reply.sounds and frame.outcome == "completed":
            self._asked += self._asked <= self._answered
            self.fault = "nothing could be heard of its response"
        elif reply.called and frame.outcome == "completed":
            self._asked += self._asked <= self._answered
            self.expect(by_speech=False)
        else:
            self._answered = max(self._answered, reply.covers)
            self.mark = max(self.mark, reply.mark)
