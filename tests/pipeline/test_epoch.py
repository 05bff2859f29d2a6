"""The epoch: one cause, one step."""

from __future__ import annotations

import pytest

from bargein.pipeline import LIVE
from bargein.pipeline._epoch import Epoch


@pytest.mark.parametrize(
    ("number", "replied", "about", "automatic", "steps"),
    [
        (0, -1, LIVE, True, False),  # nothing to interrupt yet
        (0, -1, LIVE, False, True),  # the application always means it
        (0, 0, LIVE, True, True),  # a response is under way
        (1, 0, LIVE, True, False),  # the same cause, told a second time
        (1, 0, LIVE, False, True),
        (1, 1, LIVE, True, True),  # the next response
        (1, 1, 0, True, False),  # a late word about the response before
        (1, 1, 1, True, True),
        (3, 1, 3, False, True),
    ],
)
def test_the_table_of_steps(number: int, replied: int, about: int, automatic: bool, steps: bool) -> None:
    """An interrupt advances the epoch, unless it repeats another."""
    epoch = Epoch()
    epoch.number, epoch.replied = number, replied
    assert epoch.advance(about=about, automatic=automatic) is steps
    assert epoch.number == number + steps
    assert (epoch.steps, epoch.coalesced) == (int(steps), int(not steps))


def test_a_response_belongs_to_the_epoch_in_which_it_begins() -> None:
    """A response belongs to the current epoch, and the next interrupt ends it."""
    epoch = Epoch()
    assert epoch.begin_response() == 0
    assert epoch.advance(about=LIVE, automatic=True)
    assert not epoch.advance(about=LIVE, automatic=True)
    assert epoch.begin_response() == 1
    assert epoch.advance(about=LIVE, automatic=True)
