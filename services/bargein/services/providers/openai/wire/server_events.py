"""Events that a server sends, in OpenAI's GA interface and in the protocols of others of the family."""

from __future__ import annotations

from typing import Any

import msgspec

from .parts import ErrorDetails, TokenUsage, WireItem, WirePart, WireResponse

__all__ = [
    "ArgumentsDelta",
    "ArgumentsDone",
    "AudioDelta",
    "AudioDone",
    "AudioTimestamp",
    "Cleared",
    "Committed",
    "ContentPartAdded",
    "ContentPartDone",
    "ConversationCreated",
    "Error",
    "InputSpeechStarted",
    "InputSpeechStopped",
    "ItemAdded",
    "ItemDeleted",
    "ItemDone",
    "ItemRetrieved",
    "ItemTruncated",
    "OutputItemAdded",
    "OutputItemDone",
    "RateLimitsUpdated",
    "RemainingLimit",
    "ResponseCreated",
    "ResponseDone",
    "ServerEvent",
    "SessionCreated",
    "SessionUpdated",
    "TextDelta",
    "TextDone",
    "TimeoutTriggered",
    "TranscriptDelta",
    "TranscriptDone",
    "TranscriptionCompleted",
    "TranscriptionDelta",
    "TranscriptionFailed",
    "TranscriptionUpdated",
]


class _Server(msgspec.Struct, kw_only=True, tag_field="type"):
    event_id: str | None = None


class SessionCreated(_Server, kw_only=True, tag="session.created"):
    """The server's greeting, with the session as it begins."""

    session: dict[str, Any]


class SessionUpdated(_Server, kw_only=True, tag="session.updated"):
    """Confirmation that an update of the session took effect."""

    session: dict[str, Any]


class ConversationCreated(_Server, kw_only=True, tag="conversation.created"):
    """The conversation's id, by which xAI resumes it."""

    conversation: dict[str, Any]


class ItemAdded(_Server, kw_only=True, tag="conversation.item.added"):
    """A new item of the conversation, which may still grow."""

    item: WireItem
    previous_item_id: str | None = None


class ItemDone(_Server, kw_only=True, tag="conversation.item.done"):
    """A complete item of the conversation."""

    item: WireItem
    previous_item_id: str | None = None


class ItemRetrieved(_Server, kw_only=True, tag="conversation.item.retrieved"):
    """The item that the client asked for."""

    item: WireItem


class ItemDeleted(_Server, kw_only=True, tag="conversation.item.deleted"):
    """Confirmation that an item was deleted."""

    item_id: str


class ItemTruncated(_Server, kw_only=True, tag="conversation.item.truncated"):
    """Confirmation that an item was cut."""

    item_id: str
    content_index: int = 0
    audio_end_ms: float = 0


class TranscriptionDelta(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.delta"):
    """More text of the user's transcript."""

    item_id: str
    content_index: int = 0
    delta: str = ""


class TranscriptionUpdated(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.updated"):
    """The user's transcript so far, which replaces the one before (xAI)."""

    item_id: str
    transcript: str = ""


class TranscriptionCompleted(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.completed"):
    """The user's complete transcript."""

    item_id: str
    content_index: int = 0
    transcript: str = ""
    status: str | None = None
    """`in_progress`, from xAI, marks a transcript that is not complete."""


class TranscriptionFailed(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.failed"):
    """A failed transcription. The model has heard the sound all the same."""

    item_id: str
    error: ErrorDetails


class InputSpeechStarted(_Server, kw_only=True, tag="input_audio_buffer.speech_started"):
    """The start of the user's speech, found by the server."""

    audio_start_ms: float = 0
    item_id: str | None = None


class InputSpeechStopped(_Server, kw_only=True, tag="input_audio_buffer.speech_stopped"):
    """The end of the user's speech, found by the server."""

    audio_end_ms: float = 0
    item_id: str | None = None


class Committed(_Server, kw_only=True, tag="input_audio_buffer.committed"):
    """Confirmation that the buffered sound has become an item."""

    item_id: str | None = None
    previous_item_id: str | None = None


class Cleared(_Server, kw_only=True, tag="input_audio_buffer.cleared"):
    """Confirmation that the buffered sound was discarded."""


class TimeoutTriggered(_Server, kw_only=True, tag="input_audio_buffer.timeout_triggered"):
    """The user's silence lasted longer than the session's idle timeout; a response follows."""

    audio_start_ms: float = 0
    audio_end_ms: float = 0
    item_id: str | None = None


class ResponseCreated(_Server, kw_only=True, tag="response.created"):
    """The start of a response."""

    response: WireResponse


class ResponseDone(_Server, kw_only=True, tag="response.done"):
    """The end of a response."""

    response: WireResponse
    usage: TokenUsage | None = None
    """xAI reports usage here and not in the response."""


class _OfResponse(_Server, kw_only=True):
    response_id: str
    item_id: str | None = None
    output_index: int = 0


class OutputItemAdded(_OfResponse, kw_only=True, tag="response.output_item.added"):
    """A new item of the response."""

    item: WireItem


class OutputItemDone(_OfResponse, kw_only=True, tag="response.output_item.done"):
    """A complete item of the response."""

    item: WireItem


class _OfPart(_OfResponse, kw_only=True):
    content_index: int = 0


class ContentPartAdded(_OfPart, kw_only=True, tag="response.content_part.added"):
    """A new part of an item."""

    part: WirePart


class ContentPartDone(_OfPart, kw_only=True, tag="response.content_part.done"):
    """A complete part of an item."""

    part: WirePart | None = None


class AudioDelta(_OfPart, kw_only=True, tag="response.output_audio.delta"):
    """More of the reply's sound."""

    delta: bytes


class AudioDone(_OfPart, kw_only=True, tag="response.output_audio.done"):
    """The end of a part's sound."""


class TranscriptDelta(_OfPart, kw_only=True, tag="response.output_audio_transcript.delta"):
    """More of the text that the reply's sound says."""

    delta: str
    start_time: float | None = None
    """Where the text begins in the item's sound, in seconds (xAI)."""


class TranscriptDone(_OfPart, kw_only=True, tag="response.output_audio_transcript.done"):
    """The complete text that a part's sound says."""

    transcript: str = ""


class TextDelta(_OfPart, kw_only=True, tag="response.output_text.delta"):
    """More of the reply's text."""

    delta: str


class TextDone(_OfPart, kw_only=True, tag="response.output_text.done"):
    """The complete text of a part."""

    text: str = ""


class ArgumentsDelta(_OfResponse, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    call_id: str | None = None
    delta: str = ""


class ArgumentsDone(_OfResponse, kw_only=True, tag="response.function_call_arguments.done"):
    """The complete arguments of a call."""

    call_id: str | None = None
    name: str | None = None
    arguments: str = "{}"


class AudioTimestamp(_OfPart, kw_only=True, tag="response.audio_timestamp.delta"):
    """The time of a word in the reply's sound (Azure's Voice Live)."""

    text: str
    audio_offset_ms: float
    audio_duration_ms: float = 0


class RemainingLimit(msgspec.Struct, kw_only=True):
    """One rate limit, with what is left of it."""

    name: str
    limit: float | None = 0
    remaining: float | None = 0
    reset_seconds: float | None = 0


class RateLimitsUpdated(_Server, kw_only=True, tag="rate_limits.updated"):
    """The rate limits, with what is left of each."""

    rate_limits: list[RemainingLimit]


class Error(_Server, kw_only=True, tag="error"):
    """An error. In most cases the connection stays open."""

    error: ErrorDetails | str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | ConversationCreated
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | TranscriptionDelta
    | TranscriptionUpdated
    | TranscriptionCompleted
    | TranscriptionFailed
    | InputSpeechStarted
    | InputSpeechStopped
    | Committed
    | Cleared
    | TimeoutTriggered
    | ResponseCreated
    | ResponseDone
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | AudioDelta
    | AudioDone
    | TranscriptDelta
    | TranscriptDone
    | TextDelta
    | TextDone
    | ArgumentsDelta
    | ArgumentsDone
    | AudioTimestamp
    | RateLimitsUpdated
    | Error
)
