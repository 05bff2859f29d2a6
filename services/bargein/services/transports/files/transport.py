"""`FileTransport`: a conversation without a microphone, a network or a person::

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
from bargein.pipeline.lowlevel import check_options, ns
from bargein.processors import AgentActivity, Latency, Pacer, Recorder, Resample
from bargein.services.transports.frames import PeerJoined, PeerLeft
from bargein.services.transports.transport import MayBeSilent, Peer, Transport

from ._sound_file import SoundReader, WaveWriter

__all__ = ["FileTransport"]

PIECE_MS = 20
"""Length of the pieces in which the file's sound is sent."""
AUDIBLE_LEVEL = 300
"""Absolute value of a sample (of 32,767) above which sound counts as audible. A response that begins after the last
audible sound of the question counts as its answer."""


class FileTransport(Transport):
    """The user is a sound file in any format that PyAV reads (extra `audio`). The agent's sound is written as WAV.

    The source sends the file's sound in pieces of 20 ms, and then silence, so that turn detection notices the end of
    the question. The session ends when the agent has answered: a response that began after the last audible sound has
    been played to its end, no tool is running (as far as a `Spoken` in the graph reports), and `settle_seconds` have
    passed. It also ends when no answer begins within `wait_seconds`.

    The sink writes what is played of the agent's sound: without the pauses, and without what was interrupted. Files of
    any length are read and written in constant memory.

    When the session begins, it raises `OSError` for files that cannot be read or written, and `ValueError` for a file
    without readable sound.

    Args:
        question: The file that the user "says".
        answer: The WAV file for the agent's sound; None to write none.
        both: A WAV file that a `Recorder` writes, with both sides of the conversation in time; None to write none.
        pace: Speed at which the question is spoken, as a multiple of real time. With None the question is read as fast
            as the graph takes it, the answer is not paced, and all sound that is written counts as heard.
        rate: Rate of the sound that the source sends, in samples a second (Hz).
        channels: 1 or 2.
        output_rate: Rate of the written file in Hz; None for the rate of the agent's sound.
        wait_seconds: Longest time from the end of the file to the beginning of an answer. With 0 the session ends with
            the file.
        settle_seconds: Time after the answer in which nothing more may begin.
        overwrite: Whether files that exist may be replaced.

    Raises:
        ValueError: An option is out of range.
    """

    @check_options
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
        """Speed at which the question is spoken; None for as fast as the graph takes it."""
        self.wait_seconds = wait_seconds
        """Longest time from the end of the file to the beginning of an answer."""
        self.settle_seconds = settle_seconds
        """Time after the answer in which nothing more may begin."""
        self.reader = SoundReader(question, rate=rate, channels=channels)
        """Reads the question. Its `seconds` are the file's length, once the session has begun."""
        self.read_ms = 0.0
        """How much of the file has been sent, in milliseconds."""
        self.left: PeerLeft | None = None
        """How the session ended; None while it runs."""
        self._answer = _AnswerState()
        recorder = None if both is None else Recorder(both, overwrite=overwrite)
        user = () if recorder is None else (recorder.user,)
        agent = () if recorder is None else (recorder.agent,)
        convert = () if output_rate is None else (Resample(output_rate, channels=1),)
        player: Processor = _UnpacedPlayer() if pace is None else Pacer()
        writer = None if answer is None else WaveWriter(answer, rate=output_rate, overwrite=overwrite)
        self.source = Pipeline(_FileReader(self), *user, _ActivityWatcher(self._answer), name="source")
        self.sink = Pipeline(
            MayBeSilent(), *convert, player, *agent, Latency(), _FileWriter(self._answer, writer), name="sink"
        )

    def __repr__(self) -> str:
        return f"<FileTransport {self.peer.name!r}>"

    async def _read(self, out: Outlet[PeerJoined | Audio | PeerLeft]) -> None:
        reader = self.reader
        await out.send(PeerJoined(peer=self.peer))
        began, pts = anyio.current_time(), 0
        for piece in reader.pieces(reader.rate * PIECE_MS // 1000):
            pts = piece.pts + piece.duration
            if self.pace is not None:  # a piece is spoken when its last sample is
                await anyio.sleep_until(began + pts / (self.pace * 1e9))
            if np.abs(piece.samples.astype(np.int32)).max() > AUDIBLE_LEVEL:
                self._answer.on_question()
            self.read_ms += piece.ms
            await out.send(piece)
        reason = "the file has been read"
        if self.wait_seconds:
            reason = await self._wait(out, pts)
        self.left = PeerLeft(peer=self.peer, reason=reason)
        await out.send(self.left)

    async def _wait(self, out: Outlet[PeerJoined | Audio | PeerLeft], pts: int) -> str:
        """Send silence until the agent has answered. Return why the wait is over."""
        rate, channels = self.reader.rate, self.reader.channels
        count = rate * PIECE_MS // 1000
        silence = np.zeros(count if channels == 1 else (count, channels), np.int16)
        began, number, pace = anyio.current_time(), 0, self.pace or 1.0
        while True:
            answer, now = self._answer, anyio.current_time()
            if answer.complete and now - answer.changed_at >= self.settle_seconds:
                return "it has been answered"
            if not answer.begun and now - began >= self.wait_seconds:
                return f"no answer came within {self.wait_seconds:g} s"
            await out.send(Audio(samples=silence, rate=rate, pts=pts + ns(number * count, rate)))
            number += 1
            await anyio.sleep_until(began + number * count / (rate * pace))


class _AnswerState:
    """The progress of the agent's answer, from frames above and below the agent."""

    def __init__(self) -> None:
        self.begun = False
        """Whether a response has begun since the last audible sound of the question."""
        self.changed_at = 0.0
        """When any of this last changed, in seconds."""
        self._open_responses: set[str] = set()
        self._activity = AgentActivity()

    @property
    def complete(self) -> bool:
        """Whether the answer has been played to its end, and no response or tool is running."""
        busy = self._open_responses or self._activity.response_id or self._activity.call_ids
        return self.begun and not busy

    def on_question(self) -> None:
        """Note an audible sound of the question: what the agent has said so far was not an answer to it."""
        self.begun = False

    def on_frame(self, frame: AgentActivity | ResponseStarted | ResponseEnded) -> None:
        """Note what the agent does."""
        self.changed_at = anyio.current_time()
        if isinstance(frame, AgentActivity):
            self._activity = frame
        elif isinstance(frame, ResponseStarted):
            self._open_responses.add(frame.response_id)
            self.begun = True
        else:
            self._open_responses.discard(frame.response_id)


class _FileReader(Processor):
    """Sends the file's sound."""

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
        """Send sound until the file has ended and been answered."""
        await self._transport._read(out)


class _ActivityWatcher(Processor):
    """Notes what the agent does, as it comes up the graph."""

    name = "follows"

    def __init__(self, answer: _AnswerState) -> None:
        self._answer = answer

    def process(self, frame: AgentActivity) -> None:
        """Note what the agent does."""
        self._answer.on_frame(frame)


class _UnpacedPlayer(Processor):
    """Passes sound on at once and reports it as played."""

    name = "plays"

    def __init__(self) -> None:
        self._ms: dict[tuple[str, str], float] = {}

    def process(self, frame: Audio | ResponseEnded | Interrupt) -> Iterator[Audio | ResponseEnded | Played]:
        """Pass sound on, and report how much of its item has been played."""
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


class _FileWriter(Processor):
    """Writes what is played, and notes what the agent does, as it comes down the graph."""

    name = "writes"

    def __init__(self, answer: _AnswerState, writer: WaveWriter | None) -> None:
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
        """Write sound; note anything else."""
        if not isinstance(frame, Audio):
            self._answer.on_frame(frame)
        elif self._writer is not None:
            self._writer.write(frame)
