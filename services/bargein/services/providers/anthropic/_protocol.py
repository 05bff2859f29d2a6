"""Anthropic's messages protocol: a prompt to a request, a stream of events to pieces. No I/O."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bargein.pipeline import Usage
from bargein.services.cascade.parts import Prompt, ToolRequest
from bargein.services.history import Entry, Picture
from bargein.services.history.messages import arguments_of
from bargein.services.providers._shared.model_error import complaint
from bargein.services.providers._shared.model_stream import AnswerStream, Piece, leave_out
from bargein.services.providers._shared.sse import ServerEvent
from bargein.services.providers.chat.protocol import number

__all__ = ["MessageStream", "blocks", "messages", "request"]

SILENCE = "(The user says nothing.)"
"""Stands where the protocol wants a user's words and there are none: first of all, and last."""
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


def request(
    prompt: Prompt,
    model: str,
    *,
    images: bool = True,
    limit: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body that a prompt is asked with. What is None in `extra` is left out, even what would be there."""
    system = [prompt.instructions, *(entry.remembered for entry in prompt.entries if entry.role == "system")]
    body: dict[str, Any] = {
        "model": model,
        "system": "\n\n".join(text for text in system if text.strip()) or None,
        "messages": messages(prompt.entries, images=images),
        "tools": [_tool(each) for each in prompt.tools] or None,
        "stream": True,
    }
    if not prompt.tools and (called := {entry.name for entry in prompt.entries if entry.role == "call"}):
        # Calls in the conversation are refused where no tools are told of.
        body["tools"] = [_tool({"name": name}) for name in sorted(called)]
        body["tool_choice"] = {"type": "none"}
    return leave_out(body | dict(limit or {}) | dict(extra or {}))


def _tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    parameters = schema.get("parameters") or {"type": "object", "properties": {}}
    return {"name": schema["name"], "description": schema.get("description", ""), "input_schema": parameters}


def messages(entries: Sequence[Entry], *, images: bool = True) -> list[dict[str, Any]]:
    """The conversation as messages of alternating roles, a user's first and last; results follow their calls."""
    made: list[dict[str, Any]] = []
    response: str | None = None  # the one whose calls are still being gathered
    for entry in entries:
        if entry.role == "call":
            if entry.output is not None:  # a call without its answer is refused
                _add_call(made, entry, siblings=entry.response_id == response)
                response = entry.response_id
            continue
        if entry.role == "system":
            continue
        pictures = entry.seen if images else ()
        if entry.remembered.strip() or pictures:
            response = None
            _add(made, entry.role, blocks(entry.remembered, pictures))
    if not made or made[-1]["role"] == "assistant":
        _add(made, "user", blocks(SILENCE, ()))
    return made


def blocks(text: str, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """A message's content: the pictures, then the words, as the provider recommends."""
    made: list[dict[str, Any]] = []
    for each in pictures:
        source = {"type": "base64", "media_type": each.media, "data": base64.b64encode(each.data).decode()}
        made.append({"type": "image", "source": source})
    if text.strip():
        made.append({"type": "text", "text": text})
    return made


def _add(made: list[dict[str, Any]], role: str, content: list[dict[str, Any]]) -> None:
    if not made and role == "assistant":
        made.append({"role": "user", "content": blocks(SILENCE, ())})
    if made and made[-1]["role"] == role:
        made[-1]["content"] += content
    else:
        made.append({"role": role, "content": content})


def _add_call(made: list[dict[str, Any]], entry: Entry, siblings: bool) -> None:
    call = _NOT_IN_IDS.sub("_", entry.call_id) or "call"
    use = {"type": "tool_use", "id": call, "name": entry.name, "input": arguments_of(entry.arguments)}
    result = {"type": "tool_result", "tool_use_id": call, "content": entry.output}
    if siblings:
        made[-2]["content"].append(use)
        made[-1]["content"].append(result)
    else:
        _add(made, "assistant", [use])
        _add(made, "user", [result])


class _Block:
    """A part of the answer that is being written."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.kind = found.get("type")
        self.name, self.call = str(found.get("name") or ""), str(found.get("id") or "")
        self.input = found.get("input")
        self.pieces: list[str] = []

    @property
    def made(self) -> ToolRequest:
        arguments = "".join(self.pieces)
        if not arguments:
            arguments = msgspec.json.encode(self.input if isinstance(self.input, dict) else {}).decode()
        return ToolRequest(name=self.name, arguments=arguments, call_id=self.call)


class MessageStream(AnswerStream):
    """One answer. Calls are given when it is complete, so that a cut answer calls nothing; the usage comes last."""

    def __init__(self, who: str = "the model") -> None:
        super().__init__(who)
        self._blocks: dict[Any, _Block] = {}
        self._usage: dict[str, Any] = {}

    def event(self, event: ServerEvent) -> Iterator[Piece]:
        """The pieces of one event. Unknown ones are ignored."""
        found = self.decoded(event)
        kind = found.get("type") or event.event
        if kind == "error" or found.get("error"):
            raise complaint(self.who, found.get("error") or {"type": "api_error"})
        if kind == "message_start":
            self._count(_dict(found.get("message")).get("usage"))
        elif kind == "content_block_start":
            yield from self._begin(found.get("index"), _dict(found.get("content_block")))
        elif kind == "content_block_delta":
            yield from self._more(found.get("index"), _dict(found.get("delta")))
        elif kind == "message_delta":
            self._count(found.get("usage"))
            self._stopped(_dict(found.get("delta")).get("stop_reason"))
        elif kind == "message_stop":
            self.over = True
        elif kind == "message":
            content = found.get("content")
            for index, block in enumerate(content if isinstance(content, list) else []):
                yield from self._begin(index, _dict(block))
            self._count(found.get("usage"))
            self._stopped(found.get("stop_reason"))

    def _begin(self, index: Any, block: dict[str, Any]) -> Iterator[str]:
        self._blocks[index] = _Block(block)
        if block.get("type") == "text" and isinstance(text := block.get("text"), str) and text:
            yield text

    def _more(self, index: Any, delta: dict[str, Any]) -> Iterator[str]:
        kind = delta.get("type")
        if kind == "text_delta" and isinstance(text := delta.get("text"), str) and text:
            yield text
        elif kind == "input_json_delta" and index in self._blocks:
            self._blocks[index].pieces.append(str(delta.get("partial_json") or ""))

    def _stopped(self, reason: Any) -> None:
        if reason == "refusal":
            raise complaint(self.who, {"type": "content_filter", "message": "refusal"})
        self.finished = self.finished or bool(reason)

    def _count(self, usage: Any) -> None:
        """The counts are totals so far; what an event does not name stays."""
        self._usage |= {name: value for name, value in _dict(usage).items() if isinstance(value, int)}

    def last(self) -> Iterator[Piece]:
        """The calls, and the usage."""
        for block in self._blocks.values():
            if block.kind == "tool_use" and block.name:
                yield block.made
        if self._usage:
            cached = number(self._usage, "cache_read_input_tokens")
            written = number(self._usage, "cache_creation_input_tokens")  # not among the input tokens either
            yield Usage(
                input_tokens=number(self._usage, "input_tokens") + cached + written,
                output_tokens=number(self._usage, "output_tokens"),
                cached_tokens=cached,
            )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
