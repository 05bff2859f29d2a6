"""Reorder: packets in the order in which they were sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.media.jitter_buffer import Reorder


def fed(reorder: Reorder, *numbers: int) -> list[int]:
    return [stamp for number in numbers for stamp, _ in reorder.add(number % 65536, number, b"")]


def test_packets_in_order_pass_at_once() -> None:
    """While nothing is missing, each packet is yielded when it comes."""
    reorder = Reorder()
    for number in range(65_530, 65_545):
        assert fed(reorder, number) == [number]
    assert (reorder.late, reorder.lost) == (0, 0)


def test_late_packet_is_waited_for() -> None:
    """The late packet is yielded before those that came meanwhile."""
    assert fed(Reorder(), 1, 3, 4, 2, 5) == [1, 2, 3, 4, 5]


def test_lost_packet_is_skipped() -> None:
    """After `depth` packets behind it. If it comes then, it is too late."""
    reorder = Reorder(depth=3)
    assert fed(reorder, 1, 3, 4) == [1]
    assert fed(reorder, 5) == [3, 4, 5]
    assert fed(reorder, 2) == []
    assert (reorder.late, reorder.lost) == (1, 1)


def test_flush() -> None:
    """It yields what waits when no more packets come."""
    reorder = Reorder()
    assert fed(reorder, 1, 3, 6) == [1]
    assert [stamp for stamp, _ in reorder.flush()] == [3, 6]
    assert reorder.lost == 3


@pytest.mark.parametrize("jump", [-3000, 3000, 32_768])
def test_sender_restart(jump: int) -> None:
    """What came before the restart is yielded first."""
    assert fed(Reorder(), 40_000, 40_002, 40_000 + jump, 40_001 + jump) == [
        40_000,
        40_002,
        40_000 + jump,
        40_001 + jump,
    ]


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)), st.integers(0, 65_535))
def test_order_holds_on_any_network(order: list[int], lost: set[int], first: int) -> None:
    """Nothing comes twice or out of order, and every packet that is not yielded was counted."""
    reorder = Reorder()
    sent = [first + number for number in order if number not in lost]
    given_ = fed(reorder, first - 1, *sent) + [stamp for stamp, _ in reorder.flush()]
    assert given_ == sorted(set(given_))
    assert len(given_) == 1 + len(sent) - reorder.late
