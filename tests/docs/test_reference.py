"""The reference has a page for every public package, and a section for every frame."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import re
import types

import msgspec
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
INTERNAL = {
    "bargein.pipeline.frames": "offered by bargein.pipeline",
    "bargein.services.cli": "a command, described in the guide",
    "bargein.services.cli.agents": "what stands behind that command",
    "bargein.services.providers.openai.server": "offered by bargein.services.providers.openai",
    "bargein.services.providers.openai.wire": "the messages of one protocol",
}
"""Packages without a page, each with the reason."""


def packages() -> list[str]:
    """The packages that have public names."""
    found = []
    for root in ("pipeline", "processors", "services"):
        for path in sorted((ROOT / root / "bargein").rglob("__init__.py")):
            parts = path.parent.relative_to(ROOT / root).parts
            if len(parts) == 1 or any(part.startswith("_") for part in parts):
                continue  # the front door, which only repeats names, and private packages
            offers = [line for line in ast.parse(path.read_text()).body if isinstance(line, ast.Assign | ast.AnnAssign)]
            if any(isinstance(line.value, ast.List) and line.value.elts for line in offers):
                found.append(".".join(parts))
    return found


@pytest.fixture(scope="module")
def hooks() -> types.ModuleType:
    """The build steps of the site."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requested() -> list[str]:
    return re.findall(r"<!-- api (\S+) -->", "".join(page.read_text() for page in PAGES))


def test_every_package_has_its_place() -> None:
    """A new package appears in the reference, or among those that do not, with the reason."""
    assert set(packages()) - set(requested()) - set(INTERNAL) == set()
    assert len(set(requested())) == len(requested())


@pytest.mark.parametrize("module", requested())
def test_every_public_name_appears(module: str, hooks: types.ModuleType) -> None:
    """As a section of its own, or as a link to the page of frames."""
    text = "\n".join(hooks.api_directives(module))
    for name in importlib.import_module(module).__all__:
        assert f"::: {module}.{name}\n" in text or f"[{name}](frames.md#{name.lower()})" in text


def test_every_frame_is_described(hooks: types.ModuleType) -> None:
    """With a sentence for each of its fields, and how it is written."""
    text = hooks.frame_sections()
    for frame in hooks.public_frames():
        assert f"### {frame.__name__}\n" in text
        documents = hooks.field_documents(frame)
        for field in msgspec.structs.fields(frame):
            assert documents[field.name][1], f"{frame.__name__}.{field.name} has no docstring"
    assert "Text(text, final=False, *, response_id='', item_id='')" in text


def test_frames_know_their_neighbours(hooks: types.ModuleType) -> None:
    """Contracts say which processors give and take a frame."""
    text = hooks.describe(importlib.import_module("bargein.processors").Turn)
    assert "**Sent by**: `Answer`, `Turns`" in text
    assert "**Taken by**: brains" in text
