"""Callers: one person on each transport, who speaks, interrupts, and measures how much sound came back."""

from __future__ import annotations

import base64
import json
import math
import wave
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.abc
import numpy as np
import numpy.typing as npt

from bargein.pipeline import Audio, End, Pipeline
from bargein.pipeline.testing import framed
from bargein.processors import Resample
from bargein.services.media.g711 import codec
from bargein.services.sockets import Socket, SocketClosedError, pipe
from bargein.services.transports import FileTransport, Sessions, Transport, WebSocketClient, serve_websocket_peer
from bargein.services.transports.control import Start
from bargein.services.transports.telephony import accept_plivo, accept_telnyx, accept_twilio
from bargein.services.transports.webrtc import WebRtcServer
from bargein.services.transports.websocket import Accept
from tests.services.transports.kit import connected
from tests.services.transports.webrtc.client import FRAME_MS, LOUD, Client, Microphone, client

__all__ = ["TRANSPORTS", "Call", "Caller"]

Samples = npt.NDArray[np.int16]
Agent = Callable[[Transport], Pipeline]

PIECE_MS = 20
AUDIBLE = 300
"""Samples above this value can be heard."""
PAUSE_MS = 2_000
"""Silence around what the caller of a file says."""


def convert(samples: Samples, rate: int, channels: int) -> Samples:
    """Return sound of 16 kHz, mono, at another rate and with this number of channels."""
    resample = Resample(rate)
    frames = [piece for frame in framed(samples) for piece in resample.process(frame)]
    frames += resample.process(End())
    mono = np.concatenate([each.samples for each in frames if isinstance(each, Audio)])
    return mono if channels == 1 else np.repeat(mono.reshape(-1, 1), channels, axis=1)


def count_audible_ms(samples: Samples, rate: int) -> float:
    """Return how much of a sound can be heard, in blocks of 5 ms."""
    mono = np.abs(samples.reshape(len(samples), -1).astype(np.int32)).max(axis=1)
    length = rate // 200
    blocks = mono[: len(mono) // length * length].reshape(-1, length)
    return 5.0 * int(np.count_nonzero(blocks.max(axis=1) > AUDIBLE))


class Caller:
    """A person with a microphone that is always on."""

    def __init__(self, rate: int = 16_000, channels: int = 1) -> None:
        self.rate = rate
        self.channels = channels
        self.audible_ms = 0.0
        """How much sound of the agent could be heard."""
        self.changed_at = -math.inf
        """When the last of it came."""
        self._words: deque[Samples] = deque()

    def say(self, samples: Samples) -> None:
        """Say something after what is being said: 16 kHz, mono."""
        sound = convert(samples, self.rate, self.channels)
        step = self.rate * PIECE_MS // 1000
        self._words.extend(sound[at : at + step] for at in range(0, len(sound) - step + 1, step))

    @property
    def speaks(self) -> bool:
        """Whether the caller is still speaking."""
        return bool(self._words)

    def hear(self, samples: Samples, rate: int) -> None:
        """Note what came of the agent's sound."""
        ms = count_audible_ms(samples, rate)
        if ms:
            self.audible_ms += ms
            self.changed_at = anyio.current_time()

    async def pieces(self) -> AsyncGenerator[Samples, None]:
        """Give the microphone's sound, a piece of 20 ms each 20 ms."""
        step = self.rate * PIECE_MS // 1000
        silence = np.zeros(step if self.channels == 1 else (step, self.channels), np.int16)
        began, count = anyio.current_time(), 0
        while True:
            count += 1
            await anyio.sleep_until(began + count * step / self.rate)
            yield self._words.popleft() if self._words else silence


class Call:
    """How one call goes: what is said, how long the agent may speak, and what is said into its words.

    Args:
        question: The caller's first words: 16 kHz, mono.
        interruption: What the caller says into the answer.
        seconds: How much of the answer is heard before it.
        settled: Tells whether the agent has done all that the call expects. Its last answer may be still to be heard.
        last_ms: How much of the last answer can be heard.
    """

    def __init__(
        self,
        question: Samples,
        interruption: Samples,
        seconds: float,
        settled: Callable[[], bool],
        *,
        last_ms: float,
    ) -> None:
        self.question = question
        self.interruption = interruption
        self.seconds = seconds
        self.settled = settled
        self.last_ms = last_ms

    async def hold(self, caller: Caller) -> None:
        """Ask, listen, interrupt, and wait until the agent has fallen silent."""
        caller.say(np.concatenate((np.zeros(8_000, np.int16), self.question)))
        await until(lambda: caller.audible_ms >= 1000 * self.seconds)
        caller.say(self.interruption)
        before = caller.audible_ms

        def is_settled() -> bool:
            nonlocal before
            if self.settled():
                return not caller.speaks
            before = caller.audible_ms
            return False

        await until(is_settled)
        # On a busy machine the text of the last answer is there long before its sound.
        await until(lambda: caller.audible_ms >= before + self.last_ms / 2)
        await until(lambda: anyio.current_time() >= caller.changed_at + 2)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the caller hears."""
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110  # the callers have no events
            await anyio.sleep(0.02)


# The transports ---------------------------------------------------------------------------------------------------


async def by_websocket(agent: Agent, call: Call, rate: int, channels: int, folder: Path) -> Caller:
    """Call over Bargein's own WebSocket. The agent's sound is asked for at the caller's rate."""
    caller = Caller(rate, channels)

    async def listen(client: WebSocketClient) -> None:
        async for frame in client:
            if isinstance(frame, Audio):
                assert frame.rate == rate
                caller.hear(frame.samples, frame.rate)

    async def speak(client: WebSocketClient) -> None:
        with suppress(SocketClosedError):
            async with aclosing(caller.pieces()) as pieces:
                async for piece in pieces:
                    await client.send(Audio(samples=piece, rate=rate))

    start = Start(rate=rate, channels=channels, output_rate=rate)
    async with connected(Sessions(agent), start) as client, anyio.create_task_group() as group:
        group.start_soon(listen, client)
        group.start_soon(speak, client)
        await call.hold(caller)
        group.cancel_scope.cancel()
    return caller


async def by_file(agent: Agent, call: Call, rate: int, channels: int, folder: Path) -> Caller:
    """Call with a file, which has the interruption at its place; the answer is a file as well."""
    question, answer = folder / "question.wav", folder / "answer.wav"
    pause = np.zeros(16 * PAUSE_MS, np.int16)
    listening = np.zeros(round(16_000 * (call.seconds + 1)), np.int16)
    sound = np.concatenate((pause[:8_000], call.question, listening, call.interruption, pause))
    with wave.open(str(question), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(convert(sound, rate, channels).tobytes())
    peer = FileTransport(question, answer, rate=rate, channels=channels, output_rate=rate, settle_seconds=3)
    with anyio.fail_after(120):
        await agent(peer).run()
    caller = Caller(rate, channels)
    with wave.open(str(answer)) as file:
        assert file.getframerate() == rate
        caller.hear(np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16), rate)
    return caller


class Vendor(NamedTuple):
    """What a telephone vendor's end of a media stream says, and how."""

    accept: Accept
    opening: Callable[[int], list[dict[str, Any]]]
    """Makes the first messages of a call at a rate (Hz)."""
    encoding: str = "audio/pcmu"
    mark: str = "mark"
    """The event that asks for a confirmation."""
    confirmation: str = "mark"
    """The event that confirms that all before the mark has been played."""
    clear: str = "clear"
    """The event that drops what has not been played."""
    confirms_cleared: bool = True
    """Whether a clear confirms the marks that it drops."""


def open_twilio(rate: int) -> list[dict[str, Any]]:
    start = {"accountSid": "AC1", "streamSid": "S1", "callSid": "CA1", "tracks": ["inbound"]}
    form = {"encoding": "audio/x-mulaw", "sampleRate": rate, "channels": 1}
    return [{"event": "connected"}, {"event": "start", "start": {**start, "mediaFormat": form}}]


def open_telnyx(rate: int) -> list[dict[str, Any]]:
    form = {"encoding": "PCMA", "sample_rate": rate, "channels": 1}
    start = {"call_control_id": "v2:T02", "from": "+13122010094", "to": "+13122123456", "media_format": form}
    return [{"event": "connected"}, {"event": "start", "stream_id": "S1", "start": start}]


def open_plivo(rate: int) -> list[dict[str, Any]]:
    form = {"encoding": "audio/x-l16", "sampleRate": rate}
    return [{"event": "start", "start": {"callId": "C1", "streamId": "S1", "accountId": "A1", "mediaFormat": form}}]


VENDORS = {
    "twilio": Vendor(accept_twilio, open_twilio),
    "telnyx": Vendor(accept_telnyx, open_telnyx, encoding="audio/pcma"),
    "plivo": Vendor(
        accept_plivo,
        open_plivo,
        encoding="audio/pcm",
        mark="checkpoint",
        confirmation="playedStream",
        clear="clearAudio",
        confirms_cleared=False,
    ),
}


class Phone:
    """A vendor's end of a media stream: it plays what it gets at the pace of speech, and confirms marks."""

    def __init__(self, vendor: Vendor, socket: Socket, caller: Caller) -> None:
        self._vendor = vendor
        self._socket = socket
        self._caller = caller
        self._queue: deque[dict[str, Any]] = deque()
        self._changed = anyio.Event()
        self._codec = codec({"type": vendor.encoding, "rate": caller.rate})

    async def _send(self, message: Mapping[str, Any]) -> None:
        with suppress(SocketClosedError):
            await self._socket.send(json.dumps({"streamSid": "S1", **message}))

    async def _confirm(self, mark: Mapping[str, Any]) -> None:
        await self._send({**mark, "event": self._vendor.confirmation})

    async def dial(self) -> None:
        """Begin the call."""
        for message in self._vendor.opening(self._caller.rate):
            await self._send(message)

    async def speak(self) -> None:
        """Send the caller's sound."""
        async with aclosing(self._caller.pieces()) as pieces:
            async for piece in pieces:
                payload = base64.b64encode(self._codec.encode(piece)).decode()
                await self._send({"event": "media", "media": {"track": "inbound", "payload": payload}})

    async def listen(self) -> None:
        """Take messages. A clear drops what has not been played."""
        with suppress(SocketClosedError):
            while True:
                message = json.loads(await self._socket.receive())
                if message["event"] != self._vendor.clear:
                    self._queue.append(message)
                    self._changed.set()
                    continue
                marks = [each for each in self._queue if each["event"] == self._vendor.mark]
                self._queue.clear()
                for each in marks if self._vendor.confirms_cleared else ():
                    await self._confirm(each)

    async def play(self) -> None:
        """Play what waits."""
        while True:
            if not self._queue:
                self._changed = anyio.Event()
                await self._changed.wait()
                continue
            message = self._queue.popleft()
            if message["event"] == self._vendor.mark:
                await self._confirm(message)
                continue
            samples = self._codec.decode(base64.b64decode(message["media"]["payload"]))
            await anyio.sleep(len(samples) / self._codec.rate)
            self._caller.hear(samples, self._codec.rate)


async def by_telephone(vendor: str, agent: Agent, call: Call, rate: int, channels: int, folder: Path) -> Caller:
    """Call by telephone: a vendor's media stream."""
    caller = Caller(rate, channels)
    ours, theirs = pipe()
    phone = Phone(VENDORS[vendor], ours, caller)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(serve_websocket_peer, theirs, Sessions(agent), accept=VENDORS[vendor].accept))
        await phone.dial()
        for task in (phone.listen, phone.play, phone.speak):
            group.start_soon(task)
        await call.hold(caller)
        await ours.close()
        group.cancel_scope.cancel()
    return caller


async def by_webrtc(agent: Agent, call: Call, rate: int, channels: int, folder: Path) -> Caller:
    """Call over WebRTC, on the loopback and in real time."""
    microphone = Microphone(rate, channels)

    class WebRtcCaller(Caller):
        def say(self, samples: Samples) -> None:
            microphone.say(convert(samples, rate, channels))

        @property
        def speaks(self) -> bool:
            return not microphone.silent

    caller = WebRtcCaller(rate, channels)

    async def listen(peer: Client) -> None:
        done = 0
        while True:
            for _, peak in peer.sound[done:]:
                if peak > LOUD:
                    caller.audible_ms += FRAME_MS
                    caller.changed_at = anyio.current_time()
            done = len(peer.sound)
            await anyio.sleep(0.01)

    async with WebRtcServer(Sessions(agent)) as server, client(microphone=microphone) as peer:
        await peer.join(server)
        async with anyio.create_task_group() as group:
            group.start_soon(listen, peer)
            await call.hold(caller)
            group.cancel_scope.cancel()
    return caller


TRANSPORTS: dict[str, Callable[[Agent, Call, int, int, Path], Awaitable[Caller]]] = {
    "websocket": by_websocket,
    "file": by_file,
    **{vendor: partial(by_telephone, vendor) for vendor in VENDORS},
    "webrtc": by_webrtc,
}
"""What makes a call over each transport, and returns the caller after it."""
