"""The conversation as a file: the user on the left, the agent on the right, in time with each other."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import anyio
import numpy as np
import numpy.typing as npt
from bargein.pipeline import Audio, End, Interrupt, Processor

from ._wave_file import LARGEST, WaveFile
from .channels import mix_channels
from .resample import Resample

__all__ = ["Recorder"]

Samples = npt.NDArray[np.int16]
SECOND = 1_000_000_000
USER, AGENT = 0, 1
JITTER = 0.001
"""Seconds by which a `pts` may be ahead of the samples before it is a gap."""
BACK = 1.0
"""Seconds by which a `pts` may be behind the samples before it is a new count."""
LATE = 3.0
"""Seconds by which a user frame may be late before it is a microphone that paused."""
SLACK = 0.02
"""Seconds of silence in the agent's sound before what follows is a new run."""
AHEAD = 60.0
"""Seconds by which anything may be ahead of the clock."""


class Recorder:
    """Record both sides of a session as the two channels of one WAV file: the user left, the agent right, 16 bit.

    It offers two processors, which record every audio frame and pass on the very same::

        recorder = Recorder("call.wav")
        Pipeline(microphone, recorder.user, vad, brain, Pacer(), recorder.agent, speaker)

    The user's sample clock is the master, so nothing drifts. The recording begins when the session does, and the first
    user frame ends when it comes. Every other stands where its `pts` says: a gap of more than 1 ms is exactly that
    much silence; a `pts` that does not move, or goes back, continues the sound, as does one that jumps more than 60 s
    past the clock. A frame that comes more than 3 s after its time is from a microphone that paused without counting
    it, and stands at the present.

    An agent frame continues the agent's sound while that lasts; after more than 20 ms of silence it stands at the
    present moment of the user's clock, which is the end of the user's sound and the time since that came. What an
    interrupt flushes is erased: the recording is what was heard.

    The file is opened when the first end is entered and closed when the last is left; one end alone may be in the
    graph, and outside a session both only pass frames on. Once a second of media it is brought up to date on disk, so
    a process that is killed leaves a recording that can be read, up to its last second. Sound of other rates and
    channels is converted to `rate` samples a second (another rate needs PyAV, extra `audio`). The disk is written to
    in the event loop: have a local one.

    `overwrite=True` replaces a file that exists. `max_bytes` is how large it may get, by default what a WAV file can
    hold: 18 hours at 16 kHz.

    Raises `ValueError` for a rate or a size that cannot be. The ends raise, on entry, `FileExistsError`,
    `FileNotFoundError` when there is no such folder, and `RuntimeError` for a second session; while it records,
    `OSError` of the disk, or when the file is full (what cannot be written is left out, and all that is written stays
    in place: with `on_error="drop"` the session goes on), and `ValueError` for an agent more than 60 s ahead. A
    file that gets full in its last second is no error.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rate: int = 16_000,
        overwrite: bool = False,
        max_bytes: int = LARGEST,
    ) -> None:
        if type(rate) is not int or rate <= 0:
            raise ValueError(f"Recorder(rate={rate!r}): expected samples a second as a positive int, such as 16000")
        if not 1024 <= max_bytes <= LARGEST:
            raise ValueError(f"Recorder(max_bytes={max_bytes}): expected 1024 to {LARGEST}, what a WAV file can hold")
        self.path = os.fspath(path)
        self.rate = rate
        self.overwrite = overwrite
        self.max_bytes = max_bytes
        self.user = _User(self)
        """Takes what the user says. It stands where the user's sound comes in."""
        self.agent = _Agent(self)
        """Takes what the agent says. It stands below the `Pacer`, next to the sink."""
        self._inside: set[Processor] = set()
        self._file: WaveFile | None = None
        self._channels: tuple[_Channel, _Channel] | None = None
        self._finished = False
        self._came: float | None = None  # when the latest user frame came; at first, when the session began
        self._zero: int | None = None  # where the user's pts 0 stands
        self._run: int | None = None  # where the agent's run began
        self._lead = 0  # and how far ahead of the clock it is sent

    # Beginning and end --------------------------------------------------------------------------------------------

    def _enter(self, end: Processor) -> None:
        if self._finished or end in self._inside:
            raise RuntimeError(
                f"Recorder({self.path!r}) {'has recorded its session' if self._finished else 'is recording'}; "
                "make a new one, with another path, for each session"
            )
        if self._file is None:
            self._file = self._open()
            self._channels = _Channel(self._file, USER), _Channel(self._file, AGENT)
            self._came = _time()
        self._inside.add(end)

    def _open(self) -> WaveFile:
        try:
            return WaveFile(self.path, self.rate, overwrite=self.overwrite, max_bytes=self.max_bytes)
        except FileExistsError as error:
            what = "there is such a file already; choose another path, or say overwrite=True to replace it"
            raise FileExistsError(error.errno, what, self.path) from None
        except FileNotFoundError as error:
            what = f"there is no folder {os.path.dirname(self.path)!r}; make it first, with os.makedirs()"
            raise FileNotFoundError(error.errno, what, self.path) from None

    def _leave(self, end: Processor) -> None:
        self._inside.discard(end)
        if self._inside or self._file is None or self._channels is None:
            return
        file, channels = self._file, self._channels
        self._file = self._channels = None
        self._finished = True
        try:
            for channel in channels:
                channel.finish()
            file.flush(max(channel.sounded for channel in channels))
        except OSError as error:
            if error.errno != errno.EFBIG:  # full: what could not be written is left out, as it is while it records
                raise
        finally:
            file.close()

    # The clock ----------------------------------------------------------------------------------------------------

    def _now(self, user: _Channel) -> int:
        """The present position: the end of the user's sound, and the time since that came."""
        now = _time()
        if now is None or self._came is None:
            return user.end
        return user.end + max(0, round((now - self._came) * self.rate))

    def _keep(self, position: int) -> None:
        if self._file is not None and position >= self._file.base + self.rate:
            self._file.flush(position)

    # Both ends ----------------------------------------------------------------------------------------------------

    def _heard(self, frame: Audio) -> None:
        """Record a user frame."""
        if self._channels is None:
            return
        user, _ = self._channels
        at = self._place(frame, user, self._now(user))
        self._came = _time()
        try:
            self._keep(at)
        finally:
            user.add(frame, at)

    def _place(self, frame: Audio, user: _Channel, now: int) -> int:
        """Where a user frame begins."""
        offset = (frame.pts * self.rate + SECOND // 2) // SECOND
        length = -(-len(frame.samples) * self.rate // frame.rate)
        if self._zero is None:
            at = max(0, now - length)
        else:
            at = self._zero + offset
            if user.end - BACK * self.rate <= at <= user.end + JITTER * self.rate:
                at = user.end
            elif not user.end < at <= now + AHEAD * self.rate:
                at = user.end
                self._zero = None
            if at + length < now - LATE * self.rate:
                at = now - length
                self._zero = None
        if self._zero is None:
            self._zero = at - offset
        return at

    def _said(self, frame: Audio) -> None:
        """Record an agent frame."""
        if self._channels is None:
            return
        user, agent = self._channels
        now = self._now(user)
        at = agent.end
        if self._run is None or at + SLACK * self.rate < now:
            at = self._run = now
            self._lead = 0
        if at > now + AHEAD * self.rate:
            raise ValueError(
                f"Recorder: the agent is {(at - now) / self.rate:.0f} s ahead of the user; put recorder.agent below "
                "the Pacer, where sound comes when it is due (and let a microphone that pauses count that in its pts)"
            )
        if at < self._run + self.rate:
            self._lead = max(self._lead, at - now)
        try:
            self._keep(now)
        finally:
            if frame.response_id or frame.samples.any():
                agent.add(frame, at)
            else:
                # What fills gaps is elastic: it keeps a stream that never ends in time with the user's clock.
                agent.pause(now + self._lead + len(frame.samples) * self.rate // frame.rate)

    def _interrupted(self) -> None:
        """Erase what the agent will not say."""
        if self._channels is None:
            return
        user, agent = self._channels
        now = self._now(user)
        agent.cut(now)
        self._run, self._lead = agent.end, 0


class _Side(Processor):
    """One end of a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __enter__(self) -> Self:
        self.recorder._enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.recorder._leave(self)


class _User(_Side):
    name = "recorder.user"

    def process(self, frame: Audio) -> Iterator[Audio]:
        """Record the frame and give it on, also when it could not be recorded."""
        try:
            self.recorder._heard(frame)
        finally:
            yield frame


class _Agent(_Side):
    name = "recorder.agent"

    def process(self, frame: Audio | Interrupt) -> Iterator[Audio]:
        """Record the frame and give it on, also when it could not be recorded; erase what an interrupt has flushed."""
        if isinstance(frame, Interrupt):
            self.recorder._interrupted()
            return
        try:
            self.recorder._said(frame)
        finally:
            yield frame


class _Channel:
    """One channel: stretches of sound, each as long as what came in, whatever its rate."""

    def __init__(self, file: WaveFile, index: int) -> None:
        self.end = 0
        """Where its sound ends, silence that was said to be included."""
        self.sounded = 0
        """The same without that silence."""
        self._file = file
        self._index = index
        self._resample: Resample | None = None
        self._rate = 0  # of the present stretch
        self._start = self._put = self._in = 0  # where it began, how far it is placed, and samples in since

    def add(self, frame: Audio, at: int) -> None:
        """Record a frame at a position; at `end`, it continues the stretch."""
        if at != self.end or frame.rate != self._rate:
            self.finish()
            self._start = self._put = at
            self._rate, self._in = frame.rate, 0
        self._in += len(frame.samples)
        self.end = self.sounded = self._start + self._in * self._file.rate // self._rate
        samples = mix_channels(frame.samples, 1)
        if frame.rate == self._file.rate:
            self._place(samples)
            return
        if self._resample is None:
            self._resample = Resample(self._file.rate)
        # Without a pts or a response the resampler sees one stretch: where it ends is known here.
        self._convert(Audio(samples=samples, rate=frame.rate))

    def pause(self, until: int) -> None:
        """Let silence be said."""
        self.finish()
        self.end = max(self.sounded, until)

    def cut(self, at: int) -> None:
        """Erase what stands beyond a position."""
        self.finish()
        if at < self.sounded:
            self._file.place(self._index, at, np.zeros(self.sounded - at, np.int16))
            self.sounded = at
        self.end = min(self.end, at)

    def finish(self) -> None:
        """End the stretch with what the resampler holds back."""
        if self._resample is not None:
            self._convert(End())
        self._rate = 0

    def _convert(self, frame: Audio | End) -> None:
        if self._resample is not None:
            for piece in self._resample.process(frame):
                if isinstance(piece, Audio):
                    self._place(piece.samples)

    def _place(self, samples: Samples) -> None:
        samples = samples[: self.end - self._put]
        self._file.place(self._index, self._put, samples)
        self._put += len(samples)


def _time() -> float | None:
    """Seconds by AnyIO's clock; None outside an event loop, where no time passes."""
    try:
        return anyio.current_time()
    except RuntimeError:  # its class depends on AnyIO's version
        return None
