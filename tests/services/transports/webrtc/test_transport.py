"""WebRtcTransport without a connection: what is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Frame, Pass, Pipeline, Processor, UserText, Video
from bargein.services.media.voice_sender import Encoder
from bargein.services.transports import Peer, PeerJoined, PeerLeft, SessionLimits
from bargein.services.transports.webrtc import WebRtcTransport

pytestmark = pytest.mark.virtual


async def came(transport: WebRtcTransport) -> list[Frame]:
    """What the source gives when it runs at last, and the peer has left."""
    transport.on_connected()
    transport.leave("enough", clean=True)
    graph = Pipeline(transport.source, Pass(Audio, Video, UserText, PeerJoined, PeerLeft))
    async with graph.session(capacity=1000) as session:
        return [frame async for frame in session]


async def test_what_waits_is_bounded_and_counted() -> None:
    """The oldest sound goes first, and words are kept; of pictures there are two."""
    transport = WebRtcTransport(Peer(name="p"), SessionLimits(), pictures=True)
    transport.on_frame(UserText(text="Hello"))
    for number in range(300):
        transport.on_frame(Audio(samples=np.full(960, number, np.int16), rate=48_000))
        transport.on_frame(Video(data=np.full((2, 2, 3), number % 256, np.uint8)))
    frames = await came(transport)
    sound = [int(frame.samples[0]) for frame in frames if isinstance(frame, Audio)]
    pictures = [frame for frame in frames if isinstance(frame, Video)]
    assert sound == list(range(300 - len(sound), 300))
    assert [int(each.data[0, 0, 0]) for each in pictures if not isinstance(each.data, bytes)] == [42, 43]
    assert sum(isinstance(frame, UserText) for frame in frames) == 1
    assert transport.statistics().dropped == 600 - len(sound) - len(pictures)
    assert len(sound) + len(pictures) + 1 == 256


async def test_what_a_peer_says_is_limited() -> None:
    """A message that is too long is a wrong one."""
    transport = WebRtcTransport(Peer(name="p"), SessionLimits(max_message_bytes=100, max_wrong_messages=1))
    async with Pipeline(transport.source, Pass(UserText, PeerJoined, PeerLeft)).session() as session:
        transport.on_connected()
        transport.on_message('{"type": "text", "text": "Hello"}')
        transport.on_message("x" * 101)
        await anyio.sleep(0.1)
        stays = transport.has_left
        transport.on_message(b"\x00")
        await anyio.sleep(0.1)
        assert (stays, transport.has_left) == (False, True)
        assert transport.statistics().wrong == 2
        await session.cancel()


async def test_a_flood_of_messages_is_read_evenly() -> None:
    """At the rate of the limits, a text counts as ten, and sound passes meanwhile."""
    transport = WebRtcTransport(Peer(name="p"), SessionLimits(max_messages_per_second=100))
    texts: list[float] = []
    sounds = 0
    async with Pipeline(transport.source, Pass(UserText, Audio, PeerJoined, PeerLeft)).session() as session:
        transport.on_connected()
        for _ in range(50):
            transport.on_message('{"type": "text", "text": "Hello"}')
        transport.on_packet(1, 0, Encoder(48_000).encode(np.full(960, 1000, np.int16)))
        async for frame in session:
            sounds += isinstance(frame, Audio)
            if isinstance(frame, UserText):
                texts.append(anyio.current_time())
                assert sounds or len(texts) <= 4, "the sound came with the burst that is allowed"
            if len(texts) == 50:
                break
        assert texts[2] == texts[0]
        assert texts[-1] - texts[0] == pytest.approx(4.75, abs=0.2)
        await session.cancel()


async def test_a_flood_without_end_ends_the_session() -> None:
    """What waits to be read is bounded."""
    transport = WebRtcTransport(Peer(name="p"), SessionLimits())
    async with Pipeline(transport.source, Pass(UserText, PeerJoined, PeerLeft)).session() as session:
        transport.on_connected()
        await anyio.sleep(0.1)
        for _ in range(2_100):
            transport.on_message('{"type": "text", "text": "Hello"}')
        left = [frame async for frame in session if isinstance(frame, PeerLeft)]
    assert [frame.reason for frame in left] == ["it sent more than 400 messages a second"]


async def test_a_muted_microphone_is_heard_as_silence() -> None:
    """For two seconds; then nothing is made up."""

    transport = WebRtcTransport(Peer(name="p"), SessionLimits())
    packet = Encoder(48_000).encode(np.full(960, 1000, np.int16))
    graph = Pipeline(transport.source, Pass(Audio, PeerJoined, PeerLeft))
    heard = 0.0
    async with graph.session(capacity=1000) as session:
        transport.on_connected()
        await anyio.sleep(1)
        transport.on_packet(1, 0, packet)
        await anyio.sleep(10)
        transport.leave("enough", clean=True)
        async for frame in session:
            heard += frame.ms if isinstance(frame, Audio) else 0
    assert heard == 2020


async def test_an_event_is_counted_once_above_the_source() -> None:
    """The engine gives it to every processor above that takes it, so the source must not give it again."""
    seen: list[Frame] = []

    def observer(frame: Failure) -> None:
        seen.append(frame)

    class Failing(Processor):
        def process(self, frame: PeerJoined) -> Iterator[Failure]:
            yield Failure(message="once")

    transport = WebRtcTransport(Peer(name="p"), SessionLimits())
    async with Pipeline(observer, transport.source, Failing(), Pass(PeerLeft)).session() as session:
        transport.on_connected()
        transport.leave("enough", clean=True)
        transport.on_frame(UserText(text="so that it joins"))
        await session.drained()
    assert [type(frame) for frame in seen] == [Failure]
