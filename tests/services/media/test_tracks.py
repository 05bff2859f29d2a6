"""The tracks, pulled as an RTP sender pulls them."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from bargein.pipeline import Audio, Interrupt, Video
from bargein.pipeline.testing import framed, tone
from bargein.services.media.tracks import PictureTrack, VoiceTrack
from bargein.services.media.voice_sender import SILENCE, VoiceSender

pytestmark = pytest.mark.virtual


class Puller:
    """Pulls all the time; keeps when each packet came, its media time, and whether it is silence."""

    def __init__(self, track: VoiceTrack) -> None:
        self.track = track
        self.began = anyio.current_time()
        self.packets: list[tuple[float, float, bool]] = []

    async def run(self) -> None:
        while True:
            packet = await self.track.recv()
            assert packet.pts is not None
            at = anyio.current_time() - self.began
            self.packets.append((round(at, 4), round(packet.pts / 48_000, 4), bytes(packet) == SILENCE))


def speech(ms: float) -> list[Audio]:
    return list(framed(tone(440, ms, rate=24_000), rate=24_000, ms=20, epoch=0, response_id="r"))


async def test_silence_is_one_packet_every_400_ms() -> None:
    """Sound begins at once, goes every 20 ms, and media time follows the clock."""
    voice = VoiceSender()
    async with anyio.create_task_group() as group:
        puller = Puller(track := VoiceTrack(voice))
        group.start_soon(puller.run)
        await anyio.sleep(1.05)
        for frame in speech(100):
            voice.add(frame)
        track.wake()
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    loud = [(at, media) for at, media, silent in puller.packets if not silent]
    assert [at for at, _ in loud] == [1.05, 1.07, 1.09, 1.11, 1.13]
    assert all(at - media == pytest.approx(loud[0][0] - loud[0][1], abs=0.001) for at, media in loud)
    before = [at for at, _, silent in puller.packets if silent and at < 1.05]
    assert before == [0.38, 0.78]
    after = [at for at, _, silent in puller.packets if silent and at > 1.13]
    assert after == [1.15, 1.17, 1.19, 1.21, 1.23, 1.63, 2.03]
    assert [media for _, media, _ in puller.packets] == sorted({media for _, media, _ in puller.packets})


async def test_interrupt_takes_effect_in_the_next_packet() -> None:
    """After that packet the track is silent."""
    voice = VoiceSender()
    async with anyio.create_task_group() as group:
        puller = Puller(track := VoiceTrack(voice))
        for frame in speech(1000):
            voice.add(frame)
        group.start_soon(puller.run)
        await anyio.sleep(0.5)
        list(voice.urgent(Interrupt(epoch=1), anyio.current_time()))
        track.wake()
        await anyio.sleep(0.5)
        group.cancel_scope.cancel()
    assert max(at for at, _, silent in puller.packets if not silent) <= 0.52


async def test_steady_track_catches_up() -> None:
    """It sends late sound twice as fast, until little waits. Media time goes on without a gap."""
    voice = VoiceSender()
    async with anyio.create_task_group() as group:
        puller = Puller(VoiceTrack(voice, steady=True))
        group.start_soon(puller.run)
        await anyio.sleep(0.99)
        for frame in speech(500):
            voice.add(frame)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    loud = [at for at, _, silent in puller.packets if not silent]
    assert len(loud) == 25
    assert loud[-1] - loud[0] == pytest.approx(0.26, abs=0.03)
    media = [media for _, media, _ in puller.packets]
    assert media == [pytest.approx(0.02 * number) for number in range(len(media))]


async def test_unpulled_track_does_not_catch_up() -> None:
    """Sound of long ago would be heard too fast, or could not be flushed."""
    voice = VoiceSender()
    track = VoiceTrack(voice)
    for frame in speech(1000):
        voice.add(frame)
    await track.recv()
    await anyio.sleep(5)
    began = anyio.current_time()
    for _ in range(3):
        await track.recv()
    assert anyio.current_time() - began == pytest.approx(0.04, abs=0.001)


async def test_stopped_track_ends() -> None:
    """Pulling it raises aiortc's error."""
    for track in (VoiceTrack(VoiceSender()), PictureTrack()):
        track.stop()
        with pytest.raises(MediaStreamError):
            await track.recv()


def picture(value: int, height: int = 48, form: str = "rgb24") -> Video:
    shape = (height, 64) if form == "gray8" else (height, 64, 3)
    return Video(data=np.full(shape, value, np.uint8), format=form)


async def test_newest_picture_is_shown_and_repeated() -> None:
    """After a second it is sent again. A picture that was replaced or dropped in time is not sent."""
    track = PictureTrack()
    for value in (50, 100, 200):
        track.show(picture(value))
    first: Any = await track.recv()
    assert int(first.to_ndarray(format="gray").mean()) == pytest.approx(200, abs=20)
    began = anyio.current_time()
    track.show(picture(50))
    track.show(None)
    again: Any = await track.recv()
    assert anyio.current_time() - began == pytest.approx(1, abs=0.01)
    assert int(again.to_ndarray(format="gray").mean()) == pytest.approx(200, abs=20)


@pytest.mark.parametrize("form", ["rgb24", "bgr24", "gray8"])
async def test_raw_pictures_of_any_format(form: str) -> None:
    """With an odd height, too. An encoded picture must be decoded before."""
    track = PictureTrack()
    track.show(picture(100, 47, form))
    shown: Any = await track.recv()
    assert (shown.width, shown.height) == (64, 46)
    with pytest.raises(ValueError, match="DecodePicture"):
        track.show(Video(data=b"jpeg", format="jpeg"))
