"""A voice over one socket for all sentences, against a scripted Cartesia."""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from bargein.services.cascade.parts import Word
from bargein.services.providers.cartesia import Cartesia
from bargein.services.providers.elevenlabs import ElevenLabs
from bargein.services.sockets import Socket, SocketClosedError, SocketRefusedError, listen
from tests.services.scripted import Peer

virtual = pytest.mark.virtual
both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def say(socket: Socket, context: str, samples: int = 3) -> None:
    """Speak a sentence."""
    await socket.send(json.dumps({"type": "chunk", "data": "AAAA" * (samples // 3 * 2), "context_id": context}))
    await socket.send(json.dumps({"type": "done", "done": True, "context_id": context}))


async def serve(socket: Socket, sentences: int = 99) -> None:
    """Speak so many sentences, and hang up."""
    for _ in range(sentences):
        message = json.loads(await socket.receive())
        if not message.get("cancel"):
            await say(socket, message["context_id"])
    await socket.close(1000)


async def heard(tts: Cartesia | ElevenLabs, text: str = "Hi.") -> int:
    """Samples of a sentence."""
    return sum([len(piece) async for piece in tts.speak(text) if not isinstance(piece, Word)])


def cartesia(peer: Peer, **options: Any) -> Cartesia:
    return Cartesia("v", api_key="secret", connect=peer.connect, **options)


@virtual
async def test_one_socket_serves_all_sentences() -> None:
    """One after the other and at once. It is closed with the part."""
    peer, counts = Peer(serve), list[int]()

    async def speak() -> None:
        counts.append(await heard(tts))

    async with cartesia(peer) as tts, anyio.create_task_group() as group:
        for _ in range(3):
            await speak()
        for _ in range(3):
            group.start_soon(speak)
    assert counts == [3] * 6
    assert peer.closed == len(peer.endpoints) == 1


@virtual
async def test_closed_socket_is_opened_again() -> None:
    """Between two sentences, without an error."""
    peer = Peer(lambda socket: serve(socket, 2))
    async with cartesia(peer) as tts:
        for _ in range(5):
            assert await heard(tts) == 3
            await anyio.sleep(300)
    assert len(peer.endpoints) == 3


@virtual
@pytest.mark.parametrize("complains", [True, False])
async def test_reused_socket_that_fails_is_opened_again(complains: bool) -> None:
    """The provider closed it while the request was on its way, or reports an error of the connection."""

    async def script(socket: Socket) -> None:
        await say(socket, json.loads(await socket.receive())["context_id"])
        await socket.receive()
        if complains:
            await socket.send('{"type": "error", "error": "the connection is too old"}')
        await socket.close(1001)

    peer = Peer(script)
    async with cartesia(peer) as tts:
        assert [await heard(tts), await heard(tts)] == [3, 3]
    assert len(peer.endpoints) == 2


@virtual
async def test_sentence_is_not_begun_twice() -> None:
    """A failure is reported if something of the sentence was heard, or if the socket was new."""

    async def script(socket: Socket) -> None:
        await say(socket, json.loads(await socket.receive())["context_id"])
        context = json.loads(await socket.receive())["context_id"]
        await socket.send(json.dumps({"type": "chunk", "data": "AAAA", "context_id": context}))
        await socket.close(1011, "oh")

    peer = Peer(script)
    async with cartesia(peer) as tts:
        assert await heard(tts) == 3
        with pytest.raises(ConnectionError, match=r"Cartesia closed the connection in the middle: .*1011 \(oh\)"):
            await heard(tts)
    peer = Peer(lambda socket: socket.close(1011, "oh"))
    async with cartesia(peer) as tts:
        with pytest.raises(ConnectionError, match="in the middle"):
            await heard(tts)
    assert len(peer.endpoints) == 1


@virtual
async def test_a_silent_socket_is_given_up() -> None:
    """The next sentence has a new one."""
    sockets: list[Socket] = []

    async def script(socket: Socket) -> None:
        sockets.append(socket)
        await (anyio.sleep_forever() if len(sockets) == 1 else serve(socket))

    peer = Peer(script)
    async with cartesia(peer, silence_seconds=2) as tts:
        with pytest.raises(TimeoutError, match="nothing came within 2 s"):
            await heard(tts)
        assert await heard(tts) == 3
        assert (peer.closed, len(peer.endpoints)) == (1, 2)


@virtual
async def test_an_interrupt_while_the_socket_opens() -> None:
    """It is not opened, and the next sentence opens it."""

    class Late(Peer):
        def connect(self, endpoint: Any) -> Any:
            opens = super().connect(endpoint)

            class Slowly:
                async def __aenter__(self) -> Socket:
                    await anyio.sleep(5)
                    return await opens.__aenter__()

                async def __aexit__(self, *error: Any) -> Any:
                    return await opens.__aexit__(*error)

            return Slowly()

    peer = Late(serve)
    async with cartesia(peer) as tts:
        with anyio.move_on_after(1):
            async with aclosing(tts.speak("Hi.")) as sound:
                await anext(sound)
        assert await heard(tts) == 3
    assert peer.closed == 1


@virtual
async def test_unread_sound_is_bounded() -> None:
    """What is not taken waits, up to a bound. When the sentence is cancelled, the others go on."""
    sent = 0

    async def script(socket: Socket) -> None:
        nonlocal sent
        context = json.loads(await socket.receive())["context_id"]
        while sent < 999:
            await socket.send(json.dumps({"type": "chunk", "data": "AAAA", "context_id": context}))
            sent += 1
        await serve(socket)

    async with cartesia(Peer(script), silence_seconds=1) as tts:
        async with aclosing(tts.speak("Hi.")) as sound:
            await anext(sound)
            await anyio.sleep(5)
            assert sent < 200
        assert await heard(tts) == 3
    assert sent == 999


@virtual
async def test_busy_provider_is_asked_again() -> None:
    """After the wait that it asks for. A final refusal and a long wait are not retried."""
    busy, broken = SocketRefusedError("busy", 429, "slow down", 1.5), SocketRefusedError("broken", 500, "oh")
    peer, began = Peer(serve, busy, broken), anyio.current_time()
    async with cartesia(peer) as tts:
        assert await heard(tts) == 3
    assert 1.5 < anyio.current_time() - began < 3
    assert len(peer.endpoints) == 3
    for refusal in (SocketRefusedError("busy", 429, "", 60.0), SocketRefusedError("no", 404)):
        peer = Peer(serve, refusal)
        async with cartesia(peer) as tts:
            with pytest.raises(ConnectionError):
                await heard(tts)
        assert len(peer.endpoints) == 1
    peer = Peer(serve, broken)
    async with cartesia(peer, retries=0) as tts:
        with pytest.raises(ConnectionError, match="Cartesia refuses with 500: oh"):
            await heard(tts)


@virtual
@pytest.mark.parametrize(("refusals", "asked"), [(2, 3), (3, 3)])
async def test_sentence_over_the_limit_is_sent_again(refusals: int, asked: int) -> None:
    """Over the same socket, a little later, up to `retries` times."""
    requests = 0

    async def script(socket: Socket) -> None:
        nonlocal requests
        while True:
            context = json.loads(await socket.receive())["context_id"]
            requests += 1
            if requests > refusals:
                await say(socket, context)
                continue
            busy = {"type": "error", "title": "Too many", "status_code": 429, "context_id": context}
            await socket.send(json.dumps(busy))

    peer = Peer(script)
    async with cartesia(peer) as tts:
        if refusals < asked:
            assert await heard(tts) == 3
        else:
            with pytest.raises(ConnectionError, match="Cartesia reports an error: Too many"):
                await heard(tts)
    assert (requests, len(peer.endpoints)) == (asked, 1)


# Real sockets -----------------------------------------------------------------------------------------------------


def over_a_socket(backend: str, kind: str, gate: Any = None, **script: Any) -> list[Any]:
    """Two sentences by a voice of that kind, from a server on the loopback; what comes of them."""

    async def handler(socket: Socket, request: Any) -> None:
        try:
            while True:
                await script["answer"](socket, json.loads(await socket.receive()))
        except SocketClosedError:
            pass

    async def within() -> list[Any]:
        outcomes: list[Any] = []
        async with listen(handler, process_request=gate) as port:
            url = f"ws://127.0.0.1:{port}"
            options: dict[str, Any] = {"api_key": "secret", "silence_seconds": script.get("silence_seconds", 10.0)}
            make = Cartesia if kind == "cartesia" else ElevenLabs
            async with make("v", url=url, **options) as tts:
                for _ in range(2):
                    try:
                        outcomes.append(await heard(tts))
                    except OSError as error:
                        outcomes.append(f"{type(error).__name__}: {error}")
        return outcomes

    return anyio.run(within, backend=backend)


async def answer(socket: Socket, message: dict[str, Any]) -> None:
    """What either provider says."""
    context = message["context_id"]
    if message.get("close_context"):  # ElevenLabs' last
        await socket.send(json.dumps({"audio": "AAAAAAAA", "contextId": context}))
        await socket.send(json.dumps({"isFinal": True, "contextId": context}))
    elif "transcript" in message:
        await say(socket, context)


kinds = pytest.mark.parametrize("kind", ["cartesia", "elevenlabs"])


@both
@kinds
def test_it_speaks_over_a_real_socket(backend: str, kind: str) -> None:
    """With the key in the header that each wants it in."""

    def gate(connection: Any, request: Any) -> Any:
        key = request.headers.get("X-API-Key") or request.headers.get("xi-api-key")
        return None if key == "secret" else connection.respond(401, "no")

    assert over_a_socket(backend, kind, gate, answer=answer) == [3, 3]


@both
@kinds
@pytest.mark.parametrize(
    ("status", "said"), [(401, "refuses the key (401)"), (429, "refuses with 429"), (500, "with 500")]
)
def test_refusal_is_reported(backend: str, kind: str, status: int, said: str) -> None:
    """With the server's words, each time, and without the key."""

    def gate(connection: Any, request: Any) -> Any:
        response = connection.respond(status, "slow down, secret")
        response.headers["Retry-After"] = "60"
        return response

    for outcome in over_a_socket(backend, kind, gate, answer=answer):
        assert outcome.startswith("ConnectionError: ")
        assert said in outcome
        assert "slow down" in outcome
        assert "secret" not in outcome


@both
@kinds
def test_socket_faults_are_reported(backend: str, kind: str) -> None:
    """Nonsense, a close in the middle, a first byte that does not come."""

    async def nonsense(socket: Socket, message: dict[str, Any]) -> None:
        await socket.send("{")

    async def close(socket: Socket, message: dict[str, Any]) -> None:
        await socket.close(1011, "oh")

    async def nothing(socket: Socket, message: dict[str, Any]) -> None:
        pass

    for does, expected in (
        (nonsense, "ConnectionError: .* cannot be read"),
        (close, "ConnectionError: .* closed the connection in the middle: .*1011"),
        (nothing, "TimeoutError: .* silent: nothing came within 0.05 s"),
    ):
        silence_seconds = 0.05 if does is nothing else 10.0
        for outcome in over_a_socket(backend, kind, answer=does, silence_seconds=silence_seconds):
            assert re.search(expected, outcome), outcome
