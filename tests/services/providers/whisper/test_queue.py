"""The queue in front of a model."""

from __future__ import annotations

import threading

import pytest

from bargein.services.providers.whisper._queue import BusyError, CallQueue


def test_callers_are_served_in_order() -> None:
    """Each when the one before has left; one that gives up is not waited for."""
    queue, served = CallQueue(), list[int]()
    first, *others = [queue.join(max_waiting=5) for _ in range(4)]
    given_up = others.pop(1)

    def serve(number: int) -> None:
        queue.wait(others[number])
        served.append(number)
        queue.leave(others[number])

    threads = [threading.Thread(target=serve, args=(number,)) for number in (1, 0)]
    for thread in threads:
        thread.start()
    assert queue.is_first(first)
    assert (queue.waiting, queue.waiting_peak, served) == (3, 3, [])
    queue.leave(given_up)
    queue.leave(first)
    for thread in threads:
        thread.join(10)
    assert served == [0, 1]
    assert not queue.busy


def test_one_that_has_left_does_not_wait() -> None:
    """Its thread, which runs on after a cancellation, ends."""
    queue = CallQueue()
    queue.join(0)
    late = queue.join(1)
    queue.leave(late)
    queue.wait(late)


def test_it_is_bounded() -> None:
    queue = CallQueue()
    queue.join(0)
    with pytest.raises(BusyError, match="0 utterances wait"):
        queue.join(0)
    queue.join(1)
    with pytest.raises(BusyError, match="1 utterances wait"):
        queue.join(1)
