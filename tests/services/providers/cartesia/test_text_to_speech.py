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
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness
from bargein.processors import Timing
from bargein.services.cascade import Speak
from bargein.services.cascade.parts import Word
from bargein.services.providers.cartesia import Cartesia
from bargein.services.providers.cartesia._protocol import CartesiaProtocol
from bargein.services.sockets import Socket
from tests.services.scripted import Peer, refusing

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


def begun(*contexts: str) -> CartesiaProtocol:
    protocol = CartesiaProtocol({})
    for name in contexts or ("c",):
        protocol.begin(name, "Hi you.")
    return protocol


def test_a_message_gives_sound_or_words() -> None:
    """Seconds become milliseconds; types that are not known give nothing."""
    protocol = begun()
    (sound,) = protocol.receive(chunk([1, -2, 3])).pieces
    assert not isinstance(sound, Word)
    assert sound.tolist() == [1, -2, 3]
    assert protocol.receive(times(("Hi", 0, 0.5), ("you", 0.5, 0.75))).pieces == [
        Word(text="Hi", start_ms=0, end_ms=500),
        Word(text="you", start_ms=500, end_ms=750),
    ]
    flushed = protocol.receive('{"type": "flush_done", "done": false, "context_id": "c"}')
    assert (flushed.pieces, flushed.done) == ([], False)
    assert protocol.receive(done()).done


def test_contexts_are_told_apart() -> None:
    """A sample that is cut in two stays with its own; without a name it is that of the only one."""
    protocol = begun("c", "d")
    halves = [json.dumps({"type": "chunk", "data": base64.b64encode(each).decode()}) for each in (b"\x01", b"\x02")]
    for context, half in zip("cd", halves, strict=True):
        said = protocol.receive(half.replace("{", f'{{"context_id": "{context}", ', 1))
        assert (said.context, len(said.pieces)) == (context, 1)
        assert not isinstance(said.pieces[0], Word)
        assert not len(said.pieces[0])
    assert protocol.receive(done("d")).context == "d"
    assert protocol.receive(chunk(3, None)).context == "c"


def test_what_was_called_off_is_left_out() -> None:
    """The context is cancelled once, unless it had ended."""
    protocol = begun("c", "d")
    assert [json.loads(message) for message in protocol.cancel("c")] == [{"context_id": "c", "cancel": True}]
    late = protocol.receive(chunk(3))
    assert (late.context, late.pieces, late.done) == ("c", (), False)
    protocol.receive(done("d"))
    assert not [*protocol.cancel("c"), *protocol.cancel("d")]


@pytest.mark.parametrize("data", ["", "[]", b"\xff", '{"data": "%"}', '{"word_timestamps": {"words": 3}}'])
def test_nonsense_is_an_error(data: str | bytes) -> None:
    """Whatever is no message of the protocol."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        begun().receive(data)


@pytest.mark.parametrize("context", ["c", None])
@pytest.mark.parametrize(
    "fields",
    [{"error": "Invalid model: no such"}, {"title": "Invalid model", "message": "no such", "status_code": 400}],
)
def test_an_error_is_told(fields: dict[str, Any], context: str | None) -> None:
    """In the words of either version of the interface, of one sentence or of all."""
    said = begun().receive(json.dumps({"type": "error", "done": True, "context_id": context, **fields}))
    assert (said.context, said.fault) == (context, "Invalid model: no such")


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
    pieces = await spoken(peer, language="de", extra={"generation_config": {"speed": 1.1}})
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
    """The socket is closed."""

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


async def test_an_interrupt_calls_the_sentence_off() -> None:
    """What still comes of it is left out, and the next one goes over the same socket."""
    cancelled: list[dict[str, Any]] = []

    async def script(socket: Socket) -> None:
        first = await context(socket)
        await socket.send(chunk(100, first))
        cancelled.append(json.loads(await socket.receive()))
        second = await context(socket)
        await socket.send(chunk(7, first))
        await socket.send(chunk(9, second))
        await socket.send(done(second))
        assert cancelled == [{"context_id": first, "cancel": True}]

    peer = Peer(script)
    async with Cartesia("v", api_key="secret", connect=peer.connect) as tts:
        with anyio.move_on_after(1):
            async with aclosing(tts.speak("Hi you.")) as sound:
                async for _ in sound:
                    pass
        await anyio.sleep(0.1)
        assert [len(piece) async for piece in tts.speak("Next.") if not isinstance(piece, Word)] == [9]
    assert cancelled
    assert peer.closed == len(peer.endpoints) == 1


async def test_in_a_cascade_words_are_timings_and_faults_failures() -> None:
    """The second sentence begins where the first has ended; the third goes wrong, and the fourth is spoken."""

    async def script(socket: Socket) -> None:
        for count in range(4):
            name = await context(socket)
            await socket.send(chunk(4800, name))
            await socket.send(times(("Hi", 0, 0.1), context=name))
            error = {"type": "error", "error": "too many", "context_id": name}
            await socket.send(json.dumps(error) if count == 2 else done(name))

    peer = Peer(script)
    async with Harness(Speak(Cartesia("v", api_key="secret", connect=peer.connect))) as harness:
        for _ in range(4):
            await harness.send(Text(text="Hi", response_id="r", item_id="i"))
        await harness.end()
    assert [each.start_ms for each in harness.of(Timing)] == [0, 200, 400, 600]
    assert len(harness.of(Audio)) == 4
    (failure,) = harness.of(Failure)
    assert "too many" in failure.message
    assert len(peer.endpoints) == 1
