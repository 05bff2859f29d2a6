"""Runners: each kind of processor in its task."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    Outlet,
    Pipeline,
    Processor,
)

from .kit import Plain, Sink, audio


class ThreadOnly(Processor):
    blocking = True

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def __enter__(self) -> None:
        self.note()

    def __exit__(self, *_: object) -> None:
        self.note()

    def note(self) -> None:
        import threading  # noqa: PLC0415

        self.threads.add(threading.current_thread().name)

    def process(self, frame: Audio) -> Iterator[Audio]:
        self.note()
        yield frame


async def test_blocking_work_stays_in_one_thread() -> None:
    """A blocking processor is entered, used and left in one thread of its own."""
    processor = ThreadOnly()
    async with Pipeline(processor, Plain()).session() as session:
        for at in range(100):
            await session.send(audio(at))
    assert processor.threads == {"bargein ThreadOnly"}


async def test_a_closed_stream_inside_a_loop_is_an_error() -> None:
    """`EndOfStream` ends a loop only when it is the inbox's; a socket's is restarted like any exception."""

    class Reads(Processor):
        def __init__(self) -> None:
            self.attempts = 0

        async def run(self, out: Outlet[Audio]) -> None:
            self.attempts += 1
            if self.attempts < 3:
                raise anyio.EndOfStream
            await out.send(audio(1))

    reads, sink = Reads().options(on_error="restart"), Sink()
    await Pipeline(reads, sink).run()
    assert (reads.attempts, len(sink.seen)) == (3, 1)


class Fatal(BaseException):
    """An exception that is not an `Exception`, as `pytest.fail` raises."""


@pytest.mark.parametrize("where", ["process", "enter", "exit"])
async def test_no_exception_is_lost(where: str) -> None:
    """The block is left even with an exception that is not an `Exception`, and the event loop continues."""

    class Raises(Processor):
        async def __aenter__(self) -> None:
            if where == "enter":
                raise Fatal

        async def __aexit__(self, *_: object) -> None:
            if where == "exit":
                raise Fatal

        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            if where == "process":
                raise Fatal

    with pytest.raises(Fatal):
        async with Pipeline(Raises()).session() as session:
            await session.send(audio())
    await anyio.lowlevel.checkpoint()
