"""Anthropic's messages protocol without I/O, and `AnthropicMessages` against a server with real sockets and faults."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Usage
from bargein.services.cascade.parts import Prompt, ToolRequest
from bargein.services.history import Entry, Picture
from bargein.services.providers.anthropic import AnthropicMessages, LanguageModelError
from bargein.services.providers.anthropic._protocol import (
    SILENCE,
    MessageStream,
    build_request,
    content_blocks,
    messages,
)
from tests.services.providers.chat.answers import Piece
from tests.services.providers.chat.http_server import (
    BACKENDS,
    END,
    HANG_UP,
    HttpServer,
    Step,
    head,
    part,
    plain,
    run,
    serving,
)
from tests.services.providers.chat.prompts import PROMPT, called


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def block(index: int, **content: Any) -> bytes:
    return event("content_block_start", index=index, content_block=content)


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(reason: str, tokens: int) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": tokens})


USAGE = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1}
START = event("message_start", message={"role": "assistant", "content": [], "usage": USAGE})
TEXT = [
    block(0, type="text", text=""),
    event("ping"),
    delta(0, "text_delta", text="Hel"),
    delta(0, "text_delta", text="lo ü"),
    event("content_block_stop", index=0),
]
TOOL = [
    block(1, type="tool_use", id="toolu_1", name="weather", input={}),
    delta(1, "input_json_delta", partial_json=""),
    delta(1, "input_json_delta", partial_json='{"city": '),
    delta(1, "input_json_delta", partial_json='"Rome"}'),
    event("content_block_stop", index=1),
]
OVER = event("message_stop")
WHOLE = b"".join([START, *TEXT, *TOOL, stop("tool_use", 7), OVER])
COST = Usage(input_tokens=10, output_tokens=7, cached_tokens=5)
PIECES = ["Hel", "lo ü", ToolRequest(name="weather", arguments='{"city": "Rome"}', call_id="toolu_1"), COST]


def read(*wire: bytes, end: bool = True) -> list[Piece]:
    stream, pieces = MessageStream("it"), list[Piece]()
    for data in wire:
        pieces += stream.feed(data)
    return pieces + (list(stream.end()) if end else [])


@given(st.lists(st.integers(0, len(WHOLE))))
def test_bytes_may_be_cut_anywhere(cuts: list[int]) -> None:
    """However the network cuts the bytes, the pieces are the same. Cached tokens count as read."""
    assert read(*(WHOLE[a:b] for a, b in pairwise([0, *sorted(cuts), len(WHOLE)]))) == PIECES


def test_thinking_is_not_spoken() -> None:
    """Blocks of thought, signatures and unknown events are skipped."""
    thought = [block(0, type="thinking", thinking=""), delta(0, "thinking_delta", thinking="hm"), event("new_thing")]
    answer = [block(1, type="text", text="A"), delta(1, "text_delta", text="h.")]
    assert read(*thought, *answer, stop("end_turn", 2), OVER) == ["A", "h.", Usage(output_tokens=2)]


def test_a_call_without_arguments() -> None:
    """A tool that takes nothing is called with an empty object."""
    wire = [block(0, type="tool_use", id="a", name="x", input={}), stop("tool_use", 1), OVER]
    assert read(*wire)[0] == ToolRequest(name="x", arguments="{}", call_id="a")


def test_cut_answer_makes_no_calls() -> None:
    """Calls are made when the answer is complete. A cut answer is a fault that may pass."""
    assert read(START, *TEXT, *TOOL, end=False) == ["Hel", "lo ü"]
    with pytest.raises(LanguageModelError, match="has stopped within its answer") as caught:
        read(START, *TEXT, *TOOL, b"event: mess")
    assert (caught.value.kind, caught.value.fatal) == ("cut", False)


def test_answer_without_streaming() -> None:
    """A server that does not stream is understood too."""
    content = [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "a", "name": "x", "input": {"n": 1}}]
    body = {"type": "message", "content": content, "stop_reason": "tool_use", "usage": {"input_tokens": 3}}
    pieces = list(MessageStream().read_body(json.dumps(body).encode()))
    assert pieces == ["Hi", ToolRequest(name="x", arguments='{"n":1}', call_id="a"), Usage(input_tokens=3)]


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (event("error", error={"type": "overloaded_error", "message": "Overloaded"}), "busy"),
        (event("error", error={"type": "api_error", "message": "Internal"}), "server"),
        (event("error", error={"type": "authentication_error", "message": "x-api-key"}), "key"),
        (event("error", error={"type": "invalid_request_error", "message": "credit balance is too low"}), "credit"),
        (stop("refusal", 1), "filtered"),
        (b"event: x\ndata: {oops\n\n", "unreadable"),
    ],
)
def test_faults_in_the_stream(wire: bytes, kind: str) -> None:
    """A fault after the answer has begun is classified as one before it."""
    with pytest.raises(LanguageModelError) as caught:
        read(START, wire)
    assert caught.value.kind == kind


# The request --------------------------------------------------------------------------------------------------------


def test_roles_alternate_and_results_follow_calls() -> None:
    """Neighbours of one role are merged, siblings share a message, and what was heard is remembered."""
    entries = [
        Entry(role="user", text="Hello."),
        Entry(role="user", text="Weather?"),
        Entry(role="assistant", text="Let me see.", response_id="r"),
        called("weather"),
        called("time", arguments="half"),
        called("never", output=None),
        Entry(role="user", text="Well?"),
        Entry(role="assistant", text="It is sunny and warm.", heard="It is sunny", response_id="s"),
        Entry(role="user", text="Thanks."),
    ]
    assert messages(entries) == [
        {"role": "user", "content": [{"type": "text", "text": "Hello."}, {"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "id-weather", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "id-time", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "id-weather", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "id-time", "content": "sunny"},
                {"type": "text", "text": "Well?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "It is sunny"}]},
        {"role": "user", "content": [{"type": "text", "text": "Thanks."}]},
    ]


ENTRIES = st.lists(
    st.builds(
        Entry,
        role=st.sampled_from(["user", "assistant", "call", "system"]),
        text=st.sampled_from(["", " ", "a"]),
        heard=st.sampled_from([None, "", "b"]),
        response_id=st.sampled_from(["r", "s"]),
        call_id=st.sampled_from(["a", "é", ""]),
        name=st.just("x"),
        output=st.sampled_from([None, "", "c"]),
    )
)


@given(ENTRIES)
def test_any_conversation_becomes_valid_messages(entries: list[Entry]) -> None:
    """Roles alternate, a user begins and ends, nothing is empty, and calls are answered in the next message."""
    made = messages(entries)
    assert made[0]["role"] == made[-1]["role"] == "user"
    assert all(one["role"] != other["role"] for one, other in pairwise(made))
    assert all(part.get("text", "x").strip() for each in made for part in each["content"])
    for one, other in pairwise([*made, {"content": []}]):
        calls = [each["id"] for each in one["content"] if each["type"] == "tool_use"]
        results = [each.get("tool_use_id") for each in other["content"]]
        assert calls == results[: len(calls)]


def test_agent_speaks_first() -> None:
    """The protocol wants a user's words first, so a placeholder stands for them."""
    made = messages([Entry(role="assistant", text="Hello.")])
    assert [each["content"][0]["text"] for each in made] == [SILENCE, "Hello.", SILENCE]


def test_pictures_come_before_words() -> None:
    """A picture is a block of its own."""
    source = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    assert content_blocks("Look.", [Picture(media="image/png", data=b"\0")]) == [
        {"type": "image", "source": source},
        {"type": "text", "text": "Look."},
    ]


def test_options_of_the_request() -> None:
    """Instructions are the system's, tools have their own form, and `extra` has the last word."""
    entries = [Entry(role="system", text="The user is Anna."), Entry(role="user", text="x")]
    tool = {"name": "t", "description": "d", "parameters": {"type": "object"}}
    prompt = Prompt(entries=entries, instructions="Be brief.", tools=[tool])
    extra = {"top_k": 1, "stream": None}
    model = AnthropicMessages("m", api_key="k", max_tokens=9, temperature=None, extra=extra)
    assert model.request(prompt) == {
        "model": "m",
        "system": "Be brief.\n\nThe user is Anna.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        "tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}}],
        "max_tokens": 9,
        "top_k": 1,
    }


def test_calls_without_tools() -> None:
    """A conversation with calls names their tools even when none may be called any more."""
    body = build_request(Prompt(entries=[called("weather")]), "m")
    assert [each["name"] for each in body["tools"]] == ["weather"]
    assert body["tool_choice"] == {"type": "none"}


def test_url_and_key_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment is Anthropic's, and is sent to no other server."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    model = AnthropicMessages("m")
    assert (model.url, model._headers["x-api-key"]) == ("https://api.anthropic.com/v1/messages", "secret")
    assert "x-api-key" not in AnthropicMessages("m", url="http://localhost:8080/v1")._headers
    with pytest.raises(ValueError, match=r"no key for example\.org"):
        AnthropicMessages("m", url="https://example.org")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(ValueError, match="or set ANTHROPIC_API_KEY"):
        AnthropicMessages("m")


# Real sockets -------------------------------------------------------------------------------------------------------

GOOD: list[Step] = [
    head(),
    part(START),
    *(part(data) for data in (*TEXT, *TOOL)),
    part(stop("tool_use", 7) + OVER),
    END,
]


async def asked(server: HttpServer, **options: Any) -> list[Piece]:
    async with AnthropicMessages("m", url=server.base_url, api_key="k3y", **options) as model:
        return [piece async for piece in model.answer(PROMPT)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_is_streamed(backend: str) -> None:
    """The words come, then the call and the cost; the request is the protocol's."""

    async def talk() -> None:
        async with serving(GOOD) as server:
            assert await asked(server) == PIECES
            first, headers, body = server.requests[0]
            assert first == "POST /v1/messages HTTP/1.1"
            assert (headers["x-api-key"], headers["anthropic-version"]) == ("k3y", "2023-06-01")
            assert (body["max_tokens"], body["stream"]) == (1024, True)

    run(backend, talk)


OVERLOADED = {"type": "overloaded_error", "message": "Overloaded"}
PASSING: dict[str, list[Step]] = {
    "529": plain(529, json.dumps({"type": "error", "error": OVERLOADED}).encode(), retry_after_ms="1"),
    "overloaded once it had begun": [head() + part(START + event("error", error=OVERLOADED)) + END],
    "a closed socket": [HANG_UP],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PASSING)
def test_passing_fault_is_retried(backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing of the answer has come."""
    monkeypatch.setattr("bargein.services.sockets.retry.FIRST_SECONDS", 0.001)

    async def talk() -> None:
        async with serving(PASSING[name], GOOD) as server:
            assert await asked(server) == PIECES

    run(backend, talk)


LASTING = [
    (401, "authentication_error", "invalid x-api-key k3y", "key"),
    (404, "not_found_error", "model: m", "model"),
    (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "context"),
    (400, "invalid_request_error", "Your credit balance is too low", "credit"),
    (413, "request_too_large", "Request exceeds the maximum size", "context"),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("status", "kind", "message", "fault"), LASTING)
def test_lasting_fault_is_an_error(backend: str, status: int, kind: str, message: str, fault: str) -> None:
    """A typed error says what happened, and not the key. A final refusal is not retried."""

    async def talk() -> None:
        body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
        async with serving(plain(status, body)) as server:
            with pytest.raises(LanguageModelError) as caught:
                await asked(server)
            assert (caught.value.kind, caught.value.fatal, len(server.requests)) == (fault, True, 1)
            assert "k3y" not in str(caught.value)

    run(backend, talk)
