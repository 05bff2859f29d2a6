"""ElevenLabs: the sound of a sentence, the times of its words, and what becomes of every fault."""

from __future__ import annotations

import base64
import json
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
from bargein.services.providers.elevenlabs import ElevenLabs
from bargein.services.providers.elevenlabs._protocol import ElevenLabsProtocol
from bargein.services.sockets import Socket
from tests.services.scripted import Peer, refusing

pytestmark = pytest.mark.virtual

RATE = 16_000


def said(text: str = "", ms: int = 0, start: float = 0, *, kind: str = "alignment", **fields: Any) -> str:
    """A message with `ms` of sound for a text, each character of it 50 ms."""
    count = ms * RATE // 1000
    audio = base64.b64encode(np.arange(count, dtype="<i2").tobytes()).decode() if ms else None
    times = {
        "chars": list(text),
        "charStartTimesMs": [start + 50 * at for at in range(len(text))],
        "charDurationsMs": [50] * len(text),
    }
    return json.dumps({"audio": audio, "isFinal": None, kind: times if text else None, **fields})


FINAL = json.dumps({"isFinal": True})


def begun(*contexts: str) -> ElevenLabsProtocol:
    protocol = ElevenLabsProtocol(RATE)
    for name in contexts or ("c",):
        protocol.begin(name, "Hi you.")
    return protocol


def words(*messages: str) -> list[tuple[str, float, float]]:
    protocol = begun()
    pieces = [piece for message in (*messages, FINAL) for piece in protocol.receive(message).pieces]
    return [(piece.text, piece.start_ms, piece.end_ms) for piece in pieces if isinstance(piece, Word)]


async def spoken(peer: Peer, text: str = "Hi you.", **options: Any) -> list[Samples | Word]:
    async with ElevenLabs("v", api_key="secret", rate=RATE, connect=peer.connect, **options) as tts:
        return [piece async for piece in tts.speak(text)]


async def asked(socket: Socket) -> list[dict[str, Any]]:
    """Take all that it is asked with, for one sentence."""
    return [json.loads(await socket.receive()) for _ in range(3)]


def of(context: str, message: str) -> str:
    """A message about a context."""
    return json.dumps({**json.loads(message), "contextId": context})


# The protocol -----------------------------------------------------------------------------------------------------


def test_characters_become_words() -> None:
    """Punctuation stays with its word, spaces with none."""
    assert words(said("Hi you.", 400)) == [("Hi", 0, 100), ("you.", 150, 350)]


def test_times_are_those_of_a_message() -> None:
    """What was heard before it is added, and a word may be in two messages."""
    assert words(said("One tw", 300), said("o three", 350)) == [
        ("One", 0, 150),
        ("two", 200, 350),
        ("three", 400, 650),
    ]


def test_times_of_the_whole_are_told_by_their_size() -> None:
    """They go on where the sound before them ended."""
    assert words(said("One two three ", 700), said("four", 200, start=700))[-1] == ("four", 700, 900)


def test_times_never_go_back() -> None:
    """Whatever the server says."""
    times = words(said("One ", 100), said("two", 100))
    assert times == [("One", 0, 150), ("two", 150, 250)]


def test_normalized_times_are_better_than_none() -> None:
    """They are taken where there are no others."""
    assert words(said("Hi", 100, kind="normalizedAlignment")) == [("Hi", 0, 100)]


def test_without_spaces_each_character_is_a_word() -> None:
    """In Chinese, Japanese and Thai."""
    assert [text for text, *_ in words(said("你好 ok", 300))] == ["你", "好", "ok"]


def test_a_sample_may_be_cut_in_two() -> None:
    """Its first byte waits for the second."""
    protocol, data = begun(), np.array([1, -2, 3], "<i2").tobytes()
    sound: list[int] = []
    for part in (data[:3], data[3:]):
        for piece in protocol.receive(json.dumps({"audio": base64.b64encode(part).decode()})).pieces:
            assert not isinstance(piece, Word)
            sound += piece.tolist()
    assert sound == [1, -2, 3]


@pytest.mark.parametrize("data", ["", "[]", b"\xff", '{"audio": "%"}', '{"alignment": {"chars": 3}}', '{"audio": 1}'])
def test_nonsense_is_an_error(data: str | bytes) -> None:
    """Whatever is no message of the protocol."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        begun().receive(data)


def test_an_error_is_told() -> None:
    """With what the server says of it; of one sentence or of all."""
    message = json.dumps({"message": "This voice does not exist.", "error": "voice_not_found", "code": 1008})
    said = begun().receive(message)
    assert (said.context, said.fault) == (None, "voice_not_found: This voice does not exist.")
    assert begun().receive(of("c", message)).context == "c"


def test_contexts_are_told_apart() -> None:
    """The words of one are none of the other's, and what was called off is left out."""
    protocol = begun("c", "d")
    protocol.receive(of("c", said("On", 100)))
    protocol.receive(of("d", said("Tw", 100)))
    last = protocol.receive(of("d", json.dumps({**json.loads(said("o", 50)), "isFinal": True})))
    assert last.done
    assert [piece.text for piece in last.pieces if isinstance(piece, Word)] == ["Two"]
    assert not protocol.cancel("c")
    late = protocol.receive(of("c", said("e", 50)))
    assert (late.context, late.pieces, late.done) == ("c", (), False)


# Over a socket ----------------------------------------------------------------------------------------------------


async def test_a_sentence_is_spoken() -> None:
    """Settings, text and end are sent; sound and words come, the last word at the end."""
    requests: list[dict[str, Any]] = []

    async def script(socket: Socket) -> None:
        requests.extend(await asked(socket))
        name = requests[0]["context_id"]
        await socket.send(of(name, said("Hi y", 200)))
        await socket.send(of(name, said("ou.", 150)))
        await socket.send(of(name, FINAL))
        await anyio.sleep_forever()

    peer = Peer(script)
    pieces = await spoken(peer, " Hi you. ", voice_settings={"speed": 1.1})
    (name,) = {each.pop("context_id") for each in requests}
    assert name
    assert requests == [
        {"text": " ", "voice_settings": {"speed": 1.1}},
        {"text": "Hi you. ", "flush": True},
        {"close_context": True},
    ]
    assert [len(piece) for piece in pieces if not isinstance(piece, Word)] == [3200, 2400]
    assert all(piece.dtype == np.int16 for piece in pieces if not isinstance(piece, Word))
    assert [piece.text for piece in pieces if isinstance(piece, Word)] == ["Hi", "you."]
    assert peer.closed == 1


async def test_it_is_asked_with_the_options_and_the_key() -> None:
    """The key in a header only."""

    async def script(socket: Socket) -> None:
        await asked(socket)
        await socket.send(FINAL)
        await anyio.sleep_forever()

    peer = Peer(script)
    await spoken(peer, language="de", extra={"enable_logging": False})
    (endpoint,) = peer.endpoints
    assert endpoint.headers == {"xi-api-key": "secret"}
    address = urlsplit(endpoint.url)
    assert (address.netloc, address.path) == ("api.elevenlabs.io", "/v1/text-to-speech/v/multi-stream-input")
    assert {key: value for key, (value,) in parse_qs(address.query).items()} == {
        "model_id": "eleven_flash_v2_5",
        "output_format": "pcm_16000",
        "auto_mode": "true",
        "sync_alignment": "true",
        "inactivity_timeout": "180",
        "language_code": "de",
        "enable_logging": "false",
    }


async def test_nothing_is_not_spoken() -> None:
    """No socket is opened for spaces."""
    peer = Peer(asked)  # type: ignore[arg-type]
    assert await spoken(peer, " \n") == []
    assert not peer.endpoints


# Faults -----------------------------------------------------------------------------------------------------------


def test_a_key_and_a_rate_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors say which."""
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    with pytest.raises(ValueError, match="ELEVENLABS_API_KEY"):
        ElevenLabs("v")
    with pytest.raises(ValueError, match="rate=11025"):
        ElevenLabs("v", api_key="secret", rate=11_025)


async def test_a_refusal_is_told() -> None:
    """What the server says, without the key."""
    async with ElevenLabs("v", api_key="secret", connect=refusing(401, "the secret is old")) as tts:
        with pytest.raises(ConnectionError, match=r"refuses the key \(401\).*ELEVENLABS_API_KEY") as caught:
            await anext(tts.speak("Hi."))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("code", "sound"), [(1008, True), (1000, False)])
async def test_a_close_in_the_middle_is_told(code: int, sound: bool) -> None:
    """One with a reason, and a clean one before any sound."""

    async def script(socket: Socket) -> None:
        await asked(socket)
        if sound:
            await socket.send(said("Hi", 100))
        await socket.close(code, "quota exceeded")

    with pytest.raises(ConnectionError, match=r"in the middle: .*quota exceeded"):
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

    async def script(socket: Socket) -> None:
        await anyio.sleep(2)
        await socket.send(said("Hi", 100))
        await anyio.sleep_forever()

    peer, began = Peer(script), anyio.current_time()
    with pytest.raises(TimeoutError, match="nothing came within 3 s"):
        await spoken(peer, silence_seconds=3)
    assert anyio.current_time() - began == pytest.approx(5)
    assert peer.closed == 1


async def test_an_interrupt_leaves_the_rest_out() -> None:
    """The context was closed with its request: what still comes of it is left out, and the socket serves the next."""

    async def script(socket: Socket) -> None:
        first = (await asked(socket))[0]["context_id"]
        await socket.send(of(first, said("Hi", 100)))
        second = (await asked(socket))[0]["context_id"]
        await socket.send(of(first, said("you", 100)))
        await socket.send(of(first, FINAL))
        await socket.send(of(second, said("Next.", 250)))
        await socket.send(of(second, FINAL))

    peer = Peer(script)
    async with ElevenLabs("v", api_key="secret", rate=RATE, connect=peer.connect) as tts:
        with anyio.move_on_after(1):
            async with aclosing(tts.speak("Hi you.")) as sound:
                async for _ in sound:
                    pass
        assert [piece.text async for piece in tts.speak("Next.") if isinstance(piece, Word)] == ["Next."]
    assert peer.closed == len(peer.endpoints) == 1


async def test_in_a_cascade_words_are_timings_and_faults_failures() -> None:
    """The second sentence begins where the first has ended; the third is refused."""

    async def script(socket: Socket) -> None:
        for _ in range(2):
            name = (await asked(socket))[0]["context_id"]
            await socket.send(of(name, said("Hi", 200)))
            await socket.send(of(name, FINAL))
        name = (await asked(socket))[0]["context_id"]
        await socket.send(of(name, '{"error": "quota_exceeded"}'))

    peer = Peer(script)
    async with Harness(Speak(ElevenLabs("v", api_key="secret", rate=RATE, connect=peer.connect))) as harness:
        for _ in range(3):
            await harness.send(Text(text="Hi", response_id="r", item_id="i"))
        await harness.end()
    assert [(each.start_ms, each.end_ms) for each in harness.of(Timing)] == [
        (0, 100),
        (200, 300),
        (400, 400),  # of the refused sentence nothing was heard
    ]
    assert len(harness.of(Audio)) == 2
    (failure,) = harness.of(Failure)
    assert "quota_exceeded" in failure.message
    assert len(peer.endpoints) == 1
