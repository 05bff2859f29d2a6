"""VoiceReceiver: packets in, one unbroken stream of sound out."""

from __future__ import annotations

import numpy as np
import pytest

from bargein.pipeline import Audio
from bargein.pipeline.testing import joined, tone
from bargein.services.media.voice_receiver import VoiceReceiver
from bargein.services.media.voice_sender import SILENCE, Encoder

PACKET = 960


def packets(count: int) -> list[bytes]:
    encoder, samples = Encoder(48_000), tone(440, count * 20, rate=48_000, dbfs=-12)
    return [encoder.encode(samples[at : at + PACKET]) for at in range(0, len(samples), PACKET)]


def listened(*numbers: int, listening: VoiceReceiver | None = None, first: int = 4_294_966_000) -> list[Audio]:
    listening = listening or VoiceReceiver()
    sent = packets(max(numbers) + 1)
    return [
        audio
        for number in numbers
        for audio in listening.packet(number, (first + number * PACKET) % (1 << 32), sent[number])
    ]


def steady(frames: list[Audio]) -> bool:
    at = [0, *np.cumsum([len(frame.samples) for frame in frames])]
    return [frame.pts for frame in frames] == [int(each) * 1_000_000_000 // 48_000 for each in at[:-1]]


def test_packets_become_sound_at_once() -> None:
    """Across the wrap of the RTP clock, too."""
    frames = listened(*range(10))
    assert [len(frame.samples) for frame in frames] == [960] * 10
    assert steady(frames)
    assert np.abs(joined(frames)[960:]).max() == pytest.approx(8230, rel=0.1)


def test_lost_packet_becomes_silence() -> None:
    """The silence has the length of the lost packet."""
    frames = listened(0, 1, 2, 5, 6, 7, 8, 9)
    assert steady(frames)
    sound = joined(frames)
    assert len(sound) == 10 * PACKET
    assert not sound[3 * PACKET : 5 * PACKET].any()


def test_reordered_packets_give_the_same_sound() -> None:
    """Packets that arrive out of order are put in order."""
    assert np.array_equal(joined(listened(0, 2, 1, 3, 5, 6, 4, 7)), joined(listened(*range(8))))


def test_silent_sender_becomes_two_seconds_of_silence() -> None:
    """After that, and before the first sound, no silence is made."""
    listening = VoiceReceiver()
    assert not list(listening.quiet(100))
    frames = listened(0, 1, listening=listening)
    for _ in range(30):
        frames += listening.quiet(100)
    assert steady(frames)
    assert sum(frame.ms for frame in frames) == 40 + 2000
    frames += listened(2, 3, listening=listening)
    assert steady(frames), "what comes late was sent all the same: nothing of it is dropped"


def test_long_gap_is_a_gap_in_pts() -> None:
    """A peer that was muted for a minute does not add a minute of silence."""
    listening = VoiceReceiver()
    sent = packets(2)
    (one,) = listening.packet(7, 0, sent[0])
    (other,) = listening.packet(8, 60 * 48_000, sent[1])
    assert (one.pts, other.pts) == (0, 60_000_000_000)


def test_damaged_packets_are_counted() -> None:
    """The next packet is played."""
    listening = VoiceReceiver()
    assert not list(listening.packet(0, 0, b""))
    list(listening.packet(1, 960, b"\xff\xff\xff\xff"))
    assert listening.damaged <= 1
    assert list(listening.packet(2, 1920, SILENCE))
