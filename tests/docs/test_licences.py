"""The page of licences names every part that the extra `all` brings."""

from __future__ import annotations

import importlib.metadata
import pathlib
import re

from packaging.requirements import Requirement

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "licences.md"


def requirements(name: str, extras: set[str], found: dict[str, set[str]]) -> dict[str, set[str]]:
    """All packages that a package with these extras needs on this machine, themselves and through others."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found and extras <= found[key]:
        return found
    found.setdefault(key, set()).update(extras)
    for line in importlib.metadata.distribution(name).requires or []:
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            requirements(needed.name, set(needed.extras), found)
    return found


def test_every_part_is_named() -> None:
    """A new dependency needs a row with its licence."""
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \|", PAGE.read_text(), re.MULTILINE))
    assert set(requirements("bargein", {"all"}, {})) - {"bargein"} - listed == set()
