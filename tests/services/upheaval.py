"""Conversations in which everything happens at once, whoever the provider is, and what must hold of all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random

import anyio

from bargein.pipeline import LIVE, Audio, Interrupt, Text, UserText
from bargein.pipeline.testing import Harness

__all__ = ["nothing_stale", "seeded", "upheaval"]

Does = Callable[[], Awaitable[None]]


async def seeded(converse: Callable[[int], Awaitable[None]], seeds: Iterable[int]) -> None:
    """One conversation for each seed; one that fails says which, so that it can be met again."""
    for seed in seeds:
        try:
            await converse(seed)
        except BaseException as error:
            error.add_note(f"in the conversation of seed {seed}")
            raise


async def upheaval(
    harness: Harness,
    random: Random,
    *,
    speech: Does,
    again: Does | None = None,
    close: Does,
    both: int = 2,
    more: Mapping[str, Does] | None = None,
) -> None:
    """Text, waits, interrupts and broken connections, in any order, and what each may do to the epoch.

    `speech` has the provider hear the user; `again` tells of the same speech a second time (by default like the first);
    `both`, with an interrupt of the application's own, may be up to so many steps. `more` can happen, too.
    """
    session = harness.session
    others = more or {}
    await anyio.sleep(0.01)
    for _ in range(random.randint(3, 10)):
        before = session.epoch
        match random.choice(("text", "text", "wait", "wait", "local", "server", "both", "twice", "break", *others)):
            case "text":
                await harness.send(UserText(text="go on"))
                await anyio.sleep(random.choice((0.0, 0.01, 0.3)))
            case "wait":
                await anyio.sleep(random.choice((0.02, 0.2, 1.0, 3.0)))
            case "local":
                harness.interrupt()
                assert session.epoch == before + 1
            case "server":
                await speech()
            case "both":
                await speech()
                harness.interrupt()
                await anyio.sleep(random.choice((0.0, 0.05)))
                assert session.epoch <= before + both
            case "twice":
                await speech()
                await (again or speech)()
                await anyio.sleep(0.05)
                assert session.epoch <= before + 1, "one cause, one step"
            case "break":
                await close()
                await anyio.sleep(random.choice((0.0, 0.5)))
            case other:
                await others[other]()


def nothing_stale(harness: Harness) -> None:
    """After an interrupt no sample and no word of what had begun before it comes."""
    epoch = 0
    for _, frame in harness.timeline:
        if isinstance(frame, Interrupt):
            assert frame.epoch > epoch, "each step once"
            epoch = frame.epoch
        elif isinstance(frame, Audio | Text) and frame.epoch != LIVE:
            assert frame.epoch >= epoch
