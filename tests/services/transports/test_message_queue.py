"""What waits for a peer: in order, urgent first, bounded."""

from __future__ import annotations

import numpy as np

from bargein.pipeline import Audio, Frame, Text
from bargein.services.transports.message_socket._message_queue import MessageQueue


def sound(ms: int, *, pts: int = 0, epoch: int = 0) -> Audio:
    return Audio(samples=np.zeros(8 * ms, np.int16), rate=8000, pts=pts, epoch=epoch)


def drained(outbox: MessageQueue) -> list[str | bytes | Frame]:
    messages = []
    while (message := outbox.pop()) is not None:
        messages.append(message.data)
    return messages


def test_urgent_messages_go_first() -> None:
    """Among themselves and among the others, the order stays."""
    outbox = MessageQueue(max_audio_ms=1000, max_messages=10)
    outbox.add("a")
    outbox.add("b")
    outbox.add_urgent("1")
    outbox.add_urgent("2")
    assert len(outbox) == 4
    assert drained(outbox) == ["1", "2", "a", "b"]


def test_a_flush_drops_what_is_older_and_keeps_news() -> None:
    """Sound and words of an epoch that is over; what never expires stays."""
    outbox = MessageQueue(max_audio_ms=1000, max_messages=10)
    new = sound(20, epoch=1)
    outbox.add(sound(20))
    outbox.add(Text("words", response_id="r", epoch=0))
    outbox.add("news")
    outbox.add(new)
    outbox.flush(1)
    assert outbox.flushed == 2
    assert drained(outbox) == ["news", new]


def test_sound_pushes_out_the_oldest_sound() -> None:
    """Other messages stay, and the loss is counted and reported."""
    dropped: list[Audio] = []
    outbox = MessageQueue(max_audio_ms=60, max_messages=100, on_drop=dropped.append)
    pieces = [sound(20, pts=number) for number in range(5)]
    outbox.add("first")
    for each in pieces:
        outbox.add(each)
    assert (outbox.dropped, [each.pts for each in dropped]) == (2, [0, 1])
    assert drained(outbox) == ["first", *pieces[2:]]
    outbox.add(sound(60))
    assert outbox.dropped == 2


def test_too_many_messages_are_noticed() -> None:
    """The owner of the queue decides what to do."""
    outbox = MessageQueue(max_audio_ms=60, max_messages=2)
    outbox.add("a")
    outbox.add("b")
    assert not outbox.overfull
    outbox.add_urgent("c")
    assert outbox.overfull


def test_what_is_urgent_is_said_to_the_last() -> None:
    """All else is dropped when nobody listens any more."""
    outbox = MessageQueue(max_audio_ms=60, max_messages=2)
    outbox.add(sound(20))
    outbox.add_urgent("wrong")
    outbox.clear()
    assert drained(outbox) == ["wrong"]
