"""Calls in a session: answered, interrupted, hung up; what was heard is what the vendor confirmed."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from bargein.pipeline import Outlet, Pipeline, Played, Processor, UserText
from bargein.pipeline.testing import tone
from bargein.processors import Heard, Resample, Spoken
from bargein.services.media.g711 import codec
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, dial, pipe
from bargein.services.transports import (
    ConnectionRequest,
    Dtmf,
    SessionLimits,
    Sessions,
    Transport,
    serve_websocket,
    serve_websocket_peer,
)
from bargein.services.transports.telephony import accept_plivo, accept_telnyx, accept_twilio
from tests.services.transports.kit import Brain

from .test_vendors import PLIVO_START, TELNYX_CONNECTED, TELNYX_START, TWILIO_START

MULAW = codec({"type": "audio/pcmu"})


class Keys(Processor):
    """A key says something; `#` interrupts."""

    async def process(self, frame: Dtmf, out: Outlet[UserText]) -> None:
        await out.send(UserText(text=f"You pressed {frame.digit}."))


class Phone:
    """Twilio's end: plays what it gets at the pace of speech, and confirms marks when it has."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.queue: list[dict[str, Any]] = []
        self.played_ms = 0.0
        self.cleared = 0
        self.changed = anyio.Event()

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def press(self, digit: str) -> None:
        await self.send(event="dtmf", streamSid="MZ1", dtmf={"track": "inbound_track", "digit": digit})

    async def listen(self) -> None:
        with suppress(SocketClosedError):
            while True:
                message = json.loads(await self.socket.receive())
                if message["event"] == "clear":
                    self.cleared += 1
                    marks = [each for each in self.queue if each["event"] == "mark"]
                    self.queue.clear()
                    for each in marks:
                        await self.send(**each)
                else:
                    self.queue.append(message)
                    self.changed.set()

    async def play(self) -> None:
        with suppress(SocketClosedError):
            while True:
                while not self.queue:
                    self.changed = anyio.Event()
                    await self.changed.wait()
                message = self.queue.pop(0)
                if message["event"] == "mark":
                    await self.send(**message)
                    continue
                ms = len(base64.b64decode(message["media"]["payload"])) / 8
                await anyio.sleep(ms / 1000)
                self.played_ms += ms


class Above(Processor):
    """Keeps what comes up."""

    def __init__(self) -> None:
        self.played: list[Played] = []
        self.heard: list[Heard] = []

    def process(self, frame: Played | Heard) -> Iterator[Played | Heard]:
        if isinstance(frame, Played):
            self.played.append(frame)
        else:
            self.heard.append(frame)
        yield frame


@pytest.mark.virtual
async def test_a_call() -> None:
    """Keys and voice come in, the answer goes out, and what was heard is what was confirmed."""
    above, brain, peers = Above(), Brain(ms=1010, rate=24_000), []

    def build(transport: Transport) -> Pipeline:
        peers.append(transport.peer)
        return Pipeline(transport.source, Resample(16_000), above, Keys(), brain, Spoken(), transport.sink)

    ours, theirs = pipe()
    sessions, phone = Sessions(build), Phone(ours)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: serve_websocket_peer(theirs, sessions, accept=accept_twilio))
        group.start_soon(phone.listen)
        group.start_soon(phone.play)
        await phone.send(event="connected", protocol="Call", version="1.0.0")
        await phone.send(**TWILIO_START)
        payload = base64.b64encode(MULAW.encode(tone(300, 20, rate=8000))).decode()
        for _ in range(10):
            await phone.send(event="media", streamSid="MZ1", media={"track": "inbound", "payload": payload})
        await phone.press("1")
        await anyio.sleep(2)
        assert phone.played_ms == 1020  # the last piece is filled
        assert peers[0].params["call"] == "CA1"
        assert sum(frame.ms for frame in brain.heard) == pytest.approx(200, abs=2)
        heard = [frame for frame in above.heard if frame.done]
        assert [frame.text for frame in heard] == ["You pressed 1."]
        await phone.send(event="stop", streamSid="MZ1")
        await anyio.sleep(0.1)
        assert not sessions.live
        group.cancel_scope.cancel()


@pytest.mark.virtual
async def test_a_caller_interrupts() -> None:
    """The vendor's buffer is cleared at once, and what was heard is known to within a mark."""
    above = Above()

    class Stops(Processor):
        async def process(self, frame: Dtmf, out: Outlet[Dtmf]) -> None:
            if frame.digit == "#":
                sessions.live["call"].session.interrupt("the caller pressed #")
            else:
                await out.send(frame)

    def build(transport: Transport) -> Pipeline:
        return Pipeline(transport.source, above, Stops(), Keys(), Brain(ms=5000), Spoken(), transport.sink)

    ours, theirs = pipe()
    sessions, phone = Sessions(build), Phone(ours)
    async with anyio.create_task_group() as group:
        group.start_soon(
            lambda: serve_websocket_peer(theirs, sessions, ConnectionRequest(name="call"), accept=accept_twilio)
        )
        group.start_soon(phone.listen)
        group.start_soon(phone.play)
        await phone.send(**TWILIO_START)
        await phone.press("1")
        await anyio.sleep(1.25)
        await phone.press("#")
        await anyio.sleep(0.5)
        assert phone.cleared == 1
        assert phone.played_ms == pytest.approx(1250, abs=30)
        last = above.played[-1]
        assert last.done
        assert last.ms == pytest.approx(phone.played_ms, abs=30)
        await phone.press("2")
        await anyio.sleep(6)
        assert phone.played_ms == pytest.approx(6250, abs=30)
        group.cancel_scope.cancel()


@pytest.mark.virtual
async def test_a_server_that_cannot_convert_sound_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In its log, with what to install; the call is let go."""
    monkeypatch.setitem(sys.modules, "av", None)
    ours, theirs = pipe()
    sessions = Sessions(lambda transport: Pipeline(transport.source, transport.sink))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: serve_websocket_peer(theirs, sessions, accept=accept_twilio))
        await ours.send(json.dumps(TWILIO_START))
        with pytest.raises(SocketClosedError) as closed:
            await ours.receive()
    assert closed.value.code == 1011
    assert "pip install 'bargein[audio]'" in caplog.text


@pytest.mark.virtual
@pytest.mark.parametrize("first", ["garbage", '{"event": "media"}', None])
async def test_what_is_no_call_gets_no_session(first: str | None) -> None:
    """The socket is closed with the reason."""
    ours, theirs = pipe()
    sessions = Sessions(lambda transport: Pipeline(transport.source, transport.sink))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: serve_websocket_peer(theirs, sessions, accept=accept_twilio))
        if first is not None:
            await ours.send(first)
        with pytest.raises(SocketClosedError) as closed:
            await ours.receive()
        assert closed.value.code == 1008
    assert sessions.statistics().opened == 0


def test_all_of_them_on_one_server() -> None:
    """Each at its path, with a token among what the application passes on."""
    starts: dict[str, list[dict[str, Any]]] = {
        "/twilio": [{"event": "connected"}, TWILIO_START],
        "/telnyx": [TELNYX_CONNECTED, TELNYX_START],
        "/plivo": [PLIVO_START],
    }
    spoken = {"/twilio": "media", "/telnyx": "media", "/plivo": "playAudio"}
    paths = {"/twilio": accept_twilio, "/telnyx": accept_telnyx, "/plivo": accept_plivo}

    def build(transport: Transport) -> Pipeline:
        return Pipeline(transport.source, Keys(), Brain(ms=60), transport.sink)

    async def call(url: str, path: str) -> list[str]:
        async with dial(Endpoint(url=url + path)) as socket:
            for message in starts[path]:
                await socket.send(json.dumps(message))
            await socket.send(json.dumps({"event": "dtmf", "dtmf": {"digit": "1"}}))
            return [json.loads(await socket.receive())["event"] for _ in range(3)]

    async def talk() -> None:
        with anyio.fail_after(60):
            async with serve_websocket(build, paths=paths, authorize=lambda token: token == "sesame") as server:
                for path in paths:
                    assert await call(server.url, path) == [spoken[path]] * 3
                await server.sessions.drain()
            async with serve_websocket(
                build, paths=paths, authorize=lambda token: False, limits=SessionLimits(open_seconds=5)
            ) as server:
                for path in paths:
                    with pytest.raises(SocketClosedError, match="token"):
                        await call(server.url, path)

    for backend in ("asyncio", "trio"):
        anyio.run(talk, backend=backend)
