"""The chat-completions protocol without I/O: answers as streams of events."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Usage
from bargein.services.cascade.parts import ToolRequest
from bargein.services.providers.chat import LanguageModelError
from bargein.services.providers.chat.protocol import ChatStream

from .answers import DONE, HELLO, HELLO_PIECES, USAGE, Piece, chunk


def call(index: int | None, arguments: str = "", **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
    return {"tool_calls": [({} if index is None else {"index": index}) | more | {"function": function}]}


WHOLE = b"".join([*HELLO, chunk({}, "stop"), USAGE, DONE])


def read(*wire: bytes, end: bool = True) -> list[Piece]:
    stream, pieces = ChatStream("it"), list[Piece]()
    for data in wire:
        pieces += stream.feed(data)
    return pieces + (list(stream.end()) if end else [])


@given(st.lists(st.integers(0, len(WHOLE))), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_bytes_may_be_cut_anywhere(cuts: list[int], ending: bytes) -> None:
    """However the network cuts the bytes, and whatever ends the lines, the pieces are the same."""
    wire = WHOLE.replace(b"\n", ending)
    edges = [0, *sorted(cuts), len(wire)]
    assert read(*(wire[a:b] for a, b in pairwise(edges))) == HELLO_PIECES


def test_an_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that never ends is a fault, not a full memory."""
    monkeypatch.setattr("bargein.services.providers._shared.sse.MAX_EVENT_BYTES", 100)
    with pytest.raises(LanguageModelError, match="more than 100 bytes"):
        read(b"data: " + b"x" * 200)


CALLS: dict[str, tuple[list[bytes], list[ToolRequest]]] = {
    "OpenAI: an index, the id once": (
        [
            chunk(call(0, id="a", name="weather")),
            chunk(call(0, '{"city":')),
            chunk(call(1, id="b", name="time")),
            chunk(call(0, ' "Rome"}')),
            chunk(call(1, "{}")),
        ],
        [
            ToolRequest(name="weather", arguments='{"city": "Rome"}', call_id="a"),
            ToolRequest(name="time", arguments="{}", call_id="b"),
        ],
    ),
    "always index 0, an id each": (
        [chunk(call(0, '{"n": 1}', id="a", name="x")), chunk(call(0, '{"n": 2}', id="b", name="x"))],
        [
            ToolRequest(name="x", arguments='{"n": 1}', call_id="a"),
            ToolRequest(name="x", arguments='{"n": 2}', call_id="b"),
        ],
    ),
    "no index": (
        [chunk(call(None, "{", id="a", name="x")), chunk(call(None, "}"))],
        [ToolRequest(name="x", arguments="{}", call_id="a")],
    ),
    "the id and the name again and again": (
        [chunk(call(0, "{", id="a", name="x")), chunk(call(0, "}", id="a", name="x"))],
        [ToolRequest(name="x", arguments="{}", call_id="a")],
    ),
    "no arguments": ([chunk(call(0, id="a", name="x"))], [ToolRequest(name="x", arguments="{}", call_id="a")]),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_assembled(name: str) -> None:
    """The deltas of a call are put together by index, or by id where servers count badly."""
    wire, calls = CALLS[name]
    assert read(*wire, chunk({}, "tool_calls"), DONE) == calls


def test_cut_answer_makes_no_calls() -> None:
    """Calls are made when the answer is complete. A cut answer is a fault that may pass."""
    wire = [chunk({"content": "Well"}), chunk(call(0, "{}", id="a", name="x"))]
    assert read(*wire, end=False) == ["Well"]
    with pytest.raises(LanguageModelError, match="has stopped within its answer") as caught:
        read(*wire, b'data: {"choi')
    assert (caught.value.kind, caught.value.fatal) == ("cut", False)


@pytest.mark.parametrize(
    ("wire", "pieces"),
    [
        ([*HELLO, chunk({}, "stop")], ["Hel", "lo ü"]),
        ([*HELLO, b"data: [DONE]"], ["Hel", "lo ü"]),
        ([b'data: {"choices": null}\n\n', DONE], []),
        ([chunk({"content": [{"type": "thinking"}, {"type": "text", "text": "a"}]}), DONE], ["a"]),
        ([chunk({"reasoning_content": "hm", "content": None}), chunk({"refusal": "No."}), DONE], ["No."]),
        ([b": OPENROUTER PROCESSING\n\n", chunk({"content": "a"}, usage={"prompt_tokens": 1}), DONE], ["a"]),
    ],
)
def test_variants_of_servers(wire: list[bytes], pieces: list[str]) -> None:
    """Fields that servers leave out or add beside the text do not matter."""
    assert [piece for piece in read(*wire) if not isinstance(piece, Usage)] == pieces


@pytest.mark.parametrize(
    ("wire", "kind", "says"),
    [
        (b"data: {broken\n\n", "unreadable", "cannot be read, 7 characters of it"),
        (b"data: [1]\n\n", "unreadable", "cannot be read"),
        (b'data: {"error": {"message": "boom", "code": 502}}\n\n', "server", "boom"),
        (b'data: {"error": "boom"}\n\n', "server", "boom"),
        (b'data: {"object": "error", "message": "boom"}\n\n', "server", "boom"),
        (b'data: {"error": {"message": "full", "code": 429}}\n\n', "busy", "full"),
        (chunk({}, "content_filter"), "filtered", "filter has stopped"),
    ],
)
def test_faults_in_the_stream(wire: bytes, kind: str, says: str) -> None:
    """A fault after the answer has begun is classified as one before it."""
    with pytest.raises(LanguageModelError, match=says) as caught:
        read(HELLO[1], wire)
    assert caught.value.kind == kind


def test_answer_without_streaming() -> None:
    """A server that does not stream is understood too."""
    message = {"content": "Hi", "tool_calls": [{"id": "a", "function": {"name": "x", "arguments": "{}"}}]}
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    pieces = list(ChatStream().read_body(json.dumps(body).encode()))
    assert pieces == ["Hi", ToolRequest(name="x", call_id="a"), Usage(input_tokens=3)]
