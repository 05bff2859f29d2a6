"""The messages of the OpenAI Realtime API (GA), both directions, as they stand on the wire.

Names and fields are those of the API; what nobody here reads is left out, and what is unknown is ignored. What is read
is what any dialect of the family may say: messages of the beta that Azure and others still speak are taken for their GA
counterparts, and what one provider alone adds stands among the rest. Audio is base64 in JSON and `bytes` here.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ClientEvent",
    "Error",
    "MalformedError",
    "ServerEvent",
    "WireItem",
    "WirePart",
    "WireResponse",
    "decode_bare_ending",
    "decode_client_event",
    "decode_server_event",
    "encode",
]


class MalformedError(ValueError):
    """A message that is no event: no JSON, no object, no `type`, or fields of the wrong kind."""


class WirePart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A part of a message's content."""

    type: str
    """`input_text`, `input_audio`, `input_image`, `output_text`, `output_audio` (beta: `text`, `audio`)."""
    text: str | None = None
    transcript: str | None = None
    audio: bytes | None = None
    image_url: str | None = None
    detail: str | None = None


class WireItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An item of the conversation."""

    type: str
    """`message`, `function_call`, `function_call_output`, or of another tool's."""
    id: str | None = None
    object: str | None = None
    status: str | None = None
    role: str | None = None
    content: list[WirePart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | None = None
    interruptible: bool | None = None
    """Of what xAI is made to say."""


class ErrorDetails(msgspec.Struct, kw_only=True):
    """What went wrong."""

    type: str | None = None
    code: str | int | None = None
    message: str | None = ""
    param: str | None = None
    event_id: str | None = None


class StatusDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Why a response ended as it did."""

    type: str | None = None
    reason: str | None = None
    error: ErrorDetails | None = None


class InputTokens(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Kinds of tokens read."""

    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0


class OutputTokens(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Kinds of tokens written."""

    text_tokens: int = 0
    audio_tokens: int = 0


class TokenUsage(msgspec.Struct, kw_only=True):
    """Tokens of a response."""

    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: InputTokens | None = None
    output_token_details: OutputTokens | None = None


class WireResponse(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A response, as `response.created` and `response.done` carry it."""

    id: str
    object: str | None = None
    status: str | None = None
    """`in_progress`, `completed`, `cancelled`, `failed`, `incomplete`."""
    status_details: StatusDetails | str | None = None
    """A word, as with xAI, tells nothing."""
    output: list[WireItem] | None = None
    conversation_id: str | None = None
    output_modalities: list[str] | None = None
    usage: TokenUsage | None = None
    metadata: dict[str, str] | None = None


# From the client ------------------------------------------------------------------------------------------------------


class _Client(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    event_id: str | None = None


class SessionUpdate(_Client, kw_only=True, omit_defaults=True, tag="session.update"):
    """Change the session; what is left out stays, null clears."""

    session: dict[str, Any]


class AudioAppend(_Client, kw_only=True, omit_defaults=True, tag="input_audio_buffer.append"):
    """More of the user's sound."""

    audio: bytes


class AudioCommit(_Client, kw_only=True, omit_defaults=True, tag="input_audio_buffer.commit"):
    """The sound so far is an item."""


class AudioClear(_Client, kw_only=True, omit_defaults=True, tag="input_audio_buffer.clear"):
    """Forget the sound so far."""


class ItemCreate(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.create"):
    """Add an item."""

    item: WireItem
    previous_item_id: str | None = None


class ItemRetrieve(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.retrieve"):
    """Ask for an item."""

    item_id: str


class ItemDelete(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.delete"):
    """Remove an item."""

    item_id: str


class ItemTruncate(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.truncate"):
    """Cut an item's audio to what was heard."""

    item_id: str
    audio_end_ms: int
    # Always on the wire, so that its value is no default.
    content_index: int = msgspec.field(default_factory=int)


class ResponseCreate(_Client, kw_only=True, omit_defaults=True, tag="response.create"):
    """Answer now."""

    response: dict[str, Any] | None = None


class ResponseCancel(_Client, kw_only=True, omit_defaults=True, tag="response.cancel"):
    """Stop a response; the active one, when none is named."""

    response_id: str | None = None


class OutputClear(_Client, kw_only=True, omit_defaults=True, tag="output_audio_buffer.clear"):
    """Flush the server's playout (WebRTC and SIP)."""


ClientEvent = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
    | OutputClear
)


# From the server ------------------------------------------------------------------------------------------------------


class _Server(msgspec.Struct, kw_only=True, tag_field="type"):
    event_id: str | None = None


class SessionCreated(_Server, kw_only=True, tag="session.created"):
    """The socket is open."""

    session: dict[str, Any]


class SessionUpdated(_Server, kw_only=True, tag="session.updated"):
    """An update took effect."""

    session: dict[str, Any]


class ConversationCreated(_Server, kw_only=True, tag="conversation.created"):
    """The conversation has an id, by which xAI resumes it."""

    conversation: dict[str, Any]


class ItemAdded(_Server, kw_only=True, tag="conversation.item.added"):
    """An item has come into being; it may still grow."""

    item: WireItem
    previous_item_id: str | None = None


class ItemCreated(ItemAdded, kw_only=True, tag="conversation.item.created"):
    """The beta's name."""


class ItemDone(_Server, kw_only=True, tag="conversation.item.done"):
    """An item is complete."""

    item: WireItem
    previous_item_id: str | None = None


class ItemRetrieved(_Server, kw_only=True, tag="conversation.item.retrieved"):
    """The item asked for."""

    item: WireItem


class ItemDeleted(_Server, kw_only=True, tag="conversation.item.deleted"):
    """An item is gone."""

    item_id: str


class ItemTruncated(_Server, kw_only=True, tag="conversation.item.truncated"):
    """An item was cut."""

    item_id: str
    content_index: int = 0
    audio_end_ms: float = 0


class TranscriptionDelta(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.delta"):
    """More of what the user said."""

    item_id: str
    content_index: int = 0
    delta: str = ""


class TranscriptionUpdated(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.updated"):
    """All that is known so far of what the user said (xAI)."""

    item_id: str
    transcript: str = ""


class TranscriptionCompleted(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.completed"):
    """All that the user said."""

    item_id: str
    content_index: int = 0
    transcript: str = ""
    status: str | None = None
    """xAI's `in_progress` says that it is not all."""


class TranscriptionFailed(_Server, kw_only=True, tag="conversation.item.input_audio_transcription.failed"):
    """It could not be transcribed; the model has heard it all the same."""

    item_id: str
    error: ErrorDetails


class InputSpeechStarted(_Server, kw_only=True, tag="input_audio_buffer.speech_started"):
    """The user began to speak."""

    audio_start_ms: float = 0
    item_id: str | None = None


class InputSpeechStopped(_Server, kw_only=True, tag="input_audio_buffer.speech_stopped"):
    """The user stopped."""

    audio_end_ms: float = 0
    item_id: str | None = None


class Committed(_Server, kw_only=True, tag="input_audio_buffer.committed"):
    """The user's sound has become an item."""

    item_id: str | None = None
    previous_item_id: str | None = None


class Cleared(_Server, kw_only=True, tag="input_audio_buffer.cleared"):
    """The user's sound was forgotten."""


class TimeoutTriggered(_Server, kw_only=True, tag="input_audio_buffer.timeout_triggered"):
    """The user said nothing for too long; a response follows."""

    audio_start_ms: float = 0
    audio_end_ms: float = 0
    item_id: str | None = None


class ResponseCreated(_Server, kw_only=True, tag="response.created"):
    """A response begins."""

    response: WireResponse


class ResponseDone(_Server, kw_only=True, tag="response.done"):
    """A response is over."""

    response: WireResponse
    usage: TokenUsage | None = None
    """xAI tells it here, and none in the response."""


class _OfResponse(_Server, kw_only=True):
    response_id: str
    item_id: str | None = None
    output_index: int = 0


class OutputItemAdded(_OfResponse, kw_only=True, tag="response.output_item.added"):
    """The response has another item."""

    item: WireItem


class OutputItemDone(_OfResponse, kw_only=True, tag="response.output_item.done"):
    """An item of the response is complete."""

    item: WireItem


class _OfPart(_OfResponse, kw_only=True):
    content_index: int = 0


class ContentPartAdded(_OfPart, kw_only=True, tag="response.content_part.added"):
    """The item has another part."""

    part: WirePart


class ContentPartDone(_OfPart, kw_only=True, tag="response.content_part.done"):
    """A part is complete."""

    part: WirePart | None = None


class AudioDelta(_OfPart, kw_only=True, tag="response.output_audio.delta"):
    """More of the reply's sound."""

    delta: bytes


class AudioDeltaBeta(AudioDelta, kw_only=True, tag="response.audio.delta"):
    """The beta's name."""


class AudioDone(_OfPart, kw_only=True, tag="response.output_audio.done"):
    """The sound of a part is complete."""


class AudioDoneBeta(AudioDone, kw_only=True, tag="response.audio.done"):
    """The beta's name."""


class TranscriptDelta(_OfPart, kw_only=True, tag="response.output_audio_transcript.delta"):
    """More of what the reply's sound says."""

    delta: str
    start_time: float | None = None
    """Where in the item's sound it begins, in seconds (xAI)."""


class TranscriptDeltaBeta(TranscriptDelta, kw_only=True, tag="response.audio_transcript.delta"):
    """The beta's name."""


class TranscriptDone(_OfPart, kw_only=True, tag="response.output_audio_transcript.done"):
    """All that a part's sound says."""

    transcript: str = ""


class TranscriptDoneBeta(TranscriptDone, kw_only=True, tag="response.audio_transcript.done"):
    """The beta's name."""


class TextDelta(_OfPart, kw_only=True, tag="response.output_text.delta"):
    """More of the reply's text."""

    delta: str


class TextDeltaBeta(TextDelta, kw_only=True, tag="response.text.delta"):
    """The beta's name."""


class TextDone(_OfPart, kw_only=True, tag="response.output_text.done"):
    """All of a part's text."""

    text: str = ""


class TextDoneBeta(TextDone, kw_only=True, tag="response.text.done"):
    """The beta's name."""


class ArgumentsDelta(_OfResponse, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    call_id: str | None = None
    delta: str = ""


class ArgumentsDone(_OfResponse, kw_only=True, tag="response.function_call_arguments.done"):
    """All of a call's arguments."""

    call_id: str | None = None
    name: str | None = None
    arguments: str = "{}"


class AudioTimestamp(_OfPart, kw_only=True, tag="response.audio_timestamp.delta"):
    """When a word sounds in the reply's sound (Azure's Voice Live)."""

    text: str
    audio_offset_ms: float
    audio_duration_ms: float = 0


class RateLimit(msgspec.Struct, kw_only=True):
    """What is left of a limit."""

    name: str
    limit: float | None = 0
    remaining: float | None = 0
    reset_seconds: float | None = 0


class RateLimitsUpdated(_Server, kw_only=True, tag="rate_limits.updated"):
    """What is left of the limits."""

    rate_limits: list[RateLimit]


class Error(_Server, kw_only=True, tag="error"):
    """Something was wrong; the connection mostly stays."""

    error: ErrorDetails | str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | ConversationCreated
    | ItemAdded
    | ItemCreated
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
    | AudioDeltaBeta
    | AudioDone
    | AudioDoneBeta
    | TranscriptDelta
    | TranscriptDeltaBeta
    | TranscriptDone
    | TranscriptDoneBeta
    | TextDelta
    | TextDeltaBeta
    | TextDone
    | TextDoneBeta
    | ArgumentsDelta
    | ArgumentsDone
    | AudioTimestamp
    | RateLimitsUpdated
    | Error
)


class _Head(msgspec.Struct):
    type: str


class _Bare(msgspec.Struct):
    id: str
    status: str | None = None


class _BareDone(msgspec.Struct, tag_field="type", tag="response.done"):
    response: _Bare


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(_Head)
_bare = msgspec.json.Decoder(_BareDone)
_client: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(ClientEvent)
_server: msgspec.json.Decoder[ServerEvent] = msgspec.json.Decoder(ServerEvent)
_KNOWN_CLIENT = frozenset(str(kind.__struct_config__.tag) for kind in ClientEvent.__args__)
_KNOWN_SERVER = frozenset(str(kind.__struct_config__.tag) for kind in ServerEvent.__args__)


def encode(event: ClientEvent | ServerEvent) -> str:
    """An event as a text message."""
    return _encoder.encode(event).decode()


def decode_server_event(data: str | bytes) -> ServerEvent | str:
    """An event of the server's, or the type of one that is unknown here. Raises `MalformedError`."""
    try:
        return _server.decode(data)
    except UNREADABLE as error:
        return _unknown(data, error, _KNOWN_SERVER)


def decode_bare_ending(data: str | bytes) -> WireResponse | None:
    """The id and status of a `response.done` whose details cannot be read: that it is over must not be missed."""
    try:
        bare = _bare.decode(data).response
    except UNREADABLE:
        return None
    return WireResponse(id=bare.id, status=bare.status)


def decode_client_event(data: str | bytes) -> ClientEvent | str:
    """An event of a client's, or the type of one that is unknown here. Raises `MalformedError`."""
    try:
        return _client.decode(data)
    except UNREADABLE as error:
        return _unknown(data, error, _KNOWN_CLIENT)


def _unknown(data: str | bytes, error: Exception, known: frozenset[str]) -> str:
    try:
        kind = _head.decode(data).type
    except UNREADABLE:
        raise MalformedError(f"expected a JSON object with a type: {error}") from None
    if kind in known:
        raise MalformedError(f"{kind}: {error}") from None
    return kind
