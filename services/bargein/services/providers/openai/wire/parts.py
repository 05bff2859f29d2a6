"""Objects that messages of both directions carry: items with their content, responses, usage, errors.

Names and fields are those of the API. Fields that this project does not read are left out, and unknown fields are
ignored. Audio is base64 in JSON and `bytes` here.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "ErrorDetails",
    "InputTokens",
    "OutputTokens",
    "StatusDetails",
    "TokenUsage",
    "WireItem",
    "WirePart",
    "WireResponse",
]


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
    """`message`, `function_call`, `function_call_output`, or a kind of another tool."""
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
    """Whether the user can interrupt it; for xAI's verbatim speech."""


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
    """Tokens that the model read, by kind."""

    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0


class OutputTokens(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Tokens that the model wrote, by kind."""

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
    """xAI sends a plain word here, which is not used."""
    output: list[WireItem] | None = None
    conversation_id: str | None = None
    output_modalities: list[str] | None = None
    usage: TokenUsage | None = None
    metadata: dict[str, str] | None = None
