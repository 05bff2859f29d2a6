"""Sessions of many peers: apart from each other, within limits, and an end for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import anyio
import pytest

from bargein.pipeline import Failure, Frame, Inbox, Outlet, Pass, Pipeline, Processor, Text, UserText
from bargein.services.transports import Peer, PeerJoined, PeerLeft, RefusedError, SessionLimits, Sessions, Transport

pytestmark = pytest.mark.virtual


class Line(Transport):
    """A peer that says things, one each second, and hears what comes."""

    def __init__(self, name: str, *says: str, stays: bool = False) -> None:
        self.peer = Peer(name=name)
        self.heard: list[str] = []
        self.left = anyio.Event()

        async def source(out: Outlet[PeerJoined | UserText | PeerLeft]) -> None:
            await out.send(PeerJoined(peer=self.peer))
            for words in says:
                await anyio.sleep(1)
                await out.send(UserText(text=words))
            if stays:
                await self.left.wait()
            await out.send(PeerLeft(peer=self.peer))

        async def sink(inbox: Inbox[Text]) -> None:
            async for frame in inbox:
                self.heard.append(frame.text)

        self.source, self.sink = Loop(source), Hear(sink)


class Loop(Processor):
    def __init__(self, loop: object) -> None:
        self.loop = loop

    async def run(self, out: Outlet[PeerJoined | UserText | PeerLeft]) -> None:
        await self.loop(out)  # type: ignore[operator]


class Hear(Processor):
    def __init__(self, loop: object) -> None:
        self.loop = loop

    async def run(self, inbox: Inbox[Text]) -> None:
        await self.loop(inbox)  # type: ignore[operator]


class Echo(Processor):
    async def process(self, frame: UserText, out: Outlet[Text]) -> None:
        if frame.text == "die":
            raise RuntimeError("as asked")
        if frame.text == "stall":
            await anyio.sleep(3)
        await out.send(Text(text=frame.text))


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, Echo(), Pass(Text), peer.sink)


async def test_a_session_lasts_as_long_as_its_peer() -> None:
    """The peer gets everything that was said in it."""
    sessions = Sessions(agent)
    line = Line("one", "hello", "and goodbye")
    assert await sessions.run(line) == "left"
    assert line.heard == ["hello", "and goodbye"]
    assert sessions.statistics().opened == 1
    assert sessions.statistics().open == 0


async def test_a_failure_harms_no_other() -> None:
    """It is counted and kept."""
    sessions = Sessions(agent)
    lines = [Line(f"{number}", "hello", "die" if number == 3 else "there", "all") for number in range(10)]
    endings: list[str] = []

    async def run(line: Line) -> None:
        endings.append(await sessions.run(line))

    async with anyio.create_task_group() as group:
        for line in lines:
            group.start_soon(run, line)
    assert sorted(endings) == ["failed"] + ["left"] * 9
    assert [line.heard for line in lines if line is not lines[3]] == [["hello", "there", "all"]] * 9
    assert [str(error) for error in sessions.failures] == ["as asked"]


async def test_a_failure_in_the_log_forges_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a stranger had a part in it: below its one line are only places in the code, which are indented."""

    def build(peer: Transport) -> Pipeline:
        raise ValueError("no brain called x\nbargein.sessions: all is well\r\n")

    await Sessions(build).run(Line("one"))
    (record,) = caplog.records
    first, *rest = record.getMessage().splitlines()
    assert first == "one: the session failed: ValueError: no brain called x bargein.sessions: all is well"
    assert all(line.startswith("  ") for line in rest)


async def ask_somebody(peer: Transport) -> Pipeline:
    return agent(peer)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda peer: None, "the agent's function '<lambda>' returned NoneType, and not a Pipeline; is its `return`"),
        (ask_somebody, "the agent's function 'ask_somebody' returned coroutine, and not a Pipeline; write `def`"),
        (lambda peer: "x", "the agent's function '<lambda>' returned str, and not a Pipeline"),
    ],
)
async def test_a_function_that_returns_no_graph_is_named(function: Any, reason: str) -> None:
    """The developer finds the function that lacks its `return`."""
    sessions = Sessions(function)
    await sessions.run(Line("one"))
    (error,) = sessions.failures
    assert str(error).startswith(reason)


def test_limits_are_checked() -> None:
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(
            ValueError, match=r"SessionLimits\(open_seconds=.*\): expected a positive number of seconds"
        ):
            SessionLimits(open_seconds=wrong)
    with pytest.raises(TypeError, match=r"SessionLimits\(max_sessions='5'\): expected a number, not str"):
        SessionLimits(max_sessions=cast(int, "5"))
    with pytest.raises(TypeError, match=r"Sessions\(limits=...\): got int; write limits=SessionLimits\(...\)"):
        Sessions(agent, limits=cast(SessionLimits, 5))
    assert SessionLimits(resume_seconds=0, max_wrong_messages=0, idle_seconds=float("inf")).resume_seconds == 0


class Buggy(Processor):
    name = "buggy"

    def process(self, frame: PeerJoined) -> Iterator[Text]:
        yield Text(text="before")
        raise KeyError("apple")


@pytest.mark.parametrize("show_errors", [False, True])
async def test_a_failure_leads_to_its_line(show_errors: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the processor and the place in the code, and the peer has the reason if it may."""
    line = Line("one")
    sessions = Sessions(lambda peer: Pipeline(peer.source, Buggy(), peer.sink), show_errors=show_errors)
    assert await sessions.run(line) == "failed"
    (record,) = caplog.records
    assert "KeyError: 'apple'" in record.getMessage()
    assert "buggy" in record.getMessage().splitlines()[0]
    assert "PeerJoined" in record.getMessage().splitlines()[0]
    assert f'{__file__}", line' in record.getMessage()
    assert 'raise KeyError("apple")' in record.getMessage()
    assert line.failure.startswith("KeyError: 'apple'") == show_errors
    assert bool(line.failure) == show_errors


async def test_what_cannot_be_built_fails_alone() -> None:
    """Such as a brain without its key."""

    def build(peer: Transport) -> Pipeline:
        raise ValueError("no key")

    sessions = Sessions(build)
    assert await sessions.run(Line("one")) == "failed"
    assert sessions.statistics().failed == 1
    assert sessions.statistics().open == 0


async def test_who_builds_may_refuse() -> None:
    """A peer that asks for something unknown is told so, and nothing has failed."""

    def build(peer: Transport) -> Pipeline:
        raise RefusedError("there is no such brain")

    sessions = Sessions(build)
    with pytest.raises(RefusedError, match="no such brain"):
        await sessions.run(Line("one"))
    told = sessions.statistics()
    assert (told.opened, told.refused, told.failed, told.open) == (0, 1, 0, 0)


async def test_there_is_room_for_so_many() -> None:
    """The next is told why not, and gets a place when there is one."""
    sessions = Sessions(agent, limits=SessionLimits(max_sessions=2))
    first = Line("one", stays=True)
    async with anyio.create_task_group() as group:
        group.start_soon(sessions.run, first)
        group.start_soon(sessions.run, Line("two", stays=True))
        await anyio.sleep(1)
        with pytest.raises(RefusedError, match="2 sessions"):
            await sessions.run(Line("three"))
        assert set(sessions.live) == {"one", "two"}
        first.left.set()
        await anyio.sleep(1)
        assert await sessions.run(Line("three")) == "left"
        group.cancel_scope.cancel()
    assert sessions.statistics().refused == 1


async def test_a_name_is_one_peers() -> None:
    """Another of the same name is a mistake of the server's."""
    sessions = Sessions(agent)
    async with anyio.create_task_group() as group:
        group.start_soon(sessions.run, Line("one", stays=True))
        await anyio.sleep(1)
        with pytest.raises(ValueError, match="'one'"):
            await sessions.run(Line("one"))
        group.cancel_scope.cancel()


async def test_time_runs_out() -> None:
    """A session is ended gracefully, whatever its peer does."""
    sessions = Sessions(agent, limits=SessionLimits(max_session_seconds=90))
    line = Line("one", "hello", stays=True)
    began = anyio.current_time()
    assert await sessions.run(line) == "expired"
    assert anyio.current_time() - began < 92
    assert line.heard == ["hello"]
    assert sessions.statistics().expired == 1


async def test_draining_finishes_what_is_said_and_takes_nobody_new() -> None:
    """All have ended when it returns."""
    sessions = Sessions(agent)
    lines = [Line(f"{number}", "stall", stays=True) for number in range(5)]
    endings: list[str] = []

    async def run(line: Line) -> None:
        endings.append(await sessions.run(line))

    async with anyio.create_task_group() as group:
        for line in lines:
            group.start_soon(run, line)
        await anyio.sleep(2)
        await sessions.drain()
        assert not sessions.live
        with pytest.raises(RefusedError, match="going away"):
            await sessions.run(Line("late"))
    assert endings == ["drained"] * 5
    assert [line.heard for line in lines] == [["stall"]] * 5


async def test_a_source_may_hear_what_comes_up() -> None:
    """It is told no end before its peer has left, or the session should end."""
    ended: list[str] = []

    class Both(Line):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.source = Hears()

    class Hears(Processor):
        async def run(self, inbox: Inbox[Failure], out: Outlet[UserText]) -> None:
            with anyio.move_on_after(5):
                async for frame in inbox:
                    ended.append(frame.message)
                ended.append("the end")

    sessions = Sessions(agent, observe=lambda frame: None)
    began = anyio.current_time()
    assert await sessions.run(Both("one")) == "left"
    assert anyio.current_time() - began == pytest.approx(5)
    assert not ended


async def test_how_it_goes_is_told() -> None:
    """Failures, and how long answers took, of any session."""
    seen: list[Frame] = []

    class Complains(Processor):
        def process(self, frame: UserText) -> Iterator[UserText | Failure]:
            yield frame
            yield Failure(message="never mind")

    def build(peer: Transport) -> Pipeline:
        return Pipeline(peer.source, Complains(), Echo(), Pass(Text), peer.sink)

    sessions = Sessions(build, observe=seen.append)
    assert await sessions.run(Line("one", "hello")) == "left"
    assert [frame.message for frame in seen if isinstance(frame, Failure)] == ["never mind"]


def test_limits_are_positive() -> None:
    """Others are refused, with the value."""
    with pytest.raises(ValueError, match="sessions=0"):
        SessionLimits(max_sessions=0)


async def test_draining_ends_also_what_does_not_stop() -> None:
    """Within the time for it."""

    class Stuck(Processor):
        async def process(self, frame: UserText, out: Outlet[Text]) -> None:
            await anyio.sleep(1000)

    sessions = Sessions(
        lambda peer: Pipeline(peer.source, Stuck(), Pass(Text), peer.sink), limits=SessionLimits(drain_seconds=5)
    )
    endings: list[str] = []

    async def run() -> None:
        endings.append(await sessions.run(Line("one", "hello", stays=True)))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.sleep(2)
        began = anyio.current_time()
        await sessions.drain()
        assert anyio.current_time() - began < 7
    assert endings == ["drained"]
