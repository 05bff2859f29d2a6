"""Sound between two threads: in order, cut and held with fades, bounded; and neither thread waits."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from bargein.services.transports.local._device_sound import Microphone, Speaker

RATE = 8_000
LEVEL = 10_000


def loud(count: int) -> Any:
    return np.full(count, LEVEL, np.int16)


def filled(speaker: Speaker, count: int) -> Any:
    out = np.empty(count, np.int16)
    speaker.fill(out)
    return out


def test_what_is_played_comes_in_order() -> None:
    """Cut as the device likes it, with silence where there is nothing; it rises from silence within 5 ms."""
    speaker = Speaker(RATE)
    assert not filled(speaker, 160).any()
    samples = np.arange(1000, 1400, dtype=np.int16)
    speaker.play(samples[:250])
    speaker.play(samples[250:])
    assert speaker.waiting == 400
    first, second, third = (filled(speaker, 160) for _ in range(3))
    assert first[0] == 0
    assert np.array_equal(first[40:], samples[40:160])
    assert np.array_equal(second, samples[160:320])
    assert np.array_equal(third[:80], samples[320:])
    assert not third[80:].any()
    assert speaker.waiting == 0


def test_a_cut_fades_and_forgets() -> None:
    """Within 5 ms; what comes after it is played at once."""
    speaker = Speaker(RATE)
    speaker.play(loud(800))
    filled(speaker, 160)
    speaker.cut()
    speaker.play(np.full(80, 500, np.int16))
    out = filled(speaker, 160)
    assert out[0] == LEVEL
    assert np.all(np.diff(out[:40].astype(int)) < 0)
    assert out[39] < LEVEL / 20
    assert out[40] == 0
    assert np.all(out[80:120] == 500)
    assert not out[120:].any()
    assert speaker.waiting == 0


def test_a_cut_in_silence_is_no_sound() -> None:
    """What waited and had not begun is never heard."""
    speaker = Speaker(RATE)
    speaker.play(loud(800))
    speaker.cut()
    assert not filled(speaker, 160).any()
    assert speaker.waiting == 0


def test_a_hold_fades_and_keeps() -> None:
    """The sound continues where it stopped, and fades in."""
    speaker = Speaker(RATE)
    speaker.play(loud(800))
    filled(speaker, 160)
    speaker.hold()
    out = filled(speaker, 160)
    assert out[:39].all()
    assert not out[40:].any()
    assert not filled(speaker, 160).any()
    assert speaker.waiting == 600
    speaker.resume()
    out = filled(speaker, 160)
    assert out[0] == 0
    assert np.all(out[40:] == LEVEL)


def test_a_hold_may_end_in_a_cut() -> None:
    """Then nothing of it is heard any more."""
    speaker = Speaker(RATE)
    speaker.play(loud(800))
    filled(speaker, 160)
    speaker.hold()
    filled(speaker, 160)
    speaker.cut()
    assert not filled(speaker, 160).any()


def test_what_a_device_does_not_take_is_bounded() -> None:
    """Dropped pieces are counted."""
    speaker = Speaker(RATE, max_ms=100)
    for _ in range(10):
        speaker.play(loud(160))
    assert speaker.waiting == 800
    assert speaker.dropped == 5


def test_the_microphone_drops_the_oldest() -> None:
    """Each piece knows its place all the same."""
    woken = []
    microphone = Microphone(max_pieces=3, wake=lambda: woken.append(1))
    for number in range(5):
        microphone.record(np.full(160, number, np.int16))
    pieces = []
    while (piece := microphone.take()) is not None:
        pieces.append((piece[0], int(piece[1][0])))
    assert pieces == [(320, 2), (480, 3), (640, 4)]
    assert microphone.dropped == 2
    assert len(woken) == 5


def test_two_threads_lose_nothing() -> None:
    """This holds whichever thread is faster."""
    speaker = Speaker(RATE, fade_ms=0.001, max_ms=1e6)
    samples = np.arange(1, 30_001, dtype=np.int16)

    def play() -> None:
        for at in range(0, len(samples), 100):
            speaker.play(samples[at : at + 100])

    thread = threading.Thread(target=play)
    thread.start()
    heard: list[int] = []
    while thread.is_alive() or speaker.waiting:
        out = filled(speaker, 64)
        heard += out[out != 0].tolist()
    thread.join()
    assert len(heard) >= len(samples) - 1000  # one sample of each rise is silent
    assert heard == sorted(heard)
