"""Recorder: both sides where they were heard, to the sample, in a file that survives."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.pipeline import Audio, Failure, Interrupt, Outlet, Pipeline, Processor, SpeechStarted
from bargein.pipeline.testing import Harness, check_processor, framed, noise, silence, tone
from bargein.processors.audio.recorder import Recorder
from bargein.processors.speaking.pacer import Pacer

RATE = 16_000
Samples = npt.NDArray[np.int16]


def read(path: str | os.PathLike[str]) -> tuple[Samples, Samples]:
    """User and agent, as any reader of WAV files sees them."""
    with wave.open(os.fspath(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        assert len(both) == file.getnframes()
    return both[:, 0].copy(), both[:, 1].copy()


def sound(value: int, count: int, *, pts: float = 0, response: str = "") -> Audio:
    """A frame whose every sample has one value, at so many seconds."""
    samples = np.full(count, value, np.int16)
    return Audio(samples=samples, rate=RATE, pts=round(pts * 1e9), response_id=response)


def runs(samples: Samples) -> list[tuple[int, int, int]]:
    """Where the sounds begin and end, and their value."""
    edges = [0, *(np.flatnonzero(np.diff(samples)) + 1).tolist(), len(samples)]
    return [(a, b, int(samples[a])) for a, b in itertools.pairwise(edges) if a < b and samples[a]]


def record(recorder: Recorder, *frames: Audio) -> None:
    """Record user frames outside an event loop, where no time passes."""
    with recorder.user:
        for frame in frames:
            list(recorder.user.process(frame))


class Mute(Processor):
    """Answers nothing, and keeps the user's sound from the agent's end."""

    def process(self, frame: Audio) -> None: ...


class Brain(Processor):
    """Answers the user's first sound after each given pause."""

    def __init__(self, say: Callable[[int], Samples], *at: float, rate: int = RATE) -> None:
        self.say = say
        self.at = at
        self.rate = rate
        self.begun = False

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        if not self.begun:
            self.begun = True
            out.respond(self.answer)

    async def answer(self, reply: Outlet[Audio]) -> None:
        start = anyio.current_time()
        for number, at in enumerate(self.at):
            await anyio.sleep_until(start + at)
            for frame in framed(self.say(number), rate=self.rate, response_id=f"r{number}"):
                await reply.send(frame)


# Where things stand ---------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_both_sides_stand_where_they_were_heard(tmp_path: Path) -> None:
    """To the sample: the user by `pts`, each answer when its first sample came, however fast it was made."""
    recorder = Recorder(tmp_path / "call.wav")
    brain = Brain(lambda number: np.full(8000, number + 1, np.int16), 0.5, 1.25, 3.0)
    user = noise(5000)
    async with Harness(recorder.user, brain, Pacer(), recorder.agent) as harness:
        await harness.play(list(framed(user)))
        await harness.end()
    left, right = read(recorder.path)
    assert np.array_equal(left, user)
    # A frame that is played comes when it begins, so the clock is one frame ahead of the harness.
    assert runs(right) == [(8320, 16_320, 1), (20_320, 28_320, 2), (48_320, 56_320, 3)]


@pytest.mark.slow
@pytest.mark.virtual
async def test_an_hour_does_not_drift(tmp_path: Path) -> None:
    """The user's clock is 0.02 % slow and the agent's rate another; after an hour both stand where they should."""
    recorder, period = Recorder(tmp_path / "call.wav", rate=8000), 1.0002
    user = np.arange(8000 * 3600, dtype=np.int64).astype(np.int16)
    at = [120.0 * number for number in range(1, 30)]
    said = tone(300, 2000, rate=24_000)
    async with Harness(
        recorder.user, Brain(lambda _: said, *at, rate=24_000), Pacer(chunk_ms=100), recorder.agent
    ) as harness:
        start = anyio.current_time()
        for number, frame in enumerate(framed(user, rate=8000, ms=1000)):
            await anyio.sleep_until(start + number * period)
            harness.session.offer(frame)
        await harness.end()
    left, right = read(recorder.path)
    assert np.array_equal(left, user)
    for when in at:
        expected = (when / 1.0002 + 1) * 8000
        sounding = np.flatnonzero(right[int(expected) - 800 :]) + int(expected) - 800
        assert abs(sounding[0] - expected) <= 4, "within half a millisecond, which is what one frame drifts by"
        assert abs(np.flatnonzero(right[: int(expected) + 40_000])[-1] - expected - 16_000) <= 8


@pytest.mark.slow
@pytest.mark.virtual
async def test_a_stream_without_an_end_does_not_drift(tmp_path: Path) -> None:
    """Where a pacer fills the gaps there is one run for an hour; its silence holds it in time."""
    recorder, slow = Recorder(tmp_path / "call.wav", rate=8000), 1.0002
    at = [120.0 * number for number in range(30)]
    brain = Brain(lambda number: np.full(8000, number + 1, np.int16), *at, rate=8000)
    pacer = Pacer(lead_ms=100, chunk_ms=200, fill="silence")
    async with Harness(recorder.user, brain, pacer, recorder.agent) as harness:
        start = anyio.current_time()
        for number, frame in enumerate(framed(silence(3_600_000, rate=8000), rate=8000, ms=1000)):
            await anyio.sleep_until(start + number * slow)
            harness.session.offer(frame)
        await anyio.sleep(2)
        await harness.session.cancel()
    spoken = runs(read(recorder.path)[1])
    assert [value for *_, value in spoken] == list(range(1, 31))
    for when, (begin, end, _) in zip(at, spoken, strict=True):
        late = begin - (when / slow + 1) * 8000
        assert -8 <= late <= 0.3 * 8000 + 8, "at most the lead and one chunk after it was made"
        assert end - begin == 8000


@pytest.mark.virtual
async def test_the_greeting_comes_before_the_user(tmp_path: Path) -> None:
    """The recording begins with the session; the first user frame ends when it comes."""
    recorder = Recorder(tmp_path / "call.wav")
    async with Harness(recorder.agent, recorder.user) as harness:
        await anyio.sleep(0.25)
        list(recorder.agent.process(sound(7, 1600, response="r")))
        await anyio.sleep(0.25)
        list(recorder.user.process(sound(3, 320, pts=99)))
        await harness.end()
    left, right = read(recorder.path)
    assert (runs(left), runs(right)) == ([(7680, 8000, 3)], [(4000, 5600, 7)])


def test_a_gap_is_silence_of_its_length(tmp_path: Path) -> None:
    """The gaps are one sample over a millisecond, and two seconds."""
    recorder = Recorder(tmp_path / "call.wav")
    record(recorder, sound(1, 320), sound(2, 320, pts=337 / RATE), sound(3, 320, pts=2), sound(4, 320, pts=2.02))
    assert runs(read(recorder.path)[0]) == [
        (0, 320, 1),
        (337, 657, 2),
        (32_000, 32_320, 3),
        (32_320, 32_640, 4),
    ]


def test_a_long_gap_takes_no_memory(tmp_path: Path) -> None:
    """Silence is a hole in the file, and the sound behind it stands where it should."""
    recorder = Recorder(tmp_path / "call.wav")
    record(recorder, sound(1, 320), *(sound(2, 320, pts=50.0 * at) for at in range(1, 20)))
    left, _ = read(recorder.path)
    assert [begin for begin, *_ in runs(left)] == [RATE * 50 * at for at in range(20)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-900_000, 900_000), min_size=2, max_size=60))
def test_jitter_does_not_disturb(tmp_path_factory: pytest.TempPathFactory, jitter: list[int]) -> None:
    """Times that are less than a millisecond wrong, around the first, leave the sound whole."""
    recorder = Recorder(tmp_path_factory.mktemp("jitter") / "call.wav")
    user = noise(20 * len(jitter))
    pts = [0, *(20_000_000 * at + by for at, by in enumerate(jitter[1:], 1))]
    record(recorder, *(msgspec.structs.replace(frame, pts=at) for frame, at in zip(framed(user), pts, strict=True)))
    assert np.array_equal(read(recorder.path)[0], user)


@pytest.mark.parametrize(
    "pts",
    [[0, 0, 0, 0], [5, 4.99, 4.98, 4.97], [9, 9.02, 0, 0.02], [0, 0.02, 1.7e9, 1.7e9 + 0.02]],
    ids=["unmoved", "backwards", "started again", "another clock"],
)
def test_constant_pts_is_placed_end_to_end(tmp_path: Path, pts: list[float]) -> None:
    """After a new count, gaps are gaps again."""
    recorder = Recorder(tmp_path / "call.wav")
    frames = [sound(number, 320, pts=at) for number, at in enumerate(pts, 1)]
    record(recorder, *frames, sound(9, 320, pts=pts[-1] + 0.1))
    found = runs(read(recorder.path)[0])
    assert found[:4] == [(320 * at, 320 * at + 320, at + 1) for at in range(4)]
    assert found[4][2] == 9
    if pts[2] in (0, 1.7e9) and pts[1]:
        assert found[4][0] == 960 + 1600


@pytest.mark.virtual
async def test_a_stall_keeps_its_time_and_a_pause_does_not(tmp_path: Path) -> None:
    """Frames that come two seconds late stand where they belong; a microphone that paused for ten comes back now."""
    recorder = Recorder(tmp_path / "call.wav")
    async with Harness(recorder.user) as harness:
        await harness.send(sound(1, 320))
        await anyio.sleep(2)
        list(recorder.agent.process(sound(9, 320)))
        await harness.send(*(sound(2, 320, pts=0.02 * at) for at in range(1, 101)))
        await anyio.sleep(10)
        await harness.send(*(sound(3, 320, pts=0.02 * at) for at in range(101, 103)))
        await harness.end()
    left, _ = read(recorder.path)
    assert runs(left) == [(0, 320, 1), (320, 32_320, 2), (192_000, 192_640, 3)]


@pytest.mark.virtual
async def test_late_sound_is_patched_in(tmp_path: Path) -> None:
    """Also where the file is written already."""
    recorder = Recorder(tmp_path / "call.wav")
    user = noise(4000)
    async with Harness(recorder.user, Mute(), recorder.agent) as harness:
        user_frames = list(framed(user))
        first, last = user_frames[:50], user_frames[50:]
        for frame in first:
            list(recorder.user.process(frame))
        for _ in range(29):
            list(recorder.agent.process(sound(5, 1600, response="r")))
            await anyio.sleep(0.1)
        assert len(read(recorder.path)[0]) > 2 * RATE
        for frame in last:
            list(recorder.user.process(frame))
        await harness.end()
    left, right = read(recorder.path)
    assert np.array_equal(left, user)
    assert runs(right) == [(16_000, 16_000 + 29 * 1600, 5)]


@pytest.mark.virtual
async def test_interrupted_sound_is_erased(tmp_path: Path) -> None:
    """What the sink flushed was not heard: it is not in the recording, and what follows stands at the interrupt."""
    recorder = Recorder(tmp_path / "call.wav")
    async with Harness(recorder.user, Mute(), recorder.agent) as harness:
        await harness.send(sound(1, 320))
        say = recorder.agent.process
        for _ in range(5):
            list(say(sound(2, 16_000, response="r")))
        await anyio.sleep(2.5)
        harness.interrupt()
        list(say(sound(3, 80)))
        await anyio.sleep(1)
        list(say(sound(4, 320, response="s")))
        await harness.end()
    assert runs(read(recorder.path)[1]) == [(320, 40_320, 2), (40_320, 40_400, 3), (56_320, 56_640, 4)]


@pytest.mark.virtual
@pytest.mark.parametrize("rate", [RATE, 24_000])
async def test_a_barge_in_is_recorded_as_it_was_heard(tmp_path: Path, rate: int) -> None:
    """With a pacer: up to the interrupt, then its fade, then nothing; and nothing of the erased comes back."""
    recorder = Recorder(tmp_path / "call.wav")
    brain = Brain(lambda _: np.full(5 * rate, 8000, np.int16), 0.0, rate=rate)
    async with Harness(recorder.user, brain, Pacer(fade_ms=5), recorder.agent) as harness:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(harness.play, framed(silence(3000)))
            await anyio.sleep(1.01)
            harness.interrupt()
        await harness.end()
    _, right = read(recorder.path)
    cut = 320 + round(1.01 * RATE)
    assert np.all(np.abs(right[400 : cut - 40].astype(int) - 8000) < 100)
    assert not right[cut + 80 :].any()
    assert right[cut : cut + 40].any()


@pytest.mark.virtual
async def test_an_interrupt_erases_what_is_on_disk(tmp_path: Path) -> None:
    """When the user's clock stood before what had been written."""
    recorder = Recorder(tmp_path / "call.wav")
    async with Harness(recorder.user, Mute(), recorder.agent) as harness:
        await harness.send(sound(1, 320))
        for _ in range(40):
            list(recorder.agent.process(sound(2, 1600, response="r")))
            await anyio.sleep(0.05)
        assert len(read(recorder.path)[1]) > RATE
        await harness.send(sound(1, 320, pts=0.02))
        harness.interrupt()
        await harness.end()
    left, right = read(recorder.path)
    assert (runs(left), runs(right)) == ([(0, 640, 1)], [(320, 640, 2)])


@pytest.mark.virtual
async def test_jitter_does_not_tear_the_agent(tmp_path: Path) -> None:
    """A live agent whose frames come up to 20 ms late is one run."""
    recorder = Recorder(tmp_path / "call.wav")
    random = np.random.default_rng(1)
    agent = noise(4000)
    async with Harness(recorder.user, Mute(), recorder.agent) as harness:
        await harness.send(sound(1, 320))
        start = anyio.current_time()
        for number, frame in enumerate(framed(agent)):
            await anyio.sleep_until(start + 0.02 * number + float(random.uniform(0, 0.0199)))
            list(recorder.agent.process(frame))
        await harness.end()
    _, right = read(recorder.path)
    begin = int(np.flatnonzero(right)[0])
    assert np.array_equal(right[begin:], agent[-(len(right) - begin) :])
    assert 320 <= begin <= 640


# What comes in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (24_000, 1), (44_100, 2), (48_000, 2), (16_000, 2), (16_000, 6)]
)
def test_any_format_is_converted(tmp_path: Path, rate: int, channels: int) -> None:
    """Without a shift and without losing a sample, across gaps."""
    recorder = Recorder(tmp_path / "call.wav")
    said = tone(400, 500, rate=rate)
    wide = said if channels == 1 else np.repeat(said.reshape(-1, 1), channels, axis=1)
    with recorder.user:
        for start in (0, rate):
            for frame in framed(wide, rate=rate, start=start):
                list(recorder.user.process(frame))
    left, _ = read(recorder.path)
    assert len(left) == 24_000
    for half in (left[:8000], left[16_000:]):
        assert np.abs(half[100:-100].astype(int) - tone(400, 500)[100:-100]).max() < 200
    assert not left[8000:16_000].any()


def test_another_rate_in_the_middle(tmp_path: Path) -> None:
    """The sound goes on where it was."""
    recorder = Recorder(tmp_path / "call.wav")
    frames = [*framed(tone(400, 100)), *framed(tone(400, 100, rate=48_000), rate=48_000, start=4800)]
    record(recorder, *frames, sound(5, 320, pts=0.2))
    left, _ = read(recorder.path)
    assert len(left) == 3520
    assert np.abs(left[:3100].astype(int) - np.tile(tone(400, 100), 2)[:3100]).max() < 500
    assert set(left[3200:]) == {5}


@pytest.mark.virtual
async def test_frames_pass_as_they_are(tmp_path: Path) -> None:
    """The very same objects, of any format, at both ends."""
    recorder = Recorder(tmp_path / "call.wav")
    frames = [*framed(tone(ms=100)), *framed(tone(ms=100, rate=24_000), rate=24_000, response_id="r", epoch=0)]
    async with Harness(recorder.user, recorder.agent) as harness:
        await harness.send(*frames)
        await harness.end()
    assert all(one is other for one, other in zip(harness.of(Audio), frames, strict=True))


def test_outside_a_session_frames_pass(tmp_path: Path) -> None:
    """No file is made."""
    recorder = Recorder(tmp_path / "call.wav")
    frame = sound(1, 320)
    assert list(recorder.user.process(frame)) == list(recorder.agent.process(frame)) == [frame]
    assert list(recorder.agent.process(Interrupt(epoch=1))) == []
    assert not os.path.exists(recorder.path)


# The file -------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_file_is_readable_while_it_grows(tmp_path: Path) -> None:
    """At every moment, up to its last second. What the agent has not said yet is not in it."""
    recorder = Recorder(tmp_path / "call.wav")
    user = noise(5000)
    async with Harness(recorder.user, Mute(), recorder.agent) as harness:
        for _ in range(10):
            list(recorder.agent.process(sound(5, RATE, response="r")))
        for number, frame in enumerate(framed(user)):
            await harness.send(frame)
            left, right = read(recorder.path)
            assert 0 <= 320 * (number + 1) - len(left) <= RATE + 320
            assert np.array_equal(left, user[: len(left)])
            assert np.all(right == 5)
        await harness.end()
    assert len(read(recorder.path)[0]) == 10 * RATE


KILLED = """
import os, signal, sys
import numpy as np
from bargein.pipeline import Audio
from bargein.processors.audio.recorder import Recorder

recorder = Recorder(sys.argv[1])
with recorder.user, recorder.agent:
    for at in range(275):
        frame = Audio(samples=np.full(320, at + 1, np.int16), rate=16_000, pts=at * 20_000_000)
        list(recorder.user.process(frame))
        list(recorder.agent.process(frame))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_a_recording(tmp_path: Path) -> None:
    """Killed at 5.5 s without a chance to close it: 4.5 s and more can be read, and are right."""
    path = tmp_path / "call.wav"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left, right = read(path)
    assert 4.5 * RATE <= len(left) <= 5.5 * RATE
    expected = np.repeat(np.arange(1, 276, dtype=np.int16), 320)[: len(left)]
    assert np.array_equal(left, expected)
    assert np.array_equal(right[320 : len(left) - 320], expected[: len(left) - 640])


@pytest.mark.parametrize("ends", [["user"], ["agent"], ["user", "agent"], ["agent", "user"]])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_last_end_closes(tmp_path: Path, ends: list[str], backwards: bool) -> None:
    """In any order, and with one end alone; the other channel is silent."""
    recorder = Recorder(tmp_path / "call.wav")
    sides = [getattr(recorder, end) for end in ends]
    for side in sides:
        side.__enter__()
    for side in sides:
        list(side.process(sound(5, 320)))
    leaving = sides[::-1] if backwards else sides
    for side in leaving[:-1]:
        side.__exit__(None, None, None)
        list(leaving[-1].process(sound(6, 320, pts=0.02)))
    leaving[-1].__exit__(None, None, None)
    channels = dict(zip(["user", "agent"], read(recorder.path), strict=True))
    for end, samples in channels.items():
        assert bool(samples.any()) is (end in ends)


def test_without_sound_it_is_empty(tmp_path: Path) -> None:
    """An empty file is written."""
    record(recorder := Recorder(tmp_path / "call.wav"))
    assert len(read(recorder.path)[0]) == 0


def test_one_session_each(tmp_path: Path) -> None:
    """A second one is refused, while the first runs and afterwards; the recording stays."""
    recorder = Recorder(tmp_path / "call.wav")
    with recorder.user, pytest.raises(RuntimeError, match="is recording; create a new one"):
        recorder.user.__enter__()
    record(Recorder(tmp_path / "other.wav"), sound(1, 320))
    for end in (recorder.user, recorder.agent):
        with pytest.raises(RuntimeError, match="has recorded its session; create a new one, with another path"):
            end.__enter__()


def test_existing_file_is_kept(tmp_path: Path) -> None:
    """Unless `overwrite` is set."""
    path = tmp_path / "call.wav"
    record(Recorder(path), *framed(noise(3000)))
    with pytest.raises(FileExistsError, match="choose another path, or pass overwrite=True"):
        record(Recorder(path), sound(1, 320))
    assert len(read(path)[0]) == 48_000
    record(Recorder(path, overwrite=True), sound(1, 320))
    assert runs(read(path)[0]) == [(0, 320, 1)]


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """When the session begins, with what to do."""
    recorder = Recorder(tmp_path / "calls" / "call.wav")
    with pytest.raises(FileNotFoundError, match=r"the folder '.*calls' does not exist; create it first"):
        async with Harness(recorder.user):
            pass


def test_a_full_file_says_so(tmp_path: Path) -> None:
    """Once; what fits is kept, and can be read."""
    recorder = Recorder(tmp_path / "call.wav", max_bytes=44 + 4 * 40_000)
    with recorder.user:
        given = [each for frame in framed(noise(5000)) for each in recorder.user.process(frame)]
    (full,) = [each.error for each in given if isinstance(each, Failure)]
    assert len(given) == 251
    assert isinstance(full, OSError)
    assert full.errno == errno.EFBIG
    assert "the recording is full after 2 s, at 160044 bytes" in str(full)
    assert np.array_equal(read(recorder.path)[0], noise(5000)[:40_000])


@pytest.mark.virtual
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("end", ["user", "agent"])
async def test_a_disk_that_is_full_from_the_start_costs_the_recording_only(end: str) -> None:
    """Not even the header fits. It is reported once, no frame is lost, and the session ends well."""
    async with Harness(getattr(Recorder("/dev/full", overwrite=True), end)) as harness:
        await harness.send(*framed(noise(1000)))
        harness.interrupt()
        await harness.end()
    assert len(harness.of(Audio)) == 50
    (failure,) = harness.of(Failure)
    assert "the recording is incomplete, and the session goes on" in failure.message
    assert "/dev/full" not in failure.message
    assert "No space left" in failure.message


@pytest.mark.virtual
async def test_a_full_disk_costs_the_recording_only(tmp_path: Path) -> None:
    """It is reported once, no frame is lost, and what is written later stands in its place."""
    resource = pytest.importorskip("resource")
    recorder = Recorder(tmp_path / "call.wav")
    user = noise(5000)
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with Harness(recorder.user) as harness:
        for number, frame in enumerate(framed(user)):
            if number == 75:
                resource.setrlimit(resource.RLIMIT_FSIZE, (44 + 4 * 20_000, was[1]))
            if number == 175:
                resource.setrlimit(resource.RLIMIT_FSIZE, was)
            await harness.send(frame)
        await harness.end()
    assert len(harness.of(Audio)) == 250
    assert len(harness.of(Failure)) == 1
    left, _ = read(recorder.path)
    assert np.array_equal(left[:16_000], user[:16_000])
    assert np.array_equal(left[64_000:], user[64_000:])
    assert len(left) == len(user)


@pytest.mark.virtual
async def test_an_agent_far_ahead_is_refused(tmp_path: Path) -> None:
    """More than a minute: it stands above the pacer, and the error says so."""
    recorder = Recorder(tmp_path / "call.wav")
    with pytest.raises(ValueError, match=r"ahead of the user; put recorder\.agent below the Pacer"):
        async with Harness(recorder.agent) as harness:
            for _ in range(62):
                await harness.send(sound(1, RATE, response="r"))


@pytest.mark.parametrize("bad", [{"rate": 0}, {"rate": 16e3}, {"max_bytes": 0}, {"max_bytes": 2**32}])
def test_bad_settings_are_refused(bad: dict[str, int]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"Recorder\(.*expected"):
        Recorder("call.wav", **bad)  # type: ignore[arg-type]


@pytest.mark.virtual
async def test_a_conversation_in_a_pipeline(tmp_path: Path) -> None:
    """Both ends in one graph, fused or not, give the same file."""

    class Detector(Processor):
        def process(self, frame: Audio) -> Iterator[Audio | SpeechStarted | Interrupt]:
            if frame.pts == 1_000_000_000:
                yield SpeechStarted(pts=frame.pts)
                yield Interrupt()
            yield frame

    files = []
    for fused in (True, False):
        recorder = Recorder(tmp_path / f"{fused}.wav")
        brain = Brain(lambda _: np.full(32_000, 5, np.int16), 0.5)
        graph = Pipeline(recorder.user, Detector(), brain, Pacer(), recorder.agent, inputs=Audio)
        async with Harness(graph, fused=fused) as harness:
            await harness.play(list(framed(noise(3000))))
            await harness.end()
        files.append(read(recorder.path))
    for left, right in files:
        assert np.array_equal(left, noise(3000))
        assert (runs(right)[0][0], runs(right)[-1][1] <= 16_400) == (8320, True)
    assert np.array_equal(files[0], files[1])


@pytest.mark.virtual
@pytest.mark.parametrize("end", ["user", "agent"])
@pytest.mark.parametrize("rate", [16_000, 24_000])
async def test_it_conforms(tmp_path: Path, end: str, rate: int) -> None:
    """The conformance suite passes for both ends."""
    number = itertools.count()

    def make() -> Processor:
        processor: Processor = getattr(Recorder(tmp_path / f"{next(number)}.wav"), end)
        return processor

    await check_processor(make, rate=rate)
