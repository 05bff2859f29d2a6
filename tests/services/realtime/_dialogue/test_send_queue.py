"""The send queue: in order, bounded, and kept while there is no connection."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from bargein.services.realtime import Message, Protocol
from bargein.services.realtime._dialogue.send_queue import MAX_COMMANDS, RECENT_MS, SendQueue

pytestmark = pytest.mark.virtual


class Spelled(Protocol):
    """Messages are the bytes of the audio."""

    def audio(self, pcm: bytes) -> Message | Iterable[Message]:
        return pcm


def connected(seconds: float = 1.0, *first: str) -> SendQueue:
    queue = SendQueue(seconds)
    queue.connect(Spelled())
    queue.begin(first)
    return queue


def drain(queue: SendQueue) -> list[Message]:
    sent: list[Message] = []
    while queue:
        sent += queue.take()
        queue.on_sent()
    return sent


async def test_messages_stay_in_order() -> None:
    """Messages, commands and audio leave in the order in which they came, after the first messages of a session."""
    queue = connected(1.0, "seed")
    queue.add_audio(b"a", 20, 0)
    queue.command(lambda protocol: ["command"])
    queue.post(["message"])
    queue.command(lambda protocol: ["late"], behind_audio=True)
    queue.add_audio(b"b", 20, 0)
    assert drain(queue) == ["seed", b"a", "command", "message", "late", b"b"]


async def test_commands_and_audio_outlive_a_connection() -> None:
    """Messages do not. A command is encoded for the session that it is sent in."""
    queue = SendQueue(1.0)
    queue.add_audio(b"a", 20, 0)
    queue.command(lambda protocol: [f"command in {type(protocol).__name__}"])
    assert not queue
    queue.connect(Spelled())
    queue.post(["lost"])
    queue.disconnect()
    queue.connect(Spelled())
    queue.begin(["seed"])
    assert drain(queue) == ["seed", b"a", "command in Spelled"]


async def test_oldest_audio_is_dropped() -> None:
    """It is counted, and everything else stays."""
    queue = SendQueue(0.1)
    queue.command(lambda protocol: ["command"])
    for letter in (b"a", b"b", b"c"):
        queue.add_audio(letter, 50, 0)
    assert queue.dropped_ms == 50
    queue.connect(Spelled())
    queue.begin([])
    assert drain(queue) == ["command", b"b", b"c"]


async def test_oldest_command_is_dropped() -> None:
    """Without a connection, commands would grow without a bound."""
    queue = SendQueue(1.0)
    for number in range(MAX_COMMANDS + 1):
        queue.command(lambda protocol, number=number: [str(number)])  # type: ignore[misc]
    queue.connect(Spelled())
    queue.begin([])
    assert drain(queue) == [str(number) for number in range(1, MAX_COMMANDS + 1)]


async def test_unacknowledged_audio_is_sent_again() -> None:
    """The next connection gets the last seconds. Audio that had an effect is not repeated."""
    queue = connected(60.0)
    pieces = [bytes([number]) for number in range(10)]
    queue.add_audio(b"x", 1000, 0)
    drain(queue)
    queue.acknowledge()
    for piece in pieces:
        queue.add_audio(piece, 1000, 0)
    drain(queue)
    assert queue.has_unacknowledged
    queue.disconnect()
    queue.connect(Spelled())
    queue.begin([])
    assert drain(queue) == pieces[-int(RECENT_MS / 1000) :]
    queue.acknowledge()
    assert not queue.has_unacknowledged


async def test_positions_become_media_time() -> None:
    """A position in the audio of a connection becomes `pts`."""
    queue = connected()
    queue.add_audio(b"a", 20, 5_000_000_000)
    queue.add_audio(b"b", 20, 5_020_000_000)
    drain(queue)
    assert queue.pts(20) == 5_020_000_000
    queue.disconnect()
    queue.connect(Spelled())
    assert queue.pts(20) == 20_000_000


async def test_silence_fills_gaps_only() -> None:
    """It is not sent while something waits."""
    queue = connected()
    queue.add_silence(b"0", 100)
    assert drain(queue) == [b"0"]
    queue.add_audio(b"a", 20, 0)
    queue.add_silence(b"0", 100)
    assert drain(queue) == [b"a"]
