"""One session of the OpenAI Realtime protocol, from the server's side, without I/O.

Messages of the client and frames of the brain go in; events for the client and frames for the brain come out. The
events are plain dictionaries and not the structs of `wire`: those leave out what their readers do not need, while a
server must give every field, null or not, as the real one does.
"""

from __future__ import annotations

import math
import random
import string
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from bargein.pipeline import (
    Audio,
    Failure,
    Frame,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    Transcript,
    Usage,
)
from bargein.pipeline.lowlevel import check_options
from bargein.processors import Timing, TurnControl
from bargein.services.frames import OutOfBand, Say
from bargein.services.providers.openai import wire

from .audio import MakeVad, UserAudio, server_vad
from .config import new_session, update_session
from .errors import RequestError, explain_malformed
from .items import ServerConversation, ServerItem, check_item
from .pending import configuration
from .reply import ReplyWriter
from .responses import ResponseWriter
from .state import Event, SessionState
from .user_input import ServedUserInput

__all__ = ["Event", "ServerSession", "random_id"]

VERBATIM: Final = "force_message"
"""The type of xAI's item that is said as it is. The GA interface has no such type."""
_ID_LETTERS: Final = string.ascii_letters + string.digits


def random_id(kind: str) -> str:
    """Return an id as the service makes them: `item_` and 21 letters and digits."""
    return f"{kind}_{''.join(random.choices(_ID_LETTERS, k=21))}"


class ServerSession:
    """A session between a client and a brain: `open()`, then `on_message` and `on_frame` as things come.

    After each call, `events` holds what to send to the client and `frames` what to send to the brain, in order. An
    `Interrupt` among the frames is to be carried out at once, ahead of those before it; afterwards `epoch` must be set
    to the number that it got.

    Args:
        model: The model's name in the session object.
        session: Fields that the session begins with, as in a `session.update`.
        rate: Sampling rate that the brain wants, in Hz; None for that of the session's input.
        vad: Makes the detector of speech. With None the brain finds speech by itself, and its `SpeechStarted` and
            `SpeechStopped` become the client's events.
        expires_at: When the session ends, in seconds since 1970.
        lenient: Keep settings that the GA interface does not know.
        ids: Makes ids.

    Raises:
        RequestError: `session` has fields or values that the interface does not allow.
    """

    @check_options
    def __init__(
        self,
        *,
        model: str = "bargein",
        session: Mapping[str, Any] | None = None,
        rate: int | None = None,
        vad: MakeVad | None = server_vad,
        expires_at: int = 0,
        lenient: bool = False,
        ids: Callable[[str], str] = random_id,
    ) -> None:
        state = self._state = SessionState(
            new_session(ids("sess"), model, expires_at, session, lenient=lenient),
            UserAudio(rate, vad),
            new_id=ids,
            lenient=lenient,
            detects_speech=vad is not None,
        )
        responses = self._responses = ResponseWriter(state)
        user = self._user = ServedUserInput(state, responses)
        user.configure()
        self._on_event: dict[type[wire.ClientEvent], Callable[[Any], None]] = {
            wire.AudioAppend: lambda event: user.append(event.audio),
            wire.AudioCommit: lambda event: user.commit(),
            wire.AudioClear: lambda event: user.clear(),
            wire.SessionUpdate: lambda event: self._update(event.session, event.event_id),
            wire.ItemCreate: self._create_item,
            wire.ItemRetrieve: self._retrieve_item,
            wire.ItemDelete: self._delete_item,
            wire.ItemTruncate: self._truncate_item,
            wire.ResponseCreate: lambda event: responses.create(event.response),
            wire.ResponseCancel: lambda event: responses.cancel(event.response_id),
            wire.OutputClear: self._refuse_output_clear,
        }
        self._on_frame: dict[type[Frame], Callable[[Any], None]] = {
            Audio: responses.on_audio,
            Text: responses.on_text,
            Timing: responses.on_timing,
            ToolCall: responses.on_tool_call,
            ResponseStarted: responses.on_started,
            ResponseEnded: responses.on_ended,
            Usage: responses.on_usage,
            Interrupt: responses.on_interrupt,
            Transcript: user.on_transcript,
            SpeechStarted: user.on_speech_started,
            SpeechStopped: user.on_speech_stopped,
            OutOfBand: responses.out_of_band.on_answer,
            Failure: self._on_failure,
        }

    @property
    def events(self) -> deque[Event]:
        """Events for the client."""
        return self._state.events

    @property
    def frames(self) -> deque[Frame]:
        """Frames for the brain."""
        return self._state.frames

    @property
    def session(self) -> dict[str, Any]:
        """The session object."""
        return self._state.session

    @property
    def conversation(self) -> ServerConversation:
        """The items of the conversation."""
        return self._state.conversation

    @property
    def reply(self) -> ReplyWriter | None:
        """The response in progress."""
        return self._responses.reply

    @property
    def epoch(self) -> int:
        """The epoch of the brain's session, as far as it is known."""
        return self._responses.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._responses.epoch = epoch

    # The session ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Greet the client. Tell the brain what the session begins with, and that this server decides turns."""
        state = self._state
        if state.detects_speech:
            state.frames.append(TurnControl())
        self._configure_brain(new_session("", "", 0), state.session)
        state.send("session.created", session=state.session)

    def close(self) -> None:
        """Report what was sent and not truncated as heard: the session is over."""
        self._responses.settle()

    def error(
        self,
        message: str,
        *,
        kind: str = "server_error",
        code: str | None = None,
        param: str | None = None,
        about: str | None = None,
    ) -> None:
        """Send an `error` event.

        Args:
            message: A sentence for people.
            kind: The error's type: `server_error`, `invalid_request_error`.
            code: The API's code.
            param: The field that is wrong.
            about: The `event_id` of the client's event that caused it.
        """
        details = {"type": kind, "code": code, "message": message, "param": param, "event_id": about}
        self._state.send("error", error=details)

    def fail(self, message: str, code: str | None = None) -> None:
        """Send an `error` event because the brain has failed for good; the response in progress has failed.

        Args:
            message: What happened, for the client.
            code: The error's code. Default None.
        """
        self._responses.fail(code)
        self.error(message, code=code)

    # From the client ------------------------------------------------------------------------------------------------

    def on_message(self, data: str | bytes) -> None:
        """Take a message of the client. What cannot be done becomes an `error` event, and the session continues.

        Args:
            data: JSON, as the client wrote it.
        """
        event_id: str | None = None
        try:
            try:
                event = wire.decode_client_event(data)
            except wire.MalformedError as error:
                problem, event_id = explain_malformed(data, error)
                raise problem from None
            if isinstance(event, str):
                problem, event_id = explain_malformed(data, event)
                raise problem
            event_id = event.event_id
            self._on_event[type(event)](event)
        except RecursionError:
            self.error("The event is nested too deeply.", kind="invalid_request_error", code="invalid_json")
        except RequestError as error:
            self._refuse(error, event_id)

    def _refuse(self, error: RequestError, event_id: str | None) -> None:
        self.error(error.message, kind="invalid_request_error", code=error.code, param=error.param, about=event_id)

    def _update(self, changes: dict[str, Any], event_id: str | None) -> None:
        """Change the session. A field that is not allowed becomes an `error` event, and the others take effect."""
        state, before = self._state, self._state.session
        problems: list[RequestError] = []
        after = update_session(before, changes, spoken=self._responses.spoken, lenient=state.lenient, problems=problems)
        if after != before or not problems:
            state.session = after
            self._configure_brain(before, after)
            self._user.configure()
            # Before the errors: a client that waits for its session learns first that it has one.
            state.send("session.updated", session=after)
        for problem in problems:
            self._refuse(problem, event_id)

    def _configure_brain(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Tell the brain what has changed of its instructions, tools and voice."""
        one, other = ({**each, "voice": each["audio"]["output"]["voice"]} for each in (before, after))
        if (change := configuration(one, other)) is not None:
            self._state.frames.append(change)

    def _create_item(self, event: wire.ItemCreate) -> None:
        state = self._state
        if state.lenient and event.item.type == VERBATIM:
            state.frames.append(Say(text=" ".join(part.text or "" for part in event.item.content or ())))
            return
        item = check_item(event.item, state.new_id("item"), state.new_id("call"))
        call_id = item.item.get("call_id")
        if item.item["type"] == "function_call_output" and not any(
            each.item.get("call_id") == call_id for each in state.conversation
        ):
            message = f"Tool call ID '{call_id}' not found in conversation."
            raise RequestError("invalid_tool_call_id", message, "item.call_id")
        before = state.conversation.add(item, event.previous_item_id)
        state.pending.add(item)
        state.send("conversation.item.added", previous_item_id=before, item=item.item)
        state.send("conversation.item.done", previous_item_id=before, item=item.item)

    def _retrieve_item(self, event: wire.ItemRetrieve) -> None:
        item = self._state.conversation.need(event.item_id, "retrieving", "retrieve")
        self._state.send("conversation.item.retrieved", item=item.item)

    def _delete_item(self, event: wire.ItemDelete) -> None:
        state = self._state
        item = state.conversation.need(event.item_id, "deleting", "delete")
        if item.unreported:
            self._responses.report_played(item, 0.0)
        self._stop_growing(item)
        state.conversation.remove(item)
        state.pending.remove(item)
        state.send("conversation.item.deleted", item_id=item.id)

    def _truncate_item(self, event: wire.ItemTruncate) -> None:
        item = self._state.conversation.need(event.item_id, "truncating", "truncate")
        if item.item.get("role") != "assistant" or not item.ms:
            message = "Only model output audio messages can be truncated"
            raise RequestError("unsupported_content_type", message, "item_id")
        if event.content_index != 0:
            message = f"Content index {event.content_index} does not exist in item '{item.id}'."
            raise RequestError("invalid_value", message, "content_index")
        if not 0 <= event.audio_end_ms <= math.ceil(item.ms):
            message = f"Audio content of {math.floor(item.ms)}ms is already shorter than {event.audio_end_ms}ms"
            if event.audio_end_ms < 0:
                message = f"Invalid 'audio_end_ms': {event.audio_end_ms}. Expected 0 or more."
            raise RequestError("invalid_value", message, "audio_end_ms")
        item.ms = float(event.audio_end_ms)
        self._responses.report_played(item, item.ms)  # before the response ends, which may report the rest as heard
        self._stop_growing(item)
        item.item = {**item.item, "content": [{"type": "output_audio"}]}
        self._state.send(
            "conversation.item.truncated",
            item_id=item.id,
            content_index=event.content_index,
            audio_end_ms=event.audio_end_ms,
        )

    def _stop_growing(self, item: ServerItem) -> None:
        """Cancel the response that an item belongs to, if it is in progress: or the item would grow after the change.

        The Agents SDK sends a truncation alone when the user interrupts.
        """
        if self.reply is not None and item.item.get("status") == "in_progress":
            self._responses.interrupt("client_cancelled")

    def _refuse_output_clear(self, event: wire.OutputClear) -> None:
        raise RequestError(None, "output_audio_buffer.clear is for WebRTC and SIP connections only.", "type")

    # From the brain -------------------------------------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        """Take a frame of the brain. Frames that only passed it, such as the user's sound, are left alone.

        Args:
            frame: A frame that left the brain.
        """
        if (handler := self._on_frame.get(type(frame))) is not None:
            handler(frame)

    def _on_failure(self, frame: Failure) -> None:
        if frame.fatal:
            self.fail(frame.message)
        else:
            self.error(frame.message)
