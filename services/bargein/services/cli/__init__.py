"""The command line: `bargein demo`, `ask`, `chat`, `talk`, `graph` and `doctor`."""

from .main import main

__all__ = ["main"]
