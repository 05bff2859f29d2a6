"""The entry point of the program `bargein`."""

from __future__ import annotations

import importlib
import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Run the program `bargein` and exit with its code."""
    try:
        if importlib.util.find_spec("typer") is None or importlib.util.find_spec("rich") is None:
            sys.exit("bargein: the command line needs typer and rich; pip install 'bargein[cli]'")
        # Imported only here: it takes most of a second, in which Ctrl+C must not print a traceback.
        app = importlib.import_module("._app", __package__)
        sys.exit(app.run())
    except KeyboardInterrupt:
        sys.exit(130)
