"""The microphone and the loudspeaker of this machine (extra `local`): talk in a terminal.

::

    peer = LocalTransport()
    await Pipeline(peer.source, Vad(), BargeIn(), brain, Spoken(), peer.sink).run()

There is no echo cancellation: wear headphones, or the agent hears itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.lowlevel import current_token

from bargein.pipeline import Audio, Hold, Interrupt, Outlet, Pipeline, Processor, Resume
from bargein.pipeline.lowlevel import import_extra
from bargein.processors import Latency, Pacer, Resample

from ._device_sound import Microphone, Speaker
from ._silent import MayBeSilent
from .transport import Peer, PeerJoined, PeerLeft, Transport

__all__ = ["DeviceError", "LocalTransport"]

PIECE_MS = 20
BEHIND_MS = 20.0
"""What lies between the speaker's queue and the ear, about: the device's own buffer."""
LEAD_MS = 80.0
"""So far ahead of the ear sound is given to the device's thread, which must never run dry."""
WAITING = 50
"""So many pieces of the user's sound may wait to be taken: a second."""
SECOND = 1_000_000_000


class DeviceError(OSError):
    """There is no sound device that could be used; says which, and what to do."""


class LocalTransport(Transport):
    """This machine's user. The source gives the microphone's sound, the sink plays on the loudspeaker.

    `rate` of the microphone in samples a second (Hz), mono; `output_rate` of the loudspeaker, to which the agent's
    sound is converted (which takes PyAV, extra `audio`). `devices`: names or numbers of the two, as `sounddevice`
    understands them; None for the system's defaults. `sound`: what stands in the place of the module `sounddevice`.

    The devices are open while the session runs. An interrupt fades out within 5 ms of the device's next buffer.

    When the session begins, raises `DeviceError` without devices that will do, or without PortAudio, and
    `ModuleNotFoundError` without sounddevice.
    """

    def __init__(
        self,
        *,
        rate: int = 16_000,
        output_rate: int = 24_000,
        devices: tuple[str | int | None, str | int | None] = (None, None),
        sound: Any = None,
    ) -> None:
        self.peer = Peer(name="local", address="this machine")
        self.rate = rate
        self.output_rate = output_rate
        self.devices = devices
        self.sound = sound
        self.microphone: Microphone | None = None
        """What is being recorded, while the session runs; counts what was dropped."""
        self.speaker = Speaker(output_rate)
        """What is being played; counts what was dropped."""
        self.source = _Records(self)
        pacer = Pacer(lead_ms=LEAD_MS, behind_ms=BEHIND_MS, fade_ms=0)
        ends = Latency(), _Plays(self)
        self.sink = Pipeline(MayBeSilent(), Resample(output_rate, channels=1), pacer, *ends, name="sink")

    def __repr__(self) -> str:
        return f"<LocalTransport {self.rate} Hz in, {self.output_rate} Hz out>"

    def opened(self, kind: str, callback: Callable[..., None], finished: Callable[[], None]) -> Any:
        """A stream of the device for `input` or `output` that runs. Raises `DeviceError`."""
        sound = self._module()
        rate = self.rate if kind == "input" else self.output_rate
        device = self.devices[0 if kind == "input" else 1]
        make = sound.InputStream if kind == "input" else sound.OutputStream
        try:
            stream = make(
                samplerate=rate,
                channels=1,
                dtype="int16",
                blocksize=rate * PIECE_MS // 1000,
                device=device,
                latency="low",
                callback=callback,
                finished_callback=finished,
            )
            with ExitStack() as stack:
                stack.callback(stream.close)
                stream.start()
                stack.pop_all()
            return stream
        except (sound.PortAudioError, ValueError) as error:
            which = f"device {device!r}" if device is not None else "the default device"
            what = "microphone" if kind == "input" else "loudspeaker"
            raise DeviceError(
                f"no {what}: {which} cannot be opened at {rate} Hz ({_plain(error)}); plug one in, or name another: "
                "LocalTransport(devices=...); `python -m sounddevice` lists them"
            ) from None

    def _module(self) -> Any:
        if self.sound is not None:
            return self.sound
        try:
            return import_extra("sounddevice", "local", "LocalTransport")
        except OSError as error:  # sounddevice is there, and what it stands on is not
            raise DeviceError(
                f"no sound: {error}; install PortAudio (Debian and Ubuntu: apt install libportaudio2; "
                "macOS and Windows have it with sounddevice)"
            ) from None


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _Device(Processor):
    """A processor whose device is open from its entry to its exit."""

    def __init__(self, transport: LocalTransport) -> None:
        self._transport = transport
        self._stream: Any = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


class _Records(_Device):
    """Gives what the microphone records."""

    name = "microphone"

    def __enter__(self) -> Self:
        loop: Any = current_token().native_token
        post: Callable[[Callable[[], Any]], Any] = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        self._changed = anyio.Event()
        self._gone = False
        microphone = Microphone(pieces=WAITING, wake=lambda: post(self._wake))
        self._transport.microphone = microphone

        def record(indata: Any, frames: int, time: Any, status: Any) -> None:
            microphone.record(indata[:, 0].copy())

        self._stream = self._transport.opened("input", record, lambda: post(self._lose))
        return self

    def _wake(self) -> None:
        self._changed.set()

    def _lose(self) -> None:
        self._gone = True
        self._changed.set()

    async def run(self, out: Outlet[PeerJoined | Audio | PeerLeft]) -> None:
        """Until the session ends, or the device is gone."""
        transport = self._transport
        microphone, rate = transport.microphone, transport.rate
        assert microphone is not None
        await out.send(PeerJoined(peer=transport.peer))
        while not self._gone:
            while (piece := microphone.take()) is not None:
                count, samples = piece
                out.offer(Audio(samples=samples, rate=rate, pts=count * SECOND // rate))
            await self._changed.wait()
            self._changed = anyio.Event()
        if transport.on_left is not None:
            transport.on_left()
        await out.send(PeerLeft(peer=transport.peer, reason="the microphone is gone", clean=False))


class _Plays(_Device):
    """Plays on the loudspeaker."""

    name = "loudspeaker"

    def __enter__(self) -> Self:
        speaker = self._transport.speaker

        def play(outdata: Any, frames: int, time: Any, status: Any) -> None:
            speaker.fill(outdata[:, 0])

        self._stream = self._transport.opened("output", play, lambda: None)
        return self

    def process(self, frame: Audio | Interrupt | Hold | Resume) -> Iterator[Audio]:
        """Hand it to the device's thread; what is urgent, at once."""
        speaker = self._transport.speaker
        if isinstance(frame, Audio):
            speaker.play(frame.samples.reshape(-1))
        elif isinstance(frame, Interrupt):
            speaker.cut()
        elif isinstance(frame, Hold):
            speaker.hold()
        else:
            speaker.resume()
        yield from ()
