"""Realtime: sessions that outlive their connection, and addresses that must be fetched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from bargein.pipeline import Failure, ToolResult, UserText
from bargein.pipeline.testing import Harness
from bargein.services.frames import Configure, Connected, Disconnected, ToolFinished
from bargein.services.history import Entry, History
from bargein.services.realtime import (
    Event,
    GoingAway,
    Profile,
    Protocol,
    Realtime,
    RealtimeError,
    ReconnectPolicy,
    ResponseOver,
    Resumable,
    SessionReady,
    Settings,
    TextPiece,
    ToolCallReceived,
    ToolCallWithdrawn,
    UnsupportedError,
)
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, pipe

pytestmark = pytest.mark.virtual

PLAIN = Profile(provider="Plain", input_rate=16_000, output_rate=16_000, supports_history_seeding=True)
PROFILE = Profile(
    provider="Frail",
    input_rate=16_000,
    output_rate=16_000,
    supports_history_seeding=True,
    supports_resumption=True,
    supports_updates=True,
    reconnects_to_update=True,
    responds_to_tool_results=True,
)
EVENTS: dict[str, type[Event]] = {
    "ready": SessionReady,
    "text": TextPiece,
    "over": ResponseOver,
    "keep": Resumable,
    "leave": GoingAway,
    "call": ToolCallReceived,
    "off": ToolCallWithdrawn,
}


class Frail(Protocol):
    """Messages are events, and commands their own names."""

    profile = PROFILE
    fatal_close_codes = frozenset({1007})

    def __init__(self) -> None:
        self.handle = ""

    def resume(self, handle: str) -> None:
        self.handle = handle

    async def endpoint(self) -> Endpoint:
        await anyio.sleep(1)
        return Endpoint(url=f"wss://frail.invalid?handle={self.handle}")

    def receive(self, data: str | bytes) -> Iterable[Event]:
        name, fields = json.loads(data)
        yield EVENTS[name](**fields)

    def open_session(self, settings: Settings) -> Iterable[str]:
        yield f"open {settings.instructions}"

    def update(self, settings: Settings) -> Iterable[str]:
        yield f"update {settings.instructions}"

    def seed(self, entries: Sequence[Entry]) -> Iterable[str]:
        return [f"seed {entry.remembered or entry.output}" for entry in entries]

    def text(self, text: str, item_id: str = "") -> Iterable[str]:
        yield f"text {text}"

    def respond(self, instructions: str = "") -> Iterable[str]:
        yield "respond"

    def tool_result(self, call_id: str, output: str) -> Iterable[str]:
        yield f"result {output}"


class Provider:
    """The other end. `connect` is what a model is given in place of `dial`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """What each connection asked to take up."""
        self.got: list[list[str]] = []
        """What each was told."""
        self.resumes = True
        self.answers_opening = anyio.Event()
        """Until it is set, an opening is not answered."""
        self.answers_opening.set()
        self.refuses: int | None = None
        """With which status a session is refused that is no more."""

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        handle = endpoint.url.partition("=")[2]
        self.asked.append(handle)
        if handle and self.refuses:
            raise SocketRefusedError("no such session", self.refuses)
        ours, theirs = pipe()
        self.socket, got = ours, list[str]()
        self.got.append(got)
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve, ours, handle, got)
            try:
                yield theirs
            finally:
                await theirs.close()
                group.cancel_scope.cancel()

    async def _serve(self, socket: Socket, handle: str, got: list[str]) -> None:
        try:
            while True:
                got.append(str(await socket.receive()))
                if got[-1].startswith("open"):
                    if handle and not self.resumes:
                        await socket.close(1007, "no such session")
                    await self.answers_opening.wait()
                    await self.send("ready", session_id="s", resumed=bool(handle))
        except SocketClosedError:
            pass

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps([kind, fields]))

    def model(self, profile: Profile = PROFILE, **options: Any) -> Realtime:
        protocol = type("Frail", (Frail,), {"profile": profile})
        return Realtime(
            profile=profile, protocol=protocol, settings=Settings(model="m"), connect=self.connect, **options
        )


async def asked_and_kept(provider: Provider, harness: Harness) -> None:
    """One question was asked and answered, and the session could be taken up; then another question was asked."""
    await harness.send(UserText(text="first"))
    await anyio.sleep(1)
    await provider.send("text", response_id="r", item_id="i", text="answer")
    await provider.send("over", response_id="r")
    await provider.send("keep", handle="h")
    await anyio.sleep(1)
    await harness.send(UserText(text="second"))
    await anyio.sleep(1)


async def test_session_is_resumed() -> None:
    """The provider is sent only what the session does not know."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await asked_and_kept(provider, harness)
        await provider.socket.close(1006)
        await anyio.sleep(5)
        assert provider.asked == ["", "h"]
        assert provider.got[1] == ["open ", "seed second", "respond"]
        await harness.session.cancel()


@pytest.mark.parametrize("status", [None, 404])
async def test_expired_session(status: int | None) -> None:
    """Refused before or after the socket opens: a new session begins, with the conversation."""
    provider = Provider()
    provider.resumes, provider.refuses = False, status
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await asked_and_kept(provider, harness)
        await provider.socket.close(1006)
        await anyio.sleep(5)
        assert provider.asked == ["", "h", ""]
        assert provider.got[-1] == ["open ", "seed first", "seed answer", "seed second", "respond"]
        assert not any(frame.final for frame in harness.of(Disconnected))
        await harness.session.cancel()


async def test_calls_outlive_a_connection() -> None:
    """Calls that the session kept are answered.

    One that it does not know is sent as text, and an answer is requested.
    """
    provider, history = Provider(), History()
    async with Harness(provider.model(history=history)) as harness:
        await harness.next(Connected)
        await provider.send("call", response_id="r", call_id="c1", name="old", arguments="{}")
        await anyio.sleep(1)
        await provider.send("keep", handle="h")
        await provider.send("call", response_id="r", call_id="c2", name="new", arguments="{}")
        await anyio.sleep(1)
        await provider.socket.close(1006)
        await anyio.sleep(5)
        await harness.send(ToolResult(call_id="c1", output="one"), ToolResult(call_id="c2", output="two"))
        await anyio.sleep(1)
        assert provider.got[1] == ["open ", "result one", "seed two", "respond"]
        await harness.session.cancel()


async def test_withdrawn_call_is_never_answered() -> None:
    """The application that works on it gets `ToolFinished`."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await provider.send("call", response_id="r", call_id="c1", name="look", arguments="{}")
        await provider.send("off", call_id="c1")
        finished = await harness.next(ToolFinished)
        assert (finished.call_id, finished.name, finished.cancelled) == ("c1", "look", True)
        await harness.send(ToolResult(call_id="c1", output="one"))
        await anyio.sleep(1)
        assert provider.got == [["open "]]
        await harness.session.cancel()


async def test_going_away_reconnects_in_a_pause() -> None:
    """The old socket is closed before the new one is opened. During a response this happens just before the limit."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await provider.send("keep", handle="h")
        await provider.send("leave", remaining_seconds=50.0)
        await harness.next(Disconnected, within_seconds=3)
        await anyio.sleep(3)
        assert provider.asked == ["", "h"]
        await provider.send("text", response_id="r", item_id="i", text="a long answer")
        await provider.send("leave", remaining_seconds=20.0)
        await anyio.sleep(15)
        assert len(provider.asked) == 2
        await anyio.sleep(8)
        assert len(provider.asked) == 3
        assert all(frame.clean for frame in harness.of(Disconnected))
        await harness.session.cancel()


async def test_settings_that_need_a_new_connection() -> None:
    """It is made in the first pause, and resumes the session."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await provider.send("keep", handle="h")
        await harness.send(Configure(instructions="be brief"))
        await anyio.sleep(5)
        assert provider.asked == ["", "h"]
        assert provider.got[1] == ["open be brief"]
        await harness.session.cancel()


@pytest.mark.parametrize("reconnects", [False, True])
@pytest.mark.parametrize("connection", [1, 2])
async def test_settings_change_while_a_session_opens(reconnects: bool, connection: int) -> None:
    """The change is sent as soon as the session is ready, before all that waits."""
    profile = msgspec.structs.replace(PROFILE, reconnects_to_update=reconnects, supports_resumption=False)
    provider = Provider()
    if connection == 1:
        provider.answers_opening = anyio.Event()
    async with Harness(provider.model(profile)) as harness:
        if connection == 2:
            await harness.next(Connected)
            provider.answers_opening = anyio.Event()
            await provider.socket.close(1006)
        await anyio.sleep(3)
        assert provider.got[-1] == ["open "]
        await harness.send(UserText("hello"))
        await harness.send(Configure(instructions="be brief"))
        await anyio.sleep(1)
        assert provider.got[-1] == ["open "]
        provider.answers_opening.set()
        await anyio.sleep(1)
        if reconnects:
            await provider.send("text", response_id="r", item_id="i", text="Hi.")
            await provider.send("over", response_id="r")
            await anyio.sleep(5)
            assert provider.got[-2] == ["open ", "text hello", "respond"]
            assert provider.got[-1][0] == "open be brief"
        else:
            assert provider.got[-1] == ["open ", "update be brief", "text hello", "respond"]
        assert len(provider.got) == connection + reconnects
        await harness.session.cancel()


async def test_settings_change_without_a_connection() -> None:
    """The next session is opened with them, and no update is sent."""
    profile = msgspec.structs.replace(PROFILE, reconnects_to_update=False, supports_resumption=False)
    provider = Provider()
    async with Harness(provider.model(profile)) as harness:
        await harness.send(Configure(instructions="be brief"))  # the address is still being asked for
        await harness.next(Connected)
        await anyio.sleep(1)
        assert provider.got == [["open be brief"]]
        await harness.session.cancel()


async def test_a_stored_handle_resumes_a_session() -> None:
    """A stored handle resumes the session, if the provider supports that."""
    provider = Provider()
    model = provider.model(resume="h0")
    async with Harness(model) as harness:
        await harness.next(Connected)
        assert provider.asked == ["h0"]
        await provider.send("keep", handle="h1")
        await anyio.sleep(1)
        assert model.resumption == "h1"
        await harness.session.cancel()
    with pytest.raises(UnsupportedError, match="Plain cannot do resume"):
        provider.model(PLAIN, resume="h0")


async def test_final_close_codes() -> None:
    """Before the session is ready, a code that another attempt would meet again ends it."""
    provider = Provider()

    @asynccontextmanager
    async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
        async with provider.connect(endpoint) as socket:
            await provider.socket.close(1007, "no such voice")
            yield socket

    model = Realtime(profile=PROFILE, protocol=Frail, settings=Settings(model="m"), connect=connect)
    with pytest.raises(RealtimeError, match="no such voice"):
        async with Harness(model) as harness:
            await anyio.sleep(5)
    assert provider.asked == [""]
    assert not harness.of(Failure)


async def test_a_late_address_is_requested_again() -> None:
    """The wait lasts as long as a session may take to be ready. Then the address is requested again."""

    class Slow(Frail):
        async def endpoint(self) -> Endpoint:
            await anyio.sleep_forever()
            raise AssertionError

    model = Realtime(
        profile=PROFILE,
        protocol=Slow,
        settings=Settings(model="m"),
        reconnect=ReconnectPolicy(max_attempts=1, ready_seconds=3),
    )
    with pytest.raises(RealtimeError, match="no address or token within 3 s; given up after 2 attempts"):
        async with Harness(model):
            await anyio.sleep(20)
