"""`bargein new my_agent`: a folder with a first agent, its test and what it needs."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ._console import console

__all__ = ["new"]

FILES = {
    "agent.py": "agent.py.txt",
    "test_agent.py": "test_agent.py.txt",
    "README.md": "README.md.txt",
    "pyproject.toml": "pyproject.toml.txt",
    ".gitignore": "gitignore.txt",
}
"""The files that are written, each with its template in the folder `project` beside this module.

The templates end in `.txt` so that no tool takes them for code of this project."""


def new(
    folder: Annotated[Path, typer.Argument(help="The folder to write. It may exist if it is empty.")],
) -> None:
    """Write a first project: an agent with a greeting and a tool, its test, a README and a pyproject.toml."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose another name for the folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; choose another name, or empty it first")
    folder.mkdir(parents=True, exist_ok=True)
    templates = files(__package__) / "project"
    for name, template in FILES.items():
        text = (templates / template).read_text(encoding="utf-8").replace("NAME", _project_name(folder))
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    written = ", ".join(FILES)
    console.print(f"Written in {folder}: {written}. Next:\n", markup=False, highlight=False, soft_wrap=True)
    directory = f'"{folder}"' if " " in str(folder) else str(folder)
    pytest = [] if find_spec("pytest") else ["pip install pytest"]
    for command in (f"cd {directory}", "bargein demo agent.py --reload", *pytest, "python -m pytest"):
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def _project_name(folder: Path) -> str:
    """Return a name that pyproject.toml may hold: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "my-agent"
