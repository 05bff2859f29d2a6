"""Recorder: both sides stand where they were heard, to the sample."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.pipeline.testing import Harness, framed, noise, silence, tone
from bargein.processors.audio.recorder import Recorder
from bargein.processors.speaking.pacer import Pacer

from .recordings import RATE, Brain, Mute, read, record, runs, sound


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


@pytest.mark.virtual
async def test_an_agent_far_ahead_is_refused(tmp_path: Path) -> None:
    """More than a minute: it stands above the pacer, and the error says so."""
    recorder = Recorder(tmp_path / "call.wav")
    with pytest.raises(ValueError, match=r"ahead of the user; put recorder\.agent below the Pacer"):
        async with Harness(recorder.agent) as harness:
            for _ in range(62):
                await harness.send(sound(1, RATE, response="r"))
