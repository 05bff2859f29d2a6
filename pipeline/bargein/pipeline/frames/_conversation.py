"""Frames of the conversation: text, transcripts, speech boundaries, responses, tool calls, usage."""

from __future__ import annotations

from typing import ClassVar, Literal

from ._base import LIVE, Delivery, Frame, ItemFrame, ReplyFrame, check_text, payload

__all__ = [
    "ResponseEnded",
    "ResponseStarted",
    "SpeechStarted",
    "SpeechStopped",
    "Text",
    "ToolCall",
    "ToolResult",
    "Transcript",
    "Usage",
    "UserText",
]


class Text(ReplyFrame, frozen=True):
    """A piece of what the agent says, as text.

    Args:
        text: The piece, with its spaces.
        final: Whether it is the last piece of its item. Default False.
        response_id: The response that it belongs to.
        item_id: The item of that response.
        pts: Media time in nanoseconds. Default 0.
        epoch: The epoch with which it expires. Default `LIVE`.

    Raises:
        FrameError: `text` is missing or not a string.
    """

    text: str = payload()
    """The piece, with its spaces: pieces are joined without adding any."""
    final: bool = False
    """Whether no more pieces follow for this item."""

    def __post_init__(self) -> None:
        if type(self.text) is not str:  # the common case in the shortest way, as models emit many of these
            check_text(self, "text")


class UserText(ItemFrame, frozen=True):
    """A message that the user typed.

    Args:
        text: The whole message.
        item_id: Its id in the conversation, when known.
        pts: Media time in nanoseconds. Default 0.

    Raises:
        FrameError: `text` is missing or not a string.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    text: str = payload()
    """The whole message."""

    def __post_init__(self) -> None:
        if type(self.text) is not str or self.epoch != LIVE:
            check_text(self, "text")


class Transcript(ItemFrame, frozen=True):
    """The recognised words of one item of speech.

    Args:
        text: All that is known of the item so far.
        final: Whether the text is complete. Default False.
        speaker: The speaker: the user or the agent. Default `user`.
        language: BCP 47 tag, such as `en-GB`, when known.
        item_id: The item that it belongs to.
        pts: Media time in nanoseconds. Default 0.

    Raises:
        FrameError: `text` is missing or not a string.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    text: str = payload()
    """All that is known of the item so far, not only what is new. Join transcripts by item, never by arrival."""
    final: bool = False
    """Whether the text is complete and will not change again."""
    speaker: str = "user"
    """The speaker: the user or the agent."""
    language: str = ""
    """BCP 47 tag (`en-GB`), when known."""

    def __post_init__(self) -> None:
        if type(self.text) is not str or self.epoch != LIVE:
            check_text(self, "text")


class SpeechStarted(ItemFrame, frozen=True, kw_only=True):
    """The user began to speak. `pts` is when the speech began, not when it was noticed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    lag_ms: float = 0.0
    """How long the speech had lasted when it was noticed, in milliseconds of sound."""


class SpeechStopped(ItemFrame, frozen=True, kw_only=True):
    """The user stopped speaking. `pts` is when the speech ended, not when it was noticed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    lag_ms: float = 0.0
    """How long the silence had lasted when the end was noticed, in milliseconds of sound."""


class ResponseStarted(Frame, frozen=True):
    """The agent began a response.

    Args:
        response_id: The id of the response.
        protected: Whether the user's speech must not interrupt it. Default False.
        pts: Media time in nanoseconds. Default 0.

    Raises:
        FrameError: `response_id` is missing or not a string.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    response_id: str = payload()
    """The id of the response."""
    protected: bool = False
    """Whether the user's speech must not interrupt it: an emergency notice, a legal sentence."""

    def __post_init__(self) -> None:
        if type(self.response_id) is not str or self.epoch != LIVE:
            check_text(self, "response_id")


class ResponseEnded(Frame, frozen=True):
    """The agent's response is over. An interrupt does not drop this frame: it says how the response ended.

    Args:
        response_id: The id of the response.
        outcome: `completed` (the default), `interrupted` or `failed`.
        reason: Why, in the provider's words.
        pts: Media time in nanoseconds. Default 0.

    Raises:
        FrameError: `response_id` is missing or not a string.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    response_id: str = payload()
    """The id of the response."""
    outcome: Literal["completed", "interrupted", "failed"] = "completed"
    """How it ended."""
    reason: str = ""
    """Why, in the provider's words."""

    def __post_init__(self) -> None:
        if type(self.response_id) is not str or self.epoch != LIVE:
            check_text(self, "response_id")


class _Call(Frame, frozen=True, kw_only=True):
    """The keyword-only fields of `ToolCall`."""

    response_id: str = ""
    """The id of the response that contains the call."""
    handled: bool = False
    """Whether the processor that sends the call runs the tool itself, so that no other processor should answer it."""


class ToolCall(_Call, frozen=True):
    """The model asks for a tool.

    Args:
        call_id: The id that the result must carry.
        name: The name of the tool.
        arguments: JSON, as the model wrote it. Default `{}`.
        response_id: The id of the response that contains the call.
        handled: Whether the giver of the frame runs the tool itself. Default False.
        pts: Media time in nanoseconds. Default 0.

    Raises:
        FrameError: `call_id`, `name` or `arguments` is missing or not a string.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str = payload()
    """The id that the result must carry."""
    name: str = payload()
    """The name of the tool."""
    arguments: str = "{}"
    """JSON, as the model wrote it. It may be invalid: then answer the call with an error for the model."""

    def __post_init__(self) -> None:
        check_text(self, "call_id", "name", "arguments")


class ToolResult(Frame, frozen=True):
    """The answer of a tool. It travels upstream, because a tool runner stands below its model.

    Args:
        call_id: The id of the call.
        output: The answer, usually JSON.
        error: Whether `output` says why the tool failed. Default False.
        pts: Media time in nanoseconds. Default 0.

    Raises:
        FrameError: `call_id` or `output` is missing or not a string.
    """

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    call_id: str = payload()
    """The id of the call."""
    output: str = payload()
    """The answer, usually JSON."""
    error: bool = False
    """Whether `output` says why the tool failed."""

    def __post_init__(self) -> None:
        check_text(self, "call_id", "output")


class Usage(Frame, frozen=True, kw_only=True):
    """The cost of a response, in the provider's tokens."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    response_id: str = ""
    """The id of the response."""
    input_tokens: int = 0
    """Tokens read, all kinds."""
    output_tokens: int = 0
    """Tokens written, all kinds."""
    input_audio_tokens: int = 0
    """The part of `input_tokens` that is audio."""
    output_audio_tokens: int = 0
    """The part of `output_tokens` that is audio."""
    cached_tokens: int = 0
    """The part of `input_tokens` that came from a cache."""
