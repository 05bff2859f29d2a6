"""What the messages of a server mean: events of the OpenAI family become events of any provider."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec

from bargein.services.media.g711 import Codec
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.dialect import Dialect
from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    ItemOver,
    Message,
    OutOfBandCompleted,
    Protocol,
    ProtocolFault,
    RateLimitsReported,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    Transcribed,
    WordTimed,
)

__all__ = ["BUSY_CODE", "FATAL_CODES", "HARMLESS_CODES", "OPENING", "OUT_OF_BAND", "REQUEST", "EventReader"]

FATAL_CODES: Final = frozenset(
    {
        "invalid_api_key",
        "insufficient_quota",
        "account_deactivated",
        "billing_hard_limit_reached",
        "model_not_found",
        "invalid_model",
    }
)
"""Errors that another attempt would meet again."""
HARMLESS_CODES: Final = frozenset({"response_cancel_not_active", "input_audio_buffer_commit_empty"})
"""Errors of commands that came too late or had nothing to do."""
BUSY_CODE: Final = "conversation_already_has_active_response"
MAX_REMEMBERED: Final = 256
"""The newest tool calls, and transcripts that are not complete, that are remembered."""
OPENING: Final = "settings"
"""The event id of the first `session.update` of a connection."""
OUT_OF_BAND: Final = "apart"
"""The key of a response's metadata that holds the name of an out-of-band request."""
REQUEST: Final = "request"
"""The key of a response's metadata that holds the event id of the `response.create` it answers."""


class EventReader(Protocol):
    """The reading half of `OpenAIProtocol`: a table of handlers, and what they remember of one connection.

    Args:
        codec: The format of sound on the wire.
        dialect: How the provider's protocol differs from OpenAI's.
    """

    def __init__(self, codec: Codec, dialect: Dialect) -> None:
        self._codec = codec
        self._dialect = dialect
        self._ready = False
        self._session_id = ""
        self._interrupts = True  # the server interrupts its response when the user speaks
        self._answers = True  # the server answers when the user has spoken
        self._transcripts: dict[str, str] = {}  # of the user's items, as far as they are known
        self._calls: deque[tuple[str, str]] = deque(maxlen=MAX_REMEMBERED)  # that have been reported, by response
        self._repeats_metadata = False  # responses name the request that they answer
        self._requests: deque[str] = deque(maxlen=8)  # event ids of response.create
        self._out_of_band_requests: dict[str | None, str] = {}  # names, by event id
        self._out_of_band: dict[str, tuple[str, list[str]]] = {}  # by response: the name and the text so far
        self._handlers: dict[type[Any], Callable[[Any], Iterator[Event]]] = {
            wire.AudioDelta: self._audio_delta,
            wire.TranscriptDelta: self._text_delta,
            wire.TextDelta: self._text_delta,
            wire.AudioTimestamp: self._word_timed,
            wire.TranscriptDone: lambda event: self._text_done(event, event.transcript),
            wire.TextDone: lambda event: self._text_done(event, event.text),
            wire.ArgumentsDone: self._arguments_done,
            wire.OutputItemDone: self._item_done,
            wire.ResponseCreated: self._response_created,
            wire.ResponseDone: lambda event: self._response_done(event.response, event.usage),
            wire.InputSpeechStarted: self._speech_started,
            wire.InputSpeechStopped: self._speech_stopped,
            wire.Committed: self._committed,
            wire.TranscriptionDelta: self._transcription_delta,
            wire.TranscriptionUpdated: self._transcription_updated,
            wire.TranscriptionCompleted: self._transcription_completed,
            wire.TranscriptionFailed: self._transcription_failed,
            wire.SessionCreated: self._session_created,
            wire.SessionUpdated: lambda event: self._updated(event.session),
            wire.RateLimitsUpdated: self._rate_limits,
            wire.Error: lambda event: self._error(event.error),
        }

    # Messages of the server ---------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterator[Event]:
        """Return the events of a message.

        Messages of unknown types are ignored. One that cannot be read is a `ProtocolFault`; the connection stays open.

        Args:
            data: A message of the server.
        """
        if isinstance(data, bytes):
            yield ProtocolFault(message=f"a binary message of {len(data)} bytes, where JSON text was expected")
            return
        try:
            event = wire.decode_server_event(data)
        except wire.MalformedError as error:
            if (ended := wire.decode_bare_ending(data)) is not None:
                yield from self._response_done(ended)
            yield ProtocolFault(message=f"a message that cannot be read: {error}")
            return
        if not isinstance(event, str):
            yield from self._meaning(event)

    def _meaning(self, event: wire.ServerEvent) -> Iterator[Event]:
        """Return what an event of the server means."""
        handler = self._handlers.get(type(event))
        return iter(()) if handler is None else handler(event)

    # Responses ----------------------------------------------------------------------------------------------------

    def _response_created(self, event: wire.ResponseCreated) -> Iterator[Event]:
        name = (event.response.metadata or {}).get(OUT_OF_BAND)
        if name is None:
            yield ResponseBegan(response_id=event.response.id, request_id=self._request_of(event.response))
            return
        self._out_of_band[event.response.id] = name, []
        waiting = self._out_of_band_requests.items()
        self._out_of_band_requests = {event_id: each for event_id, each in waiting if each != name}

    def _request_of(self, response: wire.WireResponse) -> str | None:
        """Return the request that a response answers; "" for a response of the server's own, None if unknown."""
        name = (response.metadata or {}).get(REQUEST)
        self._repeats_metadata = self._repeats_metadata or name is not None
        return name or ("" if self._repeats_metadata else None)

    def _audio_delta(self, event: wire.AudioDelta) -> Iterator[Event]:
        if event.response_id not in self._out_of_band:
            pcm = event.delta
            if self._codec.sample_bytes == 1:
                pcm = self._codec.decode(pcm).astype("<i2", copy=False).tobytes()
            yield AudioPiece(response_id=event.response_id, item_id=event.item_id or "", pcm=pcm)

    def _text_delta(self, event: wire.TranscriptDelta | wire.TextDelta) -> Iterator[Event]:
        if event.response_id in self._out_of_band:
            self._out_of_band[event.response_id][1].append(event.delta)
        else:
            yield TextPiece(response_id=event.response_id, item_id=event.item_id or "", text=event.delta)

    def _text_done(self, event: wire.TranscriptDone | wire.TextDone, text: str) -> Iterator[Event]:
        if event.response_id not in self._out_of_band:
            yield ItemOver(response_id=event.response_id, item_id=event.item_id or "", text=text)

    def _word_timed(self, event: wire.AudioTimestamp) -> Iterator[Event]:
        if event.response_id not in self._out_of_band:
            yield WordTimed(
                response_id=event.response_id,
                item_id=event.item_id or "",
                text=event.text,
                start_ms=event.audio_offset_ms,
                end_ms=event.audio_offset_ms + event.audio_duration_ms,
            )

    def _arguments_done(self, event: wire.ArgumentsDone) -> Iterator[Event]:
        if _is_object(event.arguments):  # arguments of an interrupted response may be cut off
            yield from self._tool_call(event.response_id, event.call_id, event.name, event.arguments)

    def _item_done(self, event: wire.OutputItemDone) -> Iterator[Event]:
        item = event.item
        if item.type == "function_call" and item.status in ("completed", None):
            yield from self._tool_call(event.response_id, item.call_id, item.name, item.arguments)

    def _tool_call(
        self, response_id: str, call_id: str | None, name: str | None, arguments: str | None
    ) -> Iterator[Event]:
        """Report a call once: the server sends it with its arguments, with its item and with its response.

        Some servers count the ids from the start in each response, so the id alone does not say which call it is.
        """
        key = (response_id, call_id or "")
        if call_id and name and key not in self._calls and response_id not in self._out_of_band:
            self._calls.append(key)
            yield ToolCallReceived(response_id=response_id, call_id=call_id, name=name, arguments=arguments or "{}")

    def _response_done(self, response: wire.WireResponse, usage: wire.TokenUsage | None = None) -> Iterator[Event]:
        reason = _reason(response)
        if response.id in self._out_of_band:
            name, pieces = self._out_of_band.pop(response.id)
            reason = "" if response.status == "completed" else reason
            yield OutOfBandCompleted(name=name, text="".join(pieces), reason=reason)
            return
        for item in response.output or ():
            if item.type == "function_call" and response.status == "completed":
                yield from self._tool_call(response.id, item.call_id, item.name, item.arguments)
        outcome: Literal["completed", "interrupted", "failed"] = "completed"
        if response.status == "cancelled":
            outcome = "interrupted"
        elif response.status == "failed":
            outcome = "failed"
        yield ResponseOver(
            response_id=response.id, outcome=outcome, reason=reason, usage=_usage(usage or response.usage)
        )
        details = _details(response)
        code = str(details.error.code or "") if details and details.error else ""
        if response.status == "failed" and code in FATAL_CODES:
            yield ProtocolFault(message=reason, code=code, fatal=True)

    # The user -----------------------------------------------------------------------------------------------------

    def _speech_started(self, event: wire.InputSpeechStarted) -> Iterator[Event]:
        yield SpeechBegan(item_id=event.item_id or "", ms=event.audio_start_ms, interrupts=self._interrupts)

    def _speech_stopped(self, event: wire.InputSpeechStopped) -> Iterator[Event]:
        yield SpeechOver(item_id=event.item_id or "", ms=event.audio_end_ms)

    def _committed(self, event: wire.Committed) -> Iterator[Event]:
        yield AudioCommitted(item_id=event.item_id or "", answered=self._answers)

    def _transcription_delta(self, event: wire.TranscriptionDelta) -> Iterator[Event]:
        yield self._partial(event.item_id, self._transcripts.get(event.item_id, "") + event.delta)

    def _transcription_updated(self, event: wire.TranscriptionUpdated) -> Iterator[Event]:
        yield self._partial(event.item_id, event.transcript)

    def _transcription_completed(self, event: wire.TranscriptionCompleted) -> Iterator[Event]:
        if event.status == "in_progress":
            yield self._partial(event.item_id, event.transcript)
        else:
            self._transcripts.pop(event.item_id, None)
            yield Transcribed(item_id=event.item_id, text=event.transcript.strip(), final=True)

    def _transcription_failed(self, event: wire.TranscriptionFailed) -> Iterator[Event]:
        yield Transcribed(item_id=event.item_id, text=self._transcripts.pop(event.item_id, ""), final=True)
        yield ProtocolFault(message=f"what the user said could not be transcribed: {event.error.message}")

    def _partial(self, item_id: str, text: str) -> Event:
        self._transcripts[item_id] = text
        if len(self._transcripts) > MAX_REMEMBERED:
            del self._transcripts[next(iter(self._transcripts))]
        return Transcribed(item_id=item_id, text=text.lstrip())

    # The session --------------------------------------------------------------------------------------------------

    def _session_created(self, event: wire.SessionCreated) -> Iterator[Event]:
        # The session is ready when our own settings have taken effect, which session.updated says.
        self._session_id = str(event.session.get("id") or "")
        return iter(())

    def _updated(self, session: dict[str, Any]) -> Iterator[Event]:
        """Take the session object as the server has it after an update; the first one makes the session ready."""
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
            session_id = str(session.get("id") or self._session_id)
            yield SessionReady(session_id=session_id, config=session, remaining_seconds=left if left > 1 else None)

    def _rate_limits(self, event: wire.RateLimitsUpdated) -> Iterator[Event]:
        limits = event.rate_limits
        yield RateLimitsReported(
            remaining={each.name: each.remaining for each in limits if each.remaining is not None},
            reset_seconds={each.name: each.reset_seconds for each in limits if each.reset_seconds is not None},
        )

    def _error(self, error: wire.ErrorDetails | str) -> Iterator[Event]:
        if isinstance(error, str):
            error = wire.ErrorDetails(message=error)
        code, message = str(error.code or error.type or ""), error.message or ""
        if code in HARMLESS_CODES:
            return
        if code == BUSY_CODE:
            yield ProtocolFault(message=message, code=code, busy=True)
            return
        if error.event_id in self._out_of_band_requests:
            name = self._out_of_band_requests.pop(error.event_id)
            yield OutOfBandCompleted(name=name, text="", reason=message or code)
            return
        refused = error.event_id is not None and error.event_id in self._requests
        # A refused first session.update is not followed by session.updated, which the driver would wait for.
        # Not every provider repeats the event id; the name of the wrong field shows that.
        about_settings = error.event_id == OPENING if error.event_id else (error.param or "").startswith("session")
        fatal = code in FATAL_CODES or (about_settings and not self._ready)
        yield ProtocolFault(message=message or code, code=code, fatal=fatal, refused=refused)


def _is_object(arguments: str) -> bool:
    """Return whether the arguments of a call are complete: a JSON object."""
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _details(response: wire.WireResponse) -> wire.StatusDetails | None:
    return response.status_details if isinstance(response.status_details, wire.StatusDetails) else None


def _reason(response: wire.WireResponse) -> str:
    """Return why a response ended as it did, in the server's words."""
    details = _details(response)
    if details and details.error:
        return str(details.error.message or details.error.code or details.reason or "")
    return (details.reason or "") if details else ""


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
