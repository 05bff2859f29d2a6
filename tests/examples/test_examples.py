"""Every example runs, prints what it should, and is short."""

from __future__ import annotations

import pathlib

import pytest

from ..programs import run_program

ROOT = pathlib.Path(__file__).parents[2]
SAYS = {
    "any_provider": "OpenAI said: It is noon | and wanted to say: It is noon in Paris, and the bells",
    "barge_in": "7 stale words were dropped on their way; none was spoken.",
    "blocking": "ONE TWO THREE\nthe loop went on meanwhile",
    "branch_and_merge": "peak   8231.0\n  rms   58",
    "draw": "declared latency: 310 ms (Clean 10 + Recognise 300)",
    "errors": "careful dropped Text: ValueError: I do not take questions\nbye\nValueError: I do not take",
    "failover": "heard: 'You can return it within thirty', never: ' days.",
    "files": "it has been answered: 1.0 s of answer\n1.0 s made louder",
    "own_processor": "peak: 6538 of 32767",
    "own_provider": "You said: Is anybody there?",
    "switch": "Would you please sit down?\nSit down!",
    "telephone": "a call from Jane\nthe caller presses 1\n500 ms were heard",
    "turn_taking": "1640 ms  Resume()\n  3080 ms  Hold()\n  3380 ms  Interrupt",
    "two_agents": "Ada speaks\nBob speaks\nAda speaks\nBob speaks\nand that was that",
    "upstream": "the user heard 1100 ms of r1",
    "webrtc": "the agent is heard\nthe page drops what it has not played",
    "websocket_agent": "then: Very well.\n0 pieces of the old answer came after the flush",
}


def test_every_example_is_known() -> None:
    """So that none is forgotten here."""
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_examples_run(name: str) -> None:
    """As a newcomer runs them, in their own process."""
    path = ROOT / "examples" / f"{name}.py"
    assert len(path.read_text().splitlines()) < 60, "one idea, under 60 lines"
    run = run_program(path)
    assert run.returncode == 0, run.stderr
    assert SAYS[name] in run.stdout
