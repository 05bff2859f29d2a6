"""Shared parts of the benchmarks: processors that do nothing, repetition, and printing of results."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import numpy as np

from bargein.pipeline import LIVE, Audio, Outlet, Processor


class Plain(Processor):
    """A fused pass-through."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame


class Waits(Processor):
    """A pass-through in its own task."""

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        await out.send(frame)


class Sink(Processor):
    """Takes everything."""

    def process(self, frame: Audio) -> None:
        pass


def audio(epoch: int = LIVE) -> Audio:
    """Return a 20 ms frame of 16 kHz."""
    return Audio(samples=np.zeros(320, np.int16), rate=16_000, epoch=epoch)


def best(times: list[float]) -> float:
    """Return the least of several measurements. On a shared machine the others measure other programs too."""
    return min(times)


def clock() -> float:
    """Return real seconds."""
    return time.perf_counter()


def options(description: str | None) -> argparse.Namespace:
    """Parse the command line that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a line for people")
    parser.add_argument("--backend", default="asyncio", choices=["asyncio", "uvloop", "trio"])
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    return parser.parse_args()


def run(backend: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run an async function on one of the backends."""
    if backend == "uvloop":
        return anyio.run(function, *args, backend="asyncio", backend_options={"use_uvloop": True})
    return anyio.run(function, *args, backend=backend)


def show(arguments: argparse.Namespace, line: str, result: dict[str, Any]) -> None:
    """Print the result as a line for people, or as JSON for programs."""
    if arguments.json:
        json.dump({"backend": arguments.backend, **result}, sys.stdout)
        print()
    else:
        print(line)
