"""OpenAI's speech over HTTP, against a scripted server on the loopback that writes byte by byte."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import numpy as np
import pytest
from anyio.abc import SocketAttribute, SocketStream

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import Word
from bargein.services.providers.openai.client._speech_protocol import SpeechReader, TranscriptReader, wav
from bargein.services.providers.openai.client.speech import OpenAISpeech, OpenAITranscription

Script = Callable[[SocketStream], Awaitable[None]]
PIECE = np.arange(1600, dtype=np.int16)

pytest.importorskip("httpx")
both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Server:
    """One script for every request. Keeps the requests: head and body."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, bytes]] = []
        self.url = ""
        self.connections = 0
        self.left = anyio.Event()
        """The client has closed a connection."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Server]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._serve)
            yield self
            group.cancel_scope.cancel()

    async def _serve(self, stream: SocketStream) -> None:
        self.connections += 1
        data = b""
        async with stream:
            try:
                while True:
                    while b"\r\n\r\n" not in data:
                        data += await stream.receive()
                    head, _, data = data.partition(b"\r\n\r\n")
                    text = head.decode()
                    size = int(text.lower().partition("content-length:")[2].split("\r\n")[0])
                    while len(data) < size:
                        data += await stream.receive()
                    self.requests.append((text, data[:size]))
                    data = data[size:]
                    await self.script(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.left.set()


def run(backend: str, script: Script, use: Callable[[Server], Awaitable[None]]) -> None:
    """In real time, because the sockets are real."""

    async def within() -> None:
        with anyio.fail_after(60):
            async with Server(script).open() as server:
                await use(server)

    anyio.run(within, backend=backend)


def answer(body: bytes, kind: str, status: str = "200 OK") -> Script:
    async def script(stream: SocketStream) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send(head.encode() + body)

    return script


def events(*contents: dict[str, Any]) -> bytes:
    return "".join(f"event: {each.get('type')}\ndata: {json.dumps(each)}\n\n" for each in contents).encode()


def delta(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text}


def done(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.done", "text": text, "usage": {"type": "tokens", "input_tokens": 14}}


async def sound(pieces: int = 2) -> AsyncIterator[Samples]:
    for _ in range(pieces):
        yield PIECE


async def heard(server: Server, pieces: int = 2, **options: Any) -> list[str]:
    options = {"retries": 0} | options
    async with OpenAITranscription(api_key="secret", url=server.url, **options) as stt:
        return [text async for text in stt.transcribe(sound(pieces))]


async def spoken(server: Server, text: str = "Hi you.", **options: Any) -> list[Samples | Word]:
    options = {"retries": 0} | options
    async with OpenAISpeech("gpt-4o-mini-tts", api_key="secret", url=server.url, **options) as tts:
        return [piece async for piece in tts.speak(text)]


def fails(backend: str, script: Script, error: type[Exception], match: str, **options: Any) -> None:
    """Both parts fail with the same sentence, which has no key in it."""

    async def use(server: Server) -> None:
        for part in (heard, spoken):
            with pytest.raises(error, match=match) as caught:
                await part(server, **options)
            assert "secret" not in str(caught.value)

    run(backend, script, use)


# The protocol -----------------------------------------------------------------------------------------------------


def stream() -> TranscriptReader:
    return TranscriptReader("text/event-stream; charset=utf-8")


def test_deltas_are_joined_and_the_last_text_is_final() -> None:
    """However the bytes are cut. Lines that are no data, and events that are not known, change nothing."""
    wire = b"".join(
        [
            b": ping\n\nevent: transcript.text.delta\n",
            b'data: {"type":"transcript.text.delta","delta":" turn"}\n\n',
            b'data:{"type":"transcript.text.delta","delta":" the"}\r\n\r\n',
            b'data: {"type":"transcript.text.segment"}\n\n',
            b'data: {"type":"transcript.text.done","text":"Turn the light."}\n\n',
            b"data: nonsense, but it is over\n\n",
        ]
    )
    for size in (1, 7, len(wire)):
        words = stream()
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        seen = [text for piece in pieces for text in words.feed(piece)] + list(words.end())
        assert seen == ["turn", "turn the", "Turn the light."]
        assert words.over


def test_a_last_event_may_lack_its_end() -> None:
    """Servers forget the last blank line, and some say that they are done in another way."""
    words = stream()
    assert list(words.feed(b'data: {"type":"transcript.text.done","text":"Yes."}')) == []
    assert list(words.end()) == ["Yes."]
    words = stream()
    assert list(words.feed(b'data: {"type":"transcript.text.delta","delta":"Yes"}\n\ndata: [DONE]\n\n')) == ["Yes"]
    assert list(words.end()) == []


@pytest.mark.parametrize("data", ["nonsense", "[]", '{"type":1}'])
def test_nonsense_is_an_error(data: str) -> None:
    """Whatever is no event."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        list(stream().feed(f"data: {data}\n\n".encode()))


def test_an_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never ends is a fault, not a full memory."""
    monkeypatch.setattr("bargein.services.providers._shared.sse.MAX_EVENT_BYTES", 100)
    with pytest.raises(ConnectionError, match="OpenAI sent an event of more than 100 bytes"):
        list(stream().feed(b"data: " + b"x" * 200))


@pytest.mark.parametrize("error", ['{"type":"error","error":{"message":"too long"}}', '{"error":"too long"}'])
def test_error_event_is_reported(error: str) -> None:
    """The error has the server's words."""
    with pytest.raises(ConnectionError, match="reports an error: too long"):
        list(stream().feed(f"data: {error}\n\n".encode()))


def test_cut_stream_is_an_error() -> None:
    """Text without its end is an error. For sound this cannot be known."""
    words = stream()
    assert list(words.feed(b'data: {"type":"transcript.text.delta","delta":"Yes"}\n\n')) == ["Yes"]
    with pytest.raises(ConnectionError, match="the last words did not come"):
        list(words.end())
    sound = SpeechReader("audio/pcm", 24_000)
    assert [piece.tolist() for data in (b"\x01", bytes(11), b"\x02") for piece in sound.feed(data)] == [[1, *[0] * 5]]
    assert list(sound.end()) == []


@pytest.mark.parametrize("size", [1, 5, 9999])
def test_wav_response_is_decoded(size: int) -> None:
    """However it is cut. Raw samples that begin like a WAV header are samples."""
    for data, expected in (
        (wav(PIECE, 24_000).replace(b"WAVE", b"WAVELIST\x03\0\0\0abc\0"), PIECE.tolist() + [0] * 800),
        (b"RIFFsamples!", np.frombuffer(b"RIFFsamples!", "<i2").tolist()),
        (b"RIFF", np.frombuffer(b"RIFF", "<i2").tolist()),
    ):
        sound = SpeechReader("audio/wav", 24_000)
        pieces = [piece for at in range(0, len(data), size) for piece in sound.feed(data[at : at + size])]
        assert [sample for piece in [*pieces, *sound.end()] for sample in piece.tolist()] == expected


def test_sound_of_another_format_is_an_error() -> None:
    """It would be noise, or too slow."""
    for beginning in (b"ID3\x04", b"\xff\xfb\x90\x64", b"OggS"):
        with pytest.raises(ConnectionError, match="sent encoded sound where raw samples were asked for"):
            list(SpeechReader("audio/pcm", 24_000).feed(beginning + bytes(20)))
    with pytest.raises(ConnectionError, match=r"16 bits at 16000 Hz with 1 channel.*24000 Hz mono"):
        list(SpeechReader("audio/wav", 24_000).feed(wav(PIECE, 16_000)))


def test_short_utterance_is_padded() -> None:
    """Silence makes it a tenth of a second long."""
    for count, frames in ((10, 1600), (1600, 1600), (3000, 3000)):
        with wave.open(io.BytesIO(wav(np.ones(count, np.int16), 16_000))) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            data = np.frombuffer(file.readframes(9999), "<i2")
        assert (len(data), int(data.sum())) == (frames, count)


# Over HTTP --------------------------------------------------------------------------------------------------------


@both
def test_utterance_is_transcribed(backend: str) -> None:
    """It is sent as a file with the fields, and its words come one after the other."""

    async def use(server: Server) -> None:
        assert await heard(server, language="en-GB", prompt="Bargein") == ["Good", "Good morning", "Good morning."]
        ((head, body),) = server.requests
        assert head.startswith("POST /v1/audio/transcriptions HTTP/1.1")
        assert "authorization: bearer secret" in head.lower()
        for name, value in {
            "model": "gpt-transcribe",
            "response_format": "json",
            "stream": "true",
            "language": "en",
            "prompt": "Bargein",
        }.items():
            assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in body
        assert b'name="file"; filename="speech.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF' in body
        assert PIECE.astype("<i2").tobytes() * 2 in body

    script = answer(events(delta("Good"), delta(" morning"), done("Good morning.")), "text/event-stream; charset=utf-8")
    run(backend, script, use)


@both
def test_response_without_streaming(backend: str) -> None:
    """Some models and servers do not stream."""

    async def use(server: Server) -> None:
        assert await heard(server) == ["Good morning."]

    run(backend, answer(b'{"text": " Good morning. "}', "application/json"), use)


@both
def test_empty_input_is_not_sent(backend: str) -> None:
    """Neither sound without samples nor text without characters."""

    async def use(server: Server) -> None:
        assert await heard(server, pieces=0) == []
        assert await spoken(server, " ") == []
        assert not server.requests

    run(backend, answer(b"", "audio/pcm"), use)


@both
def test_sentence_is_spoken_while_it_arrives(backend: str) -> None:
    """The first samples come before the rest is written. A sample may be cut in two."""
    data, go = PIECE.astype("<i2").tobytes(), anyio.Event()

    async def script(stream: SocketStream) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(data)}\r\n\r\n"
        await stream.send(head.encode() + data[:101])
        await go.wait()
        await stream.send(data[101:])

    async def use(server: Server) -> None:
        pieces: list[Samples] = []
        async with OpenAISpeech("gpt-4o-mini-tts", api_key="secret", url=server.url + "/", instructions="Calm.") as tts:
            async for piece in tts.speak("Hi you."):
                assert not isinstance(piece, Word)
                go.set()
                pieces.append(piece)
        assert len(pieces[0]) == 50
        assert np.array_equal(np.concatenate(pieces), PIECE)
        ((head, body),) = server.requests
        assert head.startswith("POST /v1/audio/speech HTTP/1.1")
        assert json.loads(body) == {
            "model": "gpt-4o-mini-tts",
            "voice": "alloy",
            "response_format": "pcm",
            "instructions": "Calm.",
            "input": "Hi you.",
        }

    run(backend, script, use)


@both
def test_connection_is_reused(backend: str) -> None:
    """The next utterance and the next sentence use it. The last line may lack its end."""

    async def use(server: Server) -> None:
        async with OpenAITranscription(api_key="secret", url=server.url) as stt:
            for _ in range(3):
                assert [text async for text in stt.transcribe(sound())] == ["Good"]
        assert (server.connections, len(server.requests)) == (1, 3)

    run(backend, answer(events(done("Good")).rstrip(), "text/event-stream"), use)


# Faults -----------------------------------------------------------------------------------------------------------


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
