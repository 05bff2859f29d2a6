"""Add background sound, such as an office, that gets quieter while the agent speaks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bargein.pipeline import Audio, End, Processor
from bargein.pipeline.lowlevel import Samples, check_not_negative, check_options

from .channels import mix_channels
from .resample import Resample

__all__ = ["Mixer"]

MIN_BACKGROUND_MS = 100.0
"""A shorter loop is heard as a buzz and not as a background."""


class Mixer(Processor):
    """Mixes a looped background into every audio frame, and lowers it while the agent speaks.

    Place it below a pacer that fills its gaps, so that the background also plays during silence::

        Pipeline(microphone, brain, Pacer(fill="silence"), Mixer(office), speaker)

    Samples beyond full scale are clipped. An interrupt does not stop the background. Loop and ramps are counted in
    samples, so the result does not depend on how the audio is cut into frames.

    Args:
        background: The sound to loop, at least 100 ms long. Another rate or number of channels is converted when the
            first frame arrives, in about one millisecond for each second of sound. Another rate needs PyAV (extra
            `audio`).
        gain_db: Level of the background in decibels, relative to the recording.
        duck_db: Additional level, in decibels, while a frame of a response plays; 0 or less.
        attack_ms: Time in milliseconds in which the background is lowered when a response begins.
        release_ms: Time in milliseconds in which it rises again.
        seam_ms: Length in milliseconds of the cross-fade from the end of the loop to its beginning. Use 0 for a
            recording that loops seamlessly.

    Raises:
        ValueError: The background is too short, or a number is out of its range.
    """

    @check_options
    def __init__(
        self,
        background: Audio,
        *,
        gain_db: float = -20.0,
        duck_db: float = -12.0,
        attack_ms: float = 50.0,
        release_ms: float = 400.0,
        seam_ms: float = 20.0,
    ) -> None:
        if not background.ms >= MIN_BACKGROUND_MS:
            raise ValueError(
                f"Mixer(background=...) is {background.ms:g} ms long; expected at least {MIN_BACKGROUND_MS:g} ms, "
                "because a shorter loop sounds like a buzz"
            )
        if not math.isfinite(gain_db):
            raise ValueError(f"Mixer(gain_db={gain_db}): expected a finite number of decibels, such as -20")
        if not (math.isfinite(duck_db) and duck_db <= 0):
            raise ValueError(f"Mixer(duck_db={duck_db}): expected 0 decibels or less, such as -12; 0 does not lower it")
        check_not_negative("Mixer", attack_ms=attack_ms, release_ms=release_ms)
        if not 0 <= seam_ms <= background.ms / 2:
            raise ValueError(
                f"Mixer(seam_ms={seam_ms}): expected 0 to {background.ms / 2:g} ms, half of the background"
            )
        self.background = background
        self.gain_db = gain_db
        self.duck_db = duck_db
        self.attack_ms = attack_ms
        self.release_ms = release_ms
        self.seam_ms = seam_ms
        self._open = 10 ** (gain_db / 20)
        self._ducked = 10 ** ((gain_db + duck_db) / 20)
        self._format: tuple[int, ...] = ()
        self._seam = self._loop = background.samples
        self._at = 0  # the next sample of the loop
        # The ducking depth is counted in integer steps, so that frames of any size result in the same ramp.
        # `_max_depth` is a common multiple of both ramp lengths: one sample lowers by `_down` steps and raises by
        # `_up` steps.
        self._depth, self._max_depth, self._down, self._up = 0, 1, 1, 1

    def process(self, frame: Audio) -> Iterator[Audio]:
        """Yield the frame with the background added."""
        form = (frame.rate, *frame.samples.shape[1:])
        if form != self._format:
            self._prepare(frame, form)
        count = len(frame.samples)
        under = self._levels(count, frame.response_id != "")
        if under.ndim and frame.samples.ndim == 2:
            under = under.reshape(-1, 1)
        background = self._next(count) * under
        np.rint(background, out=background)
        yield frame.with_samples(np.clip(background + frame.samples, -32768, 32767).astype(np.int16))

    def _levels(self, count: int, speaking: bool) -> npt.NDArray[np.float32]:
        """Return the amplitude factor of each of the next samples; of shape `()` when all are equal."""
        goal, step = (self._max_depth, self._down) if speaking else (0, -self._up)
        depths: npt.NDArray[np.int64] = np.asarray(goal)
        if self._depth != goal:
            depths = np.clip(self._depth + step * np.arange(1, count + 1), 0, self._max_depth)
            self._depth = int(depths[-1])
        return np.asarray(self._open + (self._ducked - self._open) * (depths / self._max_depth), np.float32)

    def _next(self, count: int) -> Samples:
        """Return the next `count` samples of the loop."""
        parts: list[Samples] = []
        seam, length = len(self._seam), len(self._loop)
        while count:
            part = self._seam[self._at :] if self._at < seam else self._loop[self._at :]
            parts.append(part[:count])
            count -= len(parts[-1])
            self._at = (self._at + len(parts[-1])) % length
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _prepare(self, frame: Audio, form: tuple[int, ...]) -> None:
        """Prepare loop and ramps for a format. Both continue at their present position."""
        samples = self._convert(frame)
        seam = round(self.seam_ms * frame.rate / 1000)
        before = len(self._loop)
        self._loop = samples[: len(samples) - seam]
        angle = (np.arange(seam) + 0.5) * (np.pi / 2 / max(1, seam))  # equal power, because both ends are uncorrelated
        angle = angle.reshape(-1, *[1] * (samples.ndim - 1))
        crossed = samples[:seam] * np.sin(angle) + samples[len(samples) - seam :] * np.cos(angle)
        self._seam = np.clip(np.rint(crossed), -32768, 32767).astype(np.int16)
        self._at = self._at * len(self._loop) // before if self._format else 0
        depth = self._depth / self._max_depth
        attack, release = (max(1, round(ms * frame.rate / 1000)) for ms in (self.attack_ms, self.release_ms))
        self._max_depth = math.lcm(attack, release)
        self._down, self._up = self._max_depth // attack, self._max_depth // release
        self._depth = round(depth * self._max_depth)
        self._format = form

    def _convert(self, frame: Audio) -> Samples:
        """Return the background at the frame's rate, in a shape that can be added to its samples."""
        sound, channels = self.background, frame.channels
        samples = sound.samples if sound.channels == channels else mix_channels(sound.samples, 1)
        if sound.rate != frame.rate:
            samples = np.concatenate(
                [_resample(each, sound.rate, frame.rate) for each in _split_channels(samples)], axis=1
            )
        samples = samples.reshape(len(samples), -1)
        return samples if frame.samples.ndim == 2 else samples[:, 0]


def _split_channels(samples: Samples) -> list[Samples]:
    return list(samples.reshape(len(samples), -1).T)


def _resample(samples: Samples, before: int, after: int) -> Samples:
    """Return one channel at another rate, with shape `(n, 1)`."""
    resample = Resample(after)
    frames = Audio(samples=samples, rate=before), End()
    pieces = [each.samples for frame in frames for each in resample.process(frame) if isinstance(each, Audio)]
    return np.concatenate(pieces).reshape(-1, 1)
