"""The private attributes of aiortc and aioice that the project relies on. A change of theirs fails here, by name."""

from __future__ import annotations

import asyncio
import inspect

import pytest

pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

from aiortc import RTCDtlsTransport, RTCIceTransport, RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver

from bargein.services.media.intake import JITTER_BUFFER
from bargein.services.transports.webrtc._datagrams import MAX_WAITING_BYTES, bound_datagrams
from bargein.services.transports.webrtc._path import MONITOR_TASK

pytestmark = pytest.mark.real

ADVICE = "; look for its successor in aiortc, change the module named, and raise the versions in pyproject.toml"


async def audio_parts() -> tuple[RTCPeerConnection, RTCRtpTransceiver, RTCDtlsTransport]:
    connection = RTCPeerConnection()
    transceiver = connection.addTransceiver("audio")
    return connection, transceiver, transceiver.receiver.transport


async def test_a_receiver_has_a_jitter_buffer_that_may_be_replaced() -> None:
    """`media/intake.py` puts its own in its place, on which the receiver calls `add`."""
    connection, transceiver, _ = await audio_parts()
    try:
        assert hasattr(transceiver.receiver, JITTER_BUFFER), f"RTCRtpReceiver.{JITTER_BUFFER} is gone{ADVICE}"
        source = inspect.getsource(RTCRtpReceiver)
        assert ".__jitter_buffer.add(packet)" in source, f"RTCRtpReceiver no longer calls add(packet){ADVICE}"
    finally:
        await connection.close()


async def test_an_ice_transport_can_change_its_connection() -> None:
    """`transports/webrtc/_path.py` replaces the connection below DTLS for an ICE restart."""
    connection, _, dtls = await audio_parts()
    try:
        ice = dtls.transport
        missing = [
            name for name in ("_connection", "_recv", "_send", "_monitor", MONITOR_TASK) if not hasattr(ice, name)
        ]
        missing += [name for name in ("_connection", "_remote_candidates_end") if not hasattr(ice.iceGatherer, name)]
        missing += [name for name in ("_closing",) if not hasattr(ice._connection, name)]
        assert not missing, f"RTCIceTransport, its gatherer or its connection has lost {missing}{ADVICE}"
        source = inspect.getsource(RTCDtlsTransport)
        for call in ("self.transport._recv()", "self.transport._send("):
            assert call in source, f"RTCDtlsTransport no longer uses {call}{ADVICE}"
        assert "_connection.connect()" in inspect.getsource(RTCIceTransport)
    finally:
        await connection.close()


async def test_the_datagrams_of_a_connection_can_be_bounded() -> None:
    """`transports/webrtc/_datagrams.py` replaces the queue of aioice, which has no limit of its own."""
    connection, _, dtls = await audio_parts()
    try:
        inner = dtls.transport._connection
        assert type(inner._queue) is asyncio.Queue, f"aioice.Connection._queue is another one{ADVICE}"
        bound_datagrams(inner, 400)
        for _ in range(10_000):
            inner.data_received(bytes(1_000), 1)
        assert 1_000 < inner._queue.qsize() * 1_000 <= MAX_WAITING_BYTES
        for number in range(100_000):
            inner.data_received(b"", number)
        waiting = inner._queue.qsize()
        assert waiting < MAX_WAITING_BYTES / 100
        inner._nominated[1] = inner  # type: ignore[assignment]  # as if it were connected
        assert await inner.recvfrom() == (bytes(1_000), 1)
        assert await inner.recvfrom() == (bytes(1_000), 1)
        inner.data_received(bytes(1_000), 2)  # there is room again
        assert inner._queue.qsize() == waiting - 1, f"aioice reads its queue in another way{ADVICE}"
        inner._nominated.clear()
    finally:
        await connection.close()


async def test_what_a_connection_reads_of_its_parts() -> None:
    """`transports/webrtc/_connection.py` reads the offered direction, and counts packets."""
    connection, transceiver, dtls = await audio_parts()
    try:
        assert hasattr(transceiver, "_offerDirection"), f"RTCRtpTransceiver._offerDirection is gone{ADVICE}"
        stats = list(dtls._get_stats().values())
        assert stats, f"RTCDtlsTransport._get_stats() gives nothing{ADVICE}"
        assert all(hasattr(each, "packetsReceived") for each in stats), f"its packetsReceived is gone{ADVICE}"
    finally:
        await connection.close()
