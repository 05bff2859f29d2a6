"""What the commands print on, and how they run their coroutines."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio
from rich.console import Console

__all__ = ["console", "errors", "print_error", "run_async", "show_log"]

Args = TypeVarTuple("Args")
Result = TypeVar("Result")

console = Console()
"""The results of a command, on standard output."""
errors = Console(stderr=True)
"""Progress and errors, on standard error, so that the results can be piped."""


def print_error(sentence: str) -> None:
    """Print an error on standard error, unwrapped."""
    errors.print(f"bargein: {sentence}", style="bold red", markup=False, highlight=False, soft_wrap=True)


def show_log() -> None:
    """Print the services' warnings and errors on standard error, with their tracebacks."""
    log = logging.getLogger("bargein")
    log.handlers[:] = [logging.lastResort or logging.StreamHandler()]  # the former finds sys.stderr each time
    log.propagate = False


def run_async(function: Callable[[*Args], Awaitable[Result]], *args: *Args) -> Result:
    """Run a command's coroutine function on asyncio, with uvloop where it is installed."""
    options = {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
    return anyio.run(function, *args, backend="asyncio", backend_options=options)
