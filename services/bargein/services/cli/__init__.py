"""The command line: `bargein demo`, `ask`, `chat`, `talk`, `graph`, `doctor`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The program `bargein`."""
    try:
        import typer  # noqa: F401, PLC0415  # named here, so that its absence is a sentence
    except ModuleNotFoundError:
        sys.exit("bargein: the command line needs typer and rich; pip install 'bargein[cli]'")
    from ._app import run

    sys.exit(run())
