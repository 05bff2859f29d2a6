"""Mixer: levels of known signals, ramps to the sample, a seam that is not heard."""

from __future__ import annotations

import math
from collections.abc import Iterable

import anyio
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.pipeline import Audio
from bargein.pipeline.testing import Harness, check_processor, framed, joined, noise, silence, tone
from bargein.processors.audio.mixer import Mixer
from bargein.processors.speaking.pacer import Pacer

RATE = 16_000
FLAT = np.full(RATE, 10_000, np.int16)
"""A background whose every sample shows its level."""


def sound(samples: npt.NDArray[np.int16], rate: int = RATE, response: str = "") -> Audio:
    return Audio(samples=samples, rate=rate, response_id=response)


def through(mixer: Mixer, frames: Iterable[Audio]) -> list[Audio]:
    return [each for frame in frames for each in mixer.process(frame)]


def flat(**options: float) -> Mixer:
    return Mixer(sound(FLAT), seam_ms=0, **options)


def decibels(samples: npt.NDArray[np.int16]) -> float:
    return float(20 * np.log10(np.sqrt(2 * np.mean(samples.astype(float) ** 2)) / 32767))


def test_gain_under_silence() -> None:
    """A tone of -6 dBFS at a gain of -20 dB is at -26 dBFS."""
    mixer = Mixer(sound(tone(dbfs=-6)), gain_db=-20)
    assert decibels(joined(through(mixer, framed(silence(3000))))) == pytest.approx(-26, abs=0.1)


def test_ducking_under_the_voice() -> None:
    """Under a response the background is lower by the given amount, and the voice is unchanged."""
    mixer = Mixer(sound(tone(dbfs=-6)), gain_db=-20, duck_db=-12)
    voice = tone(150, ms=2000, dbfs=-3)
    out = joined(through(mixer, framed(voice, response_id="r")))
    assert decibels((out - voice)[RATE:]) == pytest.approx(-38, abs=0.1)


def test_the_ramps_have_their_lengths() -> None:
    """Down in 50 ms and up in 400, in a straight line, to the sample; it turns back where it is."""
    mixer = flat(gain_db=0, duck_db=-20, attack_ms=50, release_ms=400)
    out = joined(through(mixer, [*framed(silence(100)), *framed(silence(100), response_id="r"), *framed(silence(500))]))
    assert set(out[:1600]) == {10_000}
    assert set(out[1600 + 799 : 3200]) == {1000}
    assert set(out[3200 + 6399 :]) == {10_000}
    assert np.allclose(out[1600:2400], 10_000 - 9000 * np.arange(1, 801) / 800, atol=0.6)
    assert np.allclose(out[3200:9600], 1000 + 9000 * np.arange(1, 6401) / 6400, atol=0.6)
    short = joined(through(mixer, [*framed(silence(25), ms=25, response_id="r"), *framed(silence(300))]))
    assert short[399] == 5500
    assert np.allclose(short[400:3600], 5500 + 4500 * np.arange(1, 3201) / 3200, atol=0.6)
    assert set(short[3600:]) == {10_000}


def test_without_ramps_it_steps() -> None:
    """0 ms is one sample."""
    mixer = flat(gain_db=0, duck_db=-20, attack_ms=0, release_ms=0)
    out = joined(through(mixer, [*framed(silence(20), response_id="r"), *framed(silence(20))]))
    assert np.array_equal(out, [1000] * 320 + [10_000] * 320)


def test_too_loud_saturates() -> None:
    """It clips, and does not wrap."""
    loud = np.array([32_000, -32_000, 0] * 100, np.int16)
    (out,) = through(flat(gain_db=20), [sound(loud)])
    assert np.array_equal(out.samples[:3], [32_767, 32_767, 32_767])
    (out,) = through(flat(gain_db=6), [sound(loud)])
    assert np.array_equal(out.samples[:3], [32_767, -32_000 + 19_953, 19_953])


def test_the_seam_does_not_click() -> None:
    """A tone that does not fit its loop never jumps; without the seam it does."""
    background = sound(tone(500, ms=500.5, dbfs=-6))  # a quarter of a period too long
    steepest = 2 * np.pi * 500 / RATE * 32767 * 10 ** (-6 / 20)
    for seam_ms, clicks in ((20.0, False), (0.0, True)):
        out = joined(through(Mixer(background, gain_db=0, seam_ms=seam_ms), framed(silence(3000))))
        assert bool(np.abs(np.diff(out.astype(int))).max() > 1.5 * steepest) is clicks


def test_the_seam_keeps_the_level_of_noise() -> None:
    """Two strangers of equal power: within 1 dB where they cross."""
    mixer = Mixer(sound(noise(2000, dbfs=-20)), gain_db=0, seam_ms=500)
    out = joined(through(mixer, framed(silence(1500))))
    for part in np.split(out[:8000], 4):
        assert decibels(part) == pytest.approx(-20, abs=1)


def test_background_loops() -> None:
    """After its last sample comes its first."""
    background = noise(100, dbfs=-20)
    out = joined(through(Mixer(sound(background), gain_db=0, seam_ms=0), framed(silence(1000), ms=370)))
    assert np.array_equal(out, np.tile(background, 10))


@settings(deadline=None)
@given(
    turns=st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 3000), min_size=1, max_size=5)), max_size=8),
    ramps=st.tuples(st.integers(0, 300), st.integers(0, 300)),
)
def test_cutting_changes_nothing(turns: list[tuple[bool, list[int]]], ramps: tuple[int, int]) -> None:
    """However the same sound is cut, the same samples come out."""
    background, voice, at = sound(noise(130, dbfs=-12)), noise(8000, dbfs=-20, seed=1), 0
    whole, cut = [], []
    for speaks, sizes in turns:
        response, start = "r" if speaks else "", at
        for size in sizes:
            cut.append(sound(voice[at : at + size], response=response))
            at += size
        whole.append(sound(voice[start:at], response=response))
    one, other = (Mixer(background, gain_db=-3, attack_ms=ramps[0], release_ms=ramps[1]) for _ in range(2))
    assert np.array_equal(joined(through(one, cut)), joined(through(other, whole)))


def test_everything_else_of_a_frame_stays() -> None:
    """Its time, epoch, response and item; and neither it nor the background is written to."""
    frame = Audio(samples=silence(20), rate=RATE, pts=7, epoch=3, response_id="r", item_id="i")
    background = FLAT.copy()
    (out,) = through(Mixer(sound(background)), [frame])
    assert (out.pts, out.rate, out.epoch, out.response_id, out.item_id) == (7, RATE, 3, "r", "i")
    assert out.samples.any()
    assert not frame.samples.any()
    assert np.array_equal(background, FLAT)


def test_channels_are_made_to_fit() -> None:
    """Stereo under stereo side by side; mono under both sides; the mean of both under mono."""
    left, right = FLAT, -FLAT // 2
    both = np.stack([left, right], axis=1)
    stereo, mono, column = np.zeros((320, 2), np.int16), np.zeros(320, np.int16), np.zeros((320, 1), np.int16)
    for background, frame, expected in (
        (both, stereo, np.stack([left[:320], right[:320]], axis=1)),
        (left, stereo, np.stack([left[:320], left[:320]], axis=1)),
        (both, mono, np.full(320, 2500)),
        (left, column, left[:320].reshape(-1, 1)),
        (left, np.zeros((320, 6), np.int16), np.full((320, 6), 10_000)),
    ):
        (out,) = through(Mixer(sound(background), gain_db=0, duck_db=0, seam_ms=0), [sound(frame, response="r")])
        assert np.array_equal(out.samples, expected)


def test_stereo_ramps_together() -> None:
    """Both sides have the same level at each sample."""
    mixer = Mixer(sound(FLAT), gain_db=0, seam_ms=0)
    (out,) = through(mixer, [sound(np.zeros((1600, 2), np.int16), response="r")])
    assert np.array_equal(out.samples[:, 0], out.samples[:, 1])
    assert out.samples[0, 0] > out.samples[-1, 0] == 2512


@pytest.mark.parametrize("rate", [8000, 24_000, 48_000])
def test_another_rate_is_converted(rate: int) -> None:
    """A tone stays the tone it is."""
    mixer = Mixer(sound(tone(440, dbfs=-6)), gain_db=0)
    out = joined(through(mixer, framed(silence(500, rate=rate), rate=rate)))
    spectrum = np.abs(np.fft.rfft(out[rate // 20 :]))
    assert np.argmax(spectrum) / 0.45 == pytest.approx(440, abs=3)
    assert decibels(out[rate // 20 :]) == pytest.approx(-6, abs=0.1)


def test_the_format_may_change() -> None:
    """It is converted again, and loop and ramp go on where they are."""
    ramp = np.arange(16_000).astype(np.int16)
    mixer = Mixer(sound(ramp), gain_db=0, duck_db=-20, attack_ms=100, release_ms=1000, seam_ms=0)
    (first,) = through(mixer, [sound(silence(250))])
    (second,) = through(mixer, [sound(silence(50, rate=8000), 8000, "r")])
    (third,) = through(mixer, [sound(np.zeros((1600, 2), np.int16), response="r")])
    assert first.samples[-1] == 3999
    assert second.samples[0] == pytest.approx(4000, rel=0.01)
    assert second.samples[-1] == pytest.approx(4800 * 0.55, rel=0.01)
    assert third.samples[0, 1] == pytest.approx(4800 * 0.55, rel=0.01)
    assert third.samples[799, 1] == pytest.approx(5600 * 0.1, rel=0.01)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gain_db", math.nan),
        ("gain_db", math.inf),
        ("duck_db", -math.inf),
        ("duck_db", 12.0),
        ("attack_ms", -1.0),
        ("release_ms", math.nan),
        ("seam_ms", -1.0),
        ("seam_ms", 501.0),
    ],
)
def test_bad_settings_are_refused(name: str, value: float) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=rf"Mixer\({name}={value}\): expected"):
        Mixer(sound(FLAT), **{name: value})


def test_a_short_background_is_refused() -> None:
    """With its length."""
    with pytest.raises(ValueError, match="is 99 ms long; expected at least 100 ms"):
        Mixer(sound(silence(99)))


@pytest.mark.virtual
async def test_an_interrupt_is_not_about_the_room() -> None:
    """Below a pacer that fills its gaps the background goes on, sample by sample, through a barge-in."""
    background = noise(700, dbfs=-12)
    voice = Audio(samples=silence(2000), rate=RATE, response_id="r", epoch=0)
    async with Harness(Pacer(fill="silence"), Mixer(sound(background), gain_db=0, duck_db=0, seam_ms=0)) as harness:
        await harness.send(voice)
        await anyio.sleep(0.5)
        harness.interrupt()
        await anyio.sleep(2)
        await harness.session.cancel()
    out = joined(harness.frames)
    assert len(out) > 2.4 * RATE
    assert np.array_equal(out, np.resize(background, len(out)))


@pytest.mark.virtual
@pytest.mark.parametrize("rate", [16_000, 24_000])
async def test_it_conforms(rate: int) -> None:
    """The conformance suite passes; what it keeps is about the room, and no interrupt resets it."""
    background = sound(noise(300, dbfs=-12))
    await check_processor(lambda: Mixer(background), rate=rate, resets=False)
