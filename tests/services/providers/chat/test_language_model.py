"""The chat-completions protocol without I/O, and `ChatCompletions` against a server with real sockets and faults."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Usage
from bargein.services.cascade.parts import Prompt, ToolRequest
from bargein.services.history import Entry, Picture
from bargein.services.providers.chat import ChatCompletions, LanguageModelError
from bargein.services.providers.chat.protocol import ChatStream, messages
from bargein.services.sockets.retry import retry_after_seconds

BACKENDS = ["asyncio", "trio"]
Piece = str | ToolRequest | Usage


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


def call(index: int | None, arguments: str = "", **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
    return {"tool_calls": [({} if index is None else {"index": index}) | more | {"function": function}]}


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}\n\n'  # noqa: E501
DONE = b"data: [DONE]\n\n"
HELLO = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo ü"})]
WHOLE = b"".join([*HELLO, chunk({}, "stop"), USAGE, DONE])
HELLO_PIECES = ["Hel", "lo ü", Usage(input_tokens=9, output_tokens=2, cached_tokens=4)]


def read(*wire: bytes, end: bool = True) -> list[Piece]:
    stream, pieces = ChatStream("it"), list[Piece]()
    for data in wire:
        pieces += stream.feed(data)
    return pieces + (list(stream.end()) if end else [])


# The stream ---------------------------------------------------------------------------------------------------------


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


# The request --------------------------------------------------------------------------------------------------------


def called(name: str, output: str | None = "sunny", response: str = "r", arguments: str = '{"city":"Rome"}') -> Entry:
    return Entry(role="call", call_id=f"id-{name}", name=name, arguments=arguments, output=output, response_id=response)


def test_the_conversation_as_messages() -> None:
    """Instructions first, heard words only, calls with their answers, neighbours of one role in one."""
    entries = [
        Entry(role="user", text="Hello."),
        Entry(role="user", text="Weather?"),
        Entry(role="assistant", text="Let me see.", response_id="r"),
        called("weather"),
        called("time", arguments="half"),
        called("never", output=None),
        Entry(role="assistant", text="It is sunny and warm.", heard="It is sunny", response_id="r"),
        Entry(role="assistant", text="Unheard.", heard=""),
        called("weather", response="s"),
    ]
    first, second = (
        {"id": f"id-{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in (("weather", '{"city":"Rome"}'), ("time", "{}"))
    )
    assert messages(Prompt(entries=entries, instructions="Be brief.")) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello.\nWeather?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [first, second]},
        {"role": "tool", "tool_call_id": "id-weather", "content": "sunny"},
        {"role": "tool", "tool_call_id": "id-time", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny", "tool_calls": [first]},
        {"role": "tool", "tool_call_id": "id-weather", "content": "sunny"},
    ]


def test_calls_of_two_responses_are_separate() -> None:
    """Calls of one response share a message. Those of the next response have another one."""
    made = messages(Prompt(entries=[called("a"), called("b", response="s")]))
    assert [each["role"] for each in made] == ["assistant", "tool", "assistant", "tool"]


def test_pictures_are_data_uris() -> None:
    """A picture is a part of the content, beside the words. Models without vision do not get it."""
    shown = Picture(media="image/png", data=b"\x00", detail="low")
    prompt = Prompt(entries=[Entry(role="user", text="Look."), Entry(role="user", pictures=(shown,))])
    (message,) = messages(prompt)
    assert message["content"] == [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]
    assert messages(prompt, images=False) == [{"role": "user", "content": "Look."}]


def test_options_of_the_request() -> None:
    """Tools are wrapped, what is None is left out, and `extra` has the last word."""
    prompt = Prompt(entries=[Entry(role="user", text="x")], tools=[{"name": "t"}])
    extra = {"stream_options": None, "seed": 1}
    model = ChatCompletions("m", url="http://localhost:1/v1", max_tokens=9, temperature=None, extra=extra)
    assert model.request(prompt) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "t"}}],
        "stream": True,
        "max_tokens": 9,
        "seed": 1,
    }


AZURE = "https://a.openai.azure.com"


@pytest.mark.parametrize(
    ("options", "url", "header"),
    [
        ({"api_key": "k"}, "https://api.openai.com/v1/chat/completions", "authorization"),
        ({"url": AZURE + "/", "api_key": "k"}, AZURE + "/openai/v1/chat/completions", "api-key"),
        (
            {"url": AZURE, "api_version": "v", "api_key": "k"},
            AZURE + "/openai/deployments/m/chat/completions?api-version=v",
            "api-key",
        ),
        ({"url": AZURE + "/x?a=v", "api_key": "k"}, AZURE + "/x/chat/completions?a=v", "api-key"),
        ({"url": "http://localhost:1234/v1/"}, "http://localhost:1234/v1/chat/completions", ""),
        ({"url": "http://gpu:8000/v1/chat/completions"}, "http://gpu:8000/v1/chat/completions", ""),
        ({"url": "https://example.org/v1", "api_key": ""}, "https://example.org/v1/chat/completions", ""),
    ],
)  # fmt: skip
def test_url_and_key_header(options: dict[str, Any], url: str, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server has its address, and its header for the key. A local server gets no key."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    model = ChatCompletions("m", **options)
    assert model.url == url
    assert [name for name in model._headers if name in ("authorization", "api-key")] == ([header] if header else [])


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is OpenAI's and is sent to no other server. A missing key is an error."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert ChatCompletions("m")._headers["authorization"] == "Bearer secret"
    with pytest.raises(ValueError, match=r"no key for api\.groq\.com; give api_key=\.\.\.$"):
        ChatCompletions("m", url="https://api.groq.com/openai/v1")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="or set OPENAI_API_KEY"):
        ChatCompletions("m")
    with pytest.raises(ValueError, match="characters that no key has"):
        ChatCompletions("m", api_key="a b")


# Faults -------------------------------------------------------------------------------------------------------------


def error(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "2"}, 0.25),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:07 GMT", "date": "Fri, 01 Jan 2027 00:00:00 GMT"}, 7.0),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:07 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], wait: float | None) -> None:
    """The server's wish is read in seconds, milliseconds, and as a date beside its own date."""
    assert retry_after_seconds(headers) == wait


# Real sockets -------------------------------------------------------------------------------------------------------

Step = bytes | anyio.Event | str
HANG_UP, LISTEN = "hang up", "listen"


class HttpServer:
    """A raw HTTP/1.1 server that plays a script an answer: bytes to send, an event to wait for, or what else to do."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.scripts = list(scripts)
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.connections = 0
        self.gone = anyio.Event()
        self.port = 0

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                while self.scripts:
                    await self.once(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.gone.set()

    async def once(self, stream: anyio.abc.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += await stream.receive()
        self.requests.append((first, headers, json.loads(body)))
        for step in self.scripts.pop(0):
            if isinstance(step, bytes):
                await stream.send(step)
            elif isinstance(step, anyio.Event):
                await step.wait()
            elif step == HANG_UP:
                raise anyio.EndOfStream
            else:
                await stream.receive()  # nothing more is sent: this waits for the end
                raise AssertionError("the client has said more")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@asynccontextmanager
async def serving(*scripts: Sequence[Step]) -> AsyncIterator[HttpServer]:
    server = HttpServer(*scripts)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        server.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, server.serve)
        yield server
        group.cancel_scope.cancel()


def head(status: int = 200, kind: str = "text/event-stream", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "transfer-encoding: chunked"]
    return "\r\n".join(
        [*lines, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    ).encode()


def part(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


END = b"0\r\n\r\n"


def plain(status: int, body: bytes, kind: str = "application/json", **headers: str) -> list[Step]:
    return [head(status, kind, **headers) + (part(body) if body else b"") + END]


GOOD: list[Step] = [head(), *(part(data) for data in HELLO), part(chunk({}, "stop") + USAGE + DONE), END]


def run(backend: str, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
    """In real time, on either backend, because the sockets are real."""

    async def within() -> None:
        with anyio.fail_after(60):
            await function(*args)

    anyio.run(within, backend=backend)


PROMPT = Prompt(entries=[Entry(role="user", text="Hello \ud800.")])


async def asked(server: HttpServer, **options: Any) -> list[Piece]:
    async with ChatCompletions("m", url=server.base_url, **options) as model:
        return [piece async for piece in model.answer(PROMPT)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_is_streamed(backend: str) -> None:
    """The words come as they are written, and the next question uses the same connection."""

    async def talk() -> None:
        more = anyio.Event()
        script: list[Step] = [head(), part(HELLO[1]), more, part(HELLO[2]), part(chunk({}, "stop") + USAGE + DONE), END]
        async with serving(script, GOOD) as server:
            async with ChatCompletions("m", url=server.base_url, api_key="k") as model:
                pieces: list[Piece] = []
                async for piece in model.answer(PROMPT):
                    pieces.append(piece)
                    more.set()
                assert pieces == HELLO_PIECES
                assert [piece async for piece in model.answer(PROMPT)] == HELLO_PIECES
            assert server.connections == 1
            first, headers, body = server.requests[0]
            assert first == "POST /v1/chat/completions HTTP/1.1"
            assert headers["authorization"] == "Bearer k"
            assert body["messages"] == [{"role": "user", "content": "Hello ?."}]
            assert body["stream_options"] == {"include_usage": True}

    run(backend, talk)


PASSING: dict[str, list[Step]] = {
    "429": plain(429, error("slow down"), retry_after_ms="1"),
    "500": plain(500, error("oops"), retry_after_ms="1"),
    "a web page of 502": plain(502, b"<html>", "text/html", retry_after_ms="1"),
    "a closed socket": [HANG_UP],
    "a cut before the first word": [head() + part(HELLO[0]), HANG_UP],
    "an error for a first word": [head() + part(b'data: {"error": {"message": "busy", "code": 503}}\n\n') + END],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PASSING)
def test_passing_fault_is_retried(backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing of the answer has come, without the caller noticing."""
    monkeypatch.setattr("bargein.services.sockets.retry.FIRST_SECONDS", 0.001)

    async def talk() -> None:
        async with serving(PASSING[name], GOOD) as server:
            assert await asked(server) == HELLO_PIECES
            assert len(server.requests) == 2

    run(backend, talk)


LASTING: dict[str, tuple[list[Step], str, bool, str]] = {
    "a key at the cut": (plain(403, error("x" * 298 + " k3y")), "key", True, "look at api_key"),
    "a key in the stream": (
        [head() + part(b'data: {"error": {"message": "%s k3y", "code": 400}}\n\n' % (b"x" * 298)) + END],
        "request",
        True,
        "gives up",
    ),
    "a bad key": (plain(401, error("Incorrect API key provided: k3y")), "key", True, r"api_key.*provided: \*\*\*"),
    "a wrong model": (plain(404, error("model 'm' not found")), "model", True, "look at model and url"),
    "too long": (plain(400, error("maximum context length is 10")), "context", True, "longer than the model"),
    "a web page": (plain(200, b"<html>Welcome", "text/html"), "address", True, "a web page"),
    "a polite complaint": (plain(200, error("no", code=401)), "key", True, "no"),
    "busy for long": (plain(429, error("slow down"), retry_after="60"), "busy", False, "too many requests"),
    "no event stream": (plain(200, b"hello", "text/plain"), "cut", False, "has stopped"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LASTING)
def test_lasting_fault_is_an_error(backend: str, name: str) -> None:
    """A typed error says what happened and what to do, and not the key. A final refusal is not retried."""
    script, kind, fatal, says = LASTING[name]

    async def talk() -> None:
        async with serving(script) as server:
            with pytest.raises(LanguageModelError, match=says) as caught:
                await asked(server, api_key="k3y", retries=0 if kind == "cut" else 2)
            assert (caught.value.kind, caught.value.fatal, len(server.requests)) == (kind, fatal, 1)
            assert "k3" not in str(caught.value)

    run(backend, talk)


BROKEN: dict[str, list[Step]] = {
    "cut": [head() + part(HELLO[1]), HANG_UP],
    "ended early": [head() + part(HELLO[1]) + END],
    "malformed": [head() + part(HELLO[1] + b"data: {oops\n\n") + END],
    "failed": [head() + part(HELLO[1] + b'data: {"error": {"message": "oops"}}\n\n') + END],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", BROKEN)
def test_fault_within_the_answer(backend: str, name: str) -> None:
    """What came stands, an error follows, and the user does not hear the beginning twice."""

    async def talk() -> None:
        async with serving(BROKEN[name], GOOD) as server:
            pieces: list[Piece] = []
            async with ChatCompletions("m", url=server.base_url) as model:
                with pytest.raises(LanguageModelError) as caught:
                    async for piece in model.answer(PROMPT):
                        pieces.append(piece)
            assert pieces == ["Hel"]
            assert not caught.value.fatal
            assert len(server.requests) == 1

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("script", [[], [head()], [head() + part(HELLO[1])]], ids=["silent", "headers", "a word"])
def test_silent_server_times_out(backend: str, script: list[Step]) -> None:
    """The wait for the beginning and for each further piece ends."""

    async def talk() -> None:
        async with serving([*script, LISTEN]) as server:
            begins = script == [head() + part(HELLO[1])]
            with pytest.raises(LanguageModelError, match=r"says nothing for 0\.05 s") as caught:
                await asked(server, first_byte_seconds=5 if begins else 0.05, silence_seconds=0.05)
            assert caught.value.kind == "slow"
            while not server.requests:  # noqa: ASYNC110  # on a busy machine the server reads it only now
                await anyio.sleep(0.01)
            assert len(server.requests) == 1, "it is not asked again"

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
def test_missing_server_is_reported(backend: str) -> None:
    """The error has the address."""

    async def talk() -> None:
        async with serving() as server:
            pass
        with pytest.raises(LanguageModelError, match="cannot be reached") as caught:
            await asked(server, retries=1)
        assert caught.value.kind == "unreachable"

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_an_interrupt_ends_the_request(backend: str, how: str) -> None:
    """When the asking is cancelled, or the iterator closed, the server sees the connection close, and can stop."""

    async def talk() -> None:
        async with serving([head() + part(HELLO[1] + HELLO[2]), LISTEN]) as server:
            async with ChatCompletions("m", url=server.base_url) as model:
                with anyio.CancelScope() as scope:
                    async with aclosing(model.answer(PROMPT)) as pieces:
                        async for _ in pieces:
                            if how == "closed":
                                break
                            scope.cancel()
                await server.gone.wait()
                assert scope.cancelled_caught == (how == "cancelled")

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
def test_model_must_be_entered(backend: str) -> None:
    """Asking a model that was not entered is an error that says so."""

    async def talk() -> None:
        with pytest.raises(RuntimeError, match="is not open; use it"):
            await anext(ChatCompletions("m", url="http://localhost:1").answer(PROMPT))

    run(backend, talk)


async def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx, the error names the extra that contains it."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ModuleNotFoundError, match=r"bargein\[http\]"):
        async with ChatCompletions("m", url="http://localhost:1"):
            pass
