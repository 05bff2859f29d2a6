"""Beside a call: tools, transcripts and interrupts run here, the sound goes elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from bargein.pipeline import Audio, Interrupt, Pipeline, ResponseEnded, Text, ToolCall, UserText
from bargein.pipeline.testing import Harness, framed
from bargein.services.frames import Connected, Disconnected
from bargein.services.media.intake import intercept
from bargein.services.media.voice_sender import SILENCE
from bargein.services.providers.openai import OpenAISideband, mint_secret
from bargein.services.realtime import RealtimeError
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, pipe

from .call_peer import CallServer, call_server

WORDS = "One two three four five six seven eight nine ten"


class Server:
    """The provider's end of a sideband, in a test's hand."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []
        self.received: list[dict[str, Any]] = []
        self.socket: Socket | None = None
        self.refusal: SocketRefusedError | None = None

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        if self.refusal is not None:
            raise self.refusal
        self.endpoints.append(endpoint)
        self.socket, theirs = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, self.socket)
            yield theirs
            group.cancel_scope.cancel()

    async def _read(self, socket: Socket) -> None:
        try:
            while True:
                event = json.loads(await socket.receive())
                self.received.append(event)
                if event["type"] == "session.update":
                    audio = {"input": {"turn_detection": {"type": "server_vad"}}}  # what the browser has asked for
                    await self.say("session.updated", session={"audio": audio, **event["session"], "id": "sess_1"})
        except SocketClosedError:
            pass

    async def say(self, type: str, **fields: Any) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def answer(self, text: str = WORDS, response: str = "r", item: str = "i") -> None:
        """A response is made at once, and begins to sound."""
        await self.say("response.created", response={"id": response, "status": "in_progress"})
        part = {"type": "audio"}
        await self.say("response.content_part.added", response_id=response, item_id=item, part=part)
        await self.say("output_audio_buffer.started", response_id=response)
        for word in text.split():
            await self.say(
                "response.output_audio_transcript.delta", response_id=response, item_id=item, delta=f"{word} "
            )
        await self.say("response.done", response={"id": response, "status": "completed", "output": []})

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.received]

    def model(self, **options: Any) -> OpenAISideband:
        return OpenAISideband("rtc_1", api_key="key", connect=self.connect, **options)


@pytest.mark.virtual
async def test_response_that_plays_in_the_browser() -> None:
    """Its text comes, silence as long as its sound, and its end when it has been heard."""
    server = Server()
    model = server.model()
    async with Harness(model) as harness:
        await harness.next(Connected)
        await server.answer()
        await anyio.sleep(2)
        await server.say("output_audio_buffer.stopped", response_id="r")
        ended = await harness.next(ResponseEnded, within_seconds=1)
        await harness.session.cancel()
    assert ended.outcome == "completed"
    assert harness.timeline.of(ResponseEnded)[0].at == pytest.approx(2, abs=0.01)
    sound = harness.of(Audio)
    assert sum(frame.ms for frame in sound) == pytest.approx(2000, abs=1)
    assert not any(frame.samples.any() for frame in sound)
    assert "".join(frame.text for frame in harness.of(Text)).strip() == WORDS
    assert model.history.last is not None
    assert model.history.last.remembered.strip() == WORDS
    assert server.endpoints[0].url == "wss://api.openai.com/v1/realtime?call_id=rtc_1"


@pytest.mark.virtual
@pytest.mark.parametrize("by", ["speech", "us", "the browser"])
async def test_heard_words_are_known(by: str) -> None:
    """Whichever side interrupts. The server corrects its memory itself."""
    server = Server()
    model = server.model()
    async with Harness(model) as harness:
        await harness.next(Connected)
        await server.answer()
        await anyio.sleep(1)
        if by == "speech":
            await server.say("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
        elif by == "us":
            harness.interrupt()
        await anyio.sleep(0.01)
        await server.say("output_audio_buffer.cleared", response_id="r")
        await harness.next(ResponseEnded, within_seconds=1)
        await anyio.sleep(2)
        await harness.session.cancel()
    assert harness.of(ResponseEnded)[0].outcome == "interrupted"
    assert len(harness.of(Interrupt)) == 1
    (heard,) = [entry.remembered for entry in model.history if entry.role == "assistant"]
    assert WORDS.startswith(heard.strip())
    assert 0 < len(heard.split()) < 8
    asked = ["response.cancel", "output_audio_buffer.clear"] if by == "us" else []
    assert server.types == ["session.update", *asked]


@pytest.mark.virtual
async def test_response_that_never_plays_times_out() -> None:
    """After three seconds."""
    server = Server()
    async with Harness(server.model()) as harness:
        await harness.next(Connected)
        await server.say("response.created", response={"id": "r", "status": "in_progress"})
        part = {"type": "audio"}
        await server.say("response.content_part.added", response_id="r", item_id="i", part=part)
        await server.say("response.done", response={"id": "r", "status": "completed", "output": []})
        await harness.next(ResponseEnded, within_seconds=3.2)
        await harness.session.cancel()


@pytest.mark.virtual
async def test_only_given_options_are_sent() -> None:
    """The browser configures its session: no formats, turn detection or voice are sent."""
    server = Server()

    def weather() -> str:
        """The weather."""
        return "sunny"

    async with Harness(server.model()) as harness:
        await harness.next(Connected)
        await harness.session.cancel()
    async with Harness(server.model(tools=[weather], instructions="Be brief.", extra={"tracing": "auto"})) as harness:
        await harness.next(Connected)
        await harness.session.cancel()
    bare, full = (event["session"] for event in server.received)
    assert bare == {"type": "realtime"}
    assert sorted(full) == ["instructions", "tools", "tracing", "type"]
    assert full["tools"][0]["name"] == "weather"


@pytest.mark.virtual
async def test_user_sound_is_not_sent() -> None:
    """Typed text is."""
    server = Server()
    async with Harness(server.model()) as harness:
        await harness.next(Connected)
        await harness.send(*framed(np.ones(24_000, np.int16), rate=24_000), UserText(text="Hello"))
        await anyio.sleep(1)
        await harness.session.cancel()
    assert server.types == ["session.update", "conversation.item.create", "response.create"]


@pytest.mark.virtual
async def test_session_ends_with_the_call() -> None:
    """That is not a failure."""
    server = Server()
    async with Harness(server.model()) as harness:
        await harness.next(Connected)
        assert server.socket is not None
        await server.socket.close(1000, "the call is over")
        await anyio.sleep(5)
        await harness.end()
    assert len(server.endpoints) == 1


@pytest.mark.virtual
async def test_lost_sideband_is_attached_again() -> None:
    """The call continues with its memory, so the conversation is not sent again."""
    server = Server()
    async with Harness(server.model()) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="Hello"))
        await anyio.sleep(0.1)
        assert server.socket is not None
        await server.socket.close(1006)
        await harness.next(Disconnected, within_seconds=5)
        await harness.next(Connected, within_seconds=5)
        await harness.session.cancel()
    assert server.types.count("conversation.item.create") == 1
    assert len(server.endpoints) == 2


@pytest.mark.virtual
async def test_unknown_call_is_an_error() -> None:
    """At once, with the server's words."""
    server = Server()
    server.refusal = SocketRefusedError("wss://api.openai.com/v1/realtime answers 404", 404, "no such call")
    with pytest.raises(RealtimeError, match="no such call"):
        async with Harness(server.model()) as harness:
            await harness.next(Connected, within_seconds=5)
    with pytest.raises(ValueError, match="id of a call"):
        OpenAISideband("", api_key="key")


class Browser:
    """What a page does: posts its offer with the secret, and listens."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTrack(AudioStreamTrack())
        self.channel = self.pc.createDataChannel("oai-events")
        self.loud = anyio.Event()

    async def call(self, server: CallServer, secret: str) -> httpx.Response:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/sdp"}
        url = server.url.replace("ws:", "http:") + "/calls"
        async with httpx.AsyncClient() as client:
            answer = await client.post(url, headers=headers, content=self.pc.localDescription.sdp)
        if answer.status_code == 201:
            intercept(self.pc.getReceivers()[0], self._packet)
            await self.pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return answer

    def _packet(self, number: int, timestamp: int, data: bytes) -> None:
        if data != SILENCE:
            self.loud.set()


@pytest.mark.real
async def test_browser_call_with_tools_here() -> None:
    """The browser uses a secret that was minted for it. When it hangs up, all ends."""
    asked = []

    def weather(city: str) -> str:
        """The weather somewhere."""
        asked.append(city)
        return "sunny"

    call = ToolCall(call_id="", name="weather", arguments='{"city": "Paris"}')
    async with call_server((call,), "It is sunny.") as server:
        url = server.url.replace("ws:", "http:")
        secret = await mint_secret({"model": "gpt-realtime"}, api_key="key", seconds=60, url=url)
        browser = Browser()
        name = (await browser.call(server, secret.value)).headers["location"].rpartition("/")[2]
        (made,) = server.calls

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            assert endpoint.url.endswith(f"?call_id={made.name}")
            ours, theirs = pipe()
            async with anyio.create_task_group() as group:
                group.start_soon(made.attach, ours)
                yield theirs
                group.cancel_scope.cancel()

        with anyio.fail_after(60):
            await made.joined.wait()
            model = OpenAISideband(name, api_key="key", connect=connect, tools=[weather])
            async with Pipeline(model, inputs=UserText).session() as session:
                await session.send(UserText(text="What is the weather in Paris?"))
                await browser.loud.wait()
                await browser.pc.close()
                async for _ in session:
                    pass
    assert asked == ["Paris"]
    assert [entry.remembered for entry in model.history if entry.role == "call"]


@pytest.mark.real
async def test_expired_secret_is_refused() -> None:
    """The browser gets the reason."""
    async with call_server() as server:
        url = server.url.replace("ws:", "http:")
        secret = await mint_secret({"model": "gpt-realtime", "voice": "x"}, api_key="key", url=url)
        server.secrets[secret.value] = False
        browser = Browser()
        assert (await browser.call(server, secret.value)).status_code == 401
        await browser.pc.close()
        assert server.minted == [
            {
                "session": {"type": "realtime", "model": "gpt-realtime", "voice": "x"},
                "expires_after": {"anchor": "created_at", "seconds": 600},
            }
        ]
        assert secret.value not in repr(secret)


@pytest.mark.real
async def test_minting_a_secret_can_fail() -> None:
    """Without a key, with an impossible lifetime, or with an unexpected response. The key is not in the error."""
    async with call_server() as server:
        url = server.url.replace("ws:", "http:")
        with pytest.raises(ConnectionError, match="answers 401"):
            await mint_secret({}, api_key="wrong", url=url)
        server.refuse = (500, "the key is key")
        with pytest.raises(ConnectionError, match=r"the \*\*\* is \*\*\*"):
            await mint_secret({}, api_key="key", url=url)
        with pytest.raises(ConnectionError, match="answers 401"):
            await mint_secret({}, headers={"api-key": "azure's"}, url=url)
        server.refuse = (200, "[]")
        with pytest.raises(ConnectionError, match="is not a secret"):
            await mint_secret({}, api_key="key", url=url)
        with pytest.raises(ValueError, match="seconds=5"):
            await mint_secret({}, api_key="key", seconds=5, url=url)
    with pytest.raises(ConnectionError, match="cannot be reached"):
        await mint_secret({}, api_key="key", url=url)
