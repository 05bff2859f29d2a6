"""OpenAIRealtime against the server of the same protocol: real sockets, real speech, many at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Interrupt, Pipeline, ResponseEnded, ResponseStarted, SpeechStarted, Text, ToolCall
from bargein.pipeline.testing import framed, silence
from bargein.processors import Pacer, Resample, Spoken
from bargein.services.frames import Disconnected
from bargein.services.providers.openai.client.realtime import OpenAIRealtime
from bargein.services.providers.openai.server.serve import Faults, Server, serve
from bargein.services.realtime import RealtimeError, ReconnectPolicy
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, dial, pipe
from bargein.services.testing import ScriptedBrain
from bargein.services.tools import tool
from tests.environment import amount
from tests.speech import utterances

BACKENDS = ["asyncio", "trio"]
MANY = amount(60, 200)
"""Conversations at once."""


def run(backend: str, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
    """In real time, on either backend, because the sockets are real."""

    async def within() -> None:
        with anyio.fail_after(60):  # a bound, and no measure: other work may share the machine
            await function(*args)

    anyio.run(within, backend=backend)


def model(server: Server, **options: Any) -> OpenAIRealtime:
    options.setdefault("reconnect", ReconnectPolicy(first_seconds=0.01))
    return OpenAIRealtime(api_key="key", url=server.base_url + "/realtime", **options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_speech_is_answered_and_interrupts(backend: str) -> None:
    """The server hears real speech, answers, and stops for more of it; the user's sound is sent as fast as it can."""

    async def talk() -> None:
        long = ScriptedBrain(["word " * 400])
        async with serve(lambda: long) as server:
            graph = Pipeline(Resample(24_000), model(server), Spoken(), Pacer(), inputs=Audio)
            said = np.concatenate([silence(500), utterances()["weather"].samples, silence(1200)])
            async with graph.session() as session:
                seen: set[type] = set()
                for frame in framed(said):
                    await session.send(frame)
                async for event in session:
                    seen.add(type(event))
                    if isinstance(event, Audio):
                        break
                assert SpeechStarted in seen
                assert ResponseStarted in seen
                for frame in framed(said, start=len(said)):
                    await session.send(frame)
                async for event in session:
                    if isinstance(event, Interrupt):
                        break
                assert session.epoch == 1
                await session.cancel()

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_connection_that_breaks_in_a_tool_call(backend: str) -> None:
    """The tool runs once, and the answer comes over the next connection."""
    runs: list[str] = []

    @tool
    async def weather(city: str) -> str:
        runs.append(city)
        await anyio.sleep(0.2)
        return "sunny"

    async def talk() -> None:
        brains = [ScriptedBrain([ToolCall(call_id="c", name="weather", arguments='{"city": "Paris"}'), 30.0])]
        brains.append(ScriptedBrain(["It is sunny."]))
        async with serve(lambda: brains.pop(0)) as server:
            sockets: list[Socket] = []

            @asynccontextmanager
            async def watched(endpoint: Endpoint) -> AsyncIterator[Socket]:
                async with dial(endpoint) as socket:
                    sockets.append(socket)
                    yield socket

            async with model(server, tools=[weather], connect=watched).connect() as conversation:
                await conversation.send_text("What is the weather in Paris?")
                words = ""
                async for event in conversation:
                    if isinstance(event, ToolCall):
                        await sockets[0].close()
                    words += event.text if isinstance(event, Text) else ""
                    if isinstance(event, ResponseEnded) and event.outcome == "completed":
                        break
        assert (runs, words, len(sockets)) == (["Paris"], "It is sunny.", 2)

    run(backend, talk)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_many_at_once(backend: str) -> None:
    """In one process, server and clients: each gets its own answer."""

    async def one(server: Server, number: int, heard: dict[int, str]) -> None:
        async with model(server).connect(cancel_seconds=30.0) as conversation:  # all of them end at once, too
            await conversation.send_text(str(number))
            words = ""
            async for event in conversation:
                words += event.text if isinstance(event, Text) else ""
                if isinstance(event, ResponseEnded):
                    break
            heard[number] = words

    async def talk() -> None:
        heard: dict[int, str] = {}
        async with serve(lambda: ScriptedBrain(["I hear you."]), max_sessions=300) as server:
            async with anyio.create_task_group() as group:
                for number in range(MANY):
                    group.start_soon(one, server, number, heard)
        assert heard == dict.fromkeys(range(MANY), "I hear you.")

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("faults", "says"),
    [(Faults(refuse_status=401), "the key is not accepted"), (Faults(html_answer=True), "no WebSocket|answers 200")],
)
def test_a_server_that_refuses(backend: str, faults: Faults, says: str) -> None:
    """A typed error says why, and what the server said."""

    async def talk() -> None:
        async with serve(lambda: ScriptedBrain(["x"]), faults=faults) as server:
            with pytest.raises(RealtimeError, match=says):
                async with model(server, reconnect=ReconnectPolicy(max_attempts=1, first_seconds=0)).connect():
                    pass

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_hangs_up(backend: str) -> None:
    """The conversation goes on over the next connection."""

    async def talk() -> None:
        async with serve(lambda: ScriptedBrain(["I hear you."]), faults=Faults(close_after_events=8)) as server:
            async with model(server).connect() as conversation:
                await conversation.send_text("hello")
                async for event in conversation:
                    if isinstance(event, Disconnected):
                        assert not event.final
                        break

    run(backend, talk)


def test_a_misspelled_option_is_named() -> None:
    """With the class and the option that was probably meant."""
    with pytest.raises(TypeError, match=r"^OpenAIRealtime\(modle=\.\.\.\): .*did you mean model=\?$"):
        OpenAIRealtime(modle="gpt-realtime")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^OpenAIRealtime\(instruction=\.\.\.\): .*did you mean instructions=\?$"):
        OpenAIRealtime(instruction="Be brief.")  # type: ignore[call-arg]


@pytest.mark.virtual
async def test_refused_settings_end_the_session_at_once() -> None:
    """With the provider's own words, and without another connection."""
    connections = 0

    async def refuse(socket: Socket) -> None:
        with suppress(SocketClosedError):
            await socket.send(json.dumps({"type": "session.created", "session": {"id": "s"}}))
            update = json.loads(await socket.receive())
            details = {"type": "invalid_request_error", "code": "invalid_value", "message": "Invalid value: 'bob'."}
            error = {**details, "param": "session.audio.output.voice", "event_id": update.get("event_id")}
            await socket.send(json.dumps({"type": "error", "error": error}))
            await socket.receive()

    @asynccontextmanager
    async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
        nonlocal connections
        connections += 1
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(refuse, theirs)
            yield ours
            await ours.close()

    began = anyio.current_time()
    with pytest.raises(RealtimeError, match="Invalid value: 'bob'"):
        async with OpenAIRealtime(api_key="k", voice="bob", connect=connect).connect():
            pass
    assert connections == 1
    assert anyio.current_time() < began + 1
