"""Talking in a terminal, on a device that is made of a clock."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Pipeline, Played, Processor, UserText
from bargein.pipeline.testing import tone
from bargein.services.transports import PeerLeft
from bargein.services.transports.local import DeviceError, LocalTransport

from .kit import Brain


class PortAudioError(Exception):
    pass


class Stream:
    """A stream of the module's; its owner calls back."""

    def __init__(self, sound: Sound, options: dict[str, Any]) -> None:
        self.sound = sound
        self.options = options
        self.state = "opened"

    def start(self) -> None:
        if self.sound.fails == "start":
            raise PortAudioError("Device unavailable")
        self.state = "started"

    def close(self) -> None:
        self.state = "closed"


class Sound:
    """In the place of `sounddevice`: what it is given it plays, and it records what it is told to."""

    PortAudioError = PortAudioError

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.streams: dict[str, Stream] = {}
        self.played: list[Any] = []

    def InputStream(self, **options: Any) -> Stream:  # noqa: N802 - as the module has it
        return self._open("input", options)

    def OutputStream(self, **options: Any) -> Stream:  # noqa: N802
        return self._open("output", options)

    def _open(self, kind: str, options: dict[str, Any]) -> Stream:
        if self.fails == kind:
            raise PortAudioError("Error querying device -1")
        self.streams[kind] = Stream(self, options)
        return self.streams[kind]

    async def run(self, seconds: float, says: Any = None) -> None:
        """Let the devices run for so long."""
        began = anyio.current_time()
        for number in range(round(seconds * 50)):
            spoken = np.zeros(320, np.int16) if says is None else says[number * 320 : number * 320 + 320]
            self.streams["input"].options["callback"](spoken.reshape(-1, 1), 320, None, None)
            out = np.empty((480, 1), np.int16)
            self.streams["output"].options["callback"](out, 480, None, None)
            self.played.append(out[:, 0])
            await anyio.sleep_until(began + (number + 1) * 0.02)

    @property
    def heard(self) -> Any:
        return np.concatenate(self.played)


class Above(Processor):
    def __init__(self) -> None:
        self.played: list[Played] = []
        self.left: list[PeerLeft] = []

    def process(self, frame: Played | PeerLeft) -> Iterator[Played | PeerLeft]:
        if isinstance(frame, Played):
            self.played.append(frame)
        else:
            self.left.append(frame)
        yield frame


@pytest.mark.virtual
async def test_a_conversation_in_a_terminal() -> None:
    """What the microphone records comes in; what the agent says is heard, and known to have been."""
    sound, brain, above = Sound(), Brain(ms=1000, rate=24_000), Above()
    peer = LocalTransport(sound=sound)
    async with Pipeline(peer.source, above, brain, peer.sink, inputs=UserText).session() as session:
        assert {stream.state for stream in sound.streams.values()} == {"started"}
        await session.send(UserText(text="Hello."))
        spoken = tone(200, 1500)
        await sound.run(1.5, says=spoken)
        assert np.array_equal(np.concatenate([frame.samples for frame in brain.heard]), spoken)
        assert [frame.pts // 10**6 for frame in brain.heard[:3]] == [0, 20, 40]
        heard = np.trim_zeros(sound.heard, "b")[-24_000:]
        assert np.array_equal(heard[120:], tone(300, 1000, rate=24_000)[120:]), "but for the rise of 5 ms"
        assert above.played[-1] == Played(response_id="r1", ms=1000, done=True)
        await session.cancel()
    assert {stream.state for stream in sound.streams.values()} == {"closed"}


@pytest.mark.virtual
async def test_an_interrupt_is_silence_with_the_next_buffer() -> None:
    """A fade of 5 ms, and no more."""
    sound, above = Sound(), Above()
    peer = LocalTransport(sound=sound)
    async with Pipeline(peer.source, above, Brain(ms=5000), peer.sink, inputs=UserText).session() as session:
        await session.send(UserText(text="A story."))
        await sound.run(1)
        assert sound.heard[-480:].any()
        session.interrupt()
        sound.played.clear()
        await sound.run(0.5)
        assert 0 < len(np.trim_zeros(sound.heard, "b")) <= 24_000 * 0.005
        assert above.played[-1].done
        assert above.played[-1].ms == pytest.approx(1000, abs=40)
        await session.cancel()


@pytest.mark.virtual
async def test_a_microphone_that_is_gone_ends_the_session() -> None:
    """With the reason."""
    sound, above = Sound(), Above()
    peer = LocalTransport(sound=sound)
    async with Pipeline(peer.source, above, Brain(), peer.sink).session() as session:
        await sound.run(0.1)
        sound.streams["input"].options["finished_callback"]()
        await session.drained()
    assert [(left.reason, left.clean) for left in above.left] == [("the microphone is gone", False)]


@pytest.mark.parametrize(("kind", "what"), [("input", "microphone"), ("output", "loudspeaker")])
async def test_no_device_is_a_sentence(kind: str, what: str) -> None:
    """That says what to do."""
    peer = LocalTransport(sound=Sound(fails=kind))
    with pytest.raises(DeviceError, match=f"no {what}: the default device .* plug one in"):
        await Pipeline(peer.source, Brain(), peer.sink).run()
    sound = Sound(fails="start")
    peer = LocalTransport(sound=sound)
    with pytest.raises(DeviceError, match="Device unavailable"):
        await Pipeline(peer.source, Brain(), peer.sink).run()
    assert {stream.state for stream in sound.streams.values()} == {"closed"}
    peer = LocalTransport(sound=Sound(fails=kind), devices=("headset", 7))
    with pytest.raises(DeviceError, match=r"device ('headset'|7) cannot be opened"):
        await Pipeline(peer.source, Brain(), peer.sink).run()


async def test_no_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Neither PortAudio nor sounddevice."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    peer = LocalTransport()
    with pytest.raises(DeviceError, match="no sound: PortAudio library not found; install PortAudio"):
        await Pipeline(peer.source, Brain(), peer.sink).run()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    peer = LocalTransport()
    with pytest.raises(ModuleNotFoundError, match=r"bargein\[local\]"):
        await Pipeline(peer.source, Brain(), peer.sink).run()
