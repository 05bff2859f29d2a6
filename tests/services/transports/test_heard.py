"""History is what was heard, to one word, on every transport: with stalls, drops, interrupts and voices that fail."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.environment import amount

from .listeners import LISTENERS, Script, word

pytestmark = pytest.mark.virtual

SEEDS = amount([59, 76], [*range(40), 59, 76])
"""The conversations on each transport. The two of the daily run have a voice that fails, stalls and an interrupt."""
DELAYS = (0.0, 0.05, 0.15, 0.4)
"""Seconds that the way to a telephone takes. If it stands still, nobody can know what is on its way. So it is shorter
then than a word."""


def make_script(seed: int) -> Script:
    """Return a conversation in which anything may happen."""
    chance = random.Random(seed)
    word_ms, words = chance.choice((120, 200, 300, 500)), chance.randint(4, 24)
    length = word_ms * words / 1000
    stalls = [
        (chance.uniform(0, length), chance.choice((0.1, 0.5, 1.5, 4.0, 7.0)))
        for _ in range(chance.choice((0, 1, 1, 2)))
    ]
    interrupts = [chance.uniform(0, 1.3 * length) for _ in range(chance.choice((0, 1, 1, 2)))]
    return Script(
        word_ms=word_ms,
        words=words,
        stalls=tuple(sorted(stalls)),
        interrupts=tuple(interrupts),
        delay=chance.choice([delay for delay in DELAYS if not stalls or 1000 * delay < word_ms]),
        fails_after=chance.choice((99, 99, 99, chance.randint(0, words))),
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("transport", LISTENERS)
async def test_the_words_in_the_history_are_those_that_reached_the_far_end(
    transport: str, seed: int, tmp_path: Path
) -> None:
    """But for a word that was cut, and for one beside the end."""
    script = make_script(seed)
    listener = LISTENERS[transport](script)
    await listener.run(tmp_path)
    said = " ".join(entry.remembered for entry in listener.brain.history if entry.role == "assistant")
    remembered = {each.strip(".") for each in said.split()}
    sounded = {number: listener.ms[number] / script.word_ms for number in range(script.words)}
    forgotten = [number for number, share in sounded.items() if share > 0.9 and word(number) not in remembered]
    invented = [number for number, share in sounded.items() if share < 0.1 and word(number) in remembered]
    assert len(forgotten) + len(invented) <= 1, (script, sounded, forgotten, invented)
