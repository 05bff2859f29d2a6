"""SampleFps: the rate, the grid, the bounds, and whose video it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Interrupt, Video
from bargein.pipeline.testing import Harness, check_processor
from bargein.processors.video.encode_jpeg import EncodeJpeg
from bargein.processors.video.sample_fps import SampleFps
from bargein.processors.video.scale import Scale

SECOND = 1_000_000_000
PIXELS = np.zeros((2, 2, 3), np.uint8)


def video(pts: Iterable[int], response: str = "") -> list[Video]:
    return [Video(data=PIXELS, pts=at, response_id=response) for at in pts]


def times(fps: float, seconds: float = 1) -> list[int]:
    return [int(index * SECOND / fps) for index in range(round(seconds * fps))]


def sampled(processor: SampleFps, pts: Iterable[int], response: str = "") -> list[int]:
    return [out.pts for frame in video(pts, response) for out in processor.process(frame)]


@pytest.mark.parametrize("source", [10, 20, 30, 60, 120, 240])
def test_a_multiple_is_exact(source: int) -> None:
    """Every second, third or twelfth frame is given, although the times are rounded down."""
    pts = times(source, 20)
    assert sampled(SampleFps(10), pts) == pts[:: source // 10]


@pytest.mark.parametrize("source", [10.5, 12, 15, 24, 25, 29.97, 50, 59.94])
def test_other_rates_are_right_on_average(source: float) -> None:
    """In a minute, to one frame; and no two are less than half a period apart."""
    out = sampled(SampleFps(10), times(source, 60))
    assert len(out) == pytest.approx(600, abs=1)
    assert min(np.diff(out)) >= 0.05 * SECOND


def test_twenty_five_become_ten() -> None:
    """The frame nearest to each tenth of a second passes."""
    assert [at // 1_000_000 for at in sampled(SampleFps(10), times(25))] == [
        0,
        80,
        200,
        280,
        400,
        480,
        600,
        680,
        800,
        880,
    ]


@pytest.mark.parametrize("source", [1, 7, 15, 29.97, 30])
def test_a_slower_stream_passes_whole(source: float) -> None:
    """At its own times, for ten minutes."""
    pts = times(source, 600)
    assert sampled(SampleFps(30), pts) == pts


def test_half_a_frame_a_second() -> None:
    """A fraction is a frame in so many seconds."""
    assert sampled(SampleFps(0.5), times(30, 10)) == [0, 2 * SECOND, 4 * SECOND, 6 * SECOND, 8 * SECOND]


def test_times_in_whole_milliseconds() -> None:
    """Rounding of the source loses nothing."""
    pts = [round(index * 1000 / 30) * 1_000_000 for index in range(900)]
    assert sampled(SampleFps(30), pts) == pts
    assert sampled(SampleFps(10), pts) == pts[::3]


@given(st.lists(st.floats(-0.16, 0.16), min_size=1, max_size=60), st.floats(0.2, 120))
def test_jitter_of_a_sixth_loses_nothing(jitter: list[float], fps: float) -> None:
    """A stream of the right rate passes whole."""
    pts = [round((index + 1 + late) * SECOND / fps) for index, late in enumerate(jitter)]
    assert sampled(SampleFps(fps), pts) == pts


@given(
    st.lists(st.integers(0, SECOND // 2) | st.integers(0, 10_000_000), min_size=1, max_size=80),
    st.sampled_from([0.5, 1, 3, 7.5, 10, 30, 1000]),
)
def test_the_bounds_hold_for_any_times(gaps: list[int], fps: float) -> None:
    """A closed window of n periods has at most n + 1 frames, and two are more than a third of a period apart."""
    pts = list(itertools.accumulate(gaps))
    out = sampled(SampleFps(fps), pts)
    assert out[0] == pts[0]
    period = SECOND / fps
    for count in range(1, len(out)):
        for first, last in zip(out, out[count:], strict=False):
            assert last - first > (count - 1) * period - 1
    assert all(later - sooner > period / 3 - 1 for sooner, later in itertools.pairwise(out))


@given(st.lists(st.integers(0, 100_000_000), min_size=2, max_size=80))
def test_no_due_time_is_missed(gaps: list[int]) -> None:
    """With frames at most a period apart, two given are at most two periods apart."""
    pts = list(itertools.accumulate(gaps))
    out = sampled(SampleFps(10), pts)
    assert all(later - sooner <= 200_000_000 for sooner, later in itertools.pairwise(out))
    assert pts[-1] - out[-1] < 200_000_000


def test_the_times_of_a_wall_clock() -> None:
    """Large numbers lose no precision."""
    now = 1_750_000_000 * SECOND + 7
    pts = [now + at for at in times(30, 60)]
    assert sampled(SampleFps(10), pts) == pts[::3]


def test_a_pause_moves_no_due_time() -> None:
    """After it the grid is the same."""
    pts = [0, 100, 200, 5030, 5060, 5100, 5140, 5200]
    given = [0, 100, 200, 5030, 5100, 5200]
    assert sampled(SampleFps(10), [at * 1_000_000 for at in pts]) == [at * 1_000_000 for at in given]


def test_new_stream_restarts_the_count() -> None:
    """A `pts` that goes back is passed on, and the count starts there."""
    processor = SampleFps(10)
    sampled(processor, [at + 5 * SECOND for at in times(30)])
    pts = [at + 7 for at in times(30)]
    assert sampled(processor, pts) == pts[::3]


def test_frames_without_times_are_one_moment() -> None:
    """The first is given."""
    assert sampled(SampleFps(10), [0] * 100) == [0]


def test_user_and_agent_are_counted_apart() -> None:
    """Frames of both at once come out as if each were alone."""
    user, agent = video(times(30)), video([at + 11 for at in times(25)], response="a")
    processor = SampleFps(10)
    both = sorted([*user, *agent], key=lambda frame: frame.pts)
    out = [each for frame in both for each in processor.process(frame)]
    for response, alone in (("", user), ("a", agent)):
        expected = sampled(SampleFps(10), [frame.pts for frame in alone], response)
        assert [frame.pts for frame in out if frame.response_id == response] == expected


def test_an_interrupt_forgets_the_reply_only() -> None:
    """The next reply is seen from its first frame; a live camera stays on its grid."""
    processor = SampleFps(10)
    first, soon = video([0, 20_000_000], response="a")
    camera, next_camera = video([0, 20_000_000])
    assert [*processor.process(first.stamped(0)), *processor.process(camera)] == [first.stamped(0), camera]
    assert list(processor.process(Interrupt(epoch=1))) == []
    assert list(processor.process(soon.stamped(1))) == [soon.stamped(1)]
    assert list(processor.process(next_camera)) == []


def test_a_frame_given_is_the_very_same() -> None:
    """Nothing is copied."""
    (frame,) = video([0])
    (out,) = SampleFps(10).process(frame)
    assert out is frame


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf])
def test_bad_rates_are_refused(fps: float) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"SampleFps\(.*expected a positive number"):
        SampleFps(fps)


async def test_a_chain_for_a_model_that_sees() -> None:
    """A second of camera becomes five small JPEGs at their own times; the agent's epochs are kept."""
    pixels = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    frames = [Video(data=pixels, pts=at, epoch=0, response_id="a") for at in times(30)]
    async with Harness(SampleFps(5), Scale(64, 64), EncodeJpeg()) as harness:
        await harness.send(*frames)
        await harness.end()
    out = harness.of(Video)
    assert [round(frame.pts / 1_000_000) for frame in out] == [0, 200, 400, 600, 800]
    assert {(frame.format, frame.epoch, frame.response_id) for frame in out} == {("jpeg", 0, "a")}


@pytest.mark.virtual
@pytest.mark.parametrize("response", ["", "a"])
async def test_it_conforms(response: str) -> None:
    """The conformance suite passes."""
    await check_processor(lambda: SampleFps(10), video(times(30), response))
