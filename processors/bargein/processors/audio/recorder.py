"""Record a conversation: the user on the left channel, the agent on the right, synchronised."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import numpy as np

from bargein.pipeline import Audio, End, Failure, Interrupt, Processor
from bargein.pipeline.lowlevel import SECOND, Samples, check_options

from ._wave_file import MAX_BYTES, WaveFile
from .channels import mix_channels
from .resample import Resample

__all__ = ["Recorder"]

log = logging.getLogger("bargein.recorder")

USER, AGENT = 0, 1
MAX_JITTER_SECONDS = 0.001
"""A `pts` further ahead of the samples than this is a gap."""
MAX_BACK_SECONDS = 1.0
"""A `pts` further behind the samples than this starts a new count."""
MAX_LATE_SECONDS = 3.0
"""A user frame later than this comes from a microphone that paused without counting."""
MIN_GAP_SECONDS = 0.02
"""After this much silence the agent's next audio starts at the present moment."""
MAX_AHEAD_SECONDS = 60.0
"""Nothing may be further ahead of the clock than this."""
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""Errors of the disk. Any other error at the start is the application's, and ends the session."""


class Recorder:
    """Records a session as one WAV file of 16 bits: the user on the left channel, the agent on the right.

    It has two processors, which record every audio frame and pass it on unchanged::

        recorder = Recorder("call.wav")
        Pipeline(microphone, recorder.user, vad, brain, Pacer(), recorder.agent, speaker)

    The user's sample clock is the master, so the channels do not drift apart. The recording begins with the session.
    User frames stand where their `pts` says: a gap of more than 1 ms becomes silence of that length. A `pts` that does
    not advance, goes back, or jumps more than 60 s ahead continues the sound. A frame that is more than 3 s late comes
    from a microphone that paused, and is placed at the present moment.

    Agent frames continue the agent's sound. After more than 20 ms of silence they are placed at the present moment of
    the user's clock. What an interrupt flushes is erased, so the recording contains what was heard.

    The file is created when the first processor starts and closed when the last one ends. Either may be used alone. The
    file on disk is updated once a second of media, so a killed process leaves a readable recording. Audio of other
    formats is converted (another rate needs PyAV, extra `audio`). Writing happens in the event loop: use a local disk.

    A disk that is full or fails costs the recording only. The session goes on, and one `Failure` reports it. What the
    disk refused is silence in the file; what it takes later stands in its place.

    Args:
        path: Where to create the WAV file.
        rate: Sampling rate of the file in Hz.
        overwrite: Whether an existing file is replaced.
        max_bytes: Maximum size of the file in bytes, 1024 to 4294967295 (18 hours at 16 kHz).

    Raises:
        ValueError: `rate` or `max_bytes` is out of its range; in the session, the agent is more than 60 s ahead.
        FileExistsError: The file exists and `overwrite` is False (when the session starts).
        FileNotFoundError: The folder does not exist (when the session starts).
        RuntimeError: The recorder is used for a second session (when it starts).
        OSError: The file cannot be created for another reason than a full or failing disk (when the session starts).
    """

    @check_options
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rate: int = 16_000,
        overwrite: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if type(rate) is not int or rate <= 0:
            raise ValueError(f"Recorder(rate={rate!r}): expected samples a second as a positive int, such as 16000")
        if not 1024 <= max_bytes <= MAX_BYTES:
            raise ValueError(f"Recorder(max_bytes={max_bytes}): expected 1024 to {MAX_BYTES}, what a WAV file can hold")
        self.path = os.fspath(path)
        self.rate = rate
        self.overwrite = overwrite
        self.max_bytes = max_bytes
        self.user = _User(self)
        """Records the user. Place it directly after the source."""
        self.agent = _Agent(self)
        """Records the agent. Place it below the `Pacer`, directly before the sink."""
        self._inside: set[Processor] = set()
        self._file: WaveFile | None = None
        self._channels: tuple[_Channel, _Channel] | None = None
        self._finished = self._reported = False
        self._refused: OSError | None = None  # why the disk did not take the file's beginning
        self._arrived_at: float | None = None  # arrival of the latest user frame, or start of the session
        self._zero: int | None = None  # position of the user's pts 0
        self._run: int | None = None  # start of the agent's current stretch
        self._lead = 0  # samples by which the agent is ahead of the clock

    # Beginning and end --------------------------------------------------------------------------------------------

    def _enter(self, end: Processor) -> None:
        if self._finished or end in self._inside:
            raise RuntimeError(
                f"Recorder({self.path!r}) {'has recorded its session' if self._finished else 'is recording'}; "
                "create a new one, with another path, for each session"
            )
        if self._file is None and self._refused is None:
            try:
                self._file = self._open()
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                self._refused = error  # reported with the first frame: there is no way to do it here
            else:
                self._channels = _Channel(self._file, USER), _Channel(self._file, AGENT)
                self._arrived_at = _time()
        self._inside.add(end)

    def _open(self) -> WaveFile:
        try:
            return WaveFile(self.path, self.rate, overwrite=self.overwrite, max_bytes=self.max_bytes)
        except FileExistsError as error:
            what = "the file exists; choose another path, or pass overwrite=True to replace it"
            raise FileExistsError(error.errno, what, self.path) from None
        except FileNotFoundError as error:
            folder = os.path.dirname(self.path)
            what = f"the folder {folder!r} does not exist; create it first, for example with os.makedirs()"
            raise FileNotFoundError(error.errno, what, self.path) from None

    def _leave(self, end: Processor) -> None:
        self._inside.discard(end)
        if self._inside:
            return
        self._finished = True
        if self._file is None or self._channels is None:
            return
        file, channels = self._file, self._channels
        self._file = self._channels = None
        try:
            for channel in channels:
                channel.finish()
            file.flush(max(channel.sounded for channel in channels))
        except OSError as error:
            # A full file loses its last second silently. The session is over, so nothing more can be sent.
            if error.errno != errno.EFBIG and not self._reported:
                log.error("the end of the recording %r is missing: %s", self.path, error)
        finally:
            file.close()

    def _guard(self, name: str, record: Callable[[], None]) -> Iterator[Failure]:
        """Record something. The first time that the disk refuses, give a `Failure` that says so.

        Args:
            name: The processor that records.
            record: Does it.
        """
        try:
            if self._refused is not None:
                raise self._refused
            record()
        except OSError as error:
            if not self._reported:
                self._reported = True
                # Without the path: a transport shows failures to its peer.
                what = f"the recording is incomplete, and the session goes on: {error.strerror or error}"
                yield Failure(f"{what}. Free some space, or record to another disk", processor=name, error=error)

    # The clock ----------------------------------------------------------------------------------------------------

    def _now(self, user: _Channel) -> int:
        """Return the present position: the end of the user's audio plus the time since it arrived."""
        now = _time()
        if now is None or self._arrived_at is None:
            return user.end
        return user.end + max(0, round((now - self._arrived_at) * self.rate))

    def _keep(self, position: int) -> None:
        if self._file is not None and position >= self._file.base + self.rate:
            self._file.flush(position)

    # Both ends ----------------------------------------------------------------------------------------------------

    def record_user(self, frame: Audio) -> None:
        """Record a user frame.

        Args:
            frame: The frame of the user.
        """
        if self._channels is None:
            return
        user, _ = self._channels
        at = self._place(frame, user, self._now(user))
        self._arrived_at = _time()
        try:
            self._keep(at)
        finally:
            user.add(frame, at)

    def _place(self, frame: Audio, user: _Channel, now: int) -> int:
        """Return the position at which a user frame begins."""
        offset = (frame.pts * self.rate + SECOND // 2) // SECOND
        length = -(-len(frame.samples) * self.rate // frame.rate)
        if self._zero is None:
            at = max(0, now - length)
        else:
            at = self._zero + offset
            if user.end - MAX_BACK_SECONDS * self.rate <= at <= user.end + MAX_JITTER_SECONDS * self.rate:
                at = user.end
            elif not user.end < at <= now + MAX_AHEAD_SECONDS * self.rate:
                at = user.end
                self._zero = None
            if at + length < now - MAX_LATE_SECONDS * self.rate:
                at = now - length
                self._zero = None
        if self._zero is None:
            self._zero = at - offset
        return at

    def record_agent(self, frame: Audio) -> None:
        """Record an agent frame.

        Args:
            frame: The frame of the agent.
        """
        if self._channels is None:
            return
        user, agent = self._channels
        now = self._now(user)
        at = agent.end
        if self._run is None or at + MIN_GAP_SECONDS * self.rate < now:
            at = self._run = now
            self._lead = 0
        if at > now + MAX_AHEAD_SECONDS * self.rate:
            raise ValueError(
                f"Recorder: the agent is {(at - now) / self.rate:.0f} s ahead of the user; put recorder.agent below "
                "the Pacer, where sound comes when it is due (and let a microphone that pauses advance its pts)"
            )
        if at < self._run + self.rate:
            self._lead = max(self._lead, at - now)
        try:
            self._keep(now)
        finally:
            if frame.response_id or frame.samples.any():
                agent.add(frame, at)
            else:
                # Silence between responses is elastic: it keeps an endless stream aligned with the user's clock.
                agent.pause(now + self._lead + len(frame.samples) * self.rate // frame.rate)

    def erase_unplayed(self) -> None:
        """Erase agent audio after the present moment: it will not be played."""
        if self._channels is None:
            return
        user, agent = self._channels
        now = self._now(user)
        agent.cut(now)
        self._run, self._lead = agent.end, 0


class _Side(Processor):
    """One processor of a recorder."""

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

    def process(self, frame: Audio) -> Iterator[Audio | Failure]:
        """Record the frame and yield it, even if recording fails."""
        try:
            yield from self.recorder._guard(self.name, partial(self.recorder.record_user, frame))
        finally:
            yield frame


class _Agent(_Side):
    name = "recorder.agent"

    def process(self, frame: Audio | Interrupt) -> Iterator[Audio | Failure]:
        """Record the frame and yield it, even if recording fails. At an interrupt, erase what was flushed."""
        if isinstance(frame, Interrupt):
            yield from self.recorder._guard(self.name, self.recorder.erase_unplayed)
            return
        try:
            yield from self.recorder._guard(self.name, partial(self.recorder.record_agent, frame))
        finally:
            yield frame


class _Channel:
    """One channel of the file, made of stretches that are exactly as long as their input, at any rate."""

    def __init__(self, file: WaveFile, index: int) -> None:
        self.end = 0
        """End of its audio, including silence added by `pause`."""
        self.sounded = 0
        """End of its audio without that silence."""
        self._file = file
        self._index = index
        self._resample: Resample | None = None
        self._rate = 0  # of the current stretch
        self._start = self._end_written = self._in = (
            0  # its start, the end of what is written, and the input samples since
        )

    def add(self, frame: Audio, at: int) -> None:
        """Record a frame at a position. At `end` it continues the stretch."""
        if at != self.end or frame.rate != self._rate:
            self.finish()
            self._start = self._end_written = at
            self._rate, self._in = frame.rate, 0
        self._in += len(frame.samples)
        self.end = self.sounded = self._start + self._in * self._file.rate // self._rate
        samples = mix_channels(frame.samples, 1)
        if frame.rate == self._file.rate:
            self._place(samples)
            return
        if self._resample is None:
            self._resample = Resample(self._file.rate)
        # Without pts and response the resampler sees one stretch; this class knows where it ends.
        self._convert(Audio(samples=samples, rate=frame.rate))

    def pause(self, until: int) -> None:
        """Extend the channel with silence up to a position."""
        self.finish()
        self.end = max(self.sounded, until)

    def cut(self, at: int) -> None:
        """Erase everything from a position on."""
        self.finish()
        if at < self.sounded:
            self._file.place(self._index, at, np.zeros(self.sounded - at, np.int16))
            self.sounded = at
        self.end = min(self.end, at)

    def finish(self) -> None:
        """End the stretch and write what the resampler holds back."""
        if self._resample is not None:
            self._convert(End())
        self._rate = 0

    def _convert(self, frame: Audio | End) -> None:
        if self._resample is not None:
            for piece in self._resample.process(frame):
                if isinstance(piece, Audio):
                    self._place(piece.samples)

    def _place(self, samples: Samples) -> None:
        samples = samples[: self.end - self._end_written]
        self._file.place(self._index, self._end_written, samples)
        self._end_written += len(samples)


def _time() -> float | None:
    """Return AnyIO's time in seconds, or None outside an event loop."""
    try:
        return anyio.current_time()
    except RuntimeError:  # the exception class depends on the version of AnyIO
        return None
