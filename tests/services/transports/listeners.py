"""Listeners at the far end of each transport: they measure which words of the agent reach them, and stall at random.

Each word is a constant sound of its own level, so what reached a listener is counted to the sample.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from bargein.pipeline import Audio, Inbox, Interrupt, Outlet, Pipeline, Processor, UserText, Video
from bargein.pipeline.lowlevel import Samples
from bargein.processors import Spoken
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText, TextToSpeech, Word
from bargein.services.media import voice_sender
from bargein.services.media.g711 import codec
from bargein.services.sockets import Socket, SocketClosedError, pipe
from bargein.services.transports import (
    FileTransport,
    Peer,
    SessionLimits,
    Sessions,
    Transport,
    WebSocketClient,
    serve_websocket_peer,
)
from bargein.services.transports.files._sound_file import WaveWriter
from bargein.services.transports.local import LocalTransport
from bargein.services.transports.telephony import accept_plivo, accept_telnyx, accept_twilio
from bargein.services.transports.webrtc import WebRtcTransport

from .telephony.test_vendors import PLIVO_START, TELNYX_START, TWILIO_START

__all__ = ["LISTENERS", "Listener", "Script", "word"]

BASE, STEP = 1000, 300
"""Levels: word n is a constant of `BASE + n * STEP`."""
TICK = 0.02
"""Length of a device's buffer and of a packet, in seconds."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in one conversation. All times are seconds after the question."""

    word_ms: int
    words: int
    stalls: tuple[tuple[float, float], ...]
    """Times at which the listener takes nothing, and for how long."""
    interrupts: tuple[float, ...]
    delay: float
    """Length of the way to a telephone, in seconds."""
    fails_after: int
    """Number of words after which the voice fails; more than `words` for never."""

    @property
    def seconds(self) -> float:
        """How long the conversation takes at most."""
        return 2 * self.words * self.word_ms / 1000 + sum(length for _, length in self.stalls) + 2 * self.delay + 3

    def stalled_until(self, at: float) -> float:
        """Return when a stall ends that covers a time; the time itself if there is none."""
        return max((begin + length for begin, length in self.stalls if begin <= at < begin + length), default=at)


def word(number: int) -> str:
    """Return a word's text."""
    return f"w{chr(97 + number)}"


class Mind(LanguageModel):
    """Says all words; what follows the third in a sentence of its own."""

    def __init__(self, words: int) -> None:
        self._words = words

    async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        names = [word(number) for number in range(self._words)]
        yield " ".join(names[:3]) + ". "
        yield " ".join(names[3:])


class Voice(TextToSpeech):
    """Speaks each word as a constant, and fails where the script says so."""

    def __init__(self, rate: int, script: Script) -> None:
        self.rate = rate
        self._script = script

    async def speak(self, text: str) -> AsyncIterator[Samples | Word]:
        ms = self._script.word_ms
        for at, each in enumerate(text.split()):
            number = ord(each[1]) - 97
            if number >= self._script.fails_after:
                raise ConnectionError("the voice hung up")
            yield Word(text=each.strip("."), start_ms=ms * at, end_ms=ms * (at + 1))
            yield np.full(ms * self.rate // 1000, BASE + STEP * number, np.int16)


class Feed(Processor):
    """Asks the question, interrupts as the script says, and passes what the user sends."""

    def __init__(self, script: Script, over: Callable[[], Awaitable[object]]) -> None:
        self._script = script
        self._over = over
        self.began = anyio.Event()
        """Set when the question is asked."""

    async def run(self, inbox: Inbox[Audio], out: Outlet[Audio | UserText | Interrupt]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._play, out)
            async for frame in inbox:
                await out.send(frame)
            group.cancel_scope.cancel()

    async def _play(self, out: Outlet[Audio | UserText | Interrupt]) -> None:
        await anyio.sleep(0.1)
        self.began.set()
        began = anyio.current_time()
        await out.send(UserText("hello"))
        for at in sorted(self._script.interrupts):
            await anyio.sleep_until(began + at)
            await out.send(Interrupt(reason="the user speaks"))
        await anyio.sleep_until(began + self._script.seconds)
        await self._over()


class Listener:
    """The far end: counts the milliseconds of each word that reached it."""

    rate = 16_000

    def __init__(self, script: Script) -> None:
        self.script = script
        self.ms: defaultdict[int, float] = defaultdict(float)
        self.brain = Cascade(SpeechToText(), Mind(script.words), Voice(self.rate, script))
        self.feed = Feed(script, self.leave)
        self._began = 0.0

    def hear(self, samples: Samples) -> None:
        """Count sound that has reached the ear."""
        numbers = np.rint((samples.reshape(-1).astype(np.float64) - BASE) / STEP).astype(int)
        close = np.abs(samples.reshape(-1) - (BASE + STEP * numbers)) < 0.49 * STEP  # telephone codecs round
        for number, count in Counter(numbers[close & (numbers >= 0)].tolist()).items():
            self.ms[number] += 1000 * count / self.rate

    def agent(self, transport: Transport) -> Pipeline:
        """Return the graph."""
        return Pipeline(transport.source, self.feed, self.brain, Spoken(), transport.sink)

    @property
    def now(self) -> float:
        """Seconds since the question."""
        return anyio.current_time() - self._began

    async def stall(self) -> None:
        """Wait while the script says that this listener takes nothing."""
        await anyio.sleep(max(0.0, self.script.stalled_until(self.now) - self.now))

    async def run(self, folder: Path) -> None:
        """Hold the conversation."""
        raise NotImplementedError

    async def leave(self) -> None:
        """End the conversation."""
        raise NotImplementedError

    async def listen(self, run: Callable[[], Awaitable[object]]) -> None:
        """Listen until the conversation is over."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._note_begin)
            with suppress(SocketClosedError):
                await run()
            group.cancel_scope.cancel()

    async def _note_begin(self) -> None:
        await self.feed.began.wait()
        self._began = anyio.current_time()


class WebSocketListener(Listener):
    """A client of the WebSocket. The network holds eight messages."""

    async def run(self, folder: Path) -> None:
        ours, theirs = pipe(8)
        self._socket: Socket = theirs
        async with anyio.create_task_group() as group:
            group.start_soon(self.listen, self._receive)
            await serve_websocket_peer(ours, Sessions(self.agent))

    async def leave(self) -> None:
        await self._socket.close()

    async def _receive(self) -> None:
        client = await WebSocketClient.begin(self._socket)
        while True:
            await self.stall()
            frame = await anext(client, None)
            if frame is None:
                return
            if isinstance(frame, Audio):
                self.hear(frame.samples)


class PhoneListener(Listener):
    """A telephone behind a vendor: plays at its pace, confirms marks, obeys clear; all that with a delay each way."""

    rate = 8_000
    kind = "audio/pcmu"
    start: Any = TWILIO_START
    accept = staticmethod(accept_twilio)
    confirms_cleared = True

    async def run(self, folder: Path) -> None:
        self._codec = codec({"type": self.kind})
        self._outgoing: deque[tuple[float, dict[str, Any]]] = deque()
        ours, self._socket = pipe(8)
        self._queue: deque[tuple[str, Any]] = deque()
        async with anyio.create_task_group() as group:
            group.start_soon(self.listen, self._play)
            await self._socket.send(json.dumps(self.start))
            await serve_websocket_peer(ours, Sessions(self.agent), accept=self.accept)
            group.cancel_scope.cancel()

    async def leave(self) -> None:
        await self._socket.close()

    async def _play(self) -> None:
        arriving: deque[tuple[float, dict[str, Any]]] = deque()
        async with anyio.create_task_group() as group:
            group.start_soon(self._receive, arriving)
            group.start_soon(self._send)
            with suppress(SocketClosedError):
                began, ticks = anyio.current_time(), 0
                while True:
                    while arriving and arriving[0][0] <= anyio.current_time():
                        self._take(arriving.popleft()[1])
                    self._confirm()
                    if self._queue:
                        self.hear(self._queue.popleft()[1])
                    self._confirm()
                    self._outgoing.append((anyio.current_time() + self.script.delay, self._microphone()))
                    ticks += 1
                    await anyio.sleep_until(began + ticks * TICK)

    async def _receive(self, arriving: deque[tuple[float, dict[str, Any]]]) -> None:
        with suppress(SocketClosedError):
            while True:
                await self.stall()
                message = json.loads(await self._socket.receive())
                arriving.append((anyio.current_time() + self.script.delay, message))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["event"]
        if kind in ("clear", "clearAudio"):
            marks = [each for each in self._queue if each[0] == "mark"]
            self._queue.clear()
            if self.confirms_cleared:
                self._queue.extend(marks)
        elif kind in ("mark", "checkpoint"):
            self._queue.append(("mark", message.get("name") or message["mark"]["name"]))
        else:
            self._queue.append(("sound", self._codec.decode(base64.b64decode(message["media"]["payload"]))))

    def _confirm(self) -> None:
        while self._queue and self._queue[0][0] == "mark":
            self._outgoing.append(
                (anyio.current_time() + self.script.delay, self._confirmation(self._queue.popleft()[1]))
            )

    def _confirmation(self, name: str) -> dict[str, Any]:
        return {"event": "mark", "mark": {"name": name}}

    def _microphone(self) -> dict[str, Any]:
        return {"event": "media", "media": {"track": "inbound", "payload": base64.b64encode(b"\xff" * 160).decode()}}

    async def _send(self) -> None:
        with suppress(SocketClosedError):
            while True:
                while self._outgoing and self._outgoing[0][0] <= anyio.current_time():
                    await self.stall()
                    await self._socket.send(json.dumps(self._outgoing.popleft()[1]))
                await anyio.sleep(TICK / 2)


class TelnyxListener(PhoneListener):
    """Telnyx, with A-law."""

    kind = "audio/pcma"
    start = TELNYX_START
    accept = staticmethod(accept_telnyx)


class PlivoListener(PhoneListener):
    """Plivo, which does not answer checkpoints that were cleared."""

    start = PLIVO_START
    accept = staticmethod(accept_plivo)
    confirms_cleared = False

    def _confirmation(self, name: str) -> dict[str, Any]:
        return {"event": "playedStream", "streamId": "s", "name": name}


class DeviceListener(Listener):
    """The sound device of this machine, whose thread sometimes stands still."""

    class PortAudioError(Exception):
        """What the module raises."""

    async def run(self, folder: Path) -> None:
        self._callbacks: dict[str, Callable[..., None]] = {}
        self._session: Any = None
        transport = LocalTransport(output_rate=self.rate, sound=self)
        async with anyio.create_task_group() as self._group:
            self._group.start_soon(self.listen, self._device)
            async with self.agent(transport).session() as self._session:
                async for _ in self._session:
                    pass
            self._group.cancel_scope.cancel()

    async def leave(self) -> None:
        self._group.start_soon(self._session.cancel)  # a processor that waited for its own session would be stuck

    def InputStream(self, **options: Any) -> DeviceListener:  # noqa: N802  # as the module has it
        return self._open("input", options)

    def OutputStream(self, **options: Any) -> DeviceListener:  # noqa: N802
        return self._open("output", options)

    def _open(self, kind: str, options: dict[str, Any]) -> DeviceListener:
        self._callbacks[kind] = options["callback"]
        return self

    def start(self) -> None:
        """Start a stream."""

    def close(self) -> None:
        """Close a stream."""

    async def _device(self) -> None:
        began, ticks, count = anyio.current_time(), 0, round(self.rate * TICK)
        while True:
            if self.script.stalled_until(self.now) <= self.now and len(self._callbacks) == 2:
                out = np.empty((count, 1), np.int16)
                self._callbacks["output"](out, count, None, None)
                self.hear(out)
                self._callbacks["input"](np.zeros((count, 1), np.int16), count, None, None)
            ticks += 1
            await anyio.sleep_until(began + ticks * TICK)


class RtpListener(Listener):
    """A WebRTC peer, in place of whose connection packets are pulled. A stalled sender catches up for 0.1 s only."""

    class Encoder:
        """Leaves samples as they are."""

        def __init__(self, rate: int) -> None:
            self.rate = rate

        def encode(self, samples: Samples) -> bytes:
            return samples.astype("<i2").tobytes()

    async def run(self, folder: Path) -> None:
        self._transport = WebRtcTransport(Peer(name="p"), SessionLimits())
        self._transport.on_connected()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(voice_sender, "Encoder", self.Encoder)
            async with anyio.create_task_group() as group:
                group.start_soon(self.listen, self._pull)
                async with self.agent(self._transport).session() as session:
                    async for _ in session:
                        pass
                group.cancel_scope.cancel()

    async def leave(self) -> None:
        self._transport.leave("it said goodbye", clean=True)

    async def _pull(self) -> None:
        while True:
            await self.stall()
            data = self._transport.voice.pull(anyio.current_time())
            self._transport.on_pull(anyio.current_time())
            if data and data != voice_sender.SILENCE:
                self.hear(np.frombuffer(data, "<i2"))
            await anyio.sleep(TICK)


class OutageListener(RtpListener):
    """A WebRTC peer whose network is lost for a while, in both directions. The sender does not notice."""

    async def _pull(self) -> None:
        self._transport.link = self
        self.packets = number = 0
        while True:
            lost, number = self.script.stalled_until(self.now) > self.now, number + 1
            if not lost:
                self.packets += 1
                self._transport.on_packet(number, 960 * number, voice_sender.SILENCE)
            data = self._transport.voice.pull(anyio.current_time())
            self._transport.on_pull(anyio.current_time())
            if data and data != voice_sender.SILENCE and not lost:
                self.hear(np.frombuffer(data, "<i2"))
            await anyio.sleep(TICK)

    def send(self, message: str) -> bool:
        """Take a message."""
        return True

    def show(self, frame: Video | None) -> None:
        """Show nothing."""

    def begin(self) -> None:
        """Tell nothing."""

    def wake(self) -> None:
        """Pull as ever."""


class FileListener(Listener):
    """A file, which takes everything."""

    pace: float | None = 1.0

    async def run(self, folder: Path) -> None:
        question, answer = folder / "question.wav", folder / "answer.wav"
        with WaveWriter(question, rate=self.rate) as writer:
            writer.write(Audio(samples=np.zeros(self.rate // 2, np.int16), rate=self.rate))
        seconds = self.script.seconds
        transport = FileTransport(question, answer, pace=self.pace, wait_seconds=seconds, overwrite=True)
        async with self.agent(transport).session() as self._session:
            async for _ in self._session:
                pass
        data = answer.read_bytes() if answer.exists() else b""
        self.hear(np.frombuffer(data[44 : 44 + (len(data) - 44) // 2 * 2], "<i2"))

    async def leave(self) -> None:
        self._session.end()


class UnpacedFileListener(FileListener):
    """A file that is written as fast as the agent speaks."""

    pace = None


LISTENERS: dict[str, type[Listener]] = {
    "websocket": WebSocketListener,
    "twilio": PhoneListener,
    "telnyx": TelnyxListener,
    "plivo": PlivoListener,
    "device": DeviceListener,
    "webrtc": RtpListener,
    "webrtc with outages": OutageListener,
    "file": FileListener,
    "unpaced file": UnpacedFileListener,
}
"""Each transport's listener."""
