"""Agents on WebSockets: failures, lost connections and servers that stop."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from bargein.pipeline import Audio, Failure, Outlet, Pipeline, Processor, ResponseEnded, Text, UserText
from bargein.services.transports import (
    PeerLeft,
    RefusedError,
    SessionLimits,
    Sessions,
    WebSocketClient,
    serve_websocket,
)
from bargein.services.transports.control import Start
from tests.services.transports.kit import Brain, agent, connected, rest, served, until

from .server_kit import BOTH, brief, heard, run


@pytest.mark.virtual
@pytest.mark.parametrize("show_errors", [False, True])
async def test_what_failed_is_told_to_the_developer_only(show_errors: bool) -> None:
    """Another peer reads a general sentence: the reason may be a provider's text, with a key in it."""

    class Failing(Processor):
        def process(self, frame: UserText) -> Iterator[Failure]:
            yield Failure("provider: the key sk-1 is wrong", processor="provider")

    sessions = Sessions(lambda peer: Pipeline(peer.source, Failing(), peer.sink), show_errors=show_errors)
    async with connected(sessions) as client:
        await client.send(UserText("hello"))
        failure = (await until(client, Failure))[-1]
        assert isinstance(failure, Failure)
        assert ("sk-1" in failure.message) == show_errors
        assert failure.message


@pytest.mark.virtual
async def test_a_lost_connection_ends_the_session() -> None:
    """What was being said is interrupted, and not played to nobody."""
    left: list[PeerLeft] = []

    class Watch(Processor):
        def process(self, frame: PeerLeft) -> None:
            left.append(frame)

    sessions = Sessions(lambda peer: Pipeline(peer.source, Watch(), Brain(ms=60_000), peer.sink))
    async with served(sessions) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="A very long story."))
        await until(client, Audio)
        began = anyio.current_time()
        await each.socket.close(1006)
        await each.over.wait()
        assert anyio.current_time() - began < 0.1
    assert each.ending == "left"
    assert not left[0].clean
    assert left[0].reason == "the connection was closed with 1006"


@pytest.mark.virtual
async def test_a_brain_that_does_not_stop_is_stopped() -> None:
    """Within its time, when the peer is gone."""

    class Stuck(Processor):
        async def process(self, frame: UserText, out: Outlet[Text]) -> None:
            await anyio.sleep(1000)

    sessions = Sessions(lambda peer: Pipeline(peer.source, Stuck(), peer.sink), limits=SessionLimits(leave_seconds=5))
    async with served(sessions) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="Are you there?"))
        await anyio.sleep(1)
        began = anyio.current_time()
        await each.socket.close()
        await each.over.wait()
        assert anyio.current_time() - began < 7
    assert each.ending == "left"
    assert sessions.statistics().failed == 0


@pytest.mark.virtual
async def test_a_failure_is_told_and_harms_nobody() -> None:
    """The peer gets a reason and a code; the next one gets its answer."""
    sessions = Sessions(agent)
    async with connected(sessions) as other:
        async with served(sessions) as each:
            client = await WebSocketClient.begin(each.socket)
            await client.send(UserText(text="die"))
            await rest(client)
            assert client.ended == "the session failed"
        assert each.ending == "failed"
        await other.send(UserText(text="Hello."))
        await until(other, ResponseEnded)
    assert [str(error) for error in sessions.failures] == ["as asked"]


@pytest.mark.virtual
async def test_draining_lets_the_agent_finish() -> None:
    """The agent says goodbye."""
    sessions = Sessions(agent)
    async with connected(sessions) as client, anyio.create_task_group() as group:
        await client.send(UserText(text="A story."))
        frames = await until(client, Audio)
        group.start_soon(sessions.drain)
        frames += await rest(client)
        assert heard(frames) == 2000
        assert client.ended == "the server is going away"


@BOTH
def test_a_server_fails_as_itself(backend: str) -> None:
    """Where its port is taken, and with what fails in its block; on each backend the same."""

    async def talk() -> None:
        async with serve_websocket(brief) as server:
            with pytest.raises(OSError, match=r"in use|address"):
                async with serve_websocket(brief, port=server.port):
                    pass
        with pytest.raises(LookupError, match="mine"):
            async with serve_websocket(brief):
                raise LookupError("mine")

    run(backend, talk)


async def test_who_cannot_convert_sound_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer what to do without, and the log what to install."""
    monkeypatch.setitem(sys.modules, "av", None)
    async with served(Sessions(brief)) as each:
        with pytest.raises(RefusedError, match="ask for output_rate 0"):
            await WebSocketClient.begin(each.socket, Start(output_rate=48_000))
    assert "pip install 'bargein[audio]'" in caplog.text
    async with connected(Sessions(brief), Start()) as client:
        assert client.ready.session
