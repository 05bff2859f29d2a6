"""`intercept`: receive the encoded packets of a peer's voice without aiortc's decoder. Imports aiortc."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

__all__ = ["JITTER_BUFFER", "OnPacket", "intercept"]

OnPacket = Callable[[int, int, bytes], None]
"""Called with a packet's sequence number, its RTP timestamp and its payload."""
JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
"""The private attribute of an `RTCRtpReceiver` that holds its jitter buffer.

It is there in aiortc 1.13 to 1.16. The receiver calls `add(packet)` on it for each packet, and decodes the frame that
it returns, if any. `tests/services/media/test_aiortc.py` fails when this changes."""


class _PacketIntake(JitterBuffer):
    """Replaces the jitter buffer of an audio receiver, and passes every packet to a function.

    aiortc has no public access to encoded packets. Its own buffer always holds back 80 ms, and 300 ms for the rest of a
    call in which one packet was lost; and its decoder's thread costs more than the decoding itself.
    """

    def __init__(self, on_packet: OnPacket) -> None:
        # The buffer of the base class stays empty: `add` stores nothing. 1 is the smallest size that it accepts (a
        # power of two).
        super().__init__(capacity=1)
        self._on_packet = on_packet

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Pass the packet on, and return that there is nothing for aiortc to decode."""
        self._on_packet(packet.sequence_number, packet.timestamp, bytes(packet.payload))
        # (no picture was lost, no frame is complete): aiortc then neither asks for a key frame nor wakes its decoder.
        return False, None


def intercept(receiver: RTCRtpReceiver, on_packet: OnPacket) -> None:
    """Pass the packets of a receiver to a function in place of aiortc's decoder.

    Args:
        receiver: An audio receiver that has not started yet.
        on_packet: Called for each packet, in the event loop. It must not wait.

    Raises:
        RuntimeError: This version of aiortc is not supported.
    """
    if not hasattr(receiver, JITTER_BUFFER):
        raise RuntimeError(
            f"this version of aiortc is not supported: RTCRtpReceiver has no {JITTER_BUFFER}; "
            "install aiortc>=1.13,<1.17"
        )
    setattr(receiver, JITTER_BUFFER, _PacketIntake(on_packet))
