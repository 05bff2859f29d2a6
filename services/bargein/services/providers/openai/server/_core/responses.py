"""Responses of a served session: how they are requested, what the brain sends for them, how they end and what was
heard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bargein.pipeline import (
    Audio,
    Interrupt,
    Played,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    Usage,
)
from bargein.processors import Timing
from bargein.services.frames import Say

from .config import response_settings
from .errors import RequestError
from .items import ServerItem
from .out_of_band import OutOfBandResponses
from .reply import ReplyWriter
from .state import SessionState

__all__ = ["ResponseWriter", "remember_newest"]

ABOUT_TO_ANSWER_MS = 3000.0
"""For this long after a spoken turn, in milliseconds of the user's sound, the brain is taken to be about to answer it.
After that, it may not mean to, and a `response.create` asks it."""
WRITTEN = "pre_generated_assistant_message"
"""The field of a response of Voice Live that is said as it is. The GA interface has no such field."""
ALL_MS = 1e9
"""Text that was sent without sound is read: all of its sound, which the client never got, counts as heard."""
MAX_REMEMBERED = 512
"""Past responses of the brain, and names of the user's items, that are remembered to recognise late frames."""


class ResponseWriter:
    """The response in progress, and the turn that the brain has to answer.

    The client's requests create a response at once, before the brain has begun: its `brain_id` is None until the brain
    says something. Speech creates a response when the brain begins it.
    """

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self.out_of_band = OutOfBandResponses(state)
        """Responses beside the conversation."""
        self.reply: ReplyWriter | None = None
        """The response in progress."""
        self.epoch = 0
        """The epoch of the brain's session, as far as it is known."""
        self.spoken = False
        """The agent has been heard, so its voice can no longer change."""
        self.quiet_from: float | None = None
        """When the user has heard the latest response, in milliseconds of the user's sound; None while that is not
        the latest thing that happened."""
        self.turn_due = False
        """A turn of the user ended while a response was in progress, and is to be answered after it."""
        self._answering = False  # the brain has a turn to answer, and has not begun
        self._asked_at = 0.0  # when it got that turn, in milliseconds of the user's sound
        self._called_off = False  # its answer to that turn, which has not begun, is to be interrupted
        self._over: dict[str, None] = {}  # the brain's responses that are over

    # What the client asks for -------------------------------------------------------------------------------------

    def create(self, changes: Mapping[str, Any] | None) -> None:
        """Create a response, as `response.create` asks. Raises `RequestError`."""
        state = self._state
        settings = response_settings(state.session, changes, lenient=state.lenient)
        if settings.get("conversation") == "none":
            self.out_of_band.create(settings)
            return
        if self.reply is not None:
            raise RequestError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self.reply.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        if self.spoken and settings["audio"]["output"]["voice"] != state.voice:
            raise RequestError(
                "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present."
            )
        self._begin(settings)
        if (message := settings.get(WRITTEN)) is not None:
            state.frames.append(Say(text=_text_of(message)))
        elif self._answering and not state.pending and state.audio.ms < self._asked_at + ABOUT_TO_ANSWER_MS:
            self._answering = False  # the brain knows everything, and its next answer is this response
        else:
            self.ask(settings)

    def cancel(self, response_id: str | None) -> None:
        """Cancel the response with an id, or the one in progress. Raises `RequestError` where there is none."""
        if response_id is not None and response_id in self.out_of_band:
            self.out_of_band.cancel(response_id)
            return
        about_to_begin = self.reply is None and response_id is None and self._answering
        if not about_to_begin and (self.reply is None or response_id not in (None, self.reply.id)):
            raise RequestError("response_cancel_not_active", "Cancellation failed: no active response found")
        self.interrupt("client_cancelled")

    def ask(self, settings: dict[str, Any] | None) -> None:
        """Let the brain answer all that is pending.

        Args:
            settings: What holds for a response that the client asked for; None where a spoken turn ended by itself.
        """
        state = self._state
        self._called_off, self._answering, self._asked_at = False, settings is None, state.audio.ms
        self.settle()
        state.frames.extend(state.pending.turn(settings, state.session, state.conversation, state.audio))

    def await_answer(self) -> None:
        """Note that the brain was asked for an answer in another way."""
        self._called_off, self._answering = False, True

    def interrupt(self, reason: str) -> None:
        """Cancel the response in progress, and call off an answer that has not begun."""
        if self.reply is None and not self._answering:
            return
        if self._answering or (self.reply is not None and self.reply.brain_id is None):
            self._called_off = True
        self._answering = False
        self._state.frames.append(Interrupt(reason=reason))
        self._cancelled(reason)

    def fail(self, code: str | None) -> None:
        """End the response in progress, if there is one, as failed."""
        if self.reply is not None:
            self._end("failed", {"type": "failed", "error": {"type": "server_error", "code": code}})

    # What was heard -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Report all that was sent and not truncated as heard in full."""
        for item in self._state.conversation:
            if item.unreported:
                self.report_played(item, item.ms or ALL_MS)

    def report_played(self, item: ServerItem, ms: float) -> None:
        """Tell the brain how much of an item was heard, in milliseconds."""
        item.unreported = False
        response_id, item_id = item.brain_ids
        self._state.frames.append(Played(response_id=response_id, item_id=item_id, ms=ms, done=True))

    # Frames of the brain -----------------------------------------------------------------------------------------

    def on_audio(self, frame: Audio) -> None:
        """Take sound of the agent; sound without a response is the user's, and passes."""
        if frame.response_id and (reply := self._reply_of(frame.response_id)) is not None:
            reply.audio(frame)

    def on_text(self, frame: Text) -> None:
        """Take text of the agent."""
        if (reply := self._reply_of(frame.response_id)) is not None:
            reply.text(frame.text, frame.item_id)

    def on_timing(self, frame: Timing) -> None:
        """Take the time of a word, for sessions that ask for it."""
        wanted = self._state.session.get("output_audio_timestamp_types") or ()
        if "word" in wanted and (reply := self._reply_of(frame.response_id)) is not None:
            reply.timing(frame)

    def on_tool_call(self, frame: ToolCall) -> None:
        """Take a call of a tool, unless the brain answers it itself."""
        if not frame.handled and (reply := self._reply_of(frame.response_id)) is not None:
            self._state.pending.add_call(frame.call_id)
            reply.call(frame.call_id, frame.name, frame.arguments)

    def on_usage(self, frame: Usage) -> None:
        """Take the usage of the response in progress."""
        if self.reply is not None and self.reply.brain_id in (None, frame.response_id):
            self.reply.usage = frame

    def on_interrupt(self, frame: Interrupt) -> None:
        """Take an interrupt: one of the brain's own cancels the response; ours are known already."""
        if frame.epoch > self.epoch:
            self.epoch = frame.epoch
            if self.reply is not None and self.reply.brain_id is not None:
                self._cancelled("turn_detected")

    def on_started(self, frame: ResponseStarted) -> None:
        """Take the start of a response."""
        self._start(frame.response_id)

    def on_ended(self, frame: ResponseEnded) -> None:
        """Take the end of a response."""
        reply = self.reply
        known = frame.response_id in self._over
        self._remember_over(frame.response_id)
        if reply is None or known or reply.brain_id not in (None, frame.response_id):
            return
        if frame.outcome == "completed":
            self._end("completed", None)
        elif frame.outcome == "failed":
            self.fail(frame.reason or None)
        elif reply.brain_id is not None:
            self._cancelled("turn_detected")

    def _reply_of(self, brain_id: str) -> ReplyWriter | None:
        """Return the response that a frame of the brain belongs to, which may begin with it; None where it is over."""
        if brain_id and brain_id in self._over:
            return None
        if self.reply is None or (brain_id and self.reply.brain_id not in (None, brain_id)):
            self._start(brain_id)
        if self.reply is not None and self.reply.brain_id is None:
            self.reply.brain_id = brain_id  # the first response that says something answers what the client asked
        return self.reply

    def _start(self, brain_id: str) -> None:
        if brain_id and brain_id in self._over:
            return
        if self._called_off:
            self._called_off = False
            self._remember_over(brain_id)
            self._state.frames.append(Interrupt(reason="the response was called off before it began"))
            return
        if self.reply is not None:
            if self.reply.brain_id in (None, brain_id):
                return  # probably the one that the client asked for; its first words or sound will show it
            self._end("completed", None)
        self._answering = False
        self._begin(response_settings(self._state.session, None)).brain_id = brain_id

    def _remember_over(self, brain_id: str | None) -> None:
        if brain_id:
            remember_newest(self._over, brain_id, None)

    # Beginning and end --------------------------------------------------------------------------------------------

    def _begin(self, settings: dict[str, Any]) -> ReplyWriter:
        state = self._state
        self.quiet_from = None
        self.reply = ReplyWriter(
            state.new_id("resp"), settings, (state.conversation_id, state.conversation), state.send, state.new_id
        )
        return self.reply

    def _cancelled(self, reason: str) -> None:
        if self.reply is not None:
            self._end("cancelled", {"type": "cancelled", "reason": reason})

    def _end(self, status: str, details: dict[str, Any] | None) -> None:
        reply, self.reply = self.reply, None
        assert reply is not None
        self._remember_over(reply.brain_id)
        reply.end(status, details)
        self.quiet_from = self._state.audio.ms + reply.ms if reply.ms else None
        self.spoken = self.spoken or reply.ms > 0
        self._state.frames.extend(self._state.pending.end_response(completed=status == "completed"))
        if self.turn_due:
            self.turn_due = False
            self.ask(None)


def remember_newest(names: dict[str, Any], name: str, value: Any) -> None:
    """Set a name in a dictionary that keeps its newest `MAX_REMEMBERED` names."""
    names[name] = value
    while len(names) > MAX_REMEMBERED:
        del names[next(iter(names))]


def _text_of(message: Any) -> str:
    """Return the text of a message that is plain JSON."""
    content = message.get("content") if isinstance(message, Mapping) else None
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
