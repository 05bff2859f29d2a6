"""Encoded packets of a peer's voice, as they come. Imports aiortc."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

__all__ = ["Packet", "intercept"]

Packet = Callable[[int, int, bytes], None]
"""Takes a packet: its sequence number, its timestamp, its payload."""


class _Intake(JitterBuffer):
    """Stands for the jitter buffer of one audio receiver, and hands its packets on.

    aiortc has no other place where encoded packets can be had. Its own buffer holds back 80 ms, and 300 ms for the
    rest of a call in which one packet was lost; and its decoder's thread costs more than the decoding.
    """

    def __init__(self, packet: Packet) -> None:
        super().__init__(capacity=1)
        self._packet = packet

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """A packet has come."""
        self._packet(packet.sequence_number, packet.timestamp, bytes(packet.payload))
        return False, None


def intercept(receiver: RTCRtpReceiver, packet: Packet) -> None:
    """Give the packets of this receiver to a function, and not to aiortc's decoder."""
    name = "_RTCRtpReceiver__jitter_buffer"
    if not hasattr(receiver, name):
        raise RuntimeError("this version of aiortc has no jitter buffer where it was; install aiortc>=1.13,<2")
    setattr(receiver, name, _Intake(packet))
