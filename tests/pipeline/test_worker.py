"""Worker threads: one each, in order, prompt, and gone afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar

import anyio
import pytest

from bargein.pipeline import Audio, Interrupt, Pipeline, Processor, Text
from bargein.pipeline._worker import Worker
from bargein.pipeline.testing import Harness

from .kit import audio, index, until


def workers() -> int:
    return sum(thread.name.startswith("bargein") for thread in threading.enumerate())


async def test_calls_run_in_one_thread_in_order() -> None:
    """Values and exceptions come back; closing waits for the thread."""
    worker = Worker("bargein test")
    seen: list[str] = []
    assert await worker.call(lambda: threading.current_thread().name) == "bargein test"
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 / 0)
    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(worker.call, lambda name=name: seen.append(name))
    assert sorted(seen) == ["a", "b", "c"]
    await worker.close()
    await until(lambda: workers() == 0)


async def test_worker_keeps_no_references() -> None:
    """An idle worker holds neither the function nor its result, so a model can be freed."""

    class Model:
        def use(self) -> object:
            return self

    worker = Worker("bargein test")
    model = Model()
    gone = weakref.ref(model)
    assert await worker.call(model.use) is model
    del model
    await until(lambda: gone() is None)
    await worker.close()


class Threaded(Processor):
    blocking = True

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.batches: list[object] = []
        self.exited = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.exited = True

    def process(self, frame: Audio | Interrupt) -> Iterator[Audio]:
        self.go.wait(10)
        self.batches.append(frame)
        if isinstance(frame, Audio):
            yield frame


async def test_an_interrupt_overtakes_a_batch() -> None:
    """It comes right after the frame that the thread is at; the stale rest of the batch is skipped."""
    threaded = Threaded()
    threaded.go.clear()
    async with Harness(threaded) as harness:
        await harness.send(audio(0), *(audio(at, epoch=0) for at in range(1, 10)), audio(10))
        await until(lambda: harness.statistics().processors["Threaded"].frames_in == 11)
        number = harness.interrupt()
        threaded.go.set()
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == [0, 10]
    assert [frame.epoch for frame in threaded.batches if isinstance(frame, Interrupt)] == [number]
    assert harness.statistics().stale_dropped == 9
    assert threaded.exited


async def test_threads_are_gone_after_the_session() -> None:
    """The thread ends with its session, whether that ended or was cancelled."""
    for how in ("end", "cancel"):
        async with Pipeline(Threaded(), Threaded()).session() as session:
            await session.send(audio())
            if how == "cancel":
                await session.cancel()
        await until(lambda: workers() == 0)


class Slow(Processor):
    """Blocks while it is entered, and fails or not when it is left."""

    blocking = True

    def __init__(self, *, fail: bool = False) -> None:
        self.go = threading.Event()
        self.log: list[str] = []
        self.fail = fail
        self.linger = 0.0

    def __enter__(self) -> None:
        self.log.append("enter")
        self.go.wait(10)

    def __exit__(self, *_: object) -> None:
        threading.Event().wait(self.linger)
        self.log.append("exit")
        if self.fail:
            raise OSError("cannot close")

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame


async def test_entered_context_is_left() -> None:
    """Also when the session was cancelled while the thread entered it."""
    slow = Slow()
    async with Pipeline(slow).session() as session:
        await until(lambda: slow.log == ["enter"])
        async with anyio.create_task_group() as group:
            group.start_soon(session.cancel)
            await anyio.lowlevel.checkpoint()
            slow.go.set()
    assert slow.log == ["enter", "exit"]


async def test_a_thread_ends_although_leaving_fails() -> None:
    """A failure while leaving the context fails the session."""
    slow = Slow(fail=True)
    slow.go.set()
    with pytest.raises(OSError, match="cannot close"):
        async with Pipeline(slow).session() as session:
            await session.send(audio())
    await until(lambda: workers() == 0)


async def test_an_async_context_of_a_blocking_processor_is_entered() -> None:
    """An async context of a blocking processor is entered in the event loop."""

    class Both(Processor):
        blocking = True

        def __init__(self) -> None:
            self.log: list[str] = []

        async def __aenter__(self) -> None:
            self.log.append("enter")

        async def __aexit__(self, *_: object) -> None:
            self.log.append("exit")

        def process(self, frame: Audio) -> None:
            self.log.append("frame")

    both = Both()
    async with Pipeline(both).session() as session:
        await session.send(audio())
    assert both.log == ["enter", "frame", "exit"]


async def test_an_interrupt_reaches_the_last_batch() -> None:
    """Although the end is known already, the thread gets the interrupt before it."""
    threaded = Threaded()
    threaded.go.clear()
    async with Harness(threaded) as harness:
        await harness.send(audio(0), audio(1, epoch=0))
        await until(lambda: harness.statistics().processors["Threaded"].frames_in == 2)
        harness.session.end()
        number = harness.interrupt()
        threaded.go.set()
    assert [type(frame).__name__ for frame in threaded.batches] == ["Audio", "Interrupt"]
    assert [index(frame) for frame in harness.of(Audio)] == [0]
    assert number == 1


@pytest.mark.real
async def test_leaving_takes_the_time_of_draining() -> None:
    """After a graceful end a blocking processor may close slowly: nobody has cancelled it."""
    slow = Slow()
    slow.go.set()
    slow.linger = 0.1
    async with Pipeline(slow).session(cancel_seconds=0.05) as session:
        await session.send(audio())
    assert slow.log == ["enter", "exit"]


async def test_context_variables_arrive_in_the_thread() -> None:
    """A trace or request id that is set where the session starts is seen by a blocking processor, as by any other."""
    trace = ContextVar("trace", default="unset")

    class Traces(Processor):
        blocking = True

        def process(self, frame: Text) -> Iterator[Text]:
            yield Text(trace.get())

    token = trace.set("mine")
    async with Harness(Traces()) as harness:
        trace.reset(token)
        await harness.send(Text("a"))
        assert await harness.end() == [Text("mine")]


def test_the_program_ends_after_a_call_that_was_cancelled() -> None:
    """A native library may abort a process that ends in the middle of its call."""
    program = """
import atexit, threading
import anyio
from bargein.pipeline.lowlevel import Worker

leaving = threading.Event()
atexit.register(leaving.set)

def call():
    leaving.wait()
    print("ended", flush=True)

async def main():
    with anyio.move_on_after(0):
        await Worker("test").call(call)

anyio.run(main)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "ended\n"
