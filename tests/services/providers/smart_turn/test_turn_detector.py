"""SmartTurn: a brake that hears. Its features, its file, and its place in a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bargein.pipeline import Audio
from bargein.pipeline.testing import noise, tone
from bargein.processors import TurnEvidence
from bargein.services.providers.smart_turn import SmartTurn, is_installed, turn_detector
from bargein.services.providers.smart_turn._features import smart_turn_features

NEEDED = pytest.mark.skipif(not is_installed(), reason="the extra 'smart-turn' and the file of SmartTurn are missing")


def mel_by_hand(sound: np.ndarray[tuple[int, ...], np.dtype[np.float64]], column: int) -> list[float]:
    """One column of the spectrogram before it is scaled, by a plain Fourier sum and filters from their definition."""
    padded = np.concatenate([sound[200:0:-1], sound, sound[-2:-202:-1]])
    window = padded[160 * column : 160 * column + 400] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
    power = [abs(np.sum(window * np.exp(-2j * np.pi * k * np.arange(400) / 400))) ** 2 for k in range(201)]

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else float(1000 * 6.4 ** ((mel - 15) / 27))

    top = 15 + 27 * np.log(8) / np.log(6.4)
    edges = [hz(top * k / 81) for k in range(82)]
    found = []
    for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False):
        total = 0.0
        for k in range(201):
            at = 40.0 * k
            weight = (at - low) / (mid - low) if at <= mid else (high - at) / (high - mid)
            total += max(0.0, weight) * 2 / (high - low) * power[k]
        found.append(float(np.log10(max(total, 1e-10))))
    return found


def test_the_features_equal_a_computation_by_definition() -> None:
    """Of a sound of one second: seven seconds of silence come first, and all eight have variance 1."""
    samples = (noise(1000)[:16_000] // 2 + tone(440, 1000)[:16_000] // 2).astype(np.int16)
    found = smart_turn_features(samples, 16_000)
    assert found.shape == (1, 80, 800)
    assert found.dtype == np.float32
    sound = np.concatenate([np.zeros(112_000), samples / 32_768])
    sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    for column in (720, 777, 799):
        assert np.allclose(found[0, :, column] * 4 - 4, mel_by_hand(sound, column), atol=2e-3)


def test_the_latest_eight_seconds_count() -> None:
    sound = np.concatenate([noise(3000), tone(440, 8000)])
    assert np.array_equal(smart_turn_features(sound, 16_000), smart_turn_features(sound[-128_000:], 16_000))


@pytest.mark.parametrize("rate", [8000, 24_000, 32_000, 48_000])
def test_other_rates_sound_the_same(rate: int) -> None:
    """Where both have a band."""
    expected, found = (
        smart_turn_features(tone(440, 2000, rate=each), each)[0, :40, 650:790] for each in (16_000, rate)
    )
    assert expected.argmax(axis=0).tolist() == found.argmax(axis=0).tolist()


@pytest.mark.virtual
async def test_it_only_brakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for the model, whose probability is the first sample in percent."""
    monkeypatch.setattr(turn_detector, "import_extra", lambda *_: None)
    monkeypatch.setattr(turn_detector, "_load", lambda _: lambda samples, rate: samples[0] / 100)
    detector = SmartTurn("a-file", unfinished_ms=1200)
    with pytest.raises(RuntimeError, match="not open"):
        await detector.silence_ms(TurnEvidence())
    async with detector:
        answers = [
            await detector.silence_ms(TurnEvidence(audio=Audio(np.full(160, each, np.int16), 16_000)))
            for each in (0, 29, 30, 100)
        ]
        assert await detector.silence_ms(TurnEvidence(text="words")) is None
    assert answers == [1200, 1200, None, None]


def test_a_missing_file_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_detector, "import_extra", lambda *_: None)
    monkeypatch.setattr(turn_detector, "is_installed", lambda: False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps pipecat-ai==1\.14\.0.*SmartTurn\('smart"):
        SmartTurn()


def test_another_file_is_refused(tmp_path: Path) -> None:
    """By its hash, and a file that is not there by name."""
    path = tmp_path / "model.onnx"
    with pytest.raises(RuntimeError, match=r"cannot read .*model\.onnx"):
        turn_detector._read(path)
    path.write_bytes(b"something else")
    with pytest.raises(RuntimeError, match=r"expected 2bb02631.*not used"):
        turn_detector._read(path)


@pytest.mark.parametrize("make", [lambda: SmartTurn("x", threshold=1), lambda: SmartTurn("x", unfinished_ms=0)])
def test_bad_settings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"SmartTurn.*expected"):
        make()


@NEEDED
async def test_the_model_answers() -> None:
    """The real one, for a second of noise."""
    async with SmartTurn(threshold=0.999) as detector:
        sound = Audio(noise(1000), 16_000)
        assert await detector.silence_ms(TurnEvidence(audio=sound)) in (None, 1500)
        assert 0 <= turn_detector._load(None)(sound.samples, sound.rate) <= 1
