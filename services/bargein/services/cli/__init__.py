"""The command line: `bargein new`, `demo`, `talk`, `chat`, `ask`, `graph` and `doctor`."""

from .main import main

__all__ = ["main"]
