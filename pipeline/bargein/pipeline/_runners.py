"""The runners: how a processor with its own task is driven, by its kind."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

import anyio

from ._cancellation import CancellationIgnored, run_cancellable
from ._contract import ProcessorKind
from ._inbox import Inbox
from ._outlet import Outlet
from ._stage import Stage, inherit
from ._task_state import TaskState
from ._worker import Worker
from .frames import LIVE, Delivery, Frame

__all__ = ["runner_of"]

MAX_BATCH = 32
"""Maximum number of frames handed to a worker thread at once. A hand-over costs two switches between threads."""
MAX_BATCH_SECONDS = 0.005
"""Maximum time a worker spends on one batch, in seconds. What it has no time for is handed over again."""

Runner = Callable[[TaskState, Stage, Inbox[Any]], Awaitable[None]]


def runner_of(stage: Stage) -> Runner:
    """Return the function that drives the stage's processor until its inbox has ended."""
    assert stage.contract is not None
    if stage.contract.kind is ProcessorKind.LOOP:
        return _run_loop
    if stage.contract.kind is ProcessorKind.ASYNC:
        return _run_async
    return _run_blocking if stage.blocking else _run_sync


async def _run_sync(state: TaskState, stage: Stage, inbox: Inbox[Any]) -> None:
    run, enter = state.run, state.run.sweeper.enter
    async for frame in inbox:
        enter(stage, frame)
        if run.overfull:
            await run.wait_for_room(stage)


async def _run_async(state: TaskState, stage: Stage, inbox: Inbox[Any]) -> None:
    run, process = state.run, stage.processor.process
    # One for all live frames, which are nearly all: it keeps no state of a frame.
    live_outlet: Outlet[Any] = Outlet(run, stage)
    task_scope, is_cancelled = stage.scope, state.is_cancelled
    assert task_scope is not None
    while True:
        try:
            frame = await inbox.receive()
        except anyio.EndOfStream:
            return
        try:
            if frame.epoch == LIVE:
                await run_cancellable(process(frame, live_outlet), task_scope, is_cancelled)
            elif frame.delivery is Delivery.URGENT:
                # What an urgent frame causes belongs to its epoch, but an interrupt does not cancel the work on it.
                await run_cancellable(process(frame, Outlet(run, stage, frame.epoch)), task_scope, is_cancelled)
            else:
                with anyio.CancelScope() as scope:
                    # Where an interrupt finds the work that it expires. Live work is never expired, so it needs no
                    # scope.
                    stage.working = (frame.epoch, scope)
                    outlet: Outlet[Any] = Outlet(run, stage, frame.epoch)
                    await run_cancellable(process(frame, outlet), scope, state.cancel_check(scope))
        except CancellationIgnored:
            state.on_ignored_cancellation(stage, frame)
        except Exception as error:
            run.failed(stage, error, frame)
        finally:
            stage.working = None


async def _run_loop(state: TaskState, stage: Stage, inbox: Inbox[Any]) -> None:
    contract, scope, processor = stage.contract, stage.scope, stage.processor
    assert contract is not None
    assert scope is not None
    outlet: Outlet[Any] = Outlet(state.run, stage)
    ports = [inbox if port == "inbox" else outlet for port in contract.ports]
    while True:
        try:
            await run_cancellable(processor.run(*ports), scope, state.cancel_check(scope))
        except Exception as error:
            if isinstance(error, anyio.EndOfStream) and inbox.ended:
                return  # it awaited another frame and there is none: the usual way to end
            # A loop that has failed has lost what it knew. Only its author can say that it may begin again.
            if processor.on_error != "restart" or stage.counters.restarts >= processor.max_restarts:
                raise
            stage.counters.restarts += 1
            what = f"was restarted ({stage.counters.restarts} of {processor.max_restarts})"
            state.run.report(stage, error, what)
        else:
            return


async def _run_blocking(state: TaskState, stage: Stage, inbox: Inbox[Any]) -> None:
    processor = stage.processor
    worker = Worker(f"bargein {stage.name}")
    entered: list[bool] = []  # set in the thread, which may get there after the session has abandoned it

    def enter() -> None:
        processor.__enter__()
        entered.append(True)

    def leave() -> None:
        if entered:
            processor.__exit__(None, None, None)

    managed = hasattr(processor, "__enter__") and not hasattr(processor, "__aenter__")
    try:
        if managed:
            await worker.call(enter)
        async for first in inbox:
            batch = [first]
            # Only what is here already. To wait for a full batch would delay the first frame.
            while len(batch) < MAX_BATCH and (frame := inbox.receive_nowait()) is not None:
                batch.append(frame)
            while batch:
                # Between two batches an interrupt overtakes the frames that are left of the last one.
                if (urgent := inbox.urgent_nowait()) is not None:
                    batch.insert(0, urgent)
                batch = await _work_through(state, stage, worker, batch)
    finally:
        cancelled = stage.scope is not None and state.is_cancelled_in(stage.scope)
        # At the session's end the thread may take as long as it needs. After a cancellation it gets half of the bound:
        # the shield is needed, as otherwise the wait would be cancelled at once.
        bound = state.cancel_seconds / 2 if cancelled else math.inf
        try:
            with anyio.CancelScope(shield=cancelled):
                if not await worker.finish(leave if managed else None, bound):
                    state.unstoppable.append(stage.name)
        except anyio.get_cancelled_exc_class():
            state.unstoppable.append(stage.name)
            raise


async def _work_through(state: TaskState, stage: Stage, worker: Worker, batch: list[Frame]) -> list[Frame]:
    """Hand a batch to the thread and deliver the outputs. Returns the frames for which there was no time."""
    run = state.run
    outputs, used, error = await worker.call(partial(_process_batch, stage, batch))
    for out, cause in outputs:
        # Checked here and not in the thread, where the policy for errors must not be applied.
        if not isinstance(out, Frame):
            run.failed(stage, stage.not_a_frame(out), batch[used - 1])
            continue
        stage.counters.frames_out += 1
        run.feed(stage, inherit(out, cause) if out.epoch > cause else out)
    if error is not None:
        run.failed(stage, error, batch[used - 1])
    if run.overfull:
        await run.wait_for_room(stage)
    return batch[used:]


def _process_batch(stage: Stage, batch: list[Frame]) -> tuple[list[tuple[Any, int]], int, Exception | None]:
    """Work through a batch, in the worker thread.

    Returns:
        The outputs, each with the epoch of its cause; the number of frames used; and the exception that ended the work.
    """
    process, epoch = stage.outputs, stage.epoch
    outputs: list[tuple[Any, int]] = []
    began = perf_counter()
    for used, frame in enumerate(batch, 1):
        # Read without a lock: an int that only grows. An old value costs one frame of work, whose output is dropped in
        # the loop.
        if frame.epoch < epoch.number:
            stage.counters.stale += 1
            continue
        try:
            outputs += [(out, frame.epoch) for out in process(frame)]
        except Exception as error:
            return outputs, used, error
        if perf_counter() - began > MAX_BATCH_SECONDS:
            return outputs, used, None
    return outputs, len(batch), None
