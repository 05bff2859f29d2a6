"""Deepgram: the words of an utterance, and what becomes of every fault."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import numpy as np
import pytest

from bargein.pipeline import Failure, SpeechStarted, SpeechStopped, Transcript
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness, framed, tone
from bargein.services.cascade import Transcribe
from bargein.services.providers.deepgram import Deepgram
from bargein.services.providers.deepgram._protocol import DeepgramProtocol
from bargein.services.sockets import Socket, SocketRefusedError, dial, listen
from tests.services.scripted import Peer, refusing

pytestmark = pytest.mark.virtual

PIECE = np.arange(160, dtype=np.int16)


def results(text: str, *, final: bool = False, **fields: Any) -> str:
    channel = {"alternatives": [{"transcript": text, "confidence": 0.9, "words": []}]}
    return json.dumps({"type": "Results", "channel_index": [0, 1], "channel": channel, "is_final": final, **fields})


class Sound(AsyncIterator[Samples]):
    """Some pieces, with a pause before each."""

    def __init__(self, pieces: int = 2, pause: float = 0.0) -> None:
        self.left, self.pause = pieces, pause

    async def __anext__(self) -> Samples:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        await anyio.sleep(self.pause)
        return PIECE


async def heard(peer: Peer, spoken: AsyncIterator[Samples] | None = None, **options: Any) -> list[str]:
    async with Deepgram(api_key="secret", connect=peer.connect, **options) as stt:
        return [text async for text in stt.transcribe(spoken or Sound())]


async def until_over(socket: Socket) -> list[str | bytes]:
    """Take all the sound, and the two messages at its end."""
    taken: list[str | bytes] = []
    while not taken or taken[-1] != '{"type": "CloseStream"}':
        taken.append(await socket.receive())
    return taken


async def nothing(socket: Socket) -> None:
    await until_over(socket)
    await anyio.sleep_forever()


# The protocol -----------------------------------------------------------------------------------------------------


def test_final_pieces_are_joined_and_interim_ones_stand_behind() -> None:
    """A final piece takes the place of the interim one, and an empty one adds nothing."""
    words, seen = DeepgramProtocol(), []
    for message in (
        results("turn"),
        results("turn the"),
        results("Turn the light", final=True),
        results("", final=True),
        results("on"),
        results("on now.", final=True),
    ):
        words.receive(message)
        seen.append(words.text)
    assert seen == ["turn", "turn the", *["Turn the light"] * 2, "Turn the light on", "Turn the light on now."]


def test_a_message_says_whether_the_words_have_changed() -> None:
    """The same words again, and types that are not known, change nothing."""
    words = DeepgramProtocol()
    assert words.receive(results("yes"))
    assert not words.receive(results("yes"))
    assert not words.receive('{"type": "SpeechStarted", "timestamp": 1.0}')


def test_languages_without_spaces_get_none() -> None:
    """Between pieces, that is."""
    words = DeepgramProtocol("")
    for piece in ("你好", "世界"):
        words.receive(results(piece, final=True))
    assert words.text == "你好世界"


def test_it_is_complete_only_after_its_end() -> None:
    """Metadata and a finalised piece count when the sound is over, and not before."""
    words = DeepgramProtocol()
    words.receive('{"type": "Metadata"}')
    words.receive(results("a", final=True, from_finalize=True))
    assert not words.complete
    assert words.end() == ('{"type": "Finalize"}', '{"type": "CloseStream"}')
    words.receive('{"type": "Metadata"}')
    assert words.complete


@pytest.mark.parametrize(
    "data", ["", "nonsense", "[]", b"\xff\x00", '{"type": "Results"}', '{"type": "Results", "channel": 1}']
)
def test_nonsense_is_an_error(data: str | bytes) -> None:
    """Whatever is no JSON object, and results without their words."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        DeepgramProtocol().receive(data)


def test_an_error_is_told() -> None:
    """With what the server says of it."""
    with pytest.raises(ConnectionError, match=r"reports an error: .*slow"):
        DeepgramProtocol().receive('{"type": "Error", "description": "too slow", "variant": "NET-0001"}')


# Over a socket ----------------------------------------------------------------------------------------------------


async def test_an_utterance_is_heard() -> None:
    """All sound is sent as it is, and the two messages at its end; the finalised piece is the last."""
    taken: list[str | bytes] = []

    async def script(socket: Socket) -> None:
        taken.append(await socket.receive())
        await socket.send(results("good"))
        taken.extend(await until_over(socket))
        await socket.send(results("Good morning.", final=True, from_finalize=True))
        await anyio.sleep_forever()

    peer = Peer(script)
    assert await heard(peer) == ["good", "Good morning."]
    assert taken == [PIECE.astype("<i2").tobytes()] * 2 + ['{"type": "Finalize"}', '{"type": "CloseStream"}']
    assert peer.closed == 1


@pytest.mark.parametrize("metadata", [True, False])
async def test_metadata_or_a_close_is_the_end(metadata: bool) -> None:
    """Where nothing had to be finalised; and nothing may have been said."""

    async def script(socket: Socket) -> None:
        await until_over(socket)
        await socket.send(results("", final=True))
        if metadata:
            await socket.send('{"type": "Metadata", "duration": 0.02}')
            await anyio.sleep_forever()
        await socket.close(1000)

    assert await heard(Peer(script)) == []


async def test_it_is_asked_with_the_options_and_the_key() -> None:
    """The key in a header only; booleans as the interface writes them, lists repeated, None left out."""
    peer = Peer(nothing)
    options = {"keyterm": ["a b", "c"], "smart_format": True, "punctuate": None}
    with pytest.raises(TimeoutError):
        await heard(peer, language="de", extra=options)
    (endpoint,) = peer.endpoints
    assert endpoint.headers == {"Authorization": "Token secret"}
    assert "secret" not in endpoint.url + repr(endpoint)
    assert parse_qs(urlsplit(endpoint.url).query) == {
        "model": ["nova-3"],
        "encoding": ["linear16"],
        "sample_rate": ["16000"],
        "channels": ["1"],
        "interim_results": ["true"],
        "language": ["de"],
        "keyterm": ["a b", "c"],
        "smart_format": ["true"],
    }


async def test_a_pause_keeps_the_socket_alive() -> None:
    """Every four seconds in which there is no sound."""
    taken: list[str | bytes] = []

    async def script(socket: Socket) -> None:
        taken.extend(await until_over(socket))
        await socket.close(1000)

    assert await heard(Peer(script), Sound(2, pause=9.0)) == []
    assert [message for message in taken if isinstance(message, str)].count('{"type": "KeepAlive"}') == 4


async def test_two_utterances_have_a_socket_each() -> None:
    """Both sockets may be open at once."""

    async def script(socket: Socket) -> None:
        taken = await until_over(socket)
        await anyio.sleep(1)
        await socket.send(results(str(len(taken) - 2), final=True, from_finalize=True))

    peer, texts = Peer(script), []
    async with Deepgram(api_key="secret", connect=peer.connect) as stt:

        async def hear(pieces: int) -> None:
            async for text in stt.transcribe(Sound(pieces)):
                texts.append(text)

        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(hear, 1)
            group.start_soon(hear, 3)
        assert anyio.current_time() - began == pytest.approx(1)
    assert sorted(texts) == ["1", "3"]
    assert peer.closed == len(peer.endpoints) == 2


# Faults -----------------------------------------------------------------------------------------------------------


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the argument or the environment, and one that can be a key."""
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    with pytest.raises(ValueError, match="DEEPGRAM_API_KEY"):
        Deepgram()
    with pytest.raises(ValueError, match="characters") as caught:
        Deepgram(api_key="sec ret")
    assert "sec ret" not in str(caught.value)
    monkeypatch.setenv("DEEPGRAM_API_KEY", "environment")
    assert "environment" not in repr(vars(Deepgram())["_endpoint"])


async def test_a_refusal_is_told() -> None:
    """What the server says, without the key."""

    connect = refusing(401, '{"err_msg": "no secret is good"}')
    async with Deepgram(api_key="secret", connect=connect) as stt:
        with pytest.raises(ConnectionError, match=r"refuses the key \(401\)") as caught:
            _ = [text async for text in stt.transcribe(Sound())]
    assert "secret" not in str(caught.value)


async def test_sound_waits_for_a_server_that_is_busy() -> None:
    """It is asked again, and hears all of it."""
    taken: list[str | bytes] = []

    async def script(socket: Socket) -> None:
        taken.extend(await until_over(socket))
        await socket.send(results("Yes.", final=True, from_finalize=True))
        await anyio.sleep_forever()

    peer = Peer(script, SocketRefusedError("busy", 429, "", 2.0), SocketRefusedError("broken", 503))
    assert await heard(peer, Sound(4, pause=0.1)) == ["Yes."]
    assert len(peer.endpoints) == 3
    assert taken[:4] == [PIECE.astype("<i2").tobytes()] * 4


@pytest.mark.parametrize("early", [True, False])
async def test_a_close_in_the_middle_is_told(early: bool) -> None:
    """While there is sound, and while the last words are waited for; what was heard before is given."""

    async def script(socket: Socket) -> None:
        if not early:
            await until_over(socket)
        await socket.send(results("half"))
        await socket.close(1011, "NET-0000")

    texts: list[str] = []
    async with Deepgram(api_key="secret", connect=Peer(script).connect) as stt:
        with pytest.raises(ConnectionError, match=r"closed the connection in the middle: .*1011 \(NET-0000\)"):
            async for text in stt.transcribe(Sound(3, pause=0.1)):
                texts.append(text)
    assert texts == ["half"]


async def test_a_malformed_message_is_told() -> None:
    """The socket is closed."""

    async def script(socket: Socket) -> None:
        await socket.send("{")
        await anyio.sleep_forever()

    peer = Peer(script)
    with pytest.raises(ConnectionError, match="cannot be read"):
        await heard(peer, Sound(9, pause=1))
    assert peer.closed == 1


async def test_silence_after_the_end_is_told() -> None:
    """After `silence_seconds`, and not while there is still sound."""
    peer, began = Peer(nothing), anyio.current_time()
    with pytest.raises(TimeoutError, match="nothing came within 3 s"):
        await heard(peer, Sound(2, pause=20), silence_seconds=3)
    assert anyio.current_time() - began == pytest.approx(43)
    assert peer.closed == 1


async def test_leaving_an_utterance_closes_its_socket() -> None:
    """When it is cancelled, and when its generator is closed."""

    async def script(socket: Socket) -> None:
        await socket.send(results("half"))
        await nothing(socket)

    peer = Peer(script)
    async with Deepgram(api_key="secret", connect=peer.connect) as stt:
        with anyio.move_on_after(1):
            async with aclosing(stt.transcribe(Sound(99, pause=1))) as texts:
                async for _ in texts:
                    pass
        await anyio.sleep(0.1)
        assert peer.closed == 1
        async with aclosing(stt.transcribe(Sound(99, pause=1))) as texts:
            assert await anext(texts) == "half"
        await anyio.sleep(0.1)
        assert peer.closed == 2


async def test_it_has_to_be_entered_and_once() -> None:
    """The error says how."""
    stt = Deepgram(api_key="secret")
    with pytest.raises(RuntimeError, match="async with Deepgram"):
        await anext(stt.transcribe(Sound()))
    async with stt:
        with pytest.raises(RuntimeError, match="one for each session"):
            await stt.__aenter__()


async def test_in_a_cascade_a_fault_is_a_failure() -> None:
    """The words that were known are final, and the next utterance has its chance."""
    count = 0

    async def script(socket: Socket) -> None:
        nonlocal count
        count += 1
        await socket.send(results("half" if count == 1 else "whole", final=True))
        if count == 1:
            await anyio.sleep(0.01)
            await socket.close(1011)
        await until_over(socket)
        await socket.close(1000)

    async with Harness(Transcribe(Deepgram(api_key="secret", connect=Peer(script).connect))) as harness:
        for item in ("a", "b"):
            await harness.send(SpeechStarted(item_id=item), *framed(tone(ms=100)))
            await anyio.sleep(0.1)
            await harness.send(SpeechStopped(item_id=item))
            await anyio.sleep(0.1)
        await harness.end()
    finals = [(frame.item_id, frame.text) for frame in harness.of(Transcript) if frame.final]
    assert finals == [("a", "half"), ("b", "whole")]
    (failure,) = harness.of(Failure)
    assert "Deepgram closed the connection in the middle" in failure.message


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_speaks_over_a_real_socket(backend: str) -> None:
    """It hears, and is refused with another key."""

    async def handler(socket: Socket, request: Any) -> None:
        await until_over(socket)
        await socket.send(results(urlsplit(request.path).path, final=True, from_finalize=True))

    def gate(connection: Any, request: Any) -> Any:
        good = request.headers["Authorization"] == "Token secret"
        return None if good else connection.respond(401, "no")

    async def run() -> None:
        async with listen(handler, process_request=gate) as port:
            for key in ("secret", "other"):
                async with Deepgram(api_key=key, url=f"ws://127.0.0.1:{port}/v1/listen", connect=dial) as stt:
                    if key == "other":
                        with pytest.raises(ConnectionError, match=r"refuses the key \(401\)"):
                            await anext(stt.transcribe(Sound()))
                    else:
                        assert [text async for text in stt.transcribe(Sound())] == ["/v1/listen"]

    anyio.run(run, backend=backend)
