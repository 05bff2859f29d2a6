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
from bargein.pipeline.testing import Harness
from bargein.processors import Timing
from bargein.services.cascade import Speak
from bargein.services.cascade.parts import Samples, Word
from bargein.services.elevenlabs import ElevenLabs, _Speech
from bargein.services.sockets import Socket

from .scripted import Peer, refusing

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


def words(*messages: str) -> list[tuple[str, float, float]]:
    speech = _Speech(RATE)
    pieces = [piece for message in messages for piece in speech.receive(message)] + list(speech.rest())
    return [(piece.text, piece.start_ms, piece.end_ms) for piece in pieces if isinstance(piece, Word)]


async def spoken(peer: Peer, text: str = "Hi you.", **options: Any) -> list[Samples | Word]:
    async with ElevenLabs("v", api_key="secret", rate=RATE, connect=peer.connect, **options) as tts:
        return [piece async for piece in tts.speak(text)]


async def asked(socket: Socket) -> list[dict[str, Any]]:
    """Take all that it is asked with."""
    return [json.loads(await socket.receive()) for _ in range(3)]


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
    speech, data = _Speech(RATE), np.array([1, -2, 3], "<i2").tobytes()
    sound: list[int] = []
    for part in (data[:3], data[3:]):
        for piece in speech.receive(json.dumps({"audio": base64.b64encode(part).decode()})):
            assert not isinstance(piece, Word)
            sound += piece.tolist()
    assert sound == [1, -2, 3]


@pytest.mark.parametrize("data", ["", "[]", b"\xff", '{"audio": "%"}', '{"alignment": {"chars": 3}}', '{"audio": 1}'])
def test_nonsense_is_an_error(data: str | bytes) -> None:
    """Whatever is no message of the protocol."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        list(_Speech(RATE).receive(data))


def test_an_error_is_told() -> None:
    """With what the server says of it."""
    message = {"message": "This voice does not exist.", "error": "voice_not_found", "code": 1008}
    with pytest.raises(ConnectionError, match=r"voice_not_found: This voice does not exist\."):
        list(_Speech(RATE).receive(json.dumps(message)))


# Over a socket ----------------------------------------------------------------------------------------------------


async def test_a_sentence_is_spoken() -> None:
    """Settings, text and end are sent; sound and words come, the last word at the end."""
    requests: list[dict[str, Any]] = []

    async def script(socket: Socket) -> None:
        requests.extend(await asked(socket))
        await socket.send(said("Hi y", 200))
        await socket.send(said("ou.", 150))
        await socket.send(FINAL)
        await anyio.sleep_forever()

    peer = Peer(script)
    pieces = await spoken(peer, " Hi you. ", voice_settings={"speed": 1.1})
    assert requests == [{"text": " ", "voice_settings": {"speed": 1.1}}, {"text": "Hi you. "}, {"text": ""}]
    assert [len(piece) for piece in pieces if not isinstance(piece, Word)] == [3200, 2400]
    assert all(piece.dtype == np.int16 for piece in pieces if not isinstance(piece, Word))
    assert [piece.text for piece in pieces if isinstance(piece, Word)] == ["Hi", "you."]
    assert peer.closed == 1


async def test_a_close_may_be_the_end() -> None:
    """A clean one, after sound."""

    async def script(socket: Socket) -> None:
        await asked(socket)
        await socket.send(said("Hi", 100))
        await socket.close(1000)

    assert len(await spoken(Peer(script))) == 2


async def test_it_is_asked_with_the_options_and_the_key() -> None:
    """The key in a header only."""

    async def script(socket: Socket) -> None:
        await socket.send(FINAL)

    peer = Peer(script)
    await spoken(peer, language="de", options={"enable_logging": False})
    (endpoint,) = peer.endpoints
    assert endpoint.headers == {"xi-api-key": "secret"}
    address = urlsplit(endpoint.url)
    assert (address.netloc, address.path) == ("api.elevenlabs.io", "/v1/text-to-speech/v/stream-input")
    assert {key: value for key, (value,) in parse_qs(address.query).items()} == {
        "model_id": "eleven_flash_v2_5",
        "output_format": "pcm_16000",
        "auto_mode": "true",
        "sync_alignment": "true",
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

    async def script(socket: Socket) -> None:
        await anyio.sleep(2)
        await socket.send(said("Hi", 100))
        await anyio.sleep_forever()

    peer, began = Peer(script), anyio.current_time()
    with pytest.raises(TimeoutError, match="nothing came within 3 s"):
        await spoken(peer, silence_seconds=3)
    assert anyio.current_time() - began == pytest.approx(5)
    assert peer.closed == 1


async def test_an_interrupt_closes_the_socket() -> None:
    """When the voice is cancelled."""

    async def script(socket: Socket) -> None:
        await socket.send(said("Hi", 100))
        await anyio.sleep_forever()

    peer, pieces = Peer(script), 0
    async with ElevenLabs("v", api_key="secret", rate=RATE, connect=peer.connect) as tts:
        with anyio.move_on_after(1):
            async with aclosing(tts.speak("Hi you.")) as sound:
                async for _ in sound:
                    pieces += 1
        await anyio.sleep(0.1)
        assert (pieces, peer.closed) == (1, 1)


async def test_in_a_cascade_words_are_timings_and_faults_failures() -> None:
    """The second sentence begins where the first has ended; the third is refused."""
    count = 0

    async def script(socket: Socket) -> None:
        nonlocal count
        count += 1
        await asked(socket)
        await socket.send(said("Hi", 200) if count < 3 else '{"error": "quota_exceeded"}')
        await socket.send(FINAL)

    async with Harness(Speak(ElevenLabs("v", api_key="secret", rate=RATE, connect=Peer(script).connect))) as harness:
        for _ in range(3):
            await harness.send(Text(text="Hi", response="r", item="i"))
        await harness.end()
    assert [(each.start_ms, each.end_ms) for each in harness.of(Timing)] == [(0, 100), (200, 300)]
    assert len(harness.of(Audio)) == 2
    (failure,) = harness.of(Failure)
    assert "quota_exceeded" in failure.message
