"""What the environment asks of the tests, and which programs of the operating system it has.

* `BARGEIN_EXTENDED=1` runs the long versions, and every test on every backend.
* `BARGEIN_REQUIRE=all` makes a missing program a failure, where otherwise the tests that need it skip.
"""

from __future__ import annotations

import os
import shutil
from typing import TypeVar

import pytest

__all__ = ["EXTENDED", "amount", "find", "need"]

T = TypeVar("T")

EXTENDED = bool(os.environ.get("BARGEIN_EXTENDED"))
"""Whether the long versions run."""
REQUIRED = os.environ.get("BARGEIN_REQUIRE") == "all"
"""Whether every program must be there."""
PROGRAMS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "flite": ("flite",),
    "graphviz": ("dot",),
}
"""Each Debian package that a test needs, with the names that its program may have."""


def amount(short: T, long: T) -> T:
    """Return how much a test does: `short` in the daily run, `long` with `BARGEIN_EXTENDED=1`.

    Args:
        short: Enough to prove the fact. Seeds, steps, sessions, or seconds.
        long: More of the same, which looks for what a short run does not meet.
    """
    return long if EXTENDED else short


def find(package: str) -> str | None:
    """Return the path of the package's program, or `None` where it is not installed."""
    return next(filter(None, map(shutil.which, PROGRAMS[package])), None)


def need(package: str) -> None:
    """Skip the running test, or fail it with `BARGEIN_REQUIRE=all`, where the package's program is missing."""
    if find(package) is None:
        missing = f"{package} is not installed; on Debian and Ubuntu: apt install {package}"
        (pytest.fail if REQUIRED else pytest.skip)(missing)
