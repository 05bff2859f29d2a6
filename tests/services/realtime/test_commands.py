"""Every command in every state of every provider's connection: it takes effect once, or a sentence refuses it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Frame, Image, Interrupt, Played, ResponseEnded, ToolResult, UserText
from bargein.pipeline.testing import Harness, framed, speech_like
from bargein.processors import Commit, Pacer, Spoken
from bargein.services.frames import ClearAudio, Configure, OutOfBand, Remember, Respond, Say
from bargein.services.providers.catalog import PROVIDERS, Provider
from bargein.services.realtime import Realtime
from bargein.services.sockets import Endpoint, Socket, SocketClosedError
from bargein.services.testing.rehearsal import STAND_INS
from tests.environment import amount
from tests.services.providers.nova.peer import event_of, parsed

pytestmark = pytest.mark.virtual

MARK = "marigold"
"""A word that a command carries, and that is looked for in what was sent."""
PICTURE = b"\xff\xd8\xff" + MARK.encode() * 3
WAIT = 15.0
"""Seconds of virtual time in which everything has come to its end."""
SHARE = amount(4, 1)
"""The daily run tries one of this many commands in each state of each provider, and each in some state and provider."""


class Gate:
    """Connects to a stand-in, holds up the connection where a test wants it, and keeps what was sent."""

    def __init__(self, connect: Callable[[Endpoint], Any]) -> None:
        self._connect = connect
        self.sent: list[list[str]] = []
        """The messages of each connection, as text."""
        self.may_connect = anyio.Event()
        self.may_receive = anyio.Event()
        self.sockets: list[Socket] = []
        self._request = ""

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        await self.may_connect.wait()
        async with self._connect(endpoint) as socket:
            self.sent.append([self._request] if self._request else [])
            self.sockets.append(socket)
            yield _Watched(self, socket, self.sent[-1])

    async def create_call(self, call: Mapping[str, Any]) -> str:
        """Return the address of a call, which is created by a request with the settings."""
        self._request = json.dumps(call)
        return "wss://call.invalid"

    def open(self) -> None:
        """Let everything through."""
        self.may_connect.set()
        self.may_receive.set()

    async def cut(self) -> None:
        """Lose the connection, and hold up the next one."""
        self.may_connect = anyio.Event()
        await self.sockets[-1].close(1006)


class _Watched:
    def __init__(self, gate: Gate, socket: Socket, sent: list[str]) -> None:
        self._gate = gate
        self._socket = socket
        self._sent = sent

    async def send(self, data: str | bytes) -> None:
        self._sent.append(data if isinstance(data, str) else _text(data))
        await self._socket.send(data)

    async def receive(self) -> str | bytes:
        data = await self._socket.receive()
        await self._gate.may_receive.wait()
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._socket.close(code, reason)


def _text(data: bytes) -> str:
    with suppress(Exception):  # Nova's messages are signed frames; sound of other providers is nothing to look into
        return json.dumps(event_of(parsed(data)))
    return ""


# States ---------------------------------------------------------------------------------------------------------------


async def connecting(gate: Gate, harness: Harness) -> None:
    """Nothing answers yet."""


async def opening(gate: Gate, harness: Harness) -> None:
    """The connection is there, and its session is not."""
    gate.may_connect.set()
    await anyio.sleep(1)


async def ready(gate: Gate, harness: Harness) -> None:
    """The session can be used."""
    gate.open()
    await anyio.sleep(2)


async def reconnecting(gate: Gate, harness: Harness) -> None:
    """The connection was lost, and the next one is not there yet."""
    await ready(gate, harness)
    await gate.cut()
    await anyio.sleep(3)


async def reopening(gate: Gate, harness: Harness) -> None:
    """The next connection is there, and its session is not."""
    await ready(gate, harness)
    gate.may_receive = anyio.Event()
    await gate.sockets[-1].close(1006)
    await anyio.sleep(3)


STATES: list[Callable[[Gate, Harness], Any]] = [connecting, opening, ready, reconnecting, reopening]

# Commands -------------------------------------------------------------------------------------------------------------


def _audio(model: Realtime) -> list[Frame]:
    rate = model.profile.input_rate
    return list(framed(speech_like(600, rate=rate, dbfs=-6), rate=rate))


COMMANDS: Mapping[str, Callable[[Realtime], list[Frame]]] = {
    "text": lambda model: [UserText(MARK)],
    "respond": lambda model: [Respond(instructions=MARK)],
    "say": lambda model: [Say(MARK)],
    "configure": lambda model: [Configure(instructions=MARK)],
    "remember": lambda model: [Remember(role="user", text=MARK)],
    "picture": lambda model: [Image(PICTURE, format="jpeg")],
    "commit": lambda model: [*_audio(model), Commit()],
    "clear": lambda model: [ClearAudio()],
    "out of band": lambda model: [Respond(instructions=MARK, out_of_band="name")],
    "tool result": lambda model: [ToolResult(call_id="unknown", output=MARK)],
    "played": lambda model: [Played(response_id="unknown", ms=10.0)],
    "interrupt": lambda model: [UserText("never mind"), Interrupt()],
}


def answered(harness: Harness, gate: Gate, model: Realtime) -> None:
    """One response is the answer."""
    outcomes = [frame.outcome for frame in harness.of(ResponseEnded)]
    assert outcomes.count("completed") == 1, outcomes


def refused(harness: Harness, gate: Gate, model: Realtime) -> None:
    """A sentence says that the provider cannot do it."""
    assert len(harness.of(Failure)) == 1
    assert model.profile.provider in harness.of(Failure)[0].message


def told_once(harness: Harness, gate: Gate, model: Realtime) -> None:
    """The last connection knows it, once."""
    assert sum(message.count(MARK) for message in gate.sent[-1]) == 1, gate.sent[-1]


def told(harness: Harness, gate: Gate, model: Realtime) -> None:
    """The last connection knows it."""
    assert any(MARK in message for message in gate.sent[-1]), gate.sent[-1]


def check(command: str, harness: Harness, gate: Gate, model: Realtime) -> None:
    """Assert that a command took effect once, or was refused."""
    profile, failures = model.profile, [frame.message for frame in harness.of(Failure) if frame.fatal]
    assert not failures
    match command:
        case "text" if not profile.supports_text_input:
            refused(harness, gate, model)
        case "text":
            answered(harness, gate, model)
            told_once(harness, gate, model)
            assert [entry.text for entry in model.history if entry.role == "user"] == [MARK]
        case "respond" | "say" if not profile.supports_response_requests and not profile.supports_text_input:
            refused(harness, gate, model)
        case "respond" | "say":
            answered(harness, gate, model)
            told(harness, gate, model)
        case "configure" if profile.supports_updates:
            told(harness, gate, model)
        case "remember":
            assert [entry.text for entry in model.history].count(MARK) == 1
            if profile.supports_history_seeding:
                told_once(harness, gate, model)
        case "picture" if profile.supports_images:
            assert [len(entry.pictures) for entry in model.history] == [1]
        case "picture":
            refused(harness, gate, model)
        case "commit" if profile.supports_commit:
            answered(harness, gate, model)
        case "out of band":
            assert [frame.name for frame in harness.of(OutOfBand)] == ["name"]
        case _:
            assert not harness.of(ResponseEnded) or command in ("interrupt", "commit")


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("provider", PROVIDERS, ids=[each.name for each in PROVIDERS])
async def test_a_command_takes_effect_once_whatever_the_connection_does(
    provider: Provider, state: Callable[[Gate, Harness], Any]
) -> None:
    """And afterwards the model answers as ever."""
    first = PROVIDERS.index(provider) + STATES.index(state)
    for command, frames in list(COMMANDS.items())[first % SHARE :: SHARE]:
        stand_in = STAND_INS[provider.name]
        async with stand_in.serve("one two three") as connect:
            gate = Gate(connect)
            options: dict[str, Any] = dict(stand_in.options)
            if "create_call" in options:
                options["create_call"] = gate.create_call
            if command == "commit" and provider.capabilities.supports_commit:
                options["turn_detection"] = None
            model = provider.create(**options, connect=gate.connect)
            async with Harness(model, Spoken(), Pacer()) as harness:
                await state(gate, harness)
                for frame in frames(model):
                    if isinstance(frame, Interrupt):
                        harness.interrupt()
                    else:
                        await harness.send(frame)
                await anyio.sleep(0.5)
                gate.open()
                await anyio.sleep(WAIT)
                try:
                    check(command, harness, gate, model)
                    if model.profile.supports_text_input:
                        before = len(harness.of(ResponseEnded))
                        await harness.send(UserText("and now?"))
                        await anyio.sleep(WAIT)
                        after = [frame.outcome for frame in harness.of(ResponseEnded)[before:]]
                        assert after == ["completed"], after
                except AssertionError as error:
                    error.add_note(f"the command was {command!r}")
                    raise
                await harness.session.cancel()


@pytest.mark.parametrize("provider", PROVIDERS, ids=[each.name for each in PROVIDERS])
async def test_a_conversation_that_is_over_refuses_every_command(provider: Provider) -> None:
    """With a sentence, and at once; nothing hangs."""
    stand_in = STAND_INS[provider.name]
    async with stand_in.serve("one two three") as connect:
        model = provider.create(**stand_in.options, connect=connect)
        async with model.connect() as conversation:
            pass
        rate = model.profile.input_rate
        commands: list[Callable[[], Any]] = [
            lambda: conversation.send_audio(Audio(samples=np.zeros(rate // 50, np.int16), rate=rate)),
            lambda: conversation.send(UserText(MARK)),
            lambda: conversation.send(Respond()),
            lambda: conversation.send(Configure(instructions=MARK)),
            lambda: conversation.send_tool_result("unknown", MARK),
            lambda: conversation.played("unknown", 10.0),
            conversation.clear,
        ]
        for command in commands:
            with (
                anyio.fail_after(5),
                pytest.raises((RuntimeError, anyio.ClosedResourceError, SocketClosedError)) as caught,
            ):
                await command()
            assert str(caught.value)
