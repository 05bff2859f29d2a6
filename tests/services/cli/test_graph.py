"""`bargein graph` draws what is in a file."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bargein.services.cli._app import run

ONE = """
from bargein.pipeline import Pass, Pipeline, Text

pipeline = Pipeline(Pass(Text).options(name="here"))
"""
AGENT = """
from bargein.pipeline import Audio, Pipeline, Processor

class Ear(Processor):
    def process(self, frame: Audio) -> None: ...

def agent(peer) -> Pipeline:
    return Pipeline(peer.source, Ear(), peer.sink)
"""
EXAMPLES = Path(__file__).parents[3] / "examples"
TWO = """
from bargein.pipeline import Pass, Pipeline, Text

def one() -> Pipeline:
    return Pipeline(Pass(Text).options(name="first"))

def two() -> Pipeline:
    return Pipeline(Pass(Text).options(name="second"))

def needs(this, that):
    ...

number = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.py"


def test_a_graph_is_printed_as_mermaid(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If there is one, it needs no name."""
    file.write_text(ONE)
    assert run(["graph", str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("flowchart LR\n")
    assert "here" in printed


@pytest.mark.parametrize("ending", [".svg", ".dot", ".mmd", ".md"])
def test_a_function_may_make_it(file: Path, ending: str) -> None:
    """Named behind a colon, and drawn as the file's ending says."""
    file.write_text(TWO)
    output = file.with_suffix(ending)
    assert run(["graph", f"{file}:two", "-o", str(output)]) == 0
    drawn = output.read_text()
    assert "second" in drawn
    if ending == ".svg":
        ElementTree.fromstring(drawn)


def test_what_is_made_for_each_peer(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As servers want it: somebody stands for the peer."""
    file.write_text(AGENT)
    assert run(["graph", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "source" in printed
    assert "Ear" in printed
    assert "sink" in printed


def test_the_examples_of_transports_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """As they are."""
    for name in ("websocket_agent", "telephone", "webrtc"):
        assert run(["graph", str(EXAMPLES / f"{name}.py")]) == 0
    assert capsys.readouterr().out.count("flowchart") == 3


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("{file}", "several graphs: one, two"),
        ("{file}:three", "there is no 'three'"),
        ("{file}:number", "'number' is not a graph but int"),
        ("{file}:needs", "needs() needs this, that"),
        ("{file}.nowhere", "this file does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(
    file: Path, argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is not a traceback."""
    file.write_text(TWO)
    assert run(["graph", argument.format(file=file)]) == 1
    complaint = " ".join(capsys.readouterr().err.split())
    assert said in complaint
    assert "Traceback" not in complaint


def test_who_asks_for_it_gets_the_traceback(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Above the sentence."""
    file.write_text("1 / 0")
    assert run(["--traceback", "graph", str(file)]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_file_may_end_the_program(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence of its own."""
    file.write_text("raise SystemExit('not today')")
    assert run(["graph", str(file)]) == 1
    assert capsys.readouterr().err.strip() == "bargein: not today"


def test_other_forms_are_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    file.write_text(ONE)
    assert run(["graph", str(file), "-o", str(file.with_suffix(".png"))]) == 1
    assert ".svg, .dot" in capsys.readouterr().err
