"""What the commands print on, and how they run."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from rich.console import Console

__all__ = ["console", "errors", "run_async"]

console = Console()
"""What a command has to say."""
errors = Console(stderr=True)
"""How it is going, and what went wrong: apart, so that output can be piped."""


def run_async(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run a command's coroutine, on uvloop where that is installed."""
    options = {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
    return anyio.run(function, *args, backend="asyncio", backend_options=options)
