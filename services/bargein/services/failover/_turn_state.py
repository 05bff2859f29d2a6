"""`TurnState`: whether an answer is due, and what the brain has done about it."""

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

__all__ = ["DEAF", "REQUESTS", "TurnState"]

DEAF = "it failed to hear the user"
"""The fault of a brain whose speech-to-text part failed."""

REQUESTS = (UserText, Commit, Turn, Respond, Say)
"""Frames of the user that ask for an answer."""
TOOL_FRAMES = (ToolStarted, ToolProgress, ToolFinished)


class _OpenReply:
    """A response that is being made."""

    def __init__(self, covers: int, mark: int) -> None:
        self.covers = covers  # how many requests there were when it began
        self.mark = mark  # the newest frame of the user at that time
        self.has_sound = self.ends_in_call = False


class TurnState:
    """Follows the frames of the user and of the brain, and says whether an answer is due. It awaits nothing."""

    def __init__(self) -> None:
        self.fault = ""
        """Why the brain must be left; empty while all is well."""
        self.calls: dict[str, bool] = {}
        """Tool calls without a result, and whether the brain runs them itself."""
        self.speaks = True
        """Whether the brain has a voice."""
        self.speaking: set[str] = set()
        """The items that the user is speaking."""
        self.failed_since_speech = False
        """Whether a part of the brain has failed since the user began to speak."""
        self.mark = 0
        """The number of the user's newest frame that has been answered."""
        self.changed_at = anyio.current_time()
        """When anything last happened."""
        self._requests = self._answered = 0
        self._due_since: float | None = None  # when an answer became due that has not begun
        self._due_by_speech = False  # because the user spoke, and the words are not known
        self._sign_at = 0.0  # when the brain last showed that it works
        self._part_failed = False  # a part of the brain has failed since the latest response began
        self._replies: dict[str, _OpenReply] = {}

    @property
    def owes_answer(self) -> bool:
        """Whether something of the user has not been answered."""
        return self._requests > self._answered or bool(self._replies)

    @property
    def is_pause(self) -> bool:
        """Whether neither side speaks or is about to."""
        return not (self._replies or self.speaking or self.calls or self._due_since is not None)

    def silent_since(self) -> float:
        """Return since when the brain has been silent although it should not be; infinity if it may be silent."""
        # While the user speaks or a tool runs, the brain has nothing to say.
        if self.speaking or self.calls or (self._due_since is None and not self._replies):
            return math.inf
        return max(self._due_since or 0.0, self._sign_at if self._replies else 0.0)

    def add_request(self) -> None:
        """Note that the user has said something new, or that an answer is asked for."""
        self._requests += 1
        self.changed_at = anyio.current_time()

    def on_user_entry(self) -> None:
        """Note that words of the user were written down. Late ones are those that are being answered."""
        self.add_request()
        if not self.speaking and self._due_since is None:
            for reply in self._replies.values():
                # Nobody speaks and no other answer is due, so these are the words that the reply answers, transcribed
                # late.
                reply.covers = self._requests

    def expect_answer(self, *, by_speech: bool) -> None:
        """Note that an answer is due from now on.

        Args:
            by_speech: Whether it is due only because the user spoke, and the words are not known yet.
        """
        self._due_since, self._due_by_speech = anyio.current_time(), by_speech

    def on_user_frame(self, frame: Frame) -> None:
        """Note a frame of the user."""
        if isinstance(frame, REQUESTS):
            self.add_request()
            self.expect_answer(by_speech=False)
        elif isinstance(frame, SpeechStarted | SpeechStopped):
            self._on_speech(frame)

    def on_brain_frame(self, frame: Frame, mark: int, is_reconnecting: Callable[[], bool]) -> None:
        """Note a frame of the brain.

        Args:
            frame: The frame.
            mark: The number of the user's newest frame.
            is_reconnecting: Returns whether the brain is restoring its connection.
        """
        now = anyio.current_time()
        if isinstance(frame, ResponseStarted):
            self._replies[frame.response_id] = _OpenReply(self._requests, mark)
            # A new response is a new chance: what failed before it is not held against it.
            self._due_since, self._part_failed, self._sign_at = None, False, now
        elif isinstance(frame, Audio | Text):
            self._sign_at = now
            if (reply := self._replies.get(frame.response_id)) is not None:
                reply.has_sound = reply.has_sound or isinstance(frame, Audio)
                # Sound after a call may belong to words before it. Text after it is new: the response has gone on.
                reply.ends_in_call = reply.ends_in_call and isinstance(frame, Audio)
        elif isinstance(frame, ToolCall):
            self.calls[frame.call_id] = frame.handled
            if (reply := self._replies.get(frame.response_id)) is not None:
                reply.ends_in_call = True
        elif isinstance(frame, TOOL_FRAMES):
            self._sign_at = now
            if isinstance(frame, ToolFinished):
                self.on_tool_result(frame.call_id)
        elif isinstance(frame, ResponseEnded):
            self._on_response_ended(frame, is_reconnecting)
        elif isinstance(frame, SpeechStarted | SpeechStopped):
            self._on_speech(frame)
        elif isinstance(frame, Transcript) and frame.speaker == "user" and frame.final:
            self._on_transcript(frame)
        elif isinstance(frame, Turn):
            self.expect_answer(by_speech=False)
        elif isinstance(frame, Disconnected | Connected):
            self._sign_at = now
        self.changed_at = now

    def on_tool_result(self, call_id: str) -> None:
        """Note that a tool call has its result."""
        if call_id in self.calls:
            del self.calls[call_id]
            self._sign_at = anyio.current_time()
            # The brain has all results now, so its silence counts from here, unless an interrupt withdrew the question.
            if not self._replies and not self.calls and self.owes_answer:
                self.expect_answer(by_speech=False)

    def on_part_failed(self) -> None:
        """Note that a part of the brain has failed, and the brain continues."""
        self._part_failed = self.failed_since_speech = True

    def on_interrupt(self, *, by_brain: bool) -> None:
        """Note an interrupt. Requests that are being answered count as answered.

        An interrupt from above comes before the words that it is about, so it also drops requests whose answer has not
        begun. One of the brain may come after them.
        """
        if not (self._replies or by_brain):
            self._answered = self._requests
        for reply in self._replies.values():
            self._answered, self.mark = max(self._answered, reply.covers), max(self.mark, reply.mark)
        self._replies.clear()
        self.calls = {call_id: own for call_id, own in self.calls.items() if own}  # the application's do not matter now
        if not by_brain:
            self._due_since = None
        self.changed_at = anyio.current_time()

    def on_move(self) -> None:
        """Note that another brain takes over. It has to answer what the old brain was answering."""
        if self._replies and self._requests <= self._answered:
            self._requests = self._answered + 1
        self._replies.clear()
        self.calls.clear()
        self.speaking.clear()
        self.fault, self._due_since, self._part_failed, self.failed_since_speech = "", None, False, False

    def _on_speech(self, frame: SpeechStarted | SpeechStopped) -> None:
        if isinstance(frame, SpeechStarted):
            self.speaking.add(frame.item_id)
            self.failed_since_speech = False
        else:  # without an item, all speech has stopped
            self.speaking -= {frame.item_id} if frame.item_id else set(self.speaking)
            if self._due_since is None:
                self.expect_answer(by_speech=True)
        self.changed_at = anyio.current_time()

    def _on_transcript(self, frame: Transcript) -> None:
        if frame.text.strip():
            return
        if self._due_by_speech:
            self._due_since = None  # it was not speech
        if self._part_failed or self.failed_since_speech:
            self.fault = DEAF

    def _on_response_ended(self, frame: ResponseEnded, is_reconnecting: Callable[[], bool]) -> None:
        reply = self._replies.pop(frame.response_id, None)
        if reply is None or self.fault == DEAF:  # what a deaf brain says is not an answer
            return
        if frame.outcome == "failed":
            # It is still to be answered, although nothing new was said.
            self._requests += self._requests <= self._answered
            self.expect_answer(by_speech=False)
            if not is_reconnecting():
                self.fault = f"its response failed{': ' if frame.reason else ''}{frame.reason}"
        elif self._part_failed and self.speaks and not reply.has_sound and frame.outcome == "completed":
            self._requests += self._requests <= self._answered
            self.fault = "nothing could be heard of its response"
        elif reply.ends_in_call and frame.outcome == "completed":
            self._requests += self._requests <= self._answered
            self.expect_answer(by_speech=False)
        else:
            self._answered = max(self._answered, reply.covers)
            self.mark = max(self.mark, reply.mark)
