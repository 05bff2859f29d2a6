"""A file in the user's place: it is given at its pace, the answer is waited for, and written as it was heard."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Interrupt, Outlet, Pipeline, Processor, ResponseEnded, ResponseStarted, Text
from bargein.pipeline.testing import framed, noise, silence, tone
from bargein.processors import Gain, Heard, Spoken, TurnLatency
from bargein.services.transports import PeerJoined, PeerLeft
from bargein.services.transports.files import FileTransport
from bargein.services.transports.files._sound_file import SoundReader, WaveWriter

RATE = 16_000


def encode_fragment(path: Path, samples: Any, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1 if samples.ndim == 1 else 2, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def read(path: Path) -> tuple[Any, int]:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.reshape(-1, file.getnchannels()).squeeze(), file.getframerate()


class Ear(Processor):
    """Keeps what comes, and when."""

    def __init__(self) -> None:
        self.frames: list[Audio | PeerJoined | PeerLeft] = []
        self.times: list[float] = []

    def process(self, frame: Audio | PeerJoined | PeerLeft) -> None:
        self.frames.append(frame)
        self.times.append(anyio.current_time())

    @property
    def sound(self) -> list[Audio]:
        return [frame for frame in self.frames if isinstance(frame, Audio)]


class Brain(Processor):
    """Answers the first silence of half a second after sound; thinks for a while, and says several sentences."""

    def __init__(self, think: float = 0.5, answers: int = 1, interrupted: float = 0.0) -> None:
        self.think = think
        self.answers = answers
        self.interrupted = interrupted
        self.quiet = -1.0

    async def process(
        self, frame: Audio, out: Outlet[ResponseStarted | Text | Audio | ResponseEnded | Interrupt]
    ) -> None:
        if frame.samples.any():
            self.quiet = 0.0
        elif self.quiet >= 0:
            self.quiet += frame.ms
            if self.quiet >= 500:
                self.quiet = -1.0
                out.respond(self.answer)

    async def answer(self, reply: Outlet[ResponseStarted | Text | Audio | ResponseEnded | Interrupt]) -> None:
        for number in range(self.answers):
            await anyio.sleep(self.think)
            response = f"r{number}"
            await reply.send(ResponseStarted(response_id=response))
            await reply.send(Text(text="Here you are.", response_id=response, final=True))
            for piece in framed(tone(300, 1500), response_id=response):
                await reply.send(Audio(samples=piece.samples, rate=RATE, response_id=response, epoch=reply.epoch))
            await reply.send(ResponseEnded(response_id=response))
        if self.interrupted:
            await anyio.sleep(self.interrupted)
            await reply.send(Interrupt(reason="enough"))


# Reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_a_file_comes_at_the_pace_of_speech(tmp_path: Path) -> None:
    """Each piece when its last sample has been spoken, and all of it, once."""
    samples = noise(1010)
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", samples), wait_seconds=0)
    ear = Ear()
    began = anyio.current_time()
    await Pipeline(peer.source, ear, peer.sink).run()
    assert isinstance(ear.frames[0], PeerJoined)
    assert ear.frames[-1] == peer.left == PeerLeft(peer=peer.peer, reason="the file has been read")
    assert np.array_equal(np.concatenate([frame.samples for frame in ear.sound]), samples)
    assert [frame.pts // 10**6 for frame in ear.sound] == list(range(0, 1010, 20))
    assert [round(when - began, 3) for when in ear.times[1:4]] == [0.02, 0.04, 0.06]
    assert peer.reader.seconds == pytest.approx(1.01)
    assert peer.read_ms == pytest.approx(1010)


@pytest.mark.virtual
@pytest.mark.parametrize(("pace", "seconds"), [(None, 0.0), (4.0, 0.5), (0.5, 4.0)])
async def test_the_pace_is_ones_choice(tmp_path: Path, pace: float | None, seconds: float) -> None:
    """As fast as it is taken, or by a factor."""
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", noise(2000)), pace=pace, wait_seconds=0)
    ear = Ear()
    began = anyio.current_time()
    await Pipeline(peer.source, ear, peer.sink).run()
    assert anyio.current_time() - began == pytest.approx(seconds)
    assert len(ear.sound) == 100


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (24_000, 2), (48_000, 1)])
def test_any_format_will_do(tmp_path: Path, rate: int, channels: int) -> None:
    """It comes in the one that was asked for, as long as it was."""
    samples = np.stack([tone(200, 1000, rate=44_100)] * 2, axis=1)
    path = encode_fragment(tmp_path / "in.wav", samples, 44_100)
    with SoundReader(path, rate=rate, channels=channels) as reader:
        pieces = list(reader.pieces(rate // 50))
    assert {(piece.rate, piece.channels) for piece in pieces} == {(rate, channels)}
    assert sum(len(piece.samples) for piece in pieces) == pytest.approx(rate, abs=rate / 500)
    assert len(pieces[0].samples) == rate // 50


@pytest.mark.slow
def test_length_costs_no_memory(tmp_path: Path) -> None:
    """Ten minutes are read and written in less than one second's worth of both."""
    path, copy = tmp_path / "in.wav", tmp_path / "out.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        for _ in range(600):
            file.writeframes(bytes(16_000))
    tracemalloc.start()
    try:
        with SoundReader(path, rate=8_000, channels=1) as reader, WaveWriter(copy) as writer:
            for piece in reader.pieces(1600):
                writer.write(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
    assert writer.ms == 600_000
    assert copy.stat().st_size == path.stat().st_size


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, FileNotFoundError, "does not exist"),
        (b"", ValueError, "not a sound file that can be read"),
        (b"hello " * 100, ValueError, "not a sound file that can be read"),
    ],
)
async def test_what_cannot_be_read_is_said(
    tmp_path: Path, content: bytes | None, error: type[Exception], said: str
) -> None:
    """With the file's name."""
    path = tmp_path / "in.wav"
    if content is not None:
        path.write_bytes(content)
    peer = FileTransport(path)
    with pytest.raises(error, match=said) as raised:
        await Pipeline(peer.source, peer.sink).run()
    assert "in.wav" in str(raised.value)


@pytest.mark.parametrize("options", [{"pace": -1.0}, {"wait_seconds": -1.0}, {"channels": 3}, {"rate": 0}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    """At once, with the value."""
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        FileTransport("in.wav", **options)


# Answering ------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_the_answer_is_waited_for_and_written(tmp_path: Path) -> None:
    """Silence follows the question, and the session ends when the answer has been heard."""
    out = tmp_path / "out.wav"
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", noise(1000)), out)
    heard: list[Heard] = []
    latency: list[TurnLatency] = []

    class Above(Processor):
        def process(self, frame: Heard | TurnLatency) -> Iterator[Heard | TurnLatency]:
            (heard if isinstance(frame, Heard) else latency).append(frame)  # type: ignore[arg-type]
            yield frame

    began = anyio.current_time()
    await Pipeline(peer.source, Above(), Brain(), Spoken(), peer.sink).run()
    assert peer.left is not None
    assert peer.left.reason == "it has been answered"
    assert anyio.current_time() - began == pytest.approx(1 + 0.5 + 0.5 + 1.5 + 1, abs=0.1)
    assert np.array_equal(read(out)[0], tone(300, 1500))
    assert heard[-1].text == "Here you are."


@pytest.mark.virtual
async def test_an_answer_may_have_several_parts(tmp_path: Path) -> None:
    """Each that begins before the last has settled is waited for."""
    out = tmp_path / "out.wav"
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", noise(1000)), out)
    await Pipeline(peer.source, Brain(think=0.8, answers=3), Spoken(), peer.sink).run()
    assert len(read(out)[0]) == 3 * 1.5 * RATE


@pytest.mark.virtual
async def test_what_was_said_before_the_question_is_no_answer(tmp_path: Path) -> None:
    """Only what begins after its last sound."""
    samples = np.concatenate([noise(500), silence(3000), noise(500)])
    out = tmp_path / "out.wav"
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", samples), out)
    await Pipeline(peer.source, Brain(), peer.sink).run()
    assert len(read(out)[0]) == 2 * 1.5 * RATE


@pytest.mark.virtual
async def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    """Without an answer there is an empty file, and a reason."""
    out = tmp_path / "out.wav"
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", noise(1000)), out, wait_seconds=5)
    began = anyio.current_time()
    await Pipeline(peer.source, Ear(), peer.sink).run()
    assert anyio.current_time() - began == pytest.approx(6, abs=0.1)
    assert peer.left is not None
    assert peer.left.reason == "no answer came within 5 s"
    assert len(read(out)[0]) == 0


@pytest.mark.virtual
async def test_what_was_interrupted_is_not_written(tmp_path: Path) -> None:
    """The file has what was heard, to within a lead."""
    out = tmp_path / "out.wav"
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", noise(1000)), out)
    await Pipeline(peer.source, Brain(interrupted=0.7), peer.sink).run()
    assert 700 <= 1000 * len(read(out)[0]) / RATE <= 760


@pytest.mark.virtual
async def test_both_sides_in_one_file(tmp_path: Path) -> None:
    """The user left, the agent right, each when it was."""
    both = tmp_path / "both.wav"
    peer = FileTransport(encode_fragment(tmp_path / "in.wav", noise(1000)), both=both)
    await Pipeline(peer.source, Brain(), peer.sink).run()
    samples, rate = read(both)
    user, agent = samples[:, 0], samples[:, 1]
    assert rate == RATE
    assert np.array_equal(user[:RATE], noise(1000))
    assert not agent[: 2 * RATE - 1000].any()
    assert len(np.trim_zeros(agent)) == pytest.approx(1.5 * RATE, abs=100)


@pytest.mark.virtual
async def test_a_file_is_converted(tmp_path: Path) -> None:
    """Without a brain, as fast as it goes: what comes in goes out."""
    out = tmp_path / "out.wav"
    source = encode_fragment(tmp_path / "in.wav", tone(200, 1000))
    peer = FileTransport(source, out, pace=None, wait_seconds=0, output_rate=8_000)
    await Pipeline(peer.source, Gain(6), peer.sink).run()
    samples, rate = read(out)
    assert (rate, len(samples)) == (8_000, 8_000)


@pytest.mark.virtual
async def test_as_fast_as_possible_counts_as_heard(tmp_path: Path) -> None:
    """So that a conversation remembers it."""
    out = tmp_path / "out.wav"
    heard: list[Heard] = []

    class Above(Processor):
        def process(self, frame: Heard) -> None:
            heard.append(frame)

    peer = FileTransport(encode_fragment(tmp_path / "in.wav", noise(1000)), out, pace=None)
    await Pipeline(peer.source, Above(), Brain(), Spoken(), peer.sink).run()
    assert [frame.text for frame in heard if frame.done] == ["Here you are."]
    assert len(read(out)[0]) == 1.5 * RATE


async def test_files_are_not_replaced_unless_it_is_said(tmp_path: Path) -> None:
    """Nor made in folders that are not there."""
    source, out = encode_fragment(tmp_path / "in.wav", noise(100)), tmp_path / "out.wav"
    out.write_text("mine")
    peer = FileTransport(source, out, pace=None, wait_seconds=0)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        await Pipeline(peer.source, peer.sink).run()
    assert out.read_text() == "mine"
    peer = FileTransport(source, out, pace=None, wait_seconds=0, overwrite=True)
    await Pipeline(peer.source, peer.sink).run()
    assert np.array_equal(read(out)[0], noise(100))
    peer = FileTransport(source, tmp_path / "no" / "out.wav", pace=None, wait_seconds=0)
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        await Pipeline(peer.source, peer.sink).run()


def test_what_has_other_rates_is_converted(tmp_path: Path) -> None:
    """To that of the first, and mixed to one channel."""
    out = tmp_path / "out.wav"
    with WaveWriter(out) as writer:
        writer.write(Audio(samples=tone(200, 500, rate=24_000), rate=24_000))
        stereo = np.stack([tone(200, 500, rate=48_000)] * 2, axis=1)
        writer.write(Audio(samples=stereo, rate=48_000))
    samples, rate = read(out)
    assert (rate, len(samples)) == (24_000, 24_000)


def wave_bytes(rate: int, channels: int = 1, samples: int = 2000) -> bytes:
    data = bytes(2 * samples * channels)
    header = struct.pack("<IHHIIHH", 16, 1, channels, rate, (2 * rate * channels) % 2**32, 2 * channels, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + header
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


@pytest.mark.parametrize(("rate", "channels"), [(1, 1), (100, 1), (2_000_000_000, 1), (16_000, 200)])
def test_an_absurd_format_is_refused_before_it_is_converted(rate: int, channels: int, tmp_path: Path) -> None:
    """A few kilobytes must not become half an hour of sound."""
    path = tmp_path / "bomb.wav"
    path.write_bytes(wave_bytes(rate, channels))
    with pytest.raises(ValueError, match=r"bomb\.wav") as raised, SoundReader(path, rate=16_000, channels=1) as reader:
        list(reader.pieces(1600))
    assert not isinstance(raised.value, UnicodeError)


def test_a_broken_file_is_a_value_error_and_nothing_else(tmp_path: Path) -> None:
    """Whatever byte of it is wrong, in its tags or in its sound."""
    chance = random.Random(9)
    tags = b"LIST" + struct.pack("<I", 20) + b"INFOINAM" + struct.pack("<I", 8) + b"a title\0"
    whole = wave_bytes(16_000, samples=200) + tags
    path = tmp_path / "broken.wav"
    for _ in range(5_000 if os.environ.get("BARGEIN_EXTENDED") else 500):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 8)):
            data[chance.choice([chance.randrange(60), chance.randrange(len(data) - 40, len(data))])] = chance.randrange(
                256
            )
        path.write_bytes(data)
        try:
            with SoundReader(path, rate=16_000, channels=1) as reader:
                list(reader.pieces(1600))
        except UnicodeError:
            raise
        except (ValueError, OSError):
            pass
