"""`bargein demo --reload` loads the agent again when its code has changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from bargein.pipeline import Outlet, Pass, Processor, Text
from bargein.services.cli.agents import AgentFile, FolderWatch, forget_modules, load_when_ready, reload_agent
from bargein.services.transports import Peer, Sessions, Transport

pytestmark = pytest.mark.virtual

CODE = """
from bargein import Pipeline, Transport
from prices_{number} import COFFEE

def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, peer.sink)
"""


class Source(Processor):
    async def run(self, out: Outlet[Text]) -> None:
        await anyio.sleep_forever()


class Caller(Transport):
    """A peer that says nothing and stays."""

    def __init__(self) -> None:
        self.peer, self.source, self.sink = Peer(name="caller"), Source(), Pass(Text)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that a worker thread has a part in; on the virtual clock no number of seconds is enough."""
    while not condition():  # noqa: ASYNC110 - what is waited for is printed
        await anyio.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an agent that imports its neighbour."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield tmp_path
    forget_modules(tmp_path)


def write(path: Path, text: str) -> None:
    """Write a file with a time that differs from the one before: two writes may fall into one tick of the clock."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


async def test_changes_of_python_files_are_noticed(tmp_path: Path) -> None:
    """Changed, added and removed ones, in subfolders too; other files and virtual environments do not count."""
    for name in ("agent.py", "shop/prices.py", "venv/lib/module.py", ".hidden/module.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, "x = 1")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    watch = FolderWatch(tmp_path)
    for name in ("notes.txt", "venv/lib/module.py", ".hidden/module.py", "shop/prices.py"):
        write(tmp_path / name, "x = 2")
    assert await watch.next() == {tmp_path / "shop" / "prices.py"}
    (tmp_path / "agent.py").unlink()
    write(tmp_path / "new.py", "")
    assert await watch.next() == {tmp_path / "agent.py", tmp_path / "new.py"}


async def test_the_first_load_waits_for_code_that_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is printed meanwhile. The next change of any file of the agent is another try."""
    write(folder / "prices_1.py", "1 / 0")
    write(folder / "agent_1.py", CODE.format(number=1))
    file, watch = AgentFile(str(folder / "agent_1.py")), FolderWatch(folder)

    async def correct() -> None:
        complaints = ""
        while "Waiting for a change in" not in complaints:
            await anyio.sleep(0.1)
            complaints += capsys.readouterr().err
        assert "ZeroDivisionError" in complaints
        write(folder / "prices_1.py", "COFFEE = 4")

    async with anyio.create_task_group() as group:
        group.start_soon(correct)
        await load_when_ready(file, watch)
    assert sys.modules["prices_1"].COFFEE == 4


async def test_new_code_serves_the_next_call_and_the_running_one_ends(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code that cannot be loaded changes nothing."""
    write(folder / "prices_2.py", "COFFEE = 3")
    write(folder / "agent_2.py", CODE.format(number=2))
    file, watch = AgentFile(str(folder / "agent_2.py")), FolderWatch(folder)
    first = file.load_agent()
    sessions = Sessions(first)
    printed: list[str] = []
    endings: list[str] = []

    def has_printed(sentence: str) -> bool:
        printed.append(capsys.readouterr().err)
        return sentence in " ".join("".join(printed).split())

    async def call() -> None:
        endings.append(await sessions.run(Caller()))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        group.start_soon(reload_agent, file, watch, sessions)
        await anyio.sleep(0.01)
        write(folder / "prices_2.py", "1 / 0")
        await until(lambda: has_printed("The page goes on with the agent as it was"))
        assert sessions.agent is first
        assert len(sessions.live) == 1
        write(folder / "prices_2.py", "COFFEE = 5")
        await until(lambda: has_printed("Reloaded after a change of prices_2.py; calls that end: 1."))
        assert sessions.agent is not first
        assert sys.modules["prices_2"].COFFEE == 5
        await until(lambda: not sessions.live)
        assert endings == ["drained"]
        assert sessions.refusal == ""
        group.cancel_scope.cancel()
