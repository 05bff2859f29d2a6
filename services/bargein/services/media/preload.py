"""`preload_libraries`: import native libraries before the first call comes."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Final

__all__ = ["preload_libraries"]

LIBRARIES: Final = ("av", "webrtcvad")
"""Native libraries that most pipelines use: the first for other rates of sound, the second to detect speech."""


def preload_libraries() -> None:
    """Import the native libraries that most calls need, where they are installed.

    PyAV alone takes 70 to 250 ms. An import during the first call would block the event loop for that time, so servers
    call this before they open.
    """
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
