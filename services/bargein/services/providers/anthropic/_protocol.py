"""Anthropic's messages protocol: a prompt becomes a request, a stream of events becomes pieces. No I/O."""

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
from bargein.services.providers._shared.model_stream import AnswerStream, Piece, token_count
from bargein.services.providers._shared.sse import ServerEvent

__all__ = ["MessageStream", "build_request", "content_blocks", "messages"]

SILENCE = "(The user says nothing.)"
"""Stands where the protocol requires words of the user and there are none: at the beginning, and at the end."""
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


def build_request(prompt: Prompt, model: str, *, images: bool = True) -> dict[str, Any]:
    """Return the fields of the request for a prompt. Those that are None are not sent.

    Args:
        prompt: The instructions, the conversation and the tools.
        model: The model's name.
        images: Whether pictures are sent.
    """
    system = [prompt.instructions, *(entry.remembered for entry in prompt.entries if entry.role == "system")]
    body: dict[str, Any] = {
        "model": model,
        "system": "\n\n".join(text for text in system if text.strip()) or None,
        "messages": messages(prompt.entries, images=images),
        "tools": [_tool(each) for each in prompt.tools] or None,
        "stream": True,
    }
    if not prompt.tools and (called := {entry.name for entry in prompt.entries if entry.role == "call"}):
        # The provider refuses a conversation with tool calls if no tools are declared.
        body["tools"] = [_tool({"name": name}) for name in sorted(called)]
        body["tool_choice"] = {"type": "none"}
    return body


def _tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    parameters = schema.get("parameters") or {"type": "object", "properties": {}}
    return {"name": schema["name"], "description": schema.get("description", ""), "input_schema": parameters}


def messages(entries: Sequence[Entry], *, images: bool = True) -> list[dict[str, Any]]:
    """Return the conversation as messages of alternating roles, the user's first and last.

    Tool results follow their calls. A call without a result is left out, because the provider refuses it.
    """
    result: list[dict[str, Any]] = []
    response: str | None = None  # the response whose calls are being collected
    for entry in entries:
        if entry.role == "call":
            if entry.output is not None:
                _add_call(result, entry, same_response=entry.response_id == response)
                response = entry.response_id
            continue
        if entry.role == "system":
            continue
        pictures = entry.available_pictures if images else ()
        if entry.remembered.strip() or pictures:
            response = None
            _add(result, entry.role, content_blocks(entry.remembered, pictures))
    if not result or result[-1]["role"] == "assistant":
        _add(result, "user", content_blocks(SILENCE, ()))
    return result


def content_blocks(text: str, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """Return the content of a message: the pictures before the text, as the provider recommends."""
    result: list[dict[str, Any]] = []
    for each in pictures:
        source = {"type": "base64", "media_type": each.media, "data": base64.b64encode(each.data).decode()}
        result.append({"type": "image", "source": source})
    if text.strip():
        result.append({"type": "text", "text": text})
    return result


def _add(result: list[dict[str, Any]], role: str, content: list[dict[str, Any]]) -> None:
    if not result and role == "assistant":
        result.append({"role": "user", "content": content_blocks(SILENCE, ())})
    if result and result[-1]["role"] == role:
        result[-1]["content"] += content
    else:
        result.append({"role": role, "content": content})


def _add_call(result: list[dict[str, Any]], entry: Entry, same_response: bool) -> None:
    call_id = _NOT_IN_IDS.sub("_", entry.call_id) or "call"
    use = {"type": "tool_use", "id": call_id, "name": entry.name, "input": arguments_of(entry.arguments)}
    output = {"type": "tool_result", "tool_use_id": call_id, "content": entry.output}
    if same_response:
        result[-2]["content"].append(use)
        result[-1]["content"].append(output)
    else:
        _add(result, "assistant", [use])
        _add(result, "user", [output])


class _Block:
    """A content block of the answer that is being written."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.kind = fields.get("type")
        self.name, self.call_id = str(fields.get("name") or ""), str(fields.get("id") or "")
        self.input = fields.get("input")
        self.pieces: list[str] = []

    def to_request(self) -> ToolRequest:
        """Return the block as a tool call."""
        arguments = "".join(self.pieces)
        if not arguments:
            arguments = msgspec.json.encode(self.input if isinstance(self.input, dict) else {}).decode()
        return ToolRequest(name=self.name, arguments=arguments, call_id=self.call_id)


class MessageStream(AnswerStream):
    """The protocol of one answer.

    Tool calls are yielded when the answer is complete, so that an answer that breaks off calls nothing. The usage is
    last.
    """

    def __init__(self, source: str = "the model") -> None:
        super().__init__(source)
        self._blocks: dict[Any, _Block] = {}
        self._usage: dict[str, Any] = {}

    def on_event(self, event: ServerEvent) -> Iterator[Piece]:
        """Yield the pieces of one event. Unknown events are ignored."""
        fields = self.decode(event)
        kind = fields.get("type") or event.event
        if kind == "error" or fields.get("error"):
            raise self.error(fields.get("error") or {"type": "api_error"})
        if kind == "message_start":
            self._add_usage(_dict(fields.get("message")).get("usage"))
        elif kind == "content_block_start":
            yield from self._begin_block(fields.get("index"), _dict(fields.get("content_block")))
        elif kind == "content_block_delta":
            yield from self._on_delta(fields.get("index"), _dict(fields.get("delta")))
        elif kind == "message_delta":
            self._add_usage(fields.get("usage"))
            self._on_stop(_dict(fields.get("delta")).get("stop_reason"))
        elif kind == "message_stop":
            self.over = True
        elif kind == "message":  # the answer was not streamed
            content = fields.get("content")
            for index, block in enumerate(content if isinstance(content, list) else []):
                yield from self._begin_block(index, _dict(block))
            self._add_usage(fields.get("usage"))
            self._on_stop(fields.get("stop_reason"))

    def _begin_block(self, index: Any, block: dict[str, Any]) -> Iterator[str]:
        self._blocks[index] = _Block(block)
        if block.get("type") == "text" and isinstance(text := block.get("text"), str) and text:
            yield text

    def _on_delta(self, index: Any, delta: dict[str, Any]) -> Iterator[str]:
        kind = delta.get("type")
        if kind == "text_delta" and isinstance(text := delta.get("text"), str) and text:
            yield text
        elif kind == "input_json_delta" and index in self._blocks:
            self._blocks[index].pieces.append(str(delta.get("partial_json") or ""))

    def _on_stop(self, reason: Any) -> None:
        if reason == "refusal":
            raise self.error({"type": "content_filter", "message": "refusal"})
        self.finished = self.finished or bool(reason)

    def _add_usage(self, usage: Any) -> None:
        """Note token counts. They are totals so far; a count that an event does not name stays as it was."""
        self._usage |= {name: value for name, value in _dict(usage).items() if isinstance(value, int)}

    def final_pieces(self) -> Iterator[Piece]:
        """Yield the tool calls and the usage."""
        for block in self._blocks.values():
            if block.kind == "tool_use" and block.name:
                yield block.to_request()
        if self._usage:
            # The provider counts cached tokens separately; `Usage.input_tokens` includes them.
            cached = token_count(self._usage, "cache_read_input_tokens")
            written = token_count(self._usage, "cache_creation_input_tokens")
            yield Usage(
                input_tokens=token_count(self._usage, "input_tokens") + cached + written,
                output_tokens=token_count(self._usage, "output_tokens"),
                cached_tokens=cached,
            )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
