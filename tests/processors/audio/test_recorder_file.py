"""Recorder: a file that can be read at any time, and survives full disks and killed processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Interrupt
from bargein.pipeline.testing import Harness, framed, noise
from bargein.processors.audio.recorder import Recorder

from .recordings import RATE, Mute, read, record, runs, sound


def test_a_long_gap_takes_no_memory(tmp_path: Path) -> None:
    """Silence is a hole in the file, and the sound behind it stands where it should."""
    recorder = Recorder(tmp_path / "call.wav")
    record(recorder, sound(1, 320), *(sound(2, 320, pts=50.0 * at) for at in range(1, 20)))
    left, _ = read(recorder.path)
    assert [begin for begin, *_ in runs(left)] == [RATE * 50 * at for at in range(20)]


def test_outside_a_session_frames_pass(tmp_path: Path) -> None:
    """No file is made."""
    recorder = Recorder(tmp_path / "call.wav")
    frame = sound(1, 320)
    assert list(recorder.user.process(frame)) == list(recorder.agent.process(frame)) == [frame]
    assert list(recorder.agent.process(Interrupt(epoch=1))) == []
    assert not os.path.exists(recorder.path)


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
