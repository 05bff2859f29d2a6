"""Read the description of a function and of its parameters from a docstring, in the three usual styles."""

from __future__ import annotations

import inspect
import re

__all__ = ["read_docstring"]

_GOOGLE = re.compile(r"(args|arguments|parameters|params|keyword args|keyword arguments|other parameters):$", re.I)
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^:]*\))?\s*:(?!:)\s*(.*)$")
_NUMPY = re.compile(r"(parameters|other parameters)$", re.I)
_RULE = re.compile(r"[-=]{3,}$")
_NAMES = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_FIELD = re.compile(r":(\w+)(?:\s+([^:]*?))?\s*:(?:\s+(.*))?$")
_OF_PARAMETERS = ("param", "parameter", "arg", "argument", "key", "keyword")


def read_docstring(text: str | None) -> tuple[str, dict[str, str]]:
    """Read a docstring in Google, NumPy or reST style.

    Args:
        text: The docstring; None or empty if there is none.

    Returns:
        The first paragraph, and the description of each parameter by name.
    """
    lines = inspect.cleandoc(text).splitlines() if text else []
    found: dict[str, list[str]] = {}
    _read_google(lines, found)
    _read_numpy(lines, found)
    _read_rest(lines, found)
    described = {name: " ".join(part.strip() for part in parts if part.strip()) for name, parts in found.items()}
    return _first_paragraph(lines), {name: words for name, words in described.items() if words}


def _first_paragraph(lines: list[str]) -> str:
    paragraph: list[str] = []
    for at, line in enumerate(lines):
        underlined = at + 1 < len(lines) and _RULE.match(lines[at + 1])
        if not line.strip() or underlined or _GOOGLE.match(line) or _FIELD.match(line):
            break
        paragraph.append(line.strip())
    return " ".join(paragraph)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _read_google(lines: list[str], found: dict[str, list[str]]) -> None:
    depth: int | None = None  # the indentation of the entries; None outside of a section
    inside, current = False, None
    for line in lines:
        if _GOOGLE.match(line):
            inside, depth, current = True, None, None
        elif inside and line.strip():
            indent = _indent(line)
            if not indent:
                inside = False
                continue
            depth = indent if depth is None else depth
            entry = _ENTRY.match(line.strip())
            if indent <= depth and entry:
                current = found.setdefault(entry[1], [])
                current.append(entry[2])
            elif indent <= depth:
                current = None
            elif current is not None:
                current.append(line)


def _read_numpy(lines: list[str], found: dict[str, list[str]]) -> None:
    inside = False
    current: list[str] = []
    for at, line in enumerate(lines):
        if at + 1 < len(lines) and _RULE.match(lines[at + 1]):
            inside, current = bool(_NUMPY.match(line)), []
        elif inside and line.strip() and not _RULE.match(line):
            if _indent(line):
                current.append(line)
            elif names := _NAMES.match(line):
                current = []  # parameters that share a line share the description
                for name in names[1].split(","):
                    found[name.strip().lstrip("*")] = current
            else:
                inside = False


def _read_rest(lines: list[str], found: dict[str, list[str]]) -> None:
    current: list[str] | None = None
    for line in lines:
        if field := _FIELD.match(line):
            current = None
            if field[1] in _OF_PARAMETERS and field[2]:
                current = found.setdefault(field[2].split()[-1].lstrip("*"), [])
                current.append(field[3] or "")
        elif not line.strip():
            current = None
        elif current is not None:
            current.append(line)
