"""Calls in which everything happens at once, with parts that fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from bargein.pipeline import LIVE, Audio, Interrupt, ResponseEnded, ResponseStarted, ToolCall
from bargein.pipeline.statistics import Hop
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Spoken, Timing
from bargein.services.failover import Failover, FailoverError
from tests.environment import amount

from .chance import User, World, cascade

pytestmark = pytest.mark.virtual

SEEDS = amount(12, 60)
LEAD_MS = 40


class Watch:
    """What a voice gave, and what of it was released."""

    def __init__(self) -> None:
        self.timings: dict[tuple[str, str], list[Timing]] = {}
        self.made: dict[tuple[str, str], float] = {}
        self.late = False
        """The end came in the middle: of what is heard after it nobody writes down how much."""

    def __call__(self, hop: Hop) -> None:
        if hop.source.endswith("speak"):
            frame = hop.frame
            if isinstance(frame, Timing):
                self.timings.setdefault((frame.response_id, frame.item_id), []).append(frame)
            elif isinstance(frame, Audio):
                key = frame.response_id, frame.item_id
                self.made[key] = self.made.get(key, 0.0) + frame.ms


async def converse(seed: int, failing: float = 1.0) -> None:
    """A call of one cascade, and what must hold of it."""
    world = World(seed, failing)
    brain = cascade(world)
    await call(world, brain, [brain.answer.part])


async def move(seed: int) -> None:
    """The same call where one cascade takes over from the other when that fails, or by hand."""
    world = World(seed, 0.3)
    first, second = cascade(world, name="first"), cascade(world, name="second")
    brain = Failover(
        first, second, cooldown_seconds=world.random.choice((1, 20, 60)), silence_seconds=world.random.choice((5, 60))
    )
    try:
        await call(world, brain, [first.answer.part, second.answer.part], brain.switch)
    except* FailoverError:
        pass  # with nobody left there is nothing more to hold


async def call(world: World, brain: Any, minds: list[Any], *does: Callable[[], None]) -> None:
    watch = Watch()
    async with Harness(brain, Spoken(), Pacer(lead_ms=LEAD_MS)) as harness:
        user = User(world, harness, *does)
        world.interrupt = user.interrupt
        with harness.session.tap(watch):
            await user.does(world.random.randint(3, 14))
            if world.chance(0.3):
                with anyio.fail_after(400):
                    await harness.end()  # in the middle of it
                watch.late = True
            else:
                world.calm = True
                await anyio.sleep(world.random.choice((0, 5, 30)))
                last = await user.types()
                await anyio.sleep(250)
                assert any(last in asked for mind in minds for asked in mind.asked[-1:]), "the last turn was answered"
                heard = [frame for frame in harness.of(Heard) if frame.done and "At last" in frame.text]
                assert heard, f"the call is dead\n{harness.timeline}"
                with anyio.fail_after(100):
                    await harness.end()
    _nothing_stale(harness)
    _each_response_ends(harness)
    if not does:  # another brain may hear other words in the same sound
        assert not _lost(brain, world.said)
    assert not _lost(brain, user.typed)
    if not watch.late:
        _remembered_as_heard(brain, harness, watch)
    if not (does and watch.late):  # of a brain that was left the tools end with the session
        _pairs(brain, harness)
    assert not any(mind.open for mind in minds)


def _nothing_stale(harness: Harness) -> None:
    epoch = 0
    for _, frame in harness.timeline:
        if isinstance(frame, Interrupt):
            assert frame.epoch > epoch, "each step once"
            epoch = frame.epoch
        elif frame.epoch != LIVE:
            assert frame.epoch >= epoch, frame


def _each_response_ends(harness: Harness) -> None:
    open_: list[str] = []
    over: list[str] = []
    for _, frame in harness.timeline:
        if isinstance(frame, ResponseStarted):
            assert frame.response_id not in (*open_, *over)
            open_.append(frame.response_id)
        elif isinstance(frame, ResponseEnded):
            assert frame.response_id in open_, f"{frame} of what has not begun"
            open_.remove(frame.response_id)
            over.append(frame.response_id)
    assert not open_


def _lost(brain: Any, words: list[str]) -> list[str]:
    kept = " ".join(entry.text for entry in brain.history if entry.role == "user").split()
    return [word for word in words if word not in kept]


def _remembered_as_heard(brain: Any, harness: Harness, watch: Watch) -> None:
    released: dict[tuple[str, str], float] = {}
    for frame in harness.of(Audio):
        key = frame.response_id, frame.item_id
        released[key] = released.get(key, 0.0) + frame.ms
    for entry in brain.history:
        if entry.role != "assistant":
            continue
        key = entry.response_id, entry.item_id
        timed = watch.timings.get(key, [])
        spoken = [each.text.strip() for each in timed]
        ends = [each.end_ms for each in timed]
        if not timed or spoken != entry.text.split()[: len(spoken)] or ends != sorted(ends):
            continue  # nobody knows when its words sound, or the voice failed after it had said when
        if len(spoken) < len(entry.text.split()) and released.get(key, 0.0) > ends[-1]:
            continue
        came = sum(end <= released.get(key, 0.0) + 1e-6 for end in ends)
        remembered = len(entry.remembered.split())
        assert abs(came - remembered) <= 1, (entry, came, released.get(key), timed)


def _pairs(brain: Any, harness: Harness) -> None:
    known = {entry.call_id: entry for entry in brain.history if entry.role == "call"}
    for call in harness.of(ToolCall):
        assert call.call_id in known
        if call.handled and known[call.call_id].output is None:
            raise AssertionError(f"{call} was never answered")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", [converse, move])
async def test_everything_at_once(what: Callable[[int], Awaitable[None]]) -> None:
    """Seeded, so that a failure can be met again."""
    for seed in range(SEEDS):
        try:
            await what(seed)
        except BaseException as error:
            error.add_note(f"in the conversation of seed {seed}")
            raise
