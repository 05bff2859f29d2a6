"""What every program here needs: its arguments, sound in pieces, and a report. Standard library only."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

PIECE = 4800
"""Bytes of 100 ms of sound: 24 kHz, 16 bits, mono."""
SECONDS = 30.0
"""Longest time that one step may take."""

URL, SOUNDS = sys.argv[1], Path(sys.argv[2])
"""The server's WebSocket URL without the model, and the folder with what is said."""


async def pieces(name: str) -> AsyncIterator[bytes]:
    """Give an utterance and the silence behind it, faster than it is spoken."""
    data = (SOUNDS / f"{name}.pcm").read_bytes()
    for at in range(0, len(data), PIECE):
        yield data[at : at + PIECE]
        await asyncio.sleep(0.005)


async def until(true: Callable[[], Any]) -> Any:
    """Wait for something that the package reports in its own way."""
    async with asyncio.timeout(SECONDS):
        while not (found := true()):  # noqa: ASYNC110  # the packages have no events for it
            await asyncio.sleep(0.01)
    return found


def run(main: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Run a program, and print its report in a line, also when it fails."""
    report: dict[str, Any] = {"errors": []}
    try:
        asyncio.run(main(report))
    except BaseException as error:
        report["errors"].append(f"{type(error).__name__}: {error}")
        raise
    finally:
        print(json.dumps(report), flush=True)
