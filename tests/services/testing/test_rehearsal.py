"""A program runs with every provider's model, connected to a stand-in."""

from __future__ import annotations

import pathlib
import runpy

import pytest

from bargein.services.providers import PROVIDERS
from bargein.services.testing.rehearsal import STAND_INS, rehearse

ROOT = pathlib.Path(__file__).parents[3]
NAMES = [provider.name for provider in PROVIDERS]


def test_every_provider_has_a_stand_in() -> None:
    """A provider of the table without a stand-in could not be tried without a key."""
    assert list(STAND_INS) == NAMES


@pytest.mark.virtual
async def test_an_unknown_provider_is_refused() -> None:
    """The error lists all names."""
    with pytest.raises(ValueError, match="there are OpenAI, "):
        async with rehearse("Nobody", "Hello."):
            pass


@pytest.mark.virtual
@pytest.mark.parametrize("name", NAMES)
async def test_one_program_runs_with_each(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example runs a tool, hears a part of an answer, and remembers that part only."""
    example = runpy.run_path(str(ROOT / "examples/any_provider.py"))
    async with rehearse(name, example["REQUEST"], example["STORY"], tools=[example["clock"]]) as model:
        await example["converse"](model)
    said = capsys.readouterr().out
    assert said == f"{model.provider} said: It is noon | and wanted to say: {example['STORY']}\n"
    assert [entry.output for entry in model.history if entry.role == "call"] == ["noon in Paris"]
