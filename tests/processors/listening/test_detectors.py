"""The detectors: what they take for speech, and how they are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bargein.pipeline import SpeechStarted
from bargein.pipeline.testing import breath, click, cough, framed, hum, keyboard, noise, silence
from bargein.processors import Detector, SileroVad, Vad, WebRtcVad
from tests.speech import utterances

BOTH = {"webrtc": WebRtcVad, "silero": SileroVad}


def share(detector: Detector, samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]], rate: int = 16_000) -> float:
    """How much of the sound is taken for speech."""
    size = detector.window(rate)
    windows = [samples[at : at + size] for at in range(0, len(samples) - size + 1, size)]
    return float(np.mean([detector.probability(window, rate) > 0.5 for window in windows]))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_speech_is_speech(name: str) -> None:
    """After half a second of silence, most of every utterance is."""
    for each in utterances().values():
        detector = BOTH[name]()
        share(detector, silence(500))
        inside = [each.samples[a * 16 : b * 16] for a, b in each.speech_ms]
        assert share(detector, np.concatenate(inside)) > 0.6, each.name


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("dbfs", [-60, -40, -20])
def test_noise_is_not(name: str, dbfs: float) -> None:
    """However loud it is."""
    assert share(BOTH[name](), noise(5000, dbfs=dbfs)) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_the_first_sound_is_judged_like_any_other(name: str) -> None:
    """Speech in the first sample of a session is noticed as soon as after a second of silence, or little later."""
    for each in utterances().values():
        said = each.samples[each.speech_ms[0][0] * 16 :]
        late = [_noticed(BOTH[name](), np.concatenate([silence(lead), said])) - lead for lead in (1000, 0)]
        assert late[1] <= max(300, late[0]), each.name


def _noticed(detector: Detector, samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> float:
    """Return when a `Vad` notices speech, in milliseconds."""
    vad = Vad(detector)
    frames = (made for frame in framed(samples) for made in vad.process(frame))
    return next(frame.pts / 1e6 + frame.lag_ms for frame in frames if isinstance(frame, SpeechStarted))


@pytest.mark.parametrize(
    "make",
    [breath, click, cough, keyboard, lambda seed: noise(2000, dbfs=-24, seed=seed)],
    ids=["breath", "click", "cough", "keyboard", "noise"],
)
@pytest.mark.parametrize("seed", range(4))
def test_noises_of_a_room_are_not_speech(make: Callable[..., Any], seed: int) -> None:
    """Nor at the beginning of a session, nor when the room becomes 20 dB louder."""
    for lead in (silence(0), noise(1500, dbfs=-64)):
        vad = Vad(WebRtcVad())
        sound = np.concatenate([lead, make(seed=seed), silence(500)])
        frames = [made for frame in framed(sound) for made in vad.process(frame)]
        assert not [frame for frame in frames if isinstance(frame, SpeechStarted)]


def test_hum_is_background_after_half_a_second() -> None:
    """Its windows are as little flat as those of a voice, and all alike."""
    assert share(WebRtcVad(), np.concatenate([silence(1000), hum(3000)])) <= 0.5 / 4


def test_webrtc_alone_takes_noise_for_speech() -> None:
    """Which is why it is asked to stand out."""
    assert share(WebRtcVad(above_noise_db=0), noise(2000, dbfs=-20)) > 0.9


@pytest.mark.parametrize("name", BOTH)
def test_every_rate_that_is_named_is_heard(name: str) -> None:
    """With windows of the same duration."""
    detector = BOTH[name]()
    for rate in detector.rates:
        assert detector.window(rate) * 16_000 == detector.window(16_000) * rate
        assert 0 <= detector.probability(np.zeros(detector.window(rate), np.int16), rate) <= 1


@pytest.mark.parametrize("name", BOTH)
def test_after_a_reset_it_is_like_new(name: str) -> None:
    """The same sound gives the same answers."""
    said = utterances()["weather"].samples
    detector = BOTH[name]()
    size = detector.window(16_000)

    def answers() -> list[float]:
        return [detector.probability(said[at : at + size], 16_000) for at in range(0, len(said) - size, size)]

    first = answers()
    share(detector, noise(1000, dbfs=-10))
    detector.reset()
    assert answers() == first


@pytest.mark.parametrize("bad", [{"strictness": 4}, {"window_ms": 25}, {"above_noise_db": -1}])
def test_bad_settings_are_refused(bad: dict[str, int]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"WebRtcVad\(.*expected"):
        WebRtcVad(**bad)
