"""Remove the agent's own voice from the sound of the user's microphone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import numpy as np

from bargein.pipeline import Audio, End
from bargein.pipeline.lowlevel import Samples, check_not_negative, check_options, import_extra
from bargein.processors.frames import PlayedSound

from ._blocks import BLOCKS_A_SECOND, BlockProcessor
from ._reference import MicrophoneClock, Reference

__all__ = ["EchoCancel"]


class EchoCancel(BlockProcessor):
    """Removes the echo of the agent's voice from the user's sound, so that one can interrupt over a loudspeaker.

    Place it directly below the source. The player below tells it what it plays, and it subtracts what comes back
    through the room: WebRTC's AEC3, from the package `pywebrtc-audio` (extra `echo`). Echoes between 0 and about
    450 ms after playback are found, whatever the room, also if they change or if the clocks of the microphone and the
    loudspeaker differ.

    It takes sound of 8000 Hz and more in frames of any length. It sends mono, about 8 ms late, because of the blocks
    in which AEC3 works. It computes for less than a millisecond for 10 ms of sound, in the event loop, and never waits.

    Browsers remove echo themselves. Headphones have none.

    Args:
        delay_ms: The shortest time from playback to the microphone, in milliseconds, if it is known: for paths with
            more than 450 ms. Default 0.

    Raises:
        ValueError: `delay_ms` is negative or not finite.
        ModuleNotFoundError: The extra `echo` is not installed.
    """

    latency_ms = 8.0

    @check_options
    def __init__(self, *, delay_ms: float = 0.0) -> None:
        check_not_negative("EchoCancel", delay_ms=delay_ms)
        super().__init__(max_channels=1)
        self.delay_ms = delay_ms
        self._webrtc = import_extra("pywebrtc_audio", "echo", "EchoCancel")
        import_extra("av", "echo", "EchoCancel")
        self._canceller: Any = None
        self._reference: Reference | None = None
        self._clock: MicrophoneClock | None = None

    def process(self, frame: Audio | PlayedSound | End) -> Iterator[Audio]:
        """Yield the user's sound without the echo."""
        if isinstance(frame, PlayedSound):
            if self._reference is not None:
                self._reference.add(frame)
            return
        for each in self._process(frame):
            if isinstance(each, Audio):
                yield each

    def _begin(self, rate: int, channels: int) -> None:
        self._canceller = self._webrtc.AudioProcessor(rate, 1, echo_cancellation=True)
        self._reference, self._clock = Reference(rate), MicrophoneClock(rate)

    def _restart(self) -> None:
        if self._clock is not None:
            self._clock.restart()

    def _filter(self, samples: Samples, rate: int) -> Samples:
        reference, clock, now = self._reference, self._clock, anyio.current_time()
        assert reference is not None
        assert clock is not None
        delay = round(self.delay_ms * rate / 1000)
        # What was heard half a second ago may still be in the room and in the filter.
        silent = reference.silent_since(round((now - 0.5) * rate) - delay)
        waiting = 0 if self._rest is None else len(self._rest)
        block = rate // BLOCKS_A_SECOND
        far = []
        for at in range(0, len(samples), block):
            count = min(block, len(samples) - at)
            after = len(samples) - at - count + waiting
            far.append(reference.read(clock.advance(count, after, now, silent=silent) - delay, count))
        near = np.ascontiguousarray(samples.reshape(-1))
        cleaned: Samples = self._canceller.process(near, np.concatenate(far))
        return cleaned
