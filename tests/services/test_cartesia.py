"""Cartesia: the sound of a sentence, the times of its words, and what becomes of every fault."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import numpy as np
import pytest
from bargein.pipeline import Audio, Failure, Text
from bargein.pipeline.testing import Harness
from bargein.processors import Timing
from bargein.services.cartesia import Cartesia, _Speech
from bargein.services.cascade import Speak
from bargein.services.cascade.parts import Samples, Word
from bargein.services.sockets import Socket

from .scripted import Peer, refusing

pytestmark = pytest.mark.virtual

RATE = 24_000


def chunk(samples: Sequence[int] | int, context: str | None = "c", **fields: Any) -> str:
    """A message with samples, or with so many."""
    pcm = np.arange(samples, dtype="<i2") if isinstance(samples, int) else np.array(samples, "<i2")
    data = base64.b64encode(pcm.tobytes()).decode()
    return json.dumps({"type": "chunk", "data": data, "done": False, "context_id": context, "step_time": 1.5, **fields})


def times(*words: tuple[str, float, float], context: str | None = "c") -> str:
    columns = {name: [word[at] for word in words] for at, name in enumerate(("words", "start", "end"))}
    return json.dumps({"type": "timestamps", "done": False, "context_id": context, "word_timestamps": columns})


def done(context: str | None = "c") -> str:
    return json.dumps({"type": "done", "done": True, "status_code": 206, "context_id": context})


async def spoken(peer: Peer, text: str = "Hi you.", **options: Any) -> list[Samples | Word]:
    async with Cartesia("v", api_key="secret", connect=peer.connect, **options) as tts:
        return [piece async for piece in tts.speak(text)]


async def context(socket: Socket) -> str:
    """Take the request; gives the name of its context."""
    return str(json.loads(await socket.receive())["context_id"])


# The protocol -----------------------------------------------------------------------------------------------------


def test_a_message_gives_sound_or_words() -> None:
    """Seconds become milliseconds; types that are not known give nothing."""
    speech = _Speech("c")
    (sound,) = speech.receive(chunk([1, -2, 3]))
    assert not isinstance(sound, Word)
    assert sound.tolist() == [1, -2, 3]
    assert list(speech.receive(times(("Hi", 0, 0.5), ("you", 0.5, 0.75)))) == [
        Word(text="Hi", start_ms=0, end_ms=500),
        Word(text="you", start_ms=500, end_ms=750),
    ]
    assert list(speech.receive('{"type": "flush_done", "done": false, "context_id": "c"}')) == []
    assert not speech.complete
    assert list(speech.receive(done())) == []
    assert speech.complete


def test_messages_for_others_are_left_out() -> None:
    """Of another context; without one they are ours."""
    speech = _Speech("c")
    assert list(speech.receive(chunk(3, "other"))) == []
    assert list(speech.receive(done("other"))) == []
    assert not speech.complete
    assert len(list(speech.receive(chunk(3, None)))) == 1


@pytest.mark.parametrize("data", ["", "[]", b"\xff", '{"data": "%"}', '{"word_timestamps": {"words": 3}}'])
def test_nonsense_is_an_error(data: str | bytes) -> None:
    """Whatever is no message of the protocol."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        list(_Speech("c").receive(data))


@pytest.mark.parametrize(
    "fields",
    [{"error": "Invalid model: no such"}, {"title": "Invalid model", "message": "no such", "status_code": 400}],
)
def test_an_error_is_told(fields: dict[str, Any]) -> None:
    """In the words of either version of the interface."""
    message = json.dumps({"type": "error", "done": True, "context_id": "c", **fields})
    with pytest.raises(ConnectionError, match="reports an error: Invalid model: no such"):
        list(_Speech("c").receive(message))


# Over a socket ----------------------------------------------------------------------------------------------------


async def test_a_sentence_is_spoken() -> None:
    """One request; sound and words come until it is done."""
    requests: list[dict[str, Any]] = []

    async def script(socket: Socket) -> None:
        requests.append(json.loads(await socket.receive()))
        name = requests[0]["context_id"]
        await socket.send(chunk(2400, name))
        await socket.send(times(("Hi", 0, 0.05), ("you.", 0.05, 0.1), context=name))
        await socket.send(chunk(1200, name))
        await socket.send(done(name))
        await anyio.sleep_forever()

    peer = Peer(script)
    pieces = await spoken(peer, language="de", options={"generation_config": {"speed": 1.1}})
    (request,) = requests
    assert request.pop("context_id")
    assert request == {
        "model_id": "sonic-3",
        "transcript": "Hi you.",
        "voice": {"mode": "id", "id": "v"},
        "language": "de",
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE},
        "add_timestamps": True,
        "continue": False,
        "generation_config": {"speed": 1.1},
    }
    assert [piece.text if isinstance(piece, Word) else len(piece) for piece in pieces] == [2400, "Hi", "you.", 1200]
    assert peer.closed == 1


async def test_it_is_asked_with_a_version_and_the_key() -> None:
    """The key in a header only."""

    async def script(socket: Socket) -> None:
        await socket.send(done(await context(socket)))

    peer = Peer(script)
    await spoken(peer)
    (endpoint,) = peer.endpoints
    assert endpoint.headers == {"X-API-Key": "secret"}
    address = urlsplit(endpoint.url)
    assert (address.netloc, address.path) == ("api.cartesia.ai", "/tts/websocket")
    assert parse_qs(address.query) == {"cartesia_version": ["2026-03-01"]}


async def test_nothing_is_not_spoken() -> None:
    """No socket is opened for spaces."""
    peer = Peer(context)  # type: ignore[arg-type]
    assert await spoken(peer, " \n") == []
    assert not peer.endpoints


# Faults -----------------------------------------------------------------------------------------------------------


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the argument or the environment."""
    monkeypatch.delenv("CARTESIA_API_KEY", raising=False)
    with pytest.raises(ValueError, match="CARTESIA_API_KEY"):
        Cartesia("v")
    monkeypatch.setenv("CARTESIA_API_KEY", "environment")
    assert Cartesia("v").rate == RATE


async def test_a_refusal_is_told() -> None:
    """What the server says, without the key."""
    async with Cartesia("v", api_key="secret", connect=refusing(401, "the secret is old")) as tts:
        with pytest.raises(ConnectionError, match=r"refuses the key \(401\).*CARTESIA_API_KEY") as caught:
            await anext(tts.speak("Hi."))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("code", [1000, 1006])
async def test_a_close_in_the_middle_is_told(code: int) -> None:
    """Even a clean one: there was no `done`."""

    async def script(socket: Socket) -> None:
        await socket.send(chunk(100, await context(socket)))
        await socket.close(code)

    with pytest.raises(ConnectionError, match="Cartesia closed the connection in the middle"):
        await spoken(Peer(script))


async def test_a_malformed_message_is_told() -> None:
    """And the socket is closed."""

    async def script(socket: Socket) -> None:
        await socket.send("{")
        await anyio.sleep_forever()

    peer = Peer(script)
    with pytest.raises(ConnectionError, match="cannot be read"):
        await spoken(peer)
    assert peer.closed == 1


async def test_silence_is_told() -> None:
    """Once nothing has come for so long."""
    peer, began = Peer(lambda _: anyio.sleep_forever()), anyio.current_time()
    with pytest.raises(TimeoutError, match="nothing came within 3 s"):
        await spoken(peer, silence_seconds=3)
    assert anyio.current_time() - began == pytest.approx(3)
    assert peer.closed == 1


async def test_an_interrupt_closes_the_socket() -> None:
    """When the voice is cancelled."""

    async def script(socket: Socket) -> None:
        await socket.send(chunk(100, await context(socket)))
        await anyio.sleep_forever()

    peer, pieces = Peer(script), 0
    async with Cartesia("v", api_key="secret", connect=peer.connect) as tts:
        with anyio.move_on_after(1):
            async with aclosing(tts.speak("Hi you.")) as sound:
                async for _ in sound:
                    pieces += 1
        await anyio.sleep(0.1)
        assert (pieces, peer.closed) == (1, 1)


async def test_in_a_cascade_words_are_timings_and_faults_failures() -> None:
    """The second sentence begins where the first has ended; the third goes wrong."""
    count = 0

    async def script(socket: Socket) -> None:
        nonlocal count
        count += 1
        name = await context(socket)
        await socket.send(chunk(4800, name))
        await socket.send(times(("Hi", 0, 0.1), context=name))
        await socket.send(done(name) if count < 3 else '{"type": "error", "error": "out of credits"}')

    async with Harness(Speak(Cartesia("v", api_key="secret", connect=Peer(script).connect))) as harness:
        for _ in range(3):
            await harness.send(Text(text="Hi", response="r", item="i"))
        await harness.end()
    assert [(each.start_ms, each.end_ms) for each in harness.of(Timing)] == [(0, 100), (200, 300), (400, 500)]
    assert len(harness.of(Audio)) == 3
    (failure,) = harness.of(Failure)
    assert "out of credits" in failure.message
