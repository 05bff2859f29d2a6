"""The OpenAI Realtime protocol, the client's side: commands to messages, messages to events. No I/O.

The facts are those of the GA interface of 2026. Others of the family speak it with the same class: what they say is
understood as it is, and what they are told is put in their words by a `Dialect`.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeGuard

import msgspec
import numpy as np

from bargein.services.g711 import codec
from bargein.services.history import Entry
from bargein.services.history.messages import data_uri
from bargein.services.providers._shared.tokens import Token, token_of
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.dialect import GA, Dialect
from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    ItemOver,
    Message,
    OutOfBandCompleted,
    Profile,
    Protocol,
    ProtocolFault,
    RateLimitsReported,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    Transcribed,
    WordTimed,
)
from bargein.services.sockets import Endpoint

__all__ = ["PROFILE", "AudioForm", "OpenAIProtocol"]

AudioForm = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]

PROFILE: Final = Profile(
    provider="OpenAI",
    input_rate=24_000,
    output_rate=24_000,
    supports_images=True,
    supports_text_output=True,
    supports_cancel=True,
    supports_truncation=True,
    turn_detection=("server_vad", "semantic_vad"),
    supports_commit=True,
    emits_speech_events=True,
    supports_updates=True,
    supports_out_of_band=True,
    supports_history_seeding=True,
    max_session_seconds=3600.0,
)
FATAL: Final = frozenset(
    {
        "invalid_api_key",
        "insufficient_quota",
        "account_deactivated",
        "billing_hard_limit_reached",
        "model_not_found",
        "invalid_model",
    }
)
"""Errors that another try would meet again."""
HARMLESS: Final = frozenset({"response_cancel_not_active", "input_audio_buffer_commit_empty"})
"""Errors of commands that came too late, or had nothing to do."""
KEPT: Final = 256
"""So many of the newest calls, and of transcripts that are not complete, are known."""
APART: Final = "apart"
"""Under this key of a response's metadata stands the name of what was asked apart from the conversation."""
REQUEST: Final = "request"
"""And under this one which `response.create` it answers."""
BUSY: Final = "conversation_already_has_active_response"


class OpenAIProtocol(Protocol):
    """One connection's protocol. `url` and `headers` say where and as whom, `dialect` in which words.

    `token` gives a bearer token for the connection, where no header has a key.
    """

    profile = PROFILE

    def __init__(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        profile: Profile = PROFILE,
        form: AudioForm = "audio/pcm",
        dialect: Dialect = GA,
        token: Token | None = None,
    ) -> None:
        self.profile = profile  # type: ignore[misc]
        self._token = token
        self._dialect = dialect
        self._codec = codec({"type": form})
        self._endpoint = Endpoint(url=url, headers=headers)
        self._ready = False
        self._session = ""
        self._count = 0
        self._interrupts = True
        self._answers = True
        self._said: dict[str, str] = {}  # partial transcripts of the user's items
        self._called: deque[str] = deque(maxlen=KEPT)
        self._echoes = False  # the server repeats the metadata of a request in its response
        self._asked: deque[str] = deque(maxlen=8)  # event ids of response.create
        self._asides: dict[str | None, str] = {}  # names of what was asked apart, by event id
        self._apart: dict[str, tuple[str, list[str]]] = {}  # responses beside the conversation: name and text so far

    def endpoint(self) -> Endpoint | Awaitable[Endpoint]:
        """Where to connect to, with a token that is asked for now."""
        return self._endpoint if self._token is None else self._authorized(self._token)

    async def _authorized(self, token: Token) -> Endpoint:
        bearer = {"Authorization": f"Bearer {await token_of(self.profile.provider, token)}"}
        return msgspec.structs.replace(self._endpoint, headers={**self._endpoint.headers, **bearer})

    # What a message means -----------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterator[Event]:
        """The events of a message. Unknown types are ignored; what cannot be read is a fault, and not the end."""
        if isinstance(data, bytes):
            yield ProtocolFault(message=f"a binary message of {len(data)} bytes, where JSON text was expected")
            return
        try:
            event = wire.decode_server_event(data)
        except wire.MalformedError as error:
            if (over := wire.decode_bare_ending(data)) is not None:
                yield from self._done(over)
            yield ProtocolFault(message=f"a message that cannot be read: {error}")
            return
        if not isinstance(event, str):
            yield from self._meaning(event)

    def _meaning(self, event: wire.ServerEvent) -> Iterator[Event]:
        if isinstance(event, wire.AudioDelta):
            if event.response_id not in self._apart:
                pcm = event.delta
                if self._codec.width == 1:
                    pcm = self._codec.decode(pcm).astype("<i2", copy=False).tobytes()
                yield AudioPiece(response_id=event.response_id, item_id=event.item_id or "", pcm=pcm)
        elif isinstance(event, wire.TranscriptDelta | wire.TextDelta):
            if event.response_id in self._apart:
                self._apart[event.response_id][1].append(event.delta)
            else:
                yield TextPiece(response_id=event.response_id, item_id=event.item_id or "", text=event.delta)
        elif isinstance(event, wire.AudioTimestamp):
            if event.response_id not in self._apart:
                start, end = event.audio_offset_ms, event.audio_offset_ms + event.audio_duration_ms
                yield WordTimed(
                    response_id=event.response_id,
                    item_id=event.item_id or "",
                    text=event.text,
                    start_ms=start,
                    end_ms=end,
                )
        elif isinstance(event, wire.TranscriptDone | wire.TextDone):
            if event.response_id not in self._apart:
                text = event.transcript if isinstance(event, wire.TranscriptDone) else event.text
                yield ItemOver(response_id=event.response_id, item_id=event.item_id or "", text=text)
        elif isinstance(event, wire.ArgumentsDone):
            if _complete(event.arguments):  # of an interrupted response they may be cut off
                yield from self._called_for(event.response_id, event.call_id, event.name, event.arguments)
        elif isinstance(event, wire.OutputItemDone):
            item = event.item
            if item.type == "function_call" and item.status in ("completed", None):
                yield from self._called_for(event.response_id, item.call_id, item.name, item.arguments)
        elif isinstance(event, wire.ResponseCreated):
            name = (event.response.metadata or {}).get(APART)
            if name is not None:
                self._apart[event.response.id] = name, []
                self._asides = {key: each for key, each in self._asides.items() if each != name}
            else:
                yield ResponseBegan(response_id=event.response.id, request_id=self._request(event.response))
        elif isinstance(event, wire.ResponseDone):
            yield from self._done(event.response, event.usage)
        else:
            yield from self._about_the_user(event)

    def _about_the_user(self, event: wire.ServerEvent) -> Iterator[Event]:
        if isinstance(event, wire.InputSpeechStarted):
            yield SpeechBegan(item_id=event.item_id or "", ms=event.audio_start_ms, interrupts=self._interrupts)
        elif isinstance(event, wire.InputSpeechStopped):
            yield SpeechOver(item_id=event.item_id or "", ms=event.audio_end_ms)
        elif isinstance(event, wire.Committed):
            yield AudioCommitted(item_id=event.item_id or "", answered=self._answers)
        elif isinstance(event, wire.TranscriptionDelta):
            yield self._partly(event.item_id, self._said.get(event.item_id, "") + event.delta)
        elif isinstance(event, wire.TranscriptionUpdated) or _partial(event):
            yield self._partly(event.item_id, event.transcript)
        elif isinstance(event, wire.TranscriptionCompleted):
            self._said.pop(event.item_id, None)
            yield Transcribed(item_id=event.item_id, text=event.transcript.strip(), final=True)
        elif isinstance(event, wire.TranscriptionFailed):
            text = self._said.pop(event.item_id, "")
            yield Transcribed(item_id=event.item_id, text=text, final=True)
            yield ProtocolFault(message=f"what the user said could not be transcribed: {event.error.message}")
        elif isinstance(event, wire.SessionCreated):
            self._session = str(event.session.get("id") or "")  # the settings take effect with session.updated
        elif isinstance(event, wire.SessionUpdated):
            yield from self._updated(event.session)
        elif isinstance(event, wire.RateLimitsUpdated):
            limits = event.rate_limits
            yield RateLimitsReported(
                remaining={each.name: each.remaining for each in limits if each.remaining is not None},
                reset_seconds={each.name: each.reset_seconds for each in limits if each.reset_seconds is not None},
            )
        elif isinstance(event, wire.Error):
            yield from self._complaint(event.error)

    def _partly(self, item: str, text: str) -> Event:
        self._said[item] = text
        if len(self._said) > KEPT:
            del self._said[next(iter(self._said))]
        return Transcribed(item_id=item, text=text.lstrip())

    def _updated(self, session: dict[str, Any]) -> Iterator[Event]:
        turns: Any = self._dialect.read_session(session)
        for key in ("audio", "input", "turn_detection"):
            turns = turns.get(key) if isinstance(turns, dict) else None
        detects = isinstance(turns, dict) and bool(turns.get("type"))
        self._interrupts = detects and bool(turns.get("interrupt_response", True))
        self._answers = detects and bool(turns.get("create_response", True))
        if not self._ready:
            self._ready = True
            expires, now = session.get("expires_at"), self.server_time
            # A date of the server counts only as a difference to the server's own clock.
            left = expires - now if isinstance(expires, int | float) and 0 < expires < 1e12 and now is not None else 0
            name = str(session.get("id") or self._session)
            yield SessionReady(session_id=name, config=session, remaining_seconds=left if left > 1 else None)

    def _request(self, response: wire.WireResponse) -> str | None:
        """Which request a response answers; "" for the server's own idea, None where that cannot be told."""
        name = (response.metadata or {}).get(REQUEST)
        self._echoes = self._echoes or name is not None
        return name or ("" if self._echoes else None)

    def _called_for(self, response: str, call: str | None, name: str | None, arguments: str | None) -> Iterator[Event]:
        """Twice on the wire, once here: the arguments are complete, and then the item is."""
        if call and name and call not in self._called and response not in self._apart:
            self._called.append(call)
            yield ToolCallReceived(response_id=response, call_id=call, name=name, arguments=arguments or "{}")

    def _done(self, response: wire.WireResponse, usage: wire.TokenUsage | None = None) -> Iterator[Event]:
        if response.id in self._apart:
            name, pieces = self._apart.pop(response.id)
            reason = "" if response.status == "completed" else _reason(response)
            yield OutOfBandCompleted(name=name, text="".join(pieces), reason=reason)
            return
        for item in response.output or ():
            if item.type == "function_call" and response.status == "completed":
                yield from self._called_for(response.id, item.call_id, item.name, item.arguments)
        details = _details(response)
        reason = _reason(response)
        outcome: Literal["completed", "interrupted", "failed"] = "completed"
        if response.status == "cancelled":
            outcome = "interrupted"
        elif response.status in ("failed", "incomplete"):
            outcome = "failed" if response.status == "failed" else "completed"
        yield ResponseOver(
            response_id=response.id, outcome=outcome, reason=reason, usage=_usage(usage or response.usage)
        )
        code = str(details.error.code or "") if details and details.error else ""
        if response.status == "failed" and code in FATAL:
            yield ProtocolFault(message=reason, code=code, fatal=True)

    def _complaint(self, error: wire.ErrorDetails | str) -> Iterator[Event]:
        if isinstance(error, str):
            error = wire.ErrorDetails(message=error)
        code, message = str(error.code or error.type or ""), error.message or ""
        if code in HARMLESS:
            return
        if code == BUSY:
            yield ProtocolFault(message=message, code=code, busy=True)
            return
        if error.event_id in self._asides:
            yield OutOfBandCompleted(name=self._asides.pop(error.event_id), text="", reason=message or code)
            return
        refused = error.event_id is not None and error.event_id in self._asked
        yield ProtocolFault(message=message or code, code=code, fatal=code in FATAL, refused=refused)

    # Commands -----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterator[Message]:
        """The settings, at once: the server says when they have taken effect."""
        return self.update(settings)

    def _message(self, event: wire.ClientEvent) -> Message:
        """A message, in the words of the dialect."""
        dialect = self._dialect
        if dialect.event_ids and event.event_id is None:
            self._count += 1
            event.event_id = f"event-{self._count}"
        if dialect is GA or isinstance(event, wire.SessionUpdate | wire.AudioAppend):
            return wire.encode(event)
        return msgspec.json.encode(dialect.write_command(msgspec.to_builtins(event))).decode()

    def update(self, settings: Settings) -> Iterator[Message]:
        """The session as it should be."""
        yield self._message(wire.SessionUpdate(session=self.session(settings)))

    def session(self, settings: Settings) -> dict[str, Any]:
        """The session object of some settings, in the words of the dialect, in which `extra` is as well."""
        sound: dict[str, Any] = {"format": self._format(self.profile.input_rate)}
        sound["turn_detection"] = settings.turn_detection
        if settings.transcription is not None:
            sound["transcription"] = settings.transcription
        spoken: dict[str, Any] = {"format": self._format(self.profile.output_rate)}
        if settings.voice is not None:
            spoken["voice"] = settings.voice
        session: dict[str, Any] = {
            "type": "realtime",
            "instructions": settings.instructions,
            "output_modalities": [settings.output],
            "audio": {"input": sound, "output": spoken},
            "tools": [{"type": "function", **each} for each in settings.tools],
        }
        return settings.with_extra(self._dialect.write_session(session))

    def _format(self, rate: int) -> dict[str, Any]:
        name = self._codec.name
        return {"type": name, "rate": rate} if name == "audio/pcm" else {"type": name}

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """The conversation so far: the user's words, what was heard of the agent, calls with their results."""
        for entry in entries:
            if entry.role == "call":
                call = wire.WireItem(
                    type="function_call", call_id=entry.call_id, name=entry.name, arguments=entry.arguments or "{}"
                )
                yield self._create(call)
                yield from self.tool_result(entry.call_id, entry.output or "")
                self._called.append(entry.call_id)
            else:
                kind = "output_text" if entry.role == "assistant" else "input_text"
                parts = [wire.WirePart(type=kind, text=entry.remembered)] if entry.remembered else []
                if entry.role == "user" and self.profile.supports_images and not self._dialect.images:
                    parts += [_picture(data_uri(each), each.detail) for each in entry.seen]
                if parts:
                    yield self._create(wire.WireItem(type="message", role=entry.role, content=parts))

    def audio(self, pcm: bytes) -> Message:
        """More of the user's sound."""
        if self._codec.width == 1:
            pcm = self._codec.encode(np.frombuffer(pcm, "<i2").astype(np.int16, copy=False))
        return self._message(wire.AudioAppend(audio=pcm))

    def commit(self) -> Iterator[Message]:
        """The sound so far is an item. It does not start a response."""
        yield self._message(wire.AudioCommit())

    def clear_audio(self) -> Iterator[Message]:
        """Forget the sound that was not committed."""
        yield self._message(wire.AudioClear())

    def text(self, text: str, item_id: str = "") -> Iterator[Message]:
        """What the user wrote. Ids of more than 32 characters are left to the server."""
        part = wire.WirePart(type="input_text", text=text)
        name = item_id if 0 < len(item_id) <= 32 else None
        yield self._create(wire.WireItem(type="message", role="user", content=[part], id=name))

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterator[Message]:
        """A picture the user shows."""
        part = _picture(f"data:image/{image_format};base64,{base64.b64encode(data).decode()}", detail)
        yield self._create(wire.WireItem(type="message", role="user", content=[part]))

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """What a tool answered."""
        yield self._create(wire.WireItem(type="function_call_output", call_id=call_id, output=output))

    def respond(self, instructions: str = "") -> Iterator[Message]:
        """Answer now."""
        yield self._ask({"instructions": instructions} if instructions else {})

    def _ask(self, response: dict[str, Any]) -> Message:
        """Ask for a response, by a name that its metadata repeat."""
        self._count += 1
        self._asked.append(f"respond-{self._count}")
        told = {"metadata": {REQUEST: self._asked[-1]}, **response}
        return self._message(wire.ResponseCreate(event_id=self._asked[-1], response=told))

    @property
    def request_id(self) -> str | None:
        """The name of the latest request for a response."""
        return self._asked[-1] if self._asked else None

    def out_of_band(self, name: str, instructions: str) -> Iterator[Message]:
        """Answer apart from the conversation, in text; the metadata tell the answer from others."""
        asked = {
            "conversation": "none",
            "output_modalities": ["text"],
            "tool_choice": "none",
            "instructions": instructions,
            "metadata": {APART: name[:512]},
        }
        self._count += 1
        event = f"aside-{self._count}"
        self._asides[event] = name
        yield self._message(wire.ResponseCreate(event_id=event, response=asked))

    def cancel(self, response_id: str) -> Iterator[Message]:
        """Stop this response, and no other."""
        yield self._message(wire.ResponseCancel(response_id=response_id))

    def truncate(self, item_id: str, ms: int) -> Iterator[Message]:
        """Only so much of an item was heard."""
        yield self._message(wire.ItemTruncate(item_id=item_id, audio_end_ms=ms))

    def delete_item(self, item_id: str) -> Iterator[Message]:
        """An item was not heard at all: truncating to nothing is refused."""
        yield self._message(wire.ItemDelete(item_id=item_id))

    def _create(self, item: wire.WireItem) -> Message:
        return self._message(wire.ItemCreate(item=item))


def _complete(arguments: str) -> bool:
    """Whether these are the whole arguments of a call: a JSON object."""
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _partial(event: wire.ServerEvent) -> TypeGuard[wire.TranscriptionCompleted]:
    return isinstance(event, wire.TranscriptionCompleted) and event.status == "in_progress"


def _details(response: wire.WireResponse) -> wire.StatusDetails | None:
    return response.status_details if isinstance(response.status_details, wire.StatusDetails) else None


def _reason(response: wire.WireResponse) -> str:
    """Why it ended as it did, in the server's words."""
    details = _details(response)
    if details and details.error:
        return str(details.error.message or details.error.code or details.reason or "")
    return (details.reason or "") if details else ""


def _picture(address: str, detail: str) -> wire.WirePart:
    return wire.WirePart(type="input_image", image_url=address, detail=detail or None)


def _usage(usage: wire.TokenUsage | None) -> dict[str, int]:
    if usage is None:
        return {}
    read, written = usage.input_token_details, usage.output_token_details
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_audio_tokens": read.audio_tokens if read else 0,
        "cached_tokens": read.cached_tokens if read else 0,
        "output_audio_tokens": written.audio_tokens if written else 0,
    }
