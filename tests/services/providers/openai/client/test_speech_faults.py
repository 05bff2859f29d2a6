"""OpenAI's speech over HTTP: refused keys, retries, time limits and broken responses."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from bargein.services.cascade.parts import Word
from bargein.services.providers.openai.client.speech import OpenAISpeech, OpenAITranscription

from .speech_server import PIECE, Script, Server, answer, both, delta, done, events, heard, run, sound, spoken

pytest.importorskip("httpx")


def fails(backend: str, script: Script, error: type[Exception], match: str, **options: Any) -> None:
    """Both parts fail with the same sentence, which has no key in it."""

    async def use(server: Server) -> None:
        for part in (heard, spoken):
            with pytest.raises(error, match=match) as caught:
                await part(server, **options)
            assert "secret" not in str(caught.value)

    run(backend, script, use)


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the argument or the environment."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for part in (OpenAITranscription, partial(OpenAISpeech, "gpt-4o-mini-tts")):
        with pytest.raises(ValueError, match=r"OpenAI.*: no key; .*OPENAI_API_KEY"):
            part()
    monkeypatch.setenv("OPENAI_API_KEY", "environment")
    assert (OpenAITranscription().rate, OpenAISpeech("gpt-4o-mini-tts").rate) == (16_000, 24_000)


@both
def test_refused_key_is_reported(backend: str) -> None:
    """Without the server's words, which repeat a part of the key."""
    body = b'{"error": {"message": "Incorrect API key provided: secret"}}'
    script = answer(body, "application/json", "401 Unauthorized")
    fails(backend, script, ConnectionError, r"^OpenAI refuses the key \(401\); look at api_key or OPENAI_API_KEY$")


@both
@pytest.mark.parametrize("body", [b'{"error": {"message": "slow down"}}', b'{"error": "slow down"}', b"slow down"])
def test_error_status_is_reported(backend: str, body: bytes) -> None:
    """With the server's words."""
    script = answer(body, "application/json", "429 Too Many Requests")
    fails(backend, script, ConnectionError, "^OpenAI refuses with 429: slow down$")


@both
def test_close_before_the_response_is_reported(backend: str) -> None:
    """The connection closes before there is a response."""

    async def script(stream: SocketStream) -> None:
        await stream.aclose()

    fails(backend, script, ConnectionError, "OpenAI broke off in the middle")


@both
def test_cut_response_is_reported(backend: str) -> None:
    """What came before the cut is passed on."""

    async def use(server: Server) -> None:
        seen: list[Any] = []
        async with OpenAITranscription(api_key="secret", url=server.url) as stt:
            with pytest.raises(ConnectionError, match="broke off in the middle"):
                async for text in stt.transcribe(sound()):
                    seen.append(text)
        assert seen == ["Good"]

    async def script(stream: SocketStream) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\n"
        await stream.send(head + events(delta("Good")))
        await stream.aclose()

    run(backend, script, use)
    run(backend, answer(events(delta("Good")), "text/event-stream"), use)  # complete as HTTP, but not as words


@both
@pytest.mark.parametrize("body", [b"{", b"[]", b'{"words": 1}', b"\xff"])
def test_malformed_response_is_reported(backend: str, body: bytes) -> None:
    """JSON without text, and anything that is not sound."""
    fails(backend, answer(body, "application/json"), ConnectionError, "OpenAI sent")


@both
def test_response_that_is_not_http_is_reported(backend: str) -> None:
    """It may be another kind of server."""

    async def script(stream: SocketStream) -> None:
        await stream.send(b"220 mail.example.org\r\n\r\n")

    fails(backend, script, ConnectionError, "broke off in the middle")


def faulty(*faults: bytes | None, then: Script) -> Script:
    """Answers in turn with these, or hangs up, and then as it should."""
    left = list(faults)

    async def script(stream: SocketStream) -> None:
        if not left:
            await then(stream)
        elif (fault := left.pop(0)) is None:
            await stream.aclose()
        else:
            await stream.send(fault)

    return script


BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0.01\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"


@both
@pytest.mark.parametrize("fault", [BUSY, BROKEN, None], ids=["429", "500", "hung up"])
def test_passing_fault_is_retried(backend: str, fault: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice, while nothing of the response has come."""
    monkeypatch.setattr("bargein.services.sockets.retry.FIRST_SECONDS", 0.001)

    async def use(server: Server) -> None:
        samples = [
            sample for piece in await spoken(server, retries=2) if not isinstance(piece, Word) for sample in piece
        ]
        assert samples == PIECE.tolist()
        assert len(server.requests) == 3

    run(backend, faulty(fault, fault, then=answer(PIECE.astype("<i2").tobytes(), "audio/pcm")), use)

    async def listen(server: Server) -> None:
        assert await heard(server, retries=2) == ["Good"]
        assert len(server.requests) == 3

    run(backend, faulty(fault, fault, then=answer(events(done("Good")), "text/event-stream")), listen)


@both
def test_long_retry_after_is_not_waited_for(backend: str) -> None:
    """A wait of a minute is too long. A final refusal is not retried either."""

    async def use(server: Server) -> None:
        with pytest.raises(ConnectionError, match="refuses with"):
            await spoken(server, retries=2)
        assert len(server.requests) == 1

    run(backend, faulty(BUSY.replace(b"0.01", b"60.0"), then=answer(b"", "audio/pcm")), use)
    run(backend, faulty(BROKEN.replace(b"500", b"404"), then=answer(b"", "audio/pcm")), use)


@both
def test_begun_response_is_not_retried(backend: str) -> None:
    """Sound that was cut is reported, after the part that came."""
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nContent-Length: 99\r\n\r\n" + bytes(20)

    async def script(stream: SocketStream) -> None:
        await stream.send(begun)
        await stream.aclose()

    async def use(server: Server) -> None:
        seen: list[Any] = []
        async with OpenAISpeech("gpt-4o-mini-tts", api_key="secret", url=server.url) as tts:
            with pytest.raises(ConnectionError, match="broke off in the middle"):
                async for piece in tts.speak("Hi you."):
                    seen.append(piece)
        assert len(seen) == len(server.requests) == 1

    run(backend, script, use)


@both
def test_silent_server_times_out(backend: str) -> None:
    """After the time limit without a byte."""

    async def script(stream: SocketStream) -> None:
        await stream.receive()

    fails(backend, script, TimeoutError, r"nothing came within 0\.05 s", silence_seconds=0.05)


@both
def test_missing_server_is_reported(backend: str) -> None:
    """With the address."""

    async def use(server: Server) -> None:
        async with OpenAISpeech("gpt-4o-mini-tts", api_key="secret", url="http://127.0.0.1:1/v1", retries=0) as tts:
            with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:1/v1 cannot be reached"):
                await anext(tts.speak("Hi."))

    run(backend, answer(b"", "audio/pcm"), use)


@both
def test_interrupt_closes_the_connection(backend: str) -> None:
    """The server learns at once that the answer is not wanted."""

    async def script(stream: SocketStream) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nContent-Length: 99999\r\n\r\n"
        await stream.send(head + PIECE.astype("<i2").tobytes())

    async def use(server: Server) -> None:
        async with OpenAISpeech("gpt-4o-mini-tts", api_key="secret", url=server.url) as tts:
            with anyio.CancelScope() as scope:
                async with aclosing(tts.speak("Hi you.")) as pieces:
                    async for _ in pieces:
                        scope.cancel()
            assert scope.cancelled_caught
            await server.left.wait()

    run(backend, script, use)


@both
def test_a_malformed_event_closes_the_connection(backend: str) -> None:
    """In the middle of an answer, which has no end."""

    async def script(stream: SocketStream) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        await stream.send(head + events(delta("Good")) + b"data: {\r\n\r\n")

    async def use(server: Server) -> None:
        async with OpenAITranscription(api_key="secret", url=server.url) as stt:
            texts = stt.transcribe(sound())
            assert await anext(texts) == "Good"
            with pytest.raises(ConnectionError, match="cannot be read"):
                await anext(texts)
            await server.left.wait()

    run(backend, script, use)
