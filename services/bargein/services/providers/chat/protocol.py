"""The chat-completions protocol: a prompt becomes a request, a stream of chunks becomes pieces. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bargein.pipeline import Usage
from bargein.pipeline.lowlevel import check_options
from bargein.services.cascade.parts import Prompt, ToolRequest
from bargein.services.history.messages import to_messages
from bargein.services.providers._shared.model_stream import AnswerStream, Piece, token_count
from bargein.services.providers._shared.sse import ServerEvent

__all__ = ["ChatStream", "build_request", "messages"]


def build_request(prompt: Prompt, model: str, *, images: bool = True) -> dict[str, Any]:
    """Return the fields of the request for a prompt. Those that are None are not sent.

    Args:
        prompt: The instructions, the conversation and the tools.
        model: The model's name.
        images: Whether pictures are sent.
    """
    return {
        "model": model,
        "messages": messages(prompt, images=images),
        "tools": [{"type": "function", "function": each} for each in prompt.tools] or None,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def messages(prompt: Prompt, *, images: bool = True) -> list[dict[str, Any]]:
    """Return the instructions and the conversation as messages.

    Args:
        prompt: The input of the model for one answer.
        images: Whether the model takes pictures; if not, they are left out.
    """
    system = [{"role": "system", "content": prompt.instructions}] if prompt.instructions else []
    return [*system, *to_messages(prompt.entries, images=images)]


class _PartialCall:
    """A tool call that is being written."""

    def __init__(self, index: Any, call_id: str) -> None:
        self.index, self.call_id = index, call_id
        self.name = ""
        self.arguments: list[str] = []


class ChatStream(AnswerStream):
    """The protocol of one answer.

    Tool calls are yielded when the answer is complete, so that an answer that breaks off calls nothing. The usage is
    last.

    Args:
        source: Name of the model or provider, for errors.
    """

    @check_options
    def __init__(self, source: str = "the model") -> None:
        super().__init__(source)
        self._calls: list[_PartialCall] = []
        self._usage: dict[str, Any] | None = None

    def on_event(self, event: ServerEvent) -> Iterator[Piece]:
        """Yield the pieces of one chunk."""
        if event.data.strip() == "[DONE]":
            self.over = True
            return
        chunk = self.decode(event)
        if chunk.get("error"):
            raise self.error(chunk["error"])
        if chunk.get("object") == "error":
            raise self.error(chunk)
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage  # some servers send it with every chunk, with growing counts
        for choice in _list(chunk.get("choices")):
            if isinstance(choice, dict) and not choice.get("index"):
                yield from self._on_choice(choice)

    def _on_choice(self, choice: dict[str, Any]) -> Iterator[Piece]:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            yield from _texts(delta.get("content"))
            yield from _texts(delta.get("refusal"))
            for each in _list(delta.get("tool_calls")):
                if isinstance(each, dict):
                    self._add_call(each)
        reason = choice.get("finish_reason")
        if reason == "content_filter":
            raise self.error({"type": "content_filter", "message": "content_filter"})
        if reason == "error":
            raise self.error(choice.get("error") or {"type": "server_error", "message": "it failed"})
        self.finished = self.finished or bool(reason)

    def _add_call(self, delta: dict[str, Any]) -> None:
        """Add a piece of a tool call. It is found by its index, or by its id where the index is missing or always 0."""
        index, call_id = delta.get("index"), str(delta.get("id") or "")
        function = delta.get("function")
        function = function if isinstance(function, dict) else {}
        partial = next((each for each in self._calls if call_id and each.call_id == call_id), None)
        if partial is None:
            same_index = [each for each in self._calls if index is None or each.index == index]
            partial = same_index[-1] if same_index else None
            if partial is not None and call_id and partial.call_id:
                partial = None
        if partial is None:
            partial = _PartialCall(index, call_id)
            self._calls.append(partial)
        partial.call_id = partial.call_id or call_id
        partial.name = partial.name or str(function.get("name") or "")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if isinstance(arguments, str):
            partial.arguments.append(arguments)

    def final_pieces(self) -> Iterator[Piece]:
        """Yield the tool calls and the usage."""
        for each in self._calls:
            if each.name:
                yield ToolRequest(name=each.name, arguments="".join(each.arguments) or "{}", call_id=each.call_id)
        if self._usage is not None:
            details = self._usage.get("prompt_tokens_details")
            yield Usage(
                input_tokens=token_count(self._usage, "prompt_tokens"),
                output_tokens=token_count(self._usage, "completion_tokens"),
                cached_tokens=token_count(details, "cached_tokens"),
            )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> Iterator[str]:
    """Yield the text of a content: a string, or the text parts of a list. Other parts hold the model's reasoning."""
    if isinstance(value, str):
        if value:
            yield value
        return
    for part in _list(value):
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            yield part["text"]
