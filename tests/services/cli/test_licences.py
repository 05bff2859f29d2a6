"""Licences of what is installed: every library that Bargein uses, and those that need attention."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from bargein.services.cli._app import run
from bargein.services.cli.licences import COPYLEFT, licences

PAGE = (Path(__file__).parents[3] / "docs" / "licences.md").read_text()


def test_every_installed_library_of_the_page_is_listed() -> None:
    """Those that are required by others, too, with their versions."""
    listed = {each.name: each.version for each in licences()}
    named = set(re.findall(r"^\| ([a-z0-9-]+) \|", PAGE, re.MULTILINE))
    installed = {name: version for name in named if (version := _version(name))}
    assert {"anyio", "numpy", "msgspec"} <= installed.keys()
    assert installed.items() <= listed.items()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_a_licence_is_a_few_words() -> None:
    """However a library's metadata states it: as an expression, a classifier, or the whole text."""
    found = {each.name: each.licence for each in licences()}
    assert "MIT" in found["anyio"]
    assert "BSD" in found["msgspec"]
    assert all(len(text) < 120 and "\n" not in text for text in found.values())
    assert [name for name, text in found.items() if not text and name not in COPYLEFT] == []


def test_doctor_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    """All on demand, and always those that matter for a product."""
    assert run(["doctor", "--licences"]) == 0
    assert "anyio" in capsys.readouterr().out
    run(["doctor"])
    text = " ".join(capsys.readouterr().out.split())
    assert [name for name in COPYLEFT if _version(name) and name not in text] == []
    assert all(name in PAGE for name in COPYLEFT)
