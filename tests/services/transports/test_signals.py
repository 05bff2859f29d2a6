"""A signal ends a server without a broken word."""

from __future__ import annotations

import asyncio
import os
import signal

import anyio
import pytest

from bargein.pipeline import Audio, Pipeline, ResponseEnded, UserText
from bargein.services.transports import Sessions, drain_on_signal

from .kit import Brain, connected, rest, until

pytestmark = pytest.mark.real


async def test_a_signal_drains() -> None:
    """What is being said is said to its end, and the signal is named."""
    sessions = Sessions(lambda peer: Pipeline(peer.source, Brain(ms=100), peer.sink))
    async with connected(sessions) as client, anyio.create_task_group() as group:
        signals: list[signal.Signals] = []

        async def wait() -> None:
            signals.append(await drain_on_signal(sessions, signals=(signal.SIGUSR1,)))

        group.start_soon(wait)
        await client.send(UserText(text="Hello."))
        frames = await until(client, Audio)
        os.kill(os.getpid(), signal.SIGUSR1)
        frames += await rest(client)
        assert any(isinstance(frame, ResponseEnded) for frame in frames)
        assert client.ended == "the server is going away"
    assert signals == [signal.SIGUSR1]


async def test_a_second_signal_does_not_wait() -> None:
    """A second signal ends the program at once."""
    sessions = Sessions(lambda peer: Pipeline(peer.source, Brain(ms=60_000), peer.sink))
    async with connected(sessions) as client:
        await client.send(UserText(text="A long story."))
        await until(client, Audio)
        with anyio.fail_after(8):  # and not ten seconds
            async with anyio.create_task_group() as group:
                group.start_soon(drain_on_signal, sessions)
                await anyio.sleep(0.01)
                os.kill(os.getpid(), signal.SIGTERM)
                await anyio.sleep(0.1)
                assert sessions.draining
                assert sessions.live
                os.kill(os.getpid(), signal.SIGTERM)
        assert not sessions.live
        frames = await rest(client)
        assert not any(isinstance(frame, ResponseEnded) and frame.outcome == "completed" for frame in frames)
        assert client.ended == "the server is going away"


async def test_an_event_loop_without_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: the interpreter's own handlers take their place, and are put back."""
    if (loop := type(asyncio.get_running_loop())).__module__.startswith("uvloop"):
        pytest.skip("uvloop does not exist on Windows")
    monkeypatch.setattr(loop, "add_signal_handler", asyncio.AbstractEventLoop.add_signal_handler)
    before = signal.getsignal(signal.SIGUSR1)
    sessions = Sessions(lambda peer: Pipeline(peer.source, Brain(ms=100), peer.sink))
    with anyio.fail_after(8):
        async with anyio.create_task_group() as group:

            async def kill() -> None:
                os.kill(os.getpid(), signal.SIGUSR1)

            group.start_soon(kill)
            assert await drain_on_signal(sessions, signals=(signal.SIGUSR1,)) == signal.SIGUSR1
    assert sessions.draining
    assert signal.getsignal(signal.SIGUSR1) is before
