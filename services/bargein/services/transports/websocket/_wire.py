"""The messages on a WebSocket of ours: sound as bytes with a header, all else as the JSON of `control`. No I/O.

The header has 16 bytes, little-endian, and 16-bit samples follow, interleaved:

    offset  0  u8   what it is: 1, PCM of 16 bits; no other yet
            1  u8   channels
            2  u16  0
            4  u32  rate, samples a second (Hz)
            8  u32  sequence: messages with sound so far, from 0, each way by itself; a gap is sound that was dropped
           12  u32  epoch of the agent's sound; 0 from the user
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from bargein.pipeline import LIVE, Audio, Frame, Interrupt, Played
from bargein.services.transports import control
from bargein.services.transports._agent_messages import told
from bargein.services.transports.control import ControlError, Finish, Ready, Start

__all__ = ["HEADER", "AgentWire", "UserWire", "pack", "unpack"]

HEADER: Final = 16
"""Bytes before the samples: a multiple of what any array of samples is aligned to."""
PCM: Final = 1
RATES: Final = (4_000, 384_000)
CHANNELS: Final = 8
LOST: Final = 250
"""A gap of more messages is a sender that began to count anew."""
SECOND: Final = 1_000_000_000
_HEADER = struct.Struct("<BBHIII")
Message = str | bytes


def pack(frame: Audio, sequence: int, epoch: int) -> bytes:
    """Sound as a message."""
    header = _HEADER.pack(PCM, frame.channels, 0, frame.rate, sequence & 0xFFFFFFFF, epoch & 0xFFFFFFFF)
    return header + frame.samples.astype("<i2", copy=False).tobytes()


def unpack(data: bytes) -> tuple[Audio, int, int]:
    """A message's sound, with `pts` 0, its sequence, and its epoch. Raises `ControlError` for what is none."""
    if len(data) < HEADER:
        raise ControlError(f"this is no sound: {len(data)} bytes; expected a header of {HEADER}, and samples")
    kind, channels, zero, rate, sequence, epoch = _HEADER.unpack_from(data)
    if kind != PCM or zero:
        raise ControlError(f"this is no sound: its header begins with {data[:4].hex()}; expected 01, channels, 0000")
    if not 1 <= channels <= CHANNELS or not RATES[0] <= rate <= RATES[1]:
        raise ControlError(
            f"this is no sound: {channels} channels at {rate} Hz; expected 1 to {CHANNELS} channels at "
            f"{RATES[0]} to {RATES[1]} Hz"
        )
    size = len(data) - HEADER
    if not size or size % (2 * channels):
        raise ControlError(f"this is no sound: {size} bytes are no whole number of samples in {channels} channel(s)")
    samples = np.frombuffer(data, "<i2", offset=HEADER).astype(np.int16, copy=False)
    return Audio(samples=samples.reshape(-1, channels) if channels > 1 else samples, rate=rate), sequence, epoch


class _Wire:
    """What both ends have: they count what they send, and what comes has its place in time."""

    def __init__(self) -> None:
        self.missing = 0
        """Messages with sound that the other end dropped."""
        self._sequence = 0
        self._next: int | None = None
        self._rate = 0
        self._start = 0  # where the present rate began, in nanoseconds
        self._count = 0  # samples since

    def sound(self, frame: Audio) -> tuple[Message]:
        """A message with this sound."""
        data = pack(frame, self._sequence, self._epoch(frame))
        self._sequence += 1
        return (data,)

    def played(self, frame: Frame) -> tuple[Played, ...]:
        """Nothing: who paces the sound knows better than a peer would tell."""
        return ()

    def _epoch(self, frame: Audio) -> int:
        return 0

    def _heard(self, data: bytes) -> tuple[Audio, int]:
        """Sound with its `pts`, and its epoch."""
        frame, sequence, epoch = unpack(data)
        gap = 0 if self._next is None else (sequence - self._next) & 0xFFFFFFFF
        self._next = (sequence + 1) & 0xFFFFFFFF
        if frame.rate != self._rate:
            self._start, self._count, self._rate = self._pts, 0, frame.rate
        if 0 < gap <= LOST:
            self.missing += gap
            self._count += gap * len(frame.samples)  # all are as long, where somebody counts by messages
        msgspec.structs.force_setattr(frame, "pts", self._pts)  # it is ours alone, and has been checked
        self._count += len(frame.samples)
        return frame, epoch

    @property
    def _pts(self) -> int:
        return self._start + (self._count * SECOND // self._rate if self._rate else 0)


class AgentWire(_Wire):
    """The agent's end: takes what a user sends, and makes what a user gets."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0  # the session's epoch

    def received(self, data: Message) -> Iterator[Frame | Finish]:
        """What a message means. Raises `ControlError`."""
        if isinstance(data, bytes):
            yield self._heard(data)[0]
            return
        message = control.decode(data)
        if isinstance(message, Start):
            raise ControlError("this is no time to start: the session has begun; a start comes once, first")
        yield message

    def news(self, frame: Frame) -> tuple[Message, ...]:
        """The message for a frame that is no sound, if there is one."""
        if isinstance(frame, Interrupt):
            self._now = frame.epoch
        message = control.encode(frame)
        return () if message is None else (message,)

    def wrong(self, error: ControlError) -> Message | None:
        """The answer to a wrong message."""
        return control.fault(error)

    def ending(self, reason: str) -> Message | None:
        """The last message."""
        return control.ending(reason)

    def _epoch(self, frame: Audio) -> int:
        return self._now if frame.epoch == LIVE else frame.epoch


class UserWire(_Wire):
    """The user's end: takes what an agent sends, and makes what an agent gets."""

    def __init__(self) -> None:
        super().__init__()
        self.stale = 0
        """Messages with sound that came after they had expired."""
        self._now = 0

    def received(self, data: Message) -> Iterator[Frame | Finish | Ready]:
        """What a message means: the agent's sound with its epoch, unless it is stale. Raises `ControlError`."""
        if isinstance(data, bytes):
            frame, epoch = self._heard(data)
            if epoch >= self._now:
                yield frame.stamped(epoch)
            else:
                self.stale += 1
            return
        message = told(data)
        if isinstance(message, Interrupt):
            self._now = message.epoch
        yield message

    def news(self, frame: Frame) -> tuple[Message, ...]:
        """None: of all that an agent in the user's place gives, its sound is what this agent gets."""
        return ()

    def wrong(self, error: ControlError) -> Message | None:
        """An agent is not told what was wrong with its messages."""
        return None

    def ending(self, reason: str) -> Message | None:
        """The last message."""
        return control.ending(reason)
