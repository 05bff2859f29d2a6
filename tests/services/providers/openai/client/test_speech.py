"""OpenAI's speech over HTTP, against a scripted server on the loopback that writes byte by byte."""

from __future__ import annotations

import json

import anyio
import numpy as np
import pytest
from anyio.abc import SocketStream

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import Word
from bargein.services.providers.openai.client.speech import OpenAISpeech, OpenAITranscription

from .speech_server import PIECE, Server, answer, both, delta, done, events, heard, run, sound, spoken

pytest.importorskip("httpx")


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
