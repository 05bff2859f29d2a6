"""A room for the voice: sound in the background, which makes way for it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from bargein.pipeline import Audio, End, Processor

from ._channels import mixed
from .resample import Resample

__all__ = ["Mixer"]

Samples = npt.NDArray[np.int16]
SHORTEST_MS = 100.0


class Mixer(Processor):
    """Add a looped background to every audio frame, saturating at full scale, and lower it while the agent speaks.

    It stands below the pacer, and wants the steady stream of one that fills its gaps, or there is a room only while
    there is a voice::

        Pipeline(microphone, brain, Pacer(fill="silence"), Mixer(office), speaker)

    The background plays at `gain_db` decibels; under audio of a response, by `duck_db` decibels more. Its amplitude
    goes down in `attack_ms` and up again in `release_ms` milliseconds, in a straight line. Every frame gets it, also a
    user's that passes here. An interrupt is about the reply and not about the room, so the background plays on. Loop
    and ramps are counted in samples: how the sound is cut changes nothing.

    So that the loop does not click, its last `seam_ms` milliseconds fade out over its first; 0 for a background that
    is a loop already. One of another rate or other channels is converted when the first frame comes, which takes
    about a millisecond for each second of it (another rate needs PyAV, extra `audio`); one that fits is shared by all
    mixers it is given to.

    Raises `ValueError` for a background below 100 ms or a number that cannot be.
    """

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
        if not background.ms >= SHORTEST_MS:
            raise ValueError(
                f"Mixer: a background of {background.ms:g} ms; expected at least {SHORTEST_MS:g} ms, as a loop of "
                "less is a buzz"
            )
        if not math.isfinite(gain_db):
            raise ValueError(f"Mixer(gain_db={gain_db}): expected a finite number of decibels, such as -20")
        if not (math.isfinite(duck_db) and duck_db <= 0):
            raise ValueError(f"Mixer(duck_db={duck_db}): expected decibels not above 0, such as -12; 0 to leave it")
        for name, value in {"attack_ms": attack_ms, "release_ms": release_ms}.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Mixer({name}={value}): expected milliseconds, 0 or more")
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
        # How far it is ducked, of `_whole`, which is as many steps as attack and release both divide: a sample of
        # the one is `_down` steps, a sample of the other `_up`.
        self._depth, self._whole, self._down, self._up = 0, 1, 1, 1

    def process(self, frame: Audio) -> Iterator[Audio]:
        """Give the frame with the background under it."""
        form = (frame.rate, *frame.samples.shape[1:])
        if form != self._format:
            self._prepare(frame, form)
        count = len(frame.samples)
        under = self._levels(count, frame.response_id != "")
        if under.ndim and frame.samples.ndim == 2:
            under = under.reshape(-1, 1)
        mixed = self._next(count) * under
        np.rint(mixed, out=mixed)
        yield frame.with_samples(np.clip(mixed + frame.samples, -32768, 32767).astype(np.int16))

    def _levels(self, count: int, speaking: bool) -> npt.NDArray[np.float32]:
        """The background's amplitude at each of the next samples; of shape `()` when all have the same."""
        goal, step = (self._whole, self._down) if speaking else (0, -self._up)
        depths: npt.NDArray[np.int64] = np.asarray(goal)
        if self._depth != goal:
            depths = np.clip(self._depth + step * np.arange(1, count + 1), 0, self._whole)
            self._depth = int(depths[-1])
        return np.asarray(self._open + (self._ducked - self._open) * (depths / self._whole), np.float32)

    def _next(self, count: int) -> Samples:
        """The next samples of the loop, `int16`: the seam, the rest, and from the beginning."""
        parts: list[Samples] = []
        seam, length = len(self._seam), len(self._loop)
        while count:
            part = self._seam[self._at :] if self._at < seam else self._loop[self._at :]
            parts.append(part[:count])
            count -= len(parts[-1])
            self._at = (self._at + len(parts[-1])) % length
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _prepare(self, frame: Audio, form: tuple[int, ...]) -> None:
        """Make loop and ramps for a format; both go on where they are."""
        samples = self._converted(frame)
        seam = round(self.seam_ms * frame.rate / 1000)
        before = len(self._loop)
        self._loop = samples[: len(samples) - seam]
        angle = (np.arange(seam) + 0.5) * (np.pi / 2 / max(1, seam))  # of equal power, as the two are strangers
        angle = angle.reshape(-1, *[1] * (samples.ndim - 1))
        crossed = samples[:seam] * np.sin(angle) + samples[len(samples) - seam :] * np.cos(angle)
        self._seam = np.clip(np.rint(crossed), -32768, 32767).astype(np.int16)
        self._at = self._at * len(self._loop) // before if self._format else 0
        depth = self._depth / self._whole
        attack, release = (max(1, round(ms * frame.rate / 1000)) for ms in (self.attack_ms, self.release_ms))
        self._whole = math.lcm(attack, release)
        self._down, self._up = self._whole // attack, self._whole // release
        self._depth = round(depth * self._whole)
        self._format = form

    def _converted(self, frame: Audio) -> Samples:
        """The background at the frame's rate, in a shape that can be added to its samples."""
        sound, channels = self.background, frame.channels
        samples = sound.samples if sound.channels == channels else mixed(sound.samples, 1)
        if sound.rate != frame.rate:
            samples = np.concatenate([_resampled(each, sound.rate, frame.rate) for each in _sides(samples)], axis=1)
        samples = samples.reshape(len(samples), -1)
        return samples if frame.samples.ndim == 2 else samples[:, 0]


def _sides(samples: Samples) -> list[Samples]:
    return list(samples.reshape(len(samples), -1).T)


def _resampled(samples: Samples, before: int, after: int) -> Samples:
    """One channel at another rate, shape `(n, 1)`."""
    resample = Resample(after)
    frames = Audio(samples=samples, rate=before), End()
    pieces = [each.samples for frame in frames for each in resample.process(frame) if isinstance(each, Audio)]
    return np.concatenate(pieces).reshape(-1, 1)
