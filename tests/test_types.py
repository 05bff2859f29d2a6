"""What an editor knows about a program that uses the installed wheel: checked by mypy and by pyright."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import sysconfig
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]

PROGRAM = '''
from bargein import Audio, Brain, Cascade, Failover, History, OpenAIRealtime, Pipeline
from bargein import Spoken, Transport, UserText, serve_page, tool
from bargein.pipeline import Session
from bargein.pipeline.testing import Harness
from bargein.services.brain import find_brain


@tool
async def weather(city: str, days: int = 1) -> str:
    """Tell the weather."""
    return city * days


def agent(peer: Transport) -> Pipeline:
    reveal_type(peer.source)  # Processor
    return Pipeline(peer.source, Cascade.offline(), Spoken(), peer.sink)


def any_brain(peer: Transport, brain: Brain) -> Pipeline:
    reveal_type(find_brain(brain))  # Brain | None
    Harness(Failover(brain, lambda: brain), Spoken())
    return Pipeline(peer.source, brain, peer.sink)


class Library:
    @tool
    async def find(self, title: str) -> int:
        """Find a book."""
        return len(title)


async def main(session: Session, peer: Transport) -> None:
    any_brain(peer, Cascade.offline())
    any_brain(peer, OpenAIRealtime())
    reveal_type(await Library().find("Emma"))  # int
    reveal_type(UserText("Hello"))  # UserText
    model = OpenAIRealtime("gpt-realtime", api_key="k", tools=[weather])
    reveal_type(model.history)  # History
    async with model.connect() as conversation:
        reveal_type(conversation)  # Conversation
        reveal_type(conversation.profile.max_session_seconds)  # float | None
    async for frame in session.of(Audio):
        reveal_type(frame)  # Audio
    async with serve_page(agent) as server:
        reveal_type(server.url)  # str
    reveal_type(await weather("Paris", days=2))  # str
    reveal_type(Cascade.offline())  # Cascade
'''
"""Each `reveal_type` is followed by the type that it must show."""

WRONG = """
from bargein import OpenAIRealtime, Pipeline, UserText, serve_page

OpenAIRealtime(modle="gpt-realtime")
serve_page("agent")
Pipeline().session().of(int)
UserText("Hello", item="1")
"""
"""Each statement must be refused."""


def names(text: str) -> str:
    """A type without its modules."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The interpreter of an environment that has the wheel, and what it stands on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (packages,) = (folder / "venv").glob("lib/*/site-packages")
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    # The libraries that the wheel stands on. A `.pth` file in there is not followed, so the checkout stays out of it.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv" / "bin" / "python"


def check(command: list[str], folder: pathlib.Path) -> str:
    """The output of a type checker, run where the checkout is out of sight."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=80, check=False).stdout


def mypy(python: pathlib.Path, file: pathlib.Path) -> list[str]:
    output = check(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), str(file)], file.parent
    )
    return output.splitlines()


def pyright(python: pathlib.Path, file: pathlib.Path) -> list[str]:
    return check([sys.executable, "-m", "pyright", "--pythonpath", str(python), str(file)], file.parent).splitlines()


CHECKERS = {
    "mypy": (mypy, r":(\d+): note: Revealed type is (.+)"),
    "pyright": (pyright, r":(\d+):\d+ - information: Type of .* is (.+)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_what_an_editor_knows(checker: str, python: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Names, frames, conversations and tools have their types, and a correct program has no error."""
    run, pattern = CHECKERS[checker]
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    lines = run(python, file)
    assert not [line for line in lines if re.search(r"\berror\b", line) and "0 errors" not in line], "\n".join(lines)
    revealed = {int(match[1]): names(match[2]).strip("\"'") for line in lines if (match := re.search(pattern, line))}
    wanted = {
        number: match[1]
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if (match := re.search(r"reveal_type\(.*\)  # (.+)", line))
    }
    assert revealed == wanted


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_what_an_editor_refuses(checker: str, python: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A misspelt option, an agent that is not a function, a class that is no frame, and a misspelt field."""
    run, _ = CHECKERS[checker]
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    errors = [
        int(match[1]) for line in run(python, file) if (match := re.search(r":(\d+)(?::\d+)?(?: -|:) error", line))
    ]
    assert sorted(set(errors)) == [4, 5, 6, 7]
