"""`TurnState`: tracks whether an answer of the brain is due, and whether the brain has failed to give it."""

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

__all__ = ["NOT_HEARD", "REQUESTS", "TurnState"]

NOT_HEARD = "it failed to hear the user"
"""The fault of a brain whose speech-to-text part failed."""

REQUESTS = (UserText, Commit, Turn, Respond, Say)
"""Frames of the user that ask for an answer."""
TOOL_FRAMES = (ToolStarted, ToolProgress, ToolFinished)


class _OpenReply:
    """A response in progress."""

    def __init__(self, covers: int, mark: int) -> None:
        self.covers = covers  # number of requests when it began
        self.mark = mark  # number of the user's newest frame at that time
        self.has_sound = self.ends_in_call = False


class TurnState:
    """Tracks the frames of the user and of the brain, and tells whether an answer is due. It never awaits."""

    def __init__(self) -> None:
        self.fault = ""
        """Why the brain must be left; empty if it has not failed."""
        self.calls: dict[str, bool] = {}
        """Tool calls without a result, and whether the brain runs them itself."""
        self.speaks = True
        """Whether the brain sends sound."""
        self.speaking: set[str] = set()
        """Ids of the items of speech that are in progress."""
        self.failed_since_speech = False
        """Whether a part of the brain has failed since the user began to speak."""
        self.mark = 0
        """The number of the user's newest frame that has been answered."""
        self.changed_at = anyio.current_time()
        """Time of the latest event, in seconds."""
        self._requests = self._answered = 0
        self._due_since: float | None = None  # when the answer became due, until it begins
        self._due_by_speech = False  # whether it is due only because the user spoke, with unknown words
        self._sign_at = 0.0  # when the brain last sent anything
        self._part_failed = False  # whether a part of the brain has failed since the latest response began
        self._replies: dict[str, _OpenReply] = {}

    @property
    def owes_answer(self) -> bool:
        """Whether any input of the user has not been answered."""
        return self._requests > self._answered or bool(self._replies)

    @property
    def is_pause(self) -> bool:
        """Whether neither side speaks and no answer is due."""
        return not (self._replies or self.speaking or self.calls or self._due_since is not None)

    def silent_since(self) -> float:
        """Return since when the brain has been silent although an answer is due; infinity if it may be silent."""
        # While the user speaks or a tool runs, no output of the brain is expected.
        if self.speaking or self.calls or (self._due_since is None and not self._replies):
            return math.inf
        return max(self._due_since or 0.0, self._sign_at if self._replies else 0.0)

    def add_request(self) -> None:
        """Note new words of the user, or a request for an answer."""
        self._requests += 1
        self.changed_at = anyio.current_time()

    def on_user_entry(self) -> None:
        """Note that words of the user were recorded. They may belong to the response in progress."""
        self.add_request()
        if not self.speaking and self._due_since is None:
            for reply in self._replies.values():
                # Nobody speaks and no other answer is due, so these are the late transcript of the words that the
                # response answers.
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
            # Earlier failures of parts do not count against a new response.
            self._due_since, self._part_failed, self._sign_at = None, False, now
        elif isinstance(frame, Audio | Text):
            self._sign_at = now
            if (reply := self._replies.get(frame.response_id)) is not None:
                reply.has_sound = reply.has_sound or isinstance(frame, Audio)
                # Sound after a call may belong to words before the call. Text after a call is new, so the response
                # continues.
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
            # The brain has all results now, so its silence counts from here, unless an interrupt has ended the
            # question.
            if not self._replies and not self.calls and self.owes_answer:
                self.expect_answer(by_speech=False)

    def on_part_failed(self) -> None:
        """Note that a part of the brain has failed, and the brain continues."""
        self._part_failed = self.failed_since_speech = True

    def on_interrupt(self, *, by_brain: bool) -> None:
        """Note an interrupt. Requests that are being answered count as answered.

        An interrupt from above comes before the words that caused it, so it also drops requests whose answer has not
        begun. An interrupt of the brain may come after those words, so it does not.
        """
        if not (self._replies or by_brain):
            self._answered = self._requests
        for reply in self._replies.values():
            self._answered, self.mark = max(self._answered, reply.covers), max(self.mark, reply.mark)
        self._replies.clear()
        self.calls = {call_id: own for call_id, own in self.calls.items() if own}  # only own tools still count
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
            self.fault = NOT_HEARD

    def _on_response_ended(self, frame: ResponseEnded, is_reconnecting: Callable[[], bool]) -> None:
        reply = self._replies.pop(frame.response_id, None)
        if reply is None or self.fault == NOT_HEARD:  # a brain that did not hear the user cannot answer
            return
        if frame.outcome == "failed":
            # The request still has to be answered, although the user has said nothing new.
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
