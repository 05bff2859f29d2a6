"""`AgentFile` finds the agent in a file or module, or says what is wrong and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bargein.services.cli._app import run
from bargein.services.cli.agents import AgentFile

IMPORTS = "from bargein import Graph, Pipeline, Transport, run_page\nfrom bargein.pipeline import Pass, Text\n"
AGENT = f"""
{IMPORTS}
def helper(number: int) -> int:
    return number

def {{name}}(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, peer.sink)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder. Modules that are imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["agent", "waiter"])
@pytest.mark.parametrize("target", ["calls.py", "calls.py:{name}", "calls", "calls:{name}"])
def test_an_agent_is_found(folder: Path, target: str, name: str) -> None:
    """In a file or a module, by its name, as `agent`, or as the only function that could be one."""
    (folder / "calls.py").write_text(AGENT.format(name=name))
    assert AgentFile(target.format(name=name)).load_agent().__name__ == name


def test_a_module_in_a_package(folder: Path) -> None:
    """Its folder is the current one, which reloading watches."""
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "calls.py").write_text(AGENT.format(name="agent"))
    file = AgentFile("shop.calls:agent")
    assert file.load_agent().__module__ == "shop.calls"
    assert file.folder == folder


@pytest.mark.parametrize("given", ["agent", "lambda peer: Pipeline(peer.source, peer.sink)"])
def test_a_program_that_serves_itself_is_not_served_while_it_is_loaded(folder: Path, given: str) -> None:
    """As the README's first agent, whose last line is `run_page(agent)`. A lambda is found too."""
    definition = AGENT.format(name="agent") if given == "agent" else IMPORTS
    (folder / "calls.py").write_text(f"{definition}\nrun_page({given})\n")
    assert callable(AgentFile("calls.py").load_agent())


def test_its_neighbours_can_be_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from another current folder."""
    (folder / "prices.py").write_text("COFFEE = 3")
    (folder / "calls.py").write_text("from prices import COFFEE\n" + AGENT.format(name="agent"))
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert callable(AgentFile(str(folder / "calls.py")).load_agent())


WRONG = {
    "no agent": ("x = 1", "calls.py", "calls has no agent; an agent is a function of one argument"),
    "no such function": (AGENT.format(name="waiter"), "calls.py:cook", "calls has no 'cook'; it has waiter"),
    "several": (
        AGENT.format(name="one") + AGENT.format(name="two"),
        "calls.py",
        "several functions that could be the agent: one, two; call one of them `agent`",
    ),
    "a graph": (f"{IMPORTS}agent = Pipeline(Pass(Text))", "calls.py", "'agent' is a Pipeline, but every call needs"),
    "a number": ("agent = 5", "calls.py", "'agent' is not a function but int"),
    "a class": ("class agent: ...", "calls.py", "'agent' is not a function but class"),
    "async": ("async def agent(peer): ...", "calls.py", "agent() is async; remove `async`"),
    "two arguments": ("def agent(peer, name): ...", "calls.py", "agent(peer, name) cannot be called with one argument"),
    "no argument": ("def agent(): ...", "calls.py", "agent() cannot be called with one argument"),
    "no file": ("", "waiter.py", "waiter.py: this file does not exist; `bargein new my_agent` writes"),
    "no module": ("", "shop.calls", "there is no module 'shop', neither in"),
    "an ending is missing": ("", "waiter", "for a file, write its name with the ending: waiter.py"),
    "a folder": ("", ".", ". is a folder; name a file in it"),
    "no Python": ("", "notes.txt", "notes.txt: this is not a Python file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_what_to_do(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence, without a traceback, and with exit code 1."""
    code, target, sentence = WRONG[case]
    (folder / "calls.py").write_text(code)
    (folder / "notes.txt").write_text("hello")
    if case == "no Python":
        target = "./notes.txt"
    assert run(["demo", target]) == 1
    complaint = " ".join(capsys.readouterr().err.split())
    assert sentence in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("target", ["calls.py", "calls"])
@pytest.mark.parametrize("line", ["{}['key']", "import no_such_module", "def f(:"])
def test_an_import_that_fails_shows_its_own_line(
    target: str, line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the traceback of the imported code, and none of the command's."""
    (folder / "calls.py").write_text(f"import prices\n{AGENT.format(name='agent')}")
    (folder / "prices.py").write_text(f"# prices\n{line}\n")
    assert run(["demo", target]) == 1
    complaint = capsys.readouterr().err
    assert f'{folder / "prices.py"}", line 2' in complaint
    assert "Correct the line that the traceback names last" in complaint
    assert "services/cli" not in complaint
    assert "importlib" not in complaint


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--reload"], "--reload loads your own agent again; name its file"),
        (["calls.py", "--brain", "offline"], "--brain is for the built-in agent; calls.py makes its own brain"),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error says what to do."""
    assert run(["demo", *arguments]) == 1
    assert sentence in " ".join(capsys.readouterr().err.split())
