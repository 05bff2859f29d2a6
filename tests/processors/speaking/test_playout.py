"""Playout: a player that is pulled, on a clock made of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from bargein.pipeline import Audio, Hold, Interrupt, Played, Resume
from bargein.pipeline.testing import framed, joined, tone
from bargein.processors import Playout


def reply(ms: float, *, chunk: float = 20, epoch: int = 0, response: str = "r") -> list[Audio]:
    return list(framed(tone(200, ms, dbfs=-6), ms=chunk, epoch=epoch, response_id=response))


def filled(*frames: Audio, behind_ms: float = 0.0) -> Playout:
    playout = Playout(behind_ms=behind_ms)
    for frame in frames:
        playout.add(frame)
    return playout


def pulled(playout: Playout, begin: float, end: float) -> list[Audio]:
    """What a clock of 20 ms pulls in that time."""
    count = round((end - begin) / 0.02)
    pieces = [playout.release(begin + number * 0.02, 20) for number in range(count)]
    return [piece for piece in pieces if piece is not None]


def test_audio_is_released_in_pieces() -> None:
    """Pieces have the requested length, come in order and hold samples of one frame only. Nothing is lost."""
    frames = reply(110, chunk=50)
    playout = filled(*frames)
    pieces = pulled(playout, 0, 1)
    assert [piece.ms for piece in pieces] == [20, 20, 10, 20, 20, 10, 10]
    assert np.array_equal(joined(pieces), joined(frames))
    assert [piece.pts for piece in pieces[:3]] == [0, 20_000_000, 40_000_000]
    assert not playout.waiting


@pytest.mark.parametrize("behind_ms", [0.0, 60.0])
def test_heard_is_behind_released(behind_ms: float) -> None:
    """The difference is the latency of the player below."""
    playout = filled(*reply(1000), behind_ms=behind_ms)
    pulled(playout, 0, 0.5)
    (played,) = playout.reports(0.49)
    assert played.ms == 490 - behind_ms
    assert not played.done


def test_an_interrupt_empties_it_and_fades() -> None:
    """What was heard is said to the millisecond, and the next reply begins at once."""
    playout = filled(*reply(1000))
    pulled(playout, 0, 0.5)
    played, fade = playout.urgent(Interrupt(epoch=1), 0.49)
    assert played == Played(response_id="r", item_id="", ms=490, done=True)
    assert isinstance(fade, Audio)
    assert fade.ms == 5
    assert not playout.waiting
    playout.add(next_ := reply(20, epoch=1)[0])
    piece = playout.release(0.52, 20)
    assert piece is not None
    assert np.array_equal(piece.samples, next_.samples)


def test_a_hold_gives_nothing_and_keeps_everything() -> None:
    """After the hold the sound fades in from silence."""
    playout = filled(*reply(200))
    pulled(playout, 0, 0.1)
    assert [type(made) for made in playout.urgent(Hold(), 0.09)] == [Played, Audio]
    assert not pulled(playout, 0.1, 0.2)
    assert playout.waiting_ms == 100
    assert not list(playout.urgent(Resume(), 0.2))
    back = pulled(playout, 0.2, 0.4)
    assert sum(piece.ms for piece in back) == 100
    assert back[0].samples[0] == 0


def test_silence_takes_its_time() -> None:
    """There is none before the first sound, because its rate is not known."""
    playout = filled(*reply(20))
    assert playout.silence(0, 20) is None
    pulled(playout, 0, 0.02)
    silence = playout.silence(0.02, 20)
    assert silence is not None
    assert (silence.ms, silence.rate, int(np.abs(silence.samples).max())) == (20, 16_000, 0)
    assert playout.due == pytest.approx(0.04)


def test_an_item_ends_when_its_last_sample_was_heard() -> None:
    """Not when it was released."""
    playout = filled(*reply(20), behind_ms=100)
    playout.release(0, 20)
    playout.close("r")
    assert [played.done for played in playout.reports(0.05)] == [False]
    assert [(played.ms, played.done) for played in playout.reports(0.12)] == [(20, True)]
    assert not playout.unfinished
