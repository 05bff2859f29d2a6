"""The messages on Bargein's own WebSocket: sound as binary messages with a header, the rest as JSON. No I/O.

The header has 16 bytes, little-endian. Interleaved 16-bit samples follow it.

    offset  0  u8   format: 1 is PCM of 16 bits; there is no other yet
            1  u8   channels
            2  u16  0
            4  u32  rate, in samples a second (Hz)
            8  u32  sequence: sound messages so far, counted from 0 for each direction; a gap is sound that was dropped
           12  u32  epoch of the agent's sound; 0 from the user
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from bargein.pipeline import LIVE, Audio, Frame, Interrupt, Played
from bargein.pipeline.lowlevel import ns
from bargein.services.transports import control
from bargein.services.transports.control import ControlError, Finish, Ready, Start
from bargein.services.transports.message_socket import Message

__all__ = ["HEADER_BYTES", "MAX_CHANNELS", "RATES", "AgentWire", "UserWire", "pack", "unpack"]

HEADER_BYTES: Final = 16
"""Length of the header. Arrays of samples need aligned memory, and 16 is a multiple of every alignment."""
PCM: Final = 1
RATES: Final = (4_000, 384_000)
"""Lowest and highest rate of sound that is accepted, in Hz."""
MAX_CHANNELS: Final = 8
MAX_GAP: Final = 250
"""Largest gap in the sequence that counts as dropped sound. A larger gap means that the sender restarted its count."""
_HEADER = struct.Struct("<BBHIII")


def pack(frame: Audio, sequence: int, epoch: int) -> bytes:
    """Return a message with this sound."""
    header = _HEADER.pack(PCM, frame.channels, 0, frame.rate, sequence & 0xFFFFFFFF, epoch & 0xFFFFFFFF)
    return header + frame.samples.astype("<i2", copy=False).tobytes()


def unpack(data: bytes) -> tuple[Audio, int, int]:
    """Return a message's sound (with `pts` 0), its sequence number and its epoch.

    Raises:
        ControlError: The message is not sound.
    """
    if len(data) < HEADER_BYTES:
        raise ControlError(f"this is not sound: {len(data)} bytes; expected a header of {HEADER_BYTES}, and samples")
    kind, channels, zero, rate, sequence, epoch = _HEADER.unpack_from(data)
    if kind != PCM or zero:
        raise ControlError(f"this is not sound: its header begins with {data[:4].hex()}; expected 01, channels, 0000")
    if not 1 <= channels <= MAX_CHANNELS or not RATES[0] <= rate <= RATES[1]:
        raise ControlError(
            f"this is not sound: {channels} channels at {rate} Hz; expected 1 to {MAX_CHANNELS} channels at "
            f"{RATES[0]} to {RATES[1]} Hz"
        )
    size = len(data) - HEADER_BYTES
    if not size or size % (2 * channels):
        raise ControlError(f"this is not sound: {size} bytes are not whole samples of {channels} channel(s)")
    samples = np.frombuffer(data, "<i2", offset=HEADER_BYTES).astype(np.int16, copy=False)
    return Audio(samples=samples.reshape(-1, channels) if channels > 1 else samples, rate=rate), sequence, epoch


class _WebSocketWire:
    """The part that both ends share: it numbers the sound that is sent, and sets the `pts` of the sound that comes."""

    def __init__(self) -> None:
        self.missing = 0
        """Sound messages that the other end dropped."""
        self._sequence = 0
        self._next: int | None = None  # the sequence number that should come next
        self._rate = 0
        self._start = 0  # where sound of the present rate began, in nanoseconds
        self._count = 0  # samples since then

    def encode_audio(self, frame: Audio) -> tuple[Message]:
        """Return the message with this sound."""
        data = pack(frame, self._sequence, self._epoch_of(frame))
        self._sequence += 1
        return (data,)

    def skip_audio(self, frame: Audio) -> None:
        """Leave a gap in the sequence."""
        self._sequence += 1

    def report_played(self, frame: Frame) -> tuple[Played, ...]:
        """Return nothing. The pacer reports what has been played; peers of this protocol confirm nothing."""
        return ()

    def _epoch_of(self, frame: Audio) -> int:
        return 0

    def _decode_audio(self, data: bytes) -> tuple[Audio, int]:
        """Return the sound with its `pts`, and its epoch."""
        frame, sequence, epoch = unpack(data)
        gap = 0 if self._next is None else (sequence - self._next) & 0xFFFFFFFF
        self._next = (sequence + 1) & 0xFFFFFFFF
        if frame.rate != self._rate:
            self._start, self._count, self._rate = self._pts, 0, frame.rate
        if 0 < gap <= MAX_GAP:
            self.missing += gap
            self._count += gap * len(frame.samples)  # senders cut sound into equal pieces
        # The frame was made above and no other processor has it yet, so changing it is safe. Copying it would double
        # the cost.
        msgspec.structs.force_setattr(frame, "pts", self._pts)
        self._count += len(frame.samples)
        return frame, epoch

    @property
    def _pts(self) -> int:
        return self._start + (ns(self._count, self._rate) if self._rate else 0)


class AgentWire(_WebSocketWire):
    """The agent's end: decodes what a user sends, and encodes what a user gets."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0  # the session's

    def decode(self, data: Message) -> Iterator[Frame | Finish]:
        """Return what a message means. Raises `ControlError`."""
        if isinstance(data, bytes):
            yield self._decode_audio(data)[0]
            return
        message = control.decode_user_message(data)
        if isinstance(message, Start):
            raise ControlError("this is not the time for a start: the session has begun; start comes once, first")
        yield message

    def encode_event(self, frame: Frame) -> tuple[Message, ...]:
        """Return the message for a frame that is not sound, if it has one."""
        if isinstance(frame, Interrupt):
            self._epoch = frame.epoch
        message = control.encode_agent_message(frame)
        return () if message is None else (message,)

    def encode_error(self, error: ControlError) -> Message | None:
        """Return the answer to a message that cannot be understood."""
        return control.encode_error(error)

    def encode_end(self, reason: str) -> Message | None:
        """Return the last message."""
        return control.encode_end(reason)

    def _epoch_of(self, frame: Audio) -> int:
        return self._epoch if frame.epoch == LIVE else frame.epoch


class UserWire(_WebSocketWire):
    """The user's end: decodes what an agent sends, and encodes what an agent gets."""

    def __init__(self) -> None:
        super().__init__()
        self.stale = 0
        """Sound messages that came after an interrupt had made them stale."""
        self._epoch = 0

    def decode(self, data: Message) -> Iterator[Frame | Finish | Ready]:
        """Return what a message means; sound has its epoch, and stale sound is dropped. Raises `ControlError`."""
        if isinstance(data, bytes):
            frame, epoch = self._decode_audio(data)
            if epoch >= self._epoch:
                yield frame.stamped(epoch)
            else:
                self.stale += 1
            return
        message = control.decode_agent_message(data)
        if isinstance(message, Interrupt):
            self._epoch = message.epoch
        yield message

    def encode_event(self, frame: Frame) -> tuple[Message, ...]:
        """Return nothing: an agent that takes the user's place sends its sound only."""
        return ()

    def encode_error(self, error: ControlError) -> Message | None:
        """Return None: an agent is not told about its wrong messages."""
        return None

    def encode_end(self, reason: str) -> Message | None:
        """Return the last message."""
        return control.encode_end(reason)
