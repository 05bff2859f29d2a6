"""One session of the OpenAI Realtime protocol, from the server's side, without I/O.

Events of the client and frames of the brain go in; events for the client and frames for the brain come out. The
events are plain dictionaries: the structs of `_wire` leave out what their readers do not need, and a server must give
every field, null or not, as the real one does.
"""

from __future__ import annotations

import math
import random
import string
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from bargein.pipeline import (
    Audio,
    Failure,
    Frame,
    Interrupt,
    Played,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    Transcript,
    Usage,
)
from bargein.processors import SpeechContinued, Timing, TurnControl
from bargein.services.frames import ClearAudio, Respond, Say
from bargein.services.g711 import codec
from bargein.services.providers.openai import wire

from ._audio import MakeVad, UserAudio, server_vad
from ._config import checked_response, new_session, updated
from ._errors import RequestError, explained
from ._items import ServerConversation, ServerItem, checked
from ._reply import ReplyWriter
from ._turn import Waiting, configuration

__all__ = ["Event", "ServerSession", "random_id"]

Event = dict[str, Any]
"""A server's event. `bytes` in it become base64 on the wire."""

LEAST_MS = 100.0
"""Less sound than this is no item."""
ABOUT_MS = 3000.0
"""For so long after a spoken turn the brain is about to answer it; after that, it may not mean to."""
FORCED = "force_message"
"""xAI's item that is said as it is. No conversation of OpenAI's has such."""
WRITTEN = "pre_generated_assistant_message"
"""The same in a response of Voice Live's."""
READ_MS = 1e9
"""What was sent as text alone is read: all of its sound counts as heard, which the client never got."""
REMEMBERED = 512
"""So many of the brain's past responses are known by name, so that stragglers are."""
_LETTERS = string.ascii_letters + string.digits


def random_id(kind: str) -> str:
    """An id as the service makes them: `item_` and 21 letters and digits."""
    return f"{kind}_{''.join(random.choices(_LETTERS, k=21))}"


class ServerSession:
    """A session: `open()`, then `received` whatever the client sends and `given` whatever the brain gives.

    After each call, `events` holds what to send to the client and `frames` what to give to the brain, in order. An
    `Interrupt` among the frames is to be carried out at once, ahead of those before it; afterwards `epoch` must be set
    to the number that it got.

    `session` are fields that the session begins with; `rate` is the sampling rate that the brain wants, None for that
    of the session's input. `vad` makes the detector of speech; with None the brain hears for itself, and its own
    `SpeechStarted` and `SpeechStopped` are the client's. `expires_at` is in seconds since 1970. `lenient`
    keeps settings that the GA interface does not know.

    Raises `RequestError` for fields that cannot be.
    """

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
        self.events: deque[Event] = deque()
        """For the client."""
        self.frames: deque[Frame] = deque()
        """For the brain."""
        self.epoch = 0
        """The epoch of the brain's session, as far as it is known."""
        self.session = new_session(ids("sess"), model, expires_at, session, lenient=lenient)
        """The session object."""
        self.conversation = ServerConversation()
        """Its items."""
        self.reply: ReplyWriter | None = None
        """The response in progress."""
        self._ids = ids
        self._lenient = lenient
        self._conversation_id = ids("conv")
        self._own_ears = vad is not None
        self._ears = UserAudio(rate, vad)
        self._from = 0.0  # where the buffer begins, in milliseconds of sound
        self._speech: ServerItem | None = None  # the item that is being spoken
        self._waiting = Waiting()
        self._names: dict[str, ServerItem] = {}  # the user's items, by the brain's names
        self._unheard: deque[ServerItem] = deque(maxlen=64)  # the user's sound without a transcript
        self._over: dict[str, None] = {}  # the brain's responses that are over
        self._turn_due = False  # a turn ended while a response was in progress
        self._answering = False  # the brain has a turn to answer, and has not begun
        self._asked_at = 0.0  # when it got that, in sound of the user's
        self._called_off = False  # it has one that is to be answered no more
        self._spoken = False
        self._quiet_from: float | None = None  # when the user has heard the latest response, in sound of theirs
        self._listen()

    # The client -----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Greet the client, and tell the brain who takes the turns, and what the session begins with."""
        if self._own_ears:
            self.frames.append(TurnControl())
        self._configure(new_session("", "", 0), self.session)
        self._say("session.created", session=self.session)

    def received(self, data: str | bytes) -> None:
        """Take a message of the client's. What cannot be done becomes an `error` event."""
        event_id: str | None = None
        try:
            try:
                event = wire.decode_client_event(data)
            except wire.MalformedError as error:
                problem, event_id = explained(data, error)
                raise problem from None
            if isinstance(event, str):
                problem, event_id = explained(data, event)
                raise problem
            event_id = event.event_id
            self._take(event)
        except RecursionError:
            self.error("The event is nested too deeply.", kind="invalid_request_error", code="invalid_json")
        except RequestError as error:
            self.error(error.message, kind="invalid_request_error", code=error.code, param=error.param, about=event_id)

    def error(
        self,
        message: str,
        *,
        kind: str = "server_error",
        code: str | None = None,
        param: str | None = None,
        about: str | None = None,
    ) -> None:
        """Tell the client that something is wrong; `about` is the `event_id` of the event that it comes from."""
        self._say("error", error={"type": kind, "code": code, "message": message, "param": param, "event_id": about})

    def failed(self, message: str, code: str | None = None) -> None:
        """The brain has given up: the response, if there is one, has failed, and the client is told."""
        if self.reply is not None:
            self._end("failed", {"type": "failed", "error": {"type": "server_error", "code": code}})
        self.error(message, code=code)

    def close(self) -> None:
        """The session is over: what was sent and not cut counts as heard."""
        self._settle()

    # The brain ------------------------------------------------------------------------------------------------------

    def given(self, frame: Frame) -> None:
        """Take a frame of the brain's. What only passed it by is left alone, such as sound without a response."""
        if isinstance(frame, Audio):
            if frame.response_id and (reply := self._whose(frame.response_id)) is not None:
                reply.audio(frame)
        elif isinstance(frame, Text):
            if (reply := self._whose(frame.response_id)) is not None:
                reply.text(frame.text, frame.item_id)
        elif isinstance(frame, Timing):
            wanted = self.session.get("output_audio_timestamp_types") or ()
            if "word" in wanted and (reply := self._whose(frame.response_id)) is not None:
                reply.timing(frame)
        elif isinstance(frame, ToolCall):
            if not frame.handled and (reply := self._whose(frame.response_id)) is not None:
                self._waiting.called(frame.call_id)
                reply.call(frame.call_id, frame.name, frame.arguments)
        elif isinstance(frame, ResponseStarted):
            self._started(frame.response_id)
        elif isinstance(frame, ResponseEnded):
            self._ended(frame)
        elif isinstance(frame, Usage):
            if self.reply is not None and self.reply.brain in (None, frame.response_id):
                self.reply.usage = frame
        elif isinstance(frame, Transcript):
            self._transcript(frame)
        elif isinstance(frame, Interrupt):
            if frame.epoch > self.epoch:  # its own: ours are known already
                self.epoch = frame.epoch
                if self.reply is not None and self.reply.brain is not None:
                    self._cancelled("turn_detected")
        elif isinstance(frame, Failure):
            if frame.fatal:
                self.failed(frame.message)
            else:
                self.error(frame.message)
        elif isinstance(frame, SpeechStarted) and not self._own_ears and self._turns is not None:
            self._speech_started(frame)
        elif isinstance(frame, SpeechStopped) and not self._own_ears and self._turns is not None:
            self._speech_stopped(frame)

    def _whose(self, response: str) -> ReplyWriter | None:
        """The response that something of the brain's belongs to; None for one that is over."""
        if response and response in self._over:
            return None
        if self.reply is None or (response and self.reply.brain not in (None, response)):
            self._started(response)
        if self.reply is not None and self.reply.brain is None:
            self.reply.brain = response  # the first that says something answers what was asked
        return self.reply

    def _started(self, response: str) -> None:
        if response and response in self._over:
            return
        if self._called_off:
            self._called_off = False
            self._forget(response)
            self.frames.append(Interrupt(reason="the response was called off before it began"))
            return
        if self.reply is not None:
            if self.reply.brain in (None, response):
                return  # the one that was asked for, probably; what it says will tell
            self._end("completed", None)
        self._answering = False
        self._begin(checked_response(self.session, None))
        assert self.reply is not None
        self.reply.brain = response

    def _ended(self, frame: ResponseEnded) -> None:
        reply = self.reply
        known = frame.response_id in self._over
        self._forget(frame.response_id)
        if reply is None or known or reply.brain not in (None, frame.response_id):
            return
        if frame.outcome == "completed":
            self._end("completed", None)
        elif frame.outcome == "failed":
            self._end("failed", {"type": "failed", "error": {"type": "server_error", "code": frame.reason or None}})
        elif reply.brain is not None:
            self._end("cancelled", {"type": "cancelled", "reason": "turn_detected"})

    def _forget(self, response: str | None) -> None:
        if response:
            self._over[response] = None
            while len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]

    # Events of the client -------------------------------------------------------------------------------------------

    def _take(self, event: wire.ClientEvent) -> None:
        match event:
            case wire.AudioAppend():
                self._append(event.audio)
            case wire.AudioCommit():
                self._commit()
            case wire.AudioClear():
                self._from, self._speech = self._ears.ms, None
                self.frames.append(ClearAudio())
                self._say("input_audio_buffer.cleared")
            case wire.SessionUpdate():
                self._update(event.session)
            case wire.ItemCreate():
                self._create(event)
            case wire.ItemRetrieve():
                entry = self.conversation.need(event.item_id, "retrieving", "retrieve")
                self._say("conversation.item.retrieved", item=entry.item)
            case wire.ItemDelete():
                self._delete(self.conversation.need(event.item_id, "deleting", "delete"))
            case wire.ItemTruncate():
                self._truncate(event)
            case wire.ResponseCreate():
                self._respond(event.response)
            case wire.ResponseCancel():
                self._cancel(event.response_id)
            case wire.OutputClear():
                raise RequestError(None, "output_audio_buffer.clear is for WebRTC and SIP connections only.", "type")

    def _update(self, changes: dict[str, Any]) -> None:
        before = self.session
        self.session = after = updated(before, changes, spoken=self._spoken, lenient=self._lenient)
        self._configure(before, after)
        self._listen()
        self._say("session.updated", session=after)

    def _configure(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Tell the brain what concerns it."""
        one, other = ({**each, "voice": each["audio"]["output"]["voice"]} for each in (before, after))
        if (change := configuration(one, other)) is not None:
            self.frames.append(change)

    def _listen(self) -> None:
        self._ears.configure(codec(self.session["audio"]["input"]["format"]), self._turns)

    @property
    def _turns(self) -> dict[str, Any] | None:
        turns: dict[str, Any] | None = self.session["audio"]["input"]["turn_detection"]
        return turns

    def _create(self, event: wire.ItemCreate) -> None:
        if self._lenient and event.item.type == FORCED:
            self.frames.append(Say(text=" ".join(part.text or "" for part in event.item.content or ())))
            return
        entry = checked(event.item, self._ids("item"), self._ids("call"))
        output = entry.item["type"] == "function_call_output"
        call = entry.item.get("call_id")
        if output and not any(each.item.get("call_id") == call for each in self.conversation):
            message = f"Tool call ID '{call}' not found in conversation."
            raise RequestError("invalid_tool_call_id", message, "item.call_id")
        before = self.conversation.add(entry, event.previous_item_id)
        self._waiting.add(entry)
        self._say("conversation.item.added", previous_item_id=before, item=entry.item)
        self._say("conversation.item.done", previous_item_id=before, item=entry.item)

    def _delete(self, entry: ServerItem) -> None:
        self.conversation.remove(entry)
        self._waiting.remove(entry)
        if entry.open:
            self._played(entry, 0.0)
        self._say("conversation.item.deleted", item_id=entry.id)

    def _truncate(self, event: wire.ItemTruncate) -> None:
        entry = self.conversation.need(event.item_id, "truncating", "truncate")
        if entry.item.get("role") != "assistant" or not entry.ms:
            message = "Only model output audio messages can be truncated"
            raise RequestError("unsupported_content_type", message, "item_id")
        if event.content_index != 0:
            message = f"Content index {event.content_index} does not exist in item '{entry.id}'."
            raise RequestError("invalid_value", message, "content_index")
        if not 0 <= event.audio_end_ms <= math.ceil(entry.ms):
            message = f"Audio content of {math.floor(entry.ms)}ms is already shorter than {event.audio_end_ms}ms"
            if event.audio_end_ms < 0:
                message = f"Invalid 'audio_end_ms': {event.audio_end_ms}. Expected 0 or more."
            raise RequestError("invalid_value", message, "audio_end_ms")
        entry.ms = float(event.audio_end_ms)
        entry.item = {**entry.item, "content": [{"type": "output_audio"}]}
        self._played(entry, entry.ms)
        self._say(
            "conversation.item.truncated",
            item_id=entry.id,
            content_index=event.content_index,
            audio_end_ms=event.audio_end_ms,
        )

    # The user's sound -----------------------------------------------------------------------------------------------

    def _append(self, data: bytes) -> None:
        for frame in self._ears.take(data):
            if isinstance(frame, SpeechStarted):
                self._speech_started(frame)
            elif isinstance(frame, SpeechContinued):
                if self._speech is not None:
                    self.frames.append(SpeechContinued(pts=frame.pts, ms=frame.ms, item_id=self._speech.id))
            elif isinstance(frame, SpeechStopped):
                self._speech_stopped(frame)
            else:
                self.frames.append(frame)
        idle = (self._turns or {}).get("idle_timeout_ms")
        if idle and self._quiet_from is not None and self._ears.ms >= self._quiet_from + idle:
            self._idled(self._quiet_from)

    def _idled(self, since: float) -> None:
        """The user has said nothing for too long: that is a turn."""
        entry = _spoken(self._ids("item"))
        self._from = max(self._from, since)
        start, end = round(since), round(self._ears.ms)
        self._say("input_audio_buffer.timeout_triggered", audio_start_ms=start, audio_end_ms=end, item_id=entry.id)
        self._speech = entry
        self._heard(self._ears.ms)
        self._waiting.remove(entry)
        self._settle()
        self._quiet_from, self._called_off, self._answering = None, False, True
        self.frames.append(Respond())

    def _speech_started(self, frame: SpeechStarted) -> None:
        turns = self._turns
        assert turns is not None
        entry = self._speech = _spoken(self._ids("item"))
        self._quiet_from = None
        self._name(frame.item_id, entry)
        begin = frame.pts / 1e6 - turns.get("prefix_padding_ms", 0)
        self._from = max(self._from, begin)
        self._say("input_audio_buffer.speech_started", audio_start_ms=max(0, round(begin)), item_id=entry.id)
        if turns["interrupt_response"]:
            self._interrupt("turn_detected")
        if self._own_ears:
            self.frames.append(SpeechStarted(pts=frame.pts, item_id=entry.id, lag_ms=frame.lag_ms))

    def _speech_stopped(self, frame: SpeechStopped) -> None:
        turns, entry = self._turns, self._speech
        if entry is None or turns is None:
            return  # cleared or committed meanwhile
        end = frame.pts / 1e6 + frame.lag_ms
        self._say("input_audio_buffer.speech_stopped", audio_end_ms=round(end), item_id=entry.id)
        if self._own_ears:
            self.frames.append(SpeechStopped(pts=frame.pts, item_id=entry.id, lag_ms=frame.lag_ms))
        self._heard(end)
        if not turns["create_response"]:
            return
        if not self._own_ears:
            self._waiting.remove(entry)  # the brain takes turns itself, and answers what it has heard
        elif self.reply is not None:
            self._turn_due = True
        else:
            self._ask(None)

    def _commit(self) -> None:
        size = self._ears.ms - self._from
        if size < LEAST_MS:
            raise RequestError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer "
                f"only has {max(0.0, size):.2f}ms of audio.",
            )
        self._heard(self._ears.ms)

    def _heard(self, end: float) -> None:
        """The sound so far is an item."""
        entry = self._speech or _spoken(self._ids("item"))
        entry.ms = max(0.0, end - self._from)
        self._from, self._speech = end, None
        before = self.conversation.add(entry)
        self._waiting.add(entry)
        if not entry.final:
            self._unheard.append(entry)
        self._say("input_audio_buffer.committed", previous_item_id=before, item_id=entry.id)
        self._say("conversation.item.added", previous_item_id=before, item=entry.item)
        self._say("conversation.item.done", previous_item_id=before, item=entry.item)

    def _name(self, name: str, entry: ServerItem) -> None:
        if name:
            self._names[name] = entry
            while len(self._names) > REMEMBERED:
                del self._names[next(iter(self._names))]

    def _transcript(self, frame: Transcript) -> None:
        entry = self._names.get(frame.item_id) or self._of_user(frame.item_id)
        if entry is None or entry.final or frame.speaker != "user":
            return
        self._name(frame.item_id, entry)
        if frame.final:
            entry.final = True
            if entry in self._unheard:
                self._unheard.remove(entry)
        if self.session["audio"]["input"]["transcription"] is None:
            return
        said = {"item_id": entry.id, "content_index": 0}
        if frame.text.startswith(entry.told) and (more := frame.text[len(entry.told) :]):
            entry.told = frame.text
            self._say("conversation.item.input_audio_transcription.delta", **said, delta=more)
        if frame.final:
            entry.item = {**entry.item, "content": [{"type": "input_audio", "transcript": frame.text}]}
            usage = {"type": "duration", "seconds": max(1, round(entry.ms / 1000))}
            self._say(
                "conversation.item.input_audio_transcription.completed", **said, transcript=frame.text, usage=usage
            )

    def _of_user(self, name: str) -> ServerItem | None:
        """Which of the user's items a name of the brain's stands for, if it has not said."""
        if self._speech is not None and name == self._speech.id:
            return self._speech
        if name in self.conversation:
            entry = self.conversation.get(name)
            return entry if entry is not None and entry.item.get("role") == "user" else None
        return self._unheard[0] if self._unheard else self._speech

    # Responses ------------------------------------------------------------------------------------------------------

    def _respond(self, changes: dict[str, Any] | None) -> None:
        if self.reply is not None:
            raise RequestError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self.reply.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        settings = checked_response(self.session, changes, lenient=self._lenient)
        voice = self.session["audio"]["output"]["voice"]
        if self._spoken and settings["audio"]["output"]["voice"] != voice:
            raise RequestError(
                "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present."
            )
        self._begin(settings)
        if (said := settings.get(WRITTEN)) is not None:
            self.frames.append(Say(text=_words(said)))
        elif self._answering and not self._waiting and self._ears.ms < self._asked_at + ABOUT_MS:
            self._answering = False  # the brain is about to answer as it is
        else:
            self._ask(settings)

    def _cancel(self, id: str | None) -> None:
        reply = self.reply
        if reply is None and id is None and self._answering:
            self._interrupt("client_cancelled")
        elif reply is None or id not in (None, reply.id):
            raise RequestError("response_cancel_not_active", "Cancellation failed: no active response found")
        else:
            self._interrupt("client_cancelled")

    def _begin(self, settings: dict[str, Any]) -> None:
        conversation = (self._conversation_id, self.conversation)
        self._quiet_from = None
        self.reply = ReplyWriter(self._ids("resp"), settings, conversation, self._say, self._ids)

    def _interrupt(self, reason: str) -> None:
        """End the response in progress, and call off a turn whose answer has not begun."""
        if self.reply is None and not self._answering:
            return
        if self._answering or (self.reply is not None and self.reply.brain is None):
            self._called_off = True
        self._answering = False
        self.frames.append(Interrupt(reason=reason))
        self._cancelled(reason)

    def _cancelled(self, reason: str) -> None:
        if self.reply is not None:
            self._end("cancelled", {"type": "cancelled", "reason": reason})

    def _end(self, status: str, details: dict[str, Any] | None) -> None:
        reply, self.reply = self.reply, None
        assert reply is not None
        self._forget(reply.brain)
        reply.end(status, details)
        self._quiet_from = self._ears.ms + reply.ms if reply.ms else None
        self._spoken = self._spoken or reply.ms > 0
        self.frames.extend(self._waiting.ended(whole=status == "completed"))
        if self._turn_due:
            self._turn_due = False
            self._ask(None)

    def _ask(self, settings: dict[str, Any] | None) -> None:
        """Let the brain answer; `settings` are those of a `response.create`, None when a turn ended by itself."""
        self._called_off, self._answering, self._asked_at = False, settings is None, self._ears.ms
        self._settle()
        self.frames.extend(self._waiting.turn(settings, self.session, self.conversation, self._ears))

    def _settle(self) -> None:
        """What was sent of earlier responses and not cut was heard in full."""
        for entry in self.conversation:
            if entry.open:
                self._played(entry, entry.ms or READ_MS)

    def _played(self, entry: ServerItem, ms: float) -> None:
        entry.open = False
        response, item = entry.brain
        self.frames.append(Played(response_id=response, item_id=item, ms=ms, done=True))

    def _say(self, type: str, **fields: Any) -> None:
        self.events.append({"type": type, "event_id": self._ids("event"), **fields})


def _spoken(id: str) -> ServerItem:
    content = [{"type": "input_audio", "transcript": None}]
    return ServerItem({"id": id, "type": "message", "status": "completed", "role": "user", "content": content})


def _words(message: Any) -> str:
    """The text of a message that no struct has been made of."""
    content = message.get("content") if isinstance(message, Mapping) else None
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
