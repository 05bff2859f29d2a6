"""The entry point of the program."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

from bargein.services.cli import main
from bargein.services.cli._app import COMMANDS, run


def test_ctrl_c_while_the_program_loads_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loading takes most of a second, in which there would be a traceback."""

    def interrupt(name: str, package: str | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupt)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install 'bargein\[cli\]'"):
        main()


def test_every_command_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """At the end of its help, on a line of its own that can be copied."""
    for command in COMMANDS:
        assert run([command.__name__, "--help"]) == 0
        _, found, examples = capsys.readouterr().out.partition("Example")
        assert found
        lines = [line.strip() for line in examples.splitlines()[1:] if line]
        assert lines
        assert all(line.startswith(f"bargein {command.__name__}") for line in lines)
