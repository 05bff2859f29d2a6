"""OpenAI's calls on the loopback: an HTTP endpoint and a peer connection, with the product's own session behind them.

What is particular to a call is written here by hand: the server plays, in real time, and says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from email.parser import BytesParser
from typing import Any

import anyio
import anyio.abc
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from bargein.pipeline import Audio, Interrupt
from bargein.processors import Resample
from bargein.services.media.intake import intercept
from bargein.services.media.tracks import VoiceTrack
from bargein.services.media.voice_receiver import VoiceReceiver
from bargein.services.media.voice_sender import VoiceSender
from bargein.services.providers.openai import serve_socket, wire
from bargein.services.sockets import Socket, SocketClosedError, pipe
from bargein.services.testing import ScriptedBrain


class Call:
    """One call: what the server does on its side."""

    def __init__(self, name: str, brain: ScriptedBrain, session: dict[str, Any]) -> None:
        self.name = name
        self.brain = brain
        self.session = session
        self.received: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.side: Socket | None = None
        """A sideband's end, which hears all that the channel does."""
        self.epoch = 0
        self.voice, self.listening, self.resample = VoiceSender(), VoiceReceiver(), Resample(24_000)
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.track = VoiceTrack(self.voice, self._pulled)
        self.channel: RTCDataChannel | None = None
        self.sounding = ""
        self.complete: set[str] = set()
        self.over, self.joined = anyio.Event(), anyio.Event()
        self._messages: list[str] = []
        self._changed = anyio.Event()
        self._ours, self._theirs = pipe(100_000)
        self.pictures = 0
        self.video: MediaStreamTrack | None = None
        self.pc.on("datachannel", self._on_channel)
        self.pc.on("track", self._on_track)
        self.pc.on("connectionstatechange", self._on_state)

    async def answer(self, offer: str) -> str:
        self.pc.addTrack(self.track)
        await self.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        intercept(next(each for each in self.pc.getReceivers() if each.track.kind == "audio"), self._packet)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return str(self.pc.localDescription.sdp)

    async def run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(serve_socket_quietly, self._theirs, self.brain, self.session)
                group.start_soon(self._up)
                group.start_soon(self._down)
                group.start_soon(self._watch)
                await self.over.wait()
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.pc.close()
            if self.side is not None:
                await self.side.close(1000, "the call is over")

    def tell(self, event: dict[str, Any]) -> None:
        """What the server says, to all who listen."""
        self.sent.append(event)
        if self.channel is not None and self.channel.readyState == "open":
            self.channel.send(json.dumps(event))
        if self.side is not None and event["type"] != "session.created":
            self._side.send_nowait(json.dumps(event))

    def hear(self, data: str) -> None:
        """What a client says, on either way."""
        event = json.loads(data)
        self.received.append(event)
        if event["type"] == "output_audio_buffer.clear":
            self._clear()
        else:
            self._messages.append(data)
            self._changed.set()

    async def attach(self, socket: Socket) -> None:
        """Serve a sideband."""
        self.side = socket
        give, take = anyio.create_memory_object_stream[str](1000)
        self._side = give
        async with give, take, anyio.create_task_group() as group:

            async def write() -> None:
                async for text in take:
                    await socket.send(text)

            group.start_soon(write)
            try:
                while True:
                    self.hear(str(await socket.receive()))
            except SocketClosedError:
                self.side = None
                group.cancel_scope.cancel()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        assert channel.label == "oai-events"
        self.channel = channel
        channel.on("message", self.hear)
        self.joined.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self.video = track

    async def _watch(self) -> None:
        try:
            while self.video is not None:
                await self.video.recv()
                self.pictures += 1
        except MediaStreamError:
            pass

    def _on_state(self) -> None:
        if self.pc.connectionState in ("closed", "failed"):
            self.over.set()

    def _packet(self, number: int, timestamp: int, data: bytes) -> None:
        for audio in self.listening.packet(number, timestamp, data):
            for piece in self.resample.process(audio):
                if isinstance(piece, Audio):
                    self._messages.append(wire.encode(wire.AudioAppend(audio=piece.to_bytes())))
                    self._changed.set()

    async def _up(self) -> None:
        await self.joined.wait()
        while True:
            while self._messages:
                await self._ours.send(self._messages.pop(0))
            self._changed = anyio.Event()
            await self._changed.wait()

    async def _down(self) -> None:
        await self.joined.wait()
        while True:
            try:
                event = json.loads(await self._ours.receive())
            except SocketClosedError:
                return
            kind = event["type"]
            if kind == "response.output_audio.delta":
                self._speak(event)
                continue
            if kind == "input_audio_buffer.speech_started":
                self.tell(event)
                self._clear()
                continue
            if kind == "response.done":
                self.complete.add(event["response"]["id"])
                self.voice.close()
            self.tell(event)

    def _speak(self, event: dict[str, Any]) -> None:
        pcm, name = base64.b64decode(event["delta"]), event["response_id"]
        if name != self.sounding:
            self.sounding = name
            self.tell({"type": "output_audio_buffer.started", "response_id": name})
        self.voice.add(
            Audio(samples=np.frombuffer(pcm, "<i2").astype(np.int16), rate=24_000, response_id=name, epoch=self.epoch)
        )
        self.track.wake()

    def _pulled(self, now: float) -> None:
        if self.sounding and self.sounding in self.complete and not self.voice.playout.waiting:
            name, self.sounding = self.sounding, ""
            self.tell({"type": "output_audio_buffer.stopped", "response_id": name})

    def _clear(self) -> None:
        if self.sounding:
            self.epoch += 1
            list(self.voice.urgent(Interrupt(epoch=self.epoch), anyio.current_time()))
            name, self.sounding = self.sounding, ""
            self.tell({"type": "output_audio_buffer.cleared", "response_id": name})


async def serve_socket_quietly(socket: Socket, brain: ScriptedBrain, session: dict[str, Any]) -> None:
    await serve_socket(socket, lambda: brain, session=None)


class CallServer:
    """The endpoint: makes calls, and mints secrets."""

    def __init__(self, make_brain: Callable[[], ScriptedBrain]) -> None:
        self.port = 0
        self.make_brain = make_brain
        self.calls: list[Call] = []
        self.secrets: dict[str, bool] = {}
        """Minted, and whether each is still valid."""
        self.minted: list[dict[str, Any]] = []
        self.refuse: tuple[int, str] | None = None
        """A status and a body for the next request."""
        self.mangle: str | None = None
        """What is answered in place of the SDP."""
        self.unreachable = False
        """Nobody is where an answer says."""
        self._tasks: anyio.abc.TaskGroup | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        """One request; who leaves in the middle of it is no failure of the server's."""
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await self._serve(stream)

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, body = data.split(b"\r\n\r\n", 1)
        first, rest = head.split(b"\r\n", 1)
        headers = BytesParser().parsebytes(rest)
        while len(body) < int(headers["content-length"]):
            body += await stream.receive()
        status, kind, answer, more = await self._answer(first.split()[1].decode(), headers, body)
        lines = [
            f"HTTP/1.1 {status} X",
            f"content-type: {kind}",
            f"content-length: {len(answer)}",
            "connection: close",
        ]
        await stream.send("\r\n".join([*lines, *more, "", answer]).encode())

    async def _answer(self, path: str, headers: Any, body: bytes) -> tuple[int, str, str, list[str]]:
        key = (headers["authorization"] or "").removeprefix("Bearer ")
        if self.refuse is not None:
            (status, said), self.refuse = self.refuse, None
            return status, "application/json", said, []
        if key != "key" and not self.secrets.get(key):
            return 401, "application/json", '{"error":{"message":"The secret is not valid."}}', []
        if path == "/v1/realtime/client_secrets":
            asked = json.loads(body)
            self.minted.append(asked)
            secret = f"ek_{len(self.minted)}"
            self.secrets[secret] = True
            made = {"value": secret, "expires_at": 1_800_000_000, "session": asked["session"], "extra": 1}
            return 200, "application/json", json.dumps(made), []
        assert path == "/v1/realtime/calls", path
        session: dict[str, Any] = {}
        if headers.get_content_type() == "application/sdp":
            offer = body.decode()
        else:
            head = f"content-type: {headers['content-type']}\r\n\r\n".encode()
            parts: dict[Any, Any] = {
                part.get_param("name", header="content-disposition"): part
                for part in BytesParser().parsebytes(head + body).walk()
                if not part.is_multipart()
            }
            assert parts["sdp"].get_content_type() == "application/sdp"
            assert parts["session"].get_content_type() == "application/json"
            offer = parts["sdp"].get_payload(decode=True).decode()
            session = json.loads(parts["session"].get_payload(decode=True))
        call = Call(f"rtc_{len(self.calls) + 1}", self.make_brain(), session)
        self.calls.append(call)
        answer = await call.answer(offer)
        assert self._tasks is not None
        self._tasks.start_soon(call.run)
        if self.unreachable:
            await call.pc.close()
        return 201, "application/sdp", self.mangle or answer, [f"location: /v1/realtime/calls/{call.name}"]


@asynccontextmanager
async def call_server(*replies: Any, **options: Any) -> AsyncIterator[CallServer]:
    """The endpoint, while the block runs."""
    server = CallServer(lambda: ScriptedBrain(*replies, **options))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        server._tasks = tasks
        tasks.start_soon(listener.serve, server.handle)
        yield server
        tasks.cancel_scope.cancel()
