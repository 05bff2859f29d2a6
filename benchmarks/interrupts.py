"""How long does an interrupt take from the head to the last of ten waiting stages, with 50 frames queued in each?

The stages wait for time to pass, as a pacer does, with and without a busy stage and a stage that swallows cancellation
among them. In a further scenario all stages work on a frame that the interrupt expires, so that ten pieces of work are
cancelled too. The floors do the same by hand: ten events set, ten cancel scopes cancelled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import anyio
from _kit import audio, best, clock, options, run, show

from bargein.pipeline import Audio, Inbox, Interrupt, Outlet, Pipeline, Processor

STAGES = 10
QUEUED = 50


class Stage(Processor):
    """Records when the interrupt came."""

    came = 0.0


class Paces(Stage):
    """Waits for time to pass, and leaves its frames where they are."""

    async def run(self, inbox: Inbox[Audio | Interrupt], out: Outlet[Audio]) -> None:
        while True:
            if await inbox.urgent(1000) is not None:
                self.came = clock()


class Works(Stage):
    """Works on its first frame."""

    async def process(self, frame: Audio | Interrupt, out: Outlet[Audio]) -> None:
        if isinstance(frame, Interrupt):
            self.came = clock()
        else:
            await anyio.sleep_forever()


class Busy(Works):
    """Works on the user's own sound, which no interrupt expires."""


class Swallows(Stage):
    """Ignores its cancellation several times."""

    async def process(self, frame: Audio | Interrupt, out: Outlet[Audio]) -> None:
        for _ in range(20):
            with contextlib.suppress(BaseException):
                await anyio.sleep_forever()


async def engine(kind: type[Stage], odd: type[Stage] | None = None) -> float:
    """Return seconds from `interrupt()` until the last stage has received it, without the odd stage."""
    stages = [(odd if odd and at == STAGES // 2 else kind)() for at in range(STAGES)]
    async with Pipeline(*stages).session() as session:
        session.interrupt()  # the first one compiles its delivery
        await anyio.wait_all_tasks_blocked()
        for each in stages:
            each.came = 0.0
        for stage in session._run.stages[1:-1]:  # fill each stage's own inbox, as a settled backlog would
            assert stage.inbox is not None
            for _ in range(QUEUED + 1):
                stage.inbox._put(audio() if isinstance(stage.processor, Busy) else audio(session.epoch))
        session._run.overfull.clear()
        await anyio.wait_all_tasks_blocked()
        asked = [stage for stage in stages if type(stage) is kind]
        began = clock()
        session.interrupt()
        while not all(stage.came for stage in asked):
            await anyio.lowlevel.checkpoint()
        took = max(stage.came for stage in asked) - began
        await session.cancel()
    return took


async def by_hand(wait: Callable[[], Any], wake: Callable[[Any], None]) -> float:
    """Return seconds to wake ten waiting tasks in a loop."""
    came: list[float] = []
    waiting: list[Any] = []

    async def task() -> None:
        with anyio.CancelScope() as scope:
            event = anyio.Event()
            waiting.append(wait() or (scope, event))
            await event.wait()
        came.append(clock())

    async with anyio.create_task_group() as group:
        for _ in range(STAGES):
            group.start_soon(task)
        await anyio.wait_all_tasks_blocked()
        began = clock()
        for each in waiting:
            wake(each)
    return max(came) - began


def main() -> None:
    arguments = options(__doc__)
    rounds = 5 if arguments.quick else 100

    async def measure() -> dict[str, Any]:
        scenarios = {
            "waiting": (Paces, None),
            "busy": (Paces, Busy),
            "swallows": (Paces, Swallows),
            "at_work": (Works, None),
        }
        result = {
            f"{name}_ms": 1e3 * best([await engine(*each) for _ in range(rounds)]) for name, each in scenarios.items()
        }
        nothing: Callable[[], None] = lambda: None  # noqa: E731
        result["events_ms"] = 1e3 * best([await by_hand(nothing, lambda pair: pair[1].set()) for _ in range(rounds)])
        result["scopes_ms"] = 1e3 * best([await by_hand(nothing, lambda pair: pair[0].cancel()) for _ in range(rounds)])
        result["ratio"] = result["waiting_ms"] / result["events_ms"]
        result["at_work_ratio"] = result["at_work_ms"] / result["scopes_ms"]
        return result

    result = run(arguments.backend, measure)
    line = (
        f"an interrupt, head to last of {STAGES} stages with {QUEUED} frames each: {result['waiting_ms']:.3f} ms "
        f"({result['ratio']:.1f} x ten bare events, {result['events_ms']:.3f} ms); with a busy one "
        f"{result['busy_ms']:.3f} ms, with one that swallows cancellation {result['swallows_ms']:.3f} ms; when all are "
        f"at work on stale frames {result['at_work_ms']:.3f} ms ({result['at_work_ratio']:.1f} x ten bare cancel "
        f"scopes, {result['scopes_ms']:.3f} ms)"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
