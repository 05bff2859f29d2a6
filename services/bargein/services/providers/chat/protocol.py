"""The chat-completions protocol: a prompt to a request, a stream of chunks to pieces. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bargein.pipeline import Usage
from bargein.services.cascade.parts import Prompt, ToolRequest
from bargein.services.history.messages import to_messages
from bargein.services.providers._shared.model_error import complaint
from bargein.services.providers._shared.model_stream import AnswerStream, Piece, leave_out
from bargein.services.providers._shared.sse import ServerEvent

__all__ = ["ChatStream", "messages", "number", "request"]


def request(
    prompt: Prompt,
    model: str,
    *,
    images: bool = True,
    limit: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body that a prompt is asked with. What is None in `extra` is left out, even what would be there."""
    body: dict[str, Any] = {
        "model": model,
        "messages": messages(prompt, images=images),
        "tools": [{"type": "function", "function": each} for each in prompt.tools] or None,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return leave_out(body | dict(limit or {}) | dict(extra or {}))


def messages(prompt: Prompt, *, images: bool = True) -> list[dict[str, Any]]:
    """The instructions, and the conversation."""
    told = [{"role": "system", "content": prompt.instructions}] if prompt.instructions else []
    return [*told, *to_messages(prompt.entries, images=images)]


class _Partial:
    """A call that is being written."""

    def __init__(self, index: Any, call: str) -> None:
        self.index, self.call = index, call
        self.name = ""
        self.arguments: list[str] = []


class ChatStream(AnswerStream):
    """One answer. Calls are given when it is complete, so that a cut answer calls nothing; the usage comes last."""

    def __init__(self, who: str = "the model") -> None:
        super().__init__(who)
        self._calls: list[_Partial] = []
        self._usage: dict[str, Any] | None = None

    def event(self, event: ServerEvent) -> Iterator[Piece]:
        """The pieces of one chunk."""
        if event.data.strip() == "[DONE]":
            self.over = True
            return
        chunk = self.decoded(event)
        if chunk.get("error"):
            raise complaint(self.who, chunk["error"])
        if chunk.get("object") == "error":
            raise complaint(self.who, chunk)
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage  # some send it with every chunk, ever growing
        for choice in _list(chunk.get("choices")):
            if isinstance(choice, dict) and not choice.get("index"):
                yield from self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> Iterator[Piece]:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            yield from _texts(delta.get("content"))
            yield from _texts(delta.get("refusal"))
            for each in _list(delta.get("tool_calls")):
                if isinstance(each, dict):
                    self._call(each)
        reason = choice.get("finish_reason")
        if reason == "content_filter":
            raise complaint(self.who, {"type": "content_filter", "message": "content_filter"})
        if reason == "error":
            raise complaint(self.who, choice.get("error") or {"type": "server_error", "message": "it failed"})
        self.finished = self.finished or bool(reason)

    def _call(self, delta: dict[str, Any]) -> None:
        """More of a call: by its index, and where servers give none or always 0, by its id."""
        index, call = delta.get("index"), str(delta.get("id") or "")
        function = delta.get("function")
        function = function if isinstance(function, dict) else {}
        found = next((each for each in self._calls if call and each.call == call), None)
        if found is None:
            same = [each for each in self._calls if index is None or each.index == index]
            found = same[-1] if same else None
            if found is not None and call and found.call:
                found = None
        if found is None:
            found = _Partial(index, call)
            self._calls.append(found)
        found.call = found.call or call
        found.name = found.name or str(function.get("name") or "")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if isinstance(arguments, str):
            found.arguments.append(arguments)

    def last(self) -> Iterator[Piece]:
        """The calls, and the usage."""
        for each in self._calls:
            if each.name:
                yield ToolRequest(name=each.name, arguments="".join(each.arguments) or "{}", call_id=each.call)
        if self._usage is not None:
            details = self._usage.get("prompt_tokens_details")
            yield Usage(
                input_tokens=number(self._usage, "prompt_tokens"),
                output_tokens=number(self._usage, "completion_tokens"),
                cached_tokens=number(details, "cached_tokens"),
            )


def number(found: Any, name: str) -> int:
    """A count in a dictionary; 0 where there is none."""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> Iterator[str]:
    """A content's words: a string, or the text among its parts, for those who think aloud in the others."""
    if isinstance(value, str):
        if value:
            yield value
        return
    for part in _list(value):
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            yield part["text"]
