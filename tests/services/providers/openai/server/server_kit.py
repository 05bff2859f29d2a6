"""A hand on each side of the server's session, and a client for its sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import Audio, End, Frame, ResponseEnded, ResponseStarted, Text
from bargein.pipeline.testing import framed, tone
from bargein.processors import Resample
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.server.serve import Ending, Event, ServerSession, serve_socket
from bargein.services.sockets import Socket, SocketClosedError, pipe
from tests.speech import utterances

TEXT = {"output_modalities": ["text"]}
MANUAL = {"audio": {"input": {"turn_detection": None}}}
PATIENT = {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}}


def counting() -> Callable[[str], str]:
    """Ids that count: `item_1`, `event_2`, ..."""
    count = iter(range(1, 1_000_000))
    return lambda kind: f"{kind}_{next(count)}"


@cache
def spoken(name: str, silence_ms: int = 800) -> bytes:
    """An utterance at 24 kHz, and silence behind it, as bytes."""
    resample = Resample(24_000)
    frames: list[Frame] = [*framed(utterances()[name].samples), End()]
    made = [each for frame in frames for each in resample.process(frame) if isinstance(each, Audio)]  # type: ignore[arg-type]
    return b"".join(each.to_bytes() for each in made) + bytes(48 * silence_ms)


def samples(data: bytes) -> npt.NDArray[np.int16]:
    return np.frombuffer(data, "<i2").astype(np.int16)


class Hand:
    """A `ServerSession` between two hands."""

    def __init__(self, **options: Any) -> None:
        self.core = ServerSession(ids=counting(), **options)
        self.core.open()
        self.seen: list[Event] = []
        self.told: list[Frame] = []
        self.events()
        self.first = self.frames()

    def client(self, type: str, **fields: Any) -> list[Event]:
        """Send an event as the client; returns what it is answered."""
        self.core.on_message(json.dumps({"type": type, **fields}))
        return self.events()

    def raw(self, data: str | bytes) -> list[Event]:
        self.core.on_message(data)
        return self.events()

    def brain(self, *frames: Frame) -> list[Event]:
        """Send frames as the brain. Return the events that the client gets for them."""
        for frame in frames:
            self.core.on_frame(frame)
        return self.events()

    def speak(self, data: bytes, ms: int = 100) -> list[Event]:
        """Append sound in pieces."""
        step, first = 48 * ms, len(self.seen)
        for at in range(0, len(data), step):
            self.core.on_message(wire.encode(wire.AudioAppend(audio=data[at : at + step])))
            self.events()
        return self.seen[first:]

    def say(self, text: str = "hello", **fields: Any) -> list[Event]:
        """Create a user's message."""
        content = [{"type": "input_text", "text": text}]
        return self.client(
            "conversation.item.create", item={"type": "message", "role": "user", "content": content}, **fields
        )

    def update(self, **session: Any) -> list[Event]:
        return self.client("session.update", session={"type": "realtime", **session})

    def events(self) -> list[Event]:
        new = list(self.core.events)
        self.core.events.clear()
        self.seen += new
        return new

    def frames(self, *, sound: bool = False) -> list[Frame]:
        """What the brain was given since the last time."""
        new = [frame for frame in self.core.frames if sound or not isinstance(frame, Audio)]
        self.core.frames.clear()
        return new


def types(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def error(events: list[Event]) -> dict[str, Any]:
    """The one error among some events."""
    (found,) = [event["error"] for event in events if event["type"] == "error"]
    return dict(found)


class Client:
    """A client on a socket, which collects what comes."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.seen: list[Event] = []
        self.rubbish: list[str] = []
        self.closed: SocketClosedError | None = None
        self._changed = anyio.Event()

    async def run(self) -> None:
        try:
            while True:
                data = await self.socket.receive()
                try:
                    event = json.loads(data)
                except ValueError:
                    event = None
                if isinstance(event, dict):
                    self.seen.append(event)
                else:
                    self.rubbish.append(str(data))
                self._wake()
        except SocketClosedError as error:
            self.closed = error
            self._wake()

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def say(self, text: str, *, respond: bool = True) -> None:
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        if respond:
            await self.send("response.create")

    async def speak(self, data: bytes, *, ms: int = 100, live: bool = False) -> None:
        for at in range(0, len(data), 48 * ms):
            await self.socket.send(wire.encode(wire.AudioAppend(audio=data[at : at + 48 * ms])))
            if live:
                await anyio.sleep(ms / 1000)

    def of(self, type: str) -> list[Event]:
        return [event for event in self.seen if event["type"] == type]

    async def next(self, type: str, count: int = 1, within_seconds: float = 20.0) -> Event:
        """The how-many-eth event of a type."""
        with anyio.fail_after(within_seconds):
            while len(self.of(type)) < count:
                if self.closed is not None:
                    raise AssertionError(f"closed before {type}: {self.closed}; {types(self.seen)}")
                await self._changed.wait()
        return self.of(type)[count - 1]

    async def end(self, within_seconds: float = 20.0) -> SocketClosedError:
        with anyio.fail_after(within_seconds):
            while self.closed is None:
                await self._changed.wait()
        return self.closed

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def connected(socket: Socket) -> AsyncIterator[Client]:
    """A client that listens while the block runs."""
    client = Client(socket)
    async with anyio.create_task_group() as group:
        group.start_soon(client.run)
        yield client
        await socket.close()
        group.cancel_scope.cancel()


class Served:
    """How a session in a pipe went."""

    ending: Ending | None = None
    error: Exception | None = None


@asynccontextmanager
async def piped(make_brain: Callable[[], Any], **options: Any) -> AsyncIterator[tuple[Client, Served]]:
    """A session over a pipe, and its client."""
    ours, theirs = pipe()
    served = Served()

    async def run() -> None:
        try:
            served.ending = await serve_socket(theirs, make_brain, **options)
        except Exception as error:
            served.error = error

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        async with connected(ours) as client:
            yield client, served


def keys(value: Any, path: str = "") -> Iterator[str]:
    """The names of all fields, nested ones with their paths."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "obfuscation":
                yield f"{path}.{name}"
                yield from keys(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]")


def sound(ms: float = 100, *, response: str = "r", item: str = "i", rate: int = 24_000) -> Audio:
    return Audio(samples=tone(ms=ms, rate=rate), rate=rate, response_id=response, item_id=item)


def answer(hand: Hand, response: str = "r", *frames: Frame) -> list[Event]:
    """A whole response of the brain's."""
    said = frames or (Text(text="Hi.", response_id=response, item_id="i"), sound(response=response))
    return hand.brain(ResponseStarted(response_id=response), *said, ResponseEnded(response_id=response))
