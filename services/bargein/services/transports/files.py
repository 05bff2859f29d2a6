"""A file in the user's place: a conversation without a microphone, a network, or a person.

::

    peer = FileTransport("question.wav", "answer.wav")
    await Pipeline(peer.source, brain, Spoken(), peer.sink).run()
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import anyio
import numpy as np

from bargein.pipeline import Audio, Interrupt, Outlet, Pipeline, Played, Processor, ResponseEnded, ResponseStarted
from bargein.processors import AgentActivity, Latency, Pacer, Recorder, Resample

from ._silent import MayBeSilent
from ._sound_file import SoundReader, WaveWriter
from .transport import Peer, PeerJoined, PeerLeft, Transport

__all__ = ["FileTransport"]

PIECE_MS = 20
AUDIBLE = 300
"""A sample of more than that is heard: what the agent says after the last of them is its answer."""


class FileTransport(Transport):
    """The user is a sound file: any that PyAV can read (extra `audio`). What the agent says is written as WAV.

    The source gives the file's sound in pieces of 20 ms, at `rate` samples a second (Hz) and in `channels`, at `pace`
    times the speed at which it would be spoken; `pace=None` as fast as it is taken. Then silence follows, so that
    whoever listens notices that the question is over, until the agent has answered: a response that began after the
    last audible sound has been played to its end, no tool runs (as far as a `Spoken` in the graph tells), and
    `settle_seconds` have passed. If none begins within `wait_seconds` of the end of the file (0: nobody waits for
    one), the session ends all the same.

    The sink writes to `answer`, if given, what is played of the agent's sound and nothing else: no pauses, nothing
    that was interrupted. With `pace=None` it is not paced, and what is written counts as heard. `output_rate`: of the
    file; None for the agent's own. `both`: a WAV file with both sides in time with each other, as a `Recorder` makes
    it. Files that exist are not replaced, unless `overwrite`.

    Files of any length are read and written in constant memory. When the session begins, raises `OSError` for files
    that cannot be read or written, and `ValueError` for one in which there is no sound that can be read; at once,
    `ValueError` for options that cannot be.
    """

    def __init__(
        self,
        question: str | os.PathLike[str],
        answer: str | os.PathLike[str] | None = None,
        *,
        both: str | os.PathLike[str] | None = None,
        pace: float | None = 1.0,
        rate: int = 16_000,
        channels: int = 1,
        output_rate: int | None = None,
        wait_seconds: float = 30.0,
        settle_seconds: float = 1.0,
        overwrite: bool = False,
    ) -> None:
        for name, value, least in (("pace", pace or 1.0, 1e-3), ("wait_seconds", wait_seconds, 0.0)):
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"FileTransport({name}={value}): expected a number of at least {least:g}")
        if channels not in (1, 2) or rate <= 0:
            raise ValueError(f"FileTransport(rate={rate}, channels={channels}): expected a rate in Hz, and 1 or 2")
        self.peer = Peer(name=os.fspath(question))
        self.pace = pace
        self.wait_seconds = wait_seconds
        self.settle_seconds = settle_seconds
        self.reader = SoundReader(question, rate=rate, channels=channels)
        """What is read; its `seconds` are the file's length, once the session has begun."""
        self.read_ms = 0.0
        """How much of the file has been given, in milliseconds."""
        self.left: PeerLeft | None = None
        """How it ended, once it has."""
        self._answer = _Answer()
        recorder = None if both is None else Recorder(both, overwrite=overwrite)
        user = () if recorder is None else (recorder.user,)
        agent = () if recorder is None else (recorder.agent,)
        convert = () if output_rate is None else (Resample(output_rate, channels=1),)
        player: Processor = _Plays() if pace is None else Pacer()
        writer = None if answer is None else WaveWriter(answer, rate=output_rate, overwrite=overwrite)
        self.source = Pipeline(_Reads(self), *user, _Follows(self._answer), name="source")
        self.sink = Pipeline(
            MayBeSilent(), *convert, player, *agent, Latency(), _Writes(self._answer, writer), name="sink"
        )

    def __repr__(self) -> str:
        return f"<FileTransport {self.peer.name!r}>"

    async def _read(self, out: Outlet[PeerJoined | Audio | PeerLeft]) -> None:
        reader = self.reader
        await out.send(PeerJoined(peer=self.peer))
        began, pts = anyio.current_time(), 0
        for piece in reader.pieces(reader.rate * PIECE_MS // 1000):
            pts = piece.pts + piece.duration
            if self.pace is not None:  # it has been spoken when its last sample has
                await anyio.sleep_until(began + pts / (self.pace * 1e9))
            if np.abs(piece.samples.astype(np.int32)).max() > AUDIBLE:
                self._answer.asked()
            self.read_ms += piece.ms
            await out.send(piece)
        reason = "the file has been read"
        if self.wait_seconds:
            reason = await self._wait(out, pts)
        self.left = PeerLeft(peer=self.peer, reason=reason)
        await out.send(self.left)

    async def _wait(self, out: Outlet[PeerJoined | Audio | PeerLeft], pts: int) -> str:
        """Be silent until the agent has answered."""
        rate, channels = self.reader.rate, self.reader.channels
        count = rate * PIECE_MS // 1000
        silence = np.zeros(count if channels == 1 else (count, channels), np.int16)
        began, number, pace = anyio.current_time(), 0, self.pace or 1.0
        while True:
            answer, now = self._answer, anyio.current_time()
            if answer.over and now - answer.changed >= self.settle_seconds:
                return "it has been answered"
            if not answer.begun and now - began >= self.wait_seconds:
                return f"no answer came within {self.wait_seconds:g} s"
            await out.send(Audio(samples=silence, rate=rate, pts=pts + number * count * 1_000_000_000 // rate))
            number += 1
            await anyio.sleep_until(began + number * count / (rate * pace))


class _Answer:
    """What the agent is doing about the question, as far as is seen above and below it."""

    def __init__(self) -> None:
        self.begun = False
        """A response has begun since the last audible sound of the question, or is still being said."""
        self.changed = 0.0
        """When anything of that last changed."""
        self._open: set[str] = set()
        self._activity = AgentActivity()

    @property
    def over(self) -> bool:
        """It has been said, to the end, and nothing more is on its way."""
        return self.begun and not self._open and not self._activity.response_id and not self._activity.call_ids

    def asked(self) -> None:
        """Something audible was said: what the agent has said until now was no answer to it."""
        self.begun = False

    def does(self, frame: AgentActivity | ResponseStarted | ResponseEnded) -> None:
        """Something of the agent's was seen."""
        self.changed = anyio.current_time()
        if isinstance(frame, AgentActivity):
            self._activity = frame
        elif isinstance(frame, ResponseStarted):
            self._open.add(frame.response_id)
            self.begun = True
        else:
            self._open.discard(frame.response_id)


class _Reads(Processor):
    """Gives the file's sound."""

    name = "reads"

    def __init__(self, transport: FileTransport) -> None:
        self._transport = transport

    def __enter__(self) -> Self:
        self._transport.reader.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.reader.__exit__(kind, error, trace)

    async def run(self, out: Outlet[PeerJoined | Audio | PeerLeft]) -> None:
        """Until the end of the file, and of the answer."""
        await self._transport._read(out)


class _Follows(Processor):
    """Sees from above what the agent does."""

    name = "follows"

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer

    def process(self, frame: AgentActivity) -> None:
        """Note it."""
        self._answer.does(frame)


class _Plays(Processor):
    """Takes all for heard at once."""

    name = "plays"

    def __init__(self) -> None:
        self._ms: dict[tuple[str, str], float] = {}

    def process(self, frame: Audio | ResponseEnded | Interrupt) -> Iterator[Audio | ResponseEnded | Played]:
        """Pass it on, and say how much that was."""
        if isinstance(frame, Audio):
            yield frame
            if frame.response_id:
                key = (frame.response_id, frame.item_id)
                self._ms[key] = self._ms.get(key, 0.0) + frame.ms
                yield Played(response_id=frame.response_id, item_id=frame.item_id, ms=self._ms[key])
            return
        for (response, item), ms in list(self._ms.items()):
            if isinstance(frame, Interrupt) or response == frame.response_id:
                del self._ms[response, item]
                yield Played(response_id=response, item_id=item, ms=ms, done=True)
        if isinstance(frame, ResponseEnded):
            yield frame


class _Writes(Processor):
    """Writes what is played, and sees from below what the agent does."""

    name = "writes"

    def __init__(self, answer: _Answer, writer: WaveWriter | None) -> None:
        self._answer = answer
        self._writer = writer

    def __enter__(self) -> Self:
        if self._writer is not None:
            self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def process(self, frame: Audio | ResponseStarted | ResponseEnded) -> None:
        """Write it, or note it."""
        if not isinstance(frame, Audio):
            self._answer.does(frame)
        elif self._writer is not None:
            self._writer.write(frame)
