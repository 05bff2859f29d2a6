"""`ChatCompletions` against a server with real sockets and faults."""

from __future__ import annotations

import json
import sys
from contextlib import aclosing
from typing import Any

import anyio
import anyio.abc
import pytest

from bargein.services.providers.chat import ChatCompletions, LanguageModelError

from .answers import DONE, HELLO, HELLO_PIECES, USAGE, Piece, chunk
from .http_server import BACKENDS, END, HANG_UP, LISTEN, HttpServer, Step, head, part, plain, run, serving
from .prompts import PROMPT


def error(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


GOOD: list[Step] = [head(), *(part(data) for data in HELLO), part(chunk({}, "stop") + USAGE + DONE), END]


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
