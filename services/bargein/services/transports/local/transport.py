"""`LocalTransport`: talk with the microphone and the loudspeaker of this machine::

    peer = LocalTransport()
    await Pipeline(peer.source, Vad(), BargeIn(), brain, Spoken(), peer.sink).run()

Over a loudspeaker the agent hears itself: wear headphones, or use `LocalTransport(echo_cancel=True)`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self, cast

import anyio
from anyio.lowlevel import current_token

from bargein.pipeline import Audio, Hold, Interrupt, Outlet, Pipeline, Played, Processor, Resume
from bargein.pipeline.lowlevel import check_options, import_extra, ns
from bargein.processors import DeliveredSound, EchoCancel, Latency, Pacer, Resample
from bargein.services.transports.frames import PeerJoined, PeerLeft
from bargein.services.transports.transport import MayBeSilent, Peer, Transport

from ._device_sound import Microphone, Speaker

__all__ = ["DeviceError", "LocalTransport", "SoundStream", "SoundSystem"]

PIECE_MS = 20
"""Length of the device's buffers, in milliseconds."""
DEVICE_LATENCY_MS = 20.0
"""Approximate time from the speaker's queue to the ear, in milliseconds: the length of the device's own buffer."""
LEAD_MS = 80.0
"""Sound that is handed to the device's thread ahead of time, in milliseconds, so that the device never lacks sound."""
MAX_WAITING_PIECES = 50
"""Pieces of the user's sound that may wait for the graph: one second."""


class SoundStream(Protocol):
    """An open stream of a sound device. It calls its `callback` in its own thread for each buffer."""

    def start(self) -> None:
        """Begin to record or to play."""

    def close(self) -> None:
        """Stop at once and give the device back."""


class SoundSystem(Protocol):
    """The part of the module `sounddevice` that `LocalTransport` uses. Streams take the options of that module."""

    @property
    def PortAudioError(self) -> type[Exception]:  # noqa: N802 - the module's name
        """Raised if a device cannot be opened."""

    def InputStream(self, **options: object) -> SoundStream:  # noqa: N802 - the module's name
        """Open a microphone.

        Args:
            options: Those of `sounddevice.InputStream`.
        """

    def OutputStream(self, **options: object) -> SoundStream:  # noqa: N802 - the module's name
        """Open a loudspeaker.

        Args:
            options: Those of `sounddevice.OutputStream`.
        """


class DeviceError(OSError):
    """No sound device can be used. The text names the device and says what to do."""


class LocalTransport(Transport):
    """The user of this machine: the source sends the microphone's sound, the sink plays on the loudspeaker.

    The devices are open while the session runs. An interrupt fades the sound out within 5 ms, in the device's next
    buffer. When the session begins, it raises `DeviceError` for devices that cannot be used or without PortAudio, and
    `ModuleNotFoundError` without sounddevice.

    Args:
        rate: Rate of the microphone, in samples a second (Hz). Its sound is mono.
        output_rate: Rate of the loudspeaker in Hz. The agent's sound is converted to it (PyAV, extra `audio`).
        devices: Names or numbers of the microphone and the loudspeaker, as `sounddevice` understands them; None for
            the system's defaults.
        sound: Replaces the module `sounddevice`, for tests and for other sound systems.
        echo_cancel: Whether the source removes the agent's own voice, by `EchoCancel` (extra `echo`). Default False.

    Raises:
        ModuleNotFoundError: `echo_cancel` was asked for without the extra.
    """

    @check_options
    def __init__(
        self,
        *,
        rate: int = 16_000,
        output_rate: int = 24_000,
        devices: tuple[str | int | None, str | int | None] = (None, None),
        sound: SoundSystem | None = None,
        echo_cancel: bool = False,
    ) -> None:
        self.peer = Peer(name="local", address="this machine")
        self.rate = rate
        """Rate of the microphone, in Hz."""
        self.output_rate = output_rate
        """Rate of the loudspeaker, in Hz."""
        self.devices = devices
        """The microphone and the loudspeaker; None for the system's defaults."""
        self.sound = sound
        """The replacement of the module `sounddevice`; None for the module itself."""
        self.microphone: Microphone | None = None
        """The sound that is recorded while the session runs. It counts what was dropped."""
        self.speaker = Speaker(output_rate)
        """The sound that is played. It counts what was dropped."""
        reader = _MicrophoneReader(self)
        self.source = Pipeline(reader, EchoCancel(), name="source") if echo_cancel else reader
        self._delivered = _SpeakerSound(self.speaker)
        pacer = Pacer(lead_ms=LEAD_MS, behind_ms=DEVICE_LATENCY_MS, fade_ms=0, delivered=self._delivered)
        self.sink = Pipeline(
            MayBeSilent(),
            Resample(output_rate, channels=1),
            pacer,
            Latency(),
            _SpeakerWriter(self),
            name="sink",
        )

    def __repr__(self) -> str:
        return f"<LocalTransport {self.rate} Hz in, {self.output_rate} Hz out>"

    def _open_stream(self, kind: str, callback: Callable[..., None], on_finished: Callable[[], None]) -> SoundStream:
        """Return a running stream of the device for `input` or `output`. Raises `DeviceError`."""
        sound = self._sound_module()
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
                finished_callback=on_finished,
            )
            with ExitStack() as stack:
                stack.callback(stream.close)
                stream.start()
                stack.pop_all()
            return stream
        except (sound.PortAudioError, ValueError) as error:
            which = f"device {device!r}" if device is not None else "the default device"
            what = "microphone" if kind == "input" else "loudspeaker"
            text = " ".join(str(error).split()) or type(error).__name__
            raise DeviceError(
                f"no {what}: {which} cannot be opened at {rate} Hz ({text}); plug one in, or name another: "
                "LocalTransport(devices=...); `python -m sounddevice` lists them"
            ) from None

    def _sound_module(self) -> SoundSystem:
        if self.sound is not None:
            return self.sound
        try:
            return cast(SoundSystem, import_extra("sounddevice", "local", "LocalTransport"))
        except OSError as error:  # sounddevice is installed, but the library PortAudio is not
            raise DeviceError(
                f"no sound: {error}; install PortAudio (Debian and Ubuntu: apt install libportaudio2; "
                "macOS and Windows have it with sounddevice)"
            ) from None


class _SpeakerSound(DeliveredSound):
    """Plays sound on a speaker. What the device's thread has taken is delivered.

    Args:
        speaker: The speaker.
    """

    def __init__(self, speaker: Speaker) -> None:
        super().__init__()
        self._speaker = speaker
        self._put = 0  # samples that the speaker has got
        self._queue: deque[tuple[int, bool, Audio]] = deque()  # (samples put by then, had room, sound)

    def play(self, frame: Audio) -> None:
        """Play sound, if there is room for it."""
        self.take(frame)
        has_room = self._speaker.play(frame.samples.reshape(-1))
        self._put += len(frame.samples) if has_room else 0
        self._queue.append((self._put, has_room, frame))

    def flush(self, epoch: float) -> None:
        """Note that nothing waits any more."""
        self._update()
        self._queue.clear()
        super().flush(epoch)

    def limit(self, played: Played, *, wait: bool = True) -> Played | None:
        """Limit a report to the sound that the device has taken."""
        self._update()
        return super().limit(played, wait=wait)

    def _update(self) -> None:
        taken = self._put - self._speaker.waiting
        while self._queue and self._queue[0][0] <= taken:
            _, had_room, frame = self._queue.popleft()
            (self.deliver if had_room else self.drop)(frame)


class _Device(Processor):
    """A processor whose device is open from its entry to its exit."""

    def __init__(self, transport: LocalTransport) -> None:
        self._transport = transport
        self._stream: SoundStream  # while the session runs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


class _MicrophoneReader(_Device):
    """Sends what the microphone records."""

    name = "microphone"

    def __enter__(self) -> Self:
        # The device calls back in its own thread; these calls hand over to the event loop's thread.
        loop: Any = current_token().native_token
        post: Callable[[Callable[[], Any]], Any] = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        self._changed = anyio.Event()
        self._gone = False
        microphone = Microphone(max_pieces=MAX_WAITING_PIECES, wake=lambda: post(self._wake))
        self._transport.microphone = microphone

        def record(indata: Any, frames: int, time: Any, status: Any) -> None:
            microphone.record(indata[:, 0].copy())

        self._stream = self._transport._open_stream("input", record, lambda: post(self._on_finished))
        return self

    def _wake(self) -> None:
        self._changed.set()

    def _on_finished(self) -> None:
        self._gone = True
        self._changed.set()

    async def run(self, out: Outlet[PeerJoined | Audio | PeerLeft]) -> None:
        """Send sound until the session ends or the device is gone."""
        transport = self._transport
        microphone, rate = transport.microphone, transport.rate
        assert microphone is not None
        await out.send(PeerJoined(peer=transport.peer))
        while not self._gone:
            while (piece := microphone.take()) is not None:
                count, samples = piece
                out.offer(Audio(samples=samples, rate=rate, pts=ns(count, rate)))
            await self._changed.wait()
            self._changed = anyio.Event()
        if transport.on_left is not None:
            transport.on_left()
        await out.send(PeerLeft(peer=transport.peer, reason="the microphone is gone", clean=False))


class _SpeakerWriter(_Device):
    """Plays on the loudspeaker."""

    name = "loudspeaker"

    def __enter__(self) -> Self:
        speaker = self._transport.speaker

        def play(outdata: Any, frames: int, time: Any, status: Any) -> None:
            speaker.fill(outdata[:, 0])

        self._stream = self._transport._open_stream("output", play, lambda: None)
        return self

    def process(self, frame: Audio | Interrupt | Hold | Resume) -> Iterator[Audio]:
        """Hand sound to the device's thread. Urgent frames act on its next buffer."""
        speaker = self._transport.speaker
        if isinstance(frame, Audio):
            self._transport._delivered.play(frame)
        elif isinstance(frame, Interrupt):
            self._transport._delivered.flush(frame.epoch)
            speaker.cut()
        elif isinstance(frame, Hold):
            speaker.hold()
        else:
            speaker.resume()
        yield from ()
