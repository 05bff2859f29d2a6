"""Pacer: due times, what was heard, and silence at once."""

from __future__ import annotations

import anyio
import msgspec
import numpy as np
import pytest

from bargein.pipeline import LIVE, Audio, Hold, Played, ResponseEnded, Resume
from bargein.pipeline.testing import Harness, check_processor, framed, joined, tone
from bargein.processors import Pacer

pytestmark = pytest.mark.virtual


def reply(ms: float, *, response: str = "r", chunk: float = 20, epoch: int = 0) -> list[Audio]:
    return list(framed(tone(200, ms, dbfs=-6), ms=chunk, epoch=epoch, response_id=response))


def times(harness: Harness) -> list[float]:
    return [round(arrival.at * 1000, 3) for arrival in harness.timeline.of(Audio)]


def heard(harness: Harness) -> list[tuple[str, float, bool]]:
    return [(frame.response_id, round(frame.ms, 3), frame.done) for frame in harness.of(Played)]


async def test_audio_comes_when_it_is_due() -> None:
    """A second that arrives in one burst takes a second, at most the lead ahead; nothing is lost or changed."""
    frames = reply(1000)
    async with Harness(Pacer(lead_ms=40)) as harness:
        await harness.send(*frames, ResponseEnded(response_id="r"))
        await harness.end()
    assert times(harness) == [0, 0, 0, *(20.0 * at for at in range(1, 48))]
    assert np.array_equal(joined(harness.frames), joined(frames))
    assert harness.timeline[-1].at == pytest.approx(1.0), "it stays until the last of it has been heard"
    assert heard(harness)[-1] == ("r", 1000, True)


async def test_played_runs_behind_the_release() -> None:
    """`Played` counts what has left the lead, and never goes back."""
    async with Harness(Pacer(lead_ms=40)) as harness:
        await harness.send(*reply(200))
        await harness.end()
    reports = [ms for _, ms, _ in heard(harness)]
    assert reports == sorted(reports)
    for arrival in harness.timeline.of(Played):
        frame = arrival.frame
        assert isinstance(frame, Played)
        assert frame.ms == pytest.approx(min(200, arrival.at * 1000), abs=0.01)


async def test_report_interval() -> None:
    """At the beginning, after every `report_ms`, and at the end."""
    async with Harness(Pacer(lead_ms=40, report_ms=250)) as harness:
        await harness.send(*reply(1000))
        await harness.end()
    assert [ms for _, ms, _ in heard(harness)] == [0, 260, 520, 780, 1000]


async def test_an_interrupt_is_silence_at_once() -> None:
    """A fade of a few milliseconds, then nothing; the report is exact; the next reply starts at once."""
    async with Harness(Pacer(lead_ms=40, fade_ms=5)) as harness:
        await harness.send(*reply(2000))
        await anyio.sleep(0.51)
        number = harness.interrupt()
        await harness.settle()
        came = len(harness.timeline)
        await anyio.sleep(1)
        assert len(harness.timeline) == came
        fade = harness.of(Audio)[-1]
        assert fade.ms == pytest.approx(5)
        assert abs(int(fade.samples[-1])) < 500
        assert heard(harness)[-1] == ("r", 510, True)
        await harness.send(*reply(40, response="next", epoch=number))
        await harness.end()
    assert harness.of(Audio)[-1].response_id == "next"
    assert heard(harness)[-1] == ("next", 40, True)


async def test_a_long_frame_is_cut() -> None:
    """So that an interrupt does not come a second late."""
    (long,) = reply(1000, chunk=1000)
    async with Harness(Pacer(chunk_ms=20)) as harness:
        await harness.send(long)
        await anyio.sleep(0.1)
        harness.interrupt()
        await harness.end()
    assert max(frame.ms for frame in harness.of(Audio)) == 20
    assert heard(harness)[-1] == ("r", 100, True)


async def test_hold_keeps_and_resume_goes_on() -> None:
    """Nothing is lost but the edges, which fade."""
    frames = reply(400)
    async with Harness(Pacer(lead_ms=20)) as harness:
        await harness.send(*frames)
        await anyio.sleep(0.105)
        harness.session.offer(Hold())
        await anyio.sleep(1)
        released = [frame for frame in harness.of(Audio) if frame.epoch == 0]
        assert len(released) == 7
        harness.session.offer(Resume())
        await harness.end()
    spoken = [frame for frame in harness.of(Audio) if frame.epoch == 0]
    assert len(spoken) == 20
    assert np.array_equal(joined(spoken)[: 7 * 320], joined(frames)[: 7 * 320])
    assert np.array_equal(joined(spoken)[7 * 320 + 80 :], joined(frames)[7 * 320 + 80 :])
    assert abs(int(spoken[7].samples[0])) == 0
    assert heard(harness)[-1] == ("r", 400, True)


async def test_a_hold_may_end_in_an_interrupt() -> None:
    """Then what was kept is dropped, and the report says what was heard before the hold."""
    async with Harness(Pacer(lead_ms=20)) as harness:
        await harness.send(*reply(400))
        await anyio.sleep(0.1)
        harness.session.offer(Hold())
        await anyio.sleep(0.5)
        harness.interrupt()
        await harness.end()
    spoken = [frame for frame in harness.of(Audio) if frame.epoch == 0]
    assert len(spoken) <= 7
    assert heard(harness)[-1][1] <= 140
    assert heard(harness)[-1][2] is True


async def test_items_are_reported_separately() -> None:
    """The first is done when its last sample has been heard, not when the second begins to be released."""
    async with Harness(Pacer(lead_ms=60)) as harness:
        await harness.send(*reply(100, response="a"), ResponseEnded(response_id="a"), *reply(100, response="b"))
        await harness.end()
    done = {
        frame.response_id: arrival.at
        for arrival in harness.timeline.of(Played)
        if isinstance(frame := arrival.frame, Played) and frame.done
    }
    assert done == {"a": pytest.approx(0.1, abs=0.021), "b": pytest.approx(0.2)}


async def test_a_late_frame_begins_a_new_run() -> None:
    """After a gap in the supply nothing is hurried to catch up."""
    async with Harness(Pacer(lead_ms=20)) as harness:
        await harness.send(*reply(40))
        await anyio.sleep(1)
        await harness.send(*reply(100))
        await harness.end()
    assert times(harness) == [0, 0, 1000, 1000, 1020, 1040, 1060]


async def test_gaps_can_be_filled() -> None:
    """With `fill="silence"` a sink gets a steady stream, once the format is known."""
    async with Harness(Pacer(lead_ms=20, fill="silence")) as harness:
        await harness.send(*reply(40))
        await anyio.sleep(0.2)
        await harness.session.cancel()
    silent = [frame for frame in harness.of(Audio) if not frame.samples.any()]
    assert len(silent) in (8, 9, 10)
    assert heard(harness)[-1][1] <= 40


@pytest.mark.slow
async def test_due_times_do_not_drift() -> None:
    """Ten minutes of odd frames end to the sample when they should."""
    async with Harness(Pacer(lead_ms=40)) as harness:
        for frame in framed(np.ones(16_000 * 600, np.int16), ms=33.3125, epoch=0, response_id="r"):
            await harness.send(frame)
        await harness.end()
    assert harness.timeline[-1].at == pytest.approx(600, abs=1e-6)


async def test_end_on_hold_plays_the_rest() -> None:
    """No `Resume` can come any more."""
    async with Harness(Pacer()) as harness:
        await harness.send(*reply(400))
        await anyio.sleep(0.105)
        harness.session.offer(Hold())
        await anyio.sleep(5)
        await harness.end()
        assert harness.timeline[-1].at == pytest.approx(5.345, abs=0.01)
    assert heard(harness)[-1] == ("r", 400, True)


async def test_holds_and_resumes_do_not_hurry_it() -> None:
    """However often: no more than the lead is ahead, and what is reported was heard."""
    for lead in (40, 500):
        async with Harness(Pacer(lead_ms=lead)) as harness:
            await harness.send(*reply(4000))
            for _ in range(20):
                await anyio.sleep(0.01)
                harness.session.offer(Hold())
                await anyio.sleep(0.01)
                harness.session.offer(Resume())
            await harness.settle()
            released = sum(frame.ms for frame in harness.of(Audio))
            assert released <= 400 + lead + 25
            assert heard(harness)[-1][1] <= 400
            await harness.session.cancel()


async def test_a_finished_item_is_reported_while_the_next_is_held() -> None:
    """Its listener has heard it."""
    async with Harness(Pacer()) as harness:
        await harness.send(*reply(100, response="a"), ResponseEnded(response_id="a"), *reply(100, response="b"))
        await anyio.sleep(0.07)
        harness.session.offer(Hold())
        await anyio.sleep(5)
        (done,) = [at for at, frame in harness.timeline if isinstance(frame, Played) and frame.done]
        assert done == pytest.approx(0.1)
        await harness.session.cancel()


def items(name: str, ms: float) -> list[Audio]:
    return [msgspec.structs.replace(frame, item_id=name) for frame in reply(ms)]


async def test_an_item_ends_once() -> None:
    """Also when two of a response alternate."""
    frames = [frame for pair in zip(items("a", 100), items("b", 100), strict=True) for frame in pair]
    async with Harness(Pacer()) as harness:
        await harness.send(*frames, ResponseEnded(response_id="r"))
        await harness.end()
    assert [(frame.item_id, frame.ms) for frame in harness.of(Played) if frame.done] == [("a", 100), ("b", 100)]


async def test_fade_without_waiting_audio() -> None:
    """Nothing waits to be faded, so the last sample is."""
    async with Harness(Pacer(lead_ms=40, fade_ms=5)) as harness:
        for frame in reply(200):
            await harness.send(frame)
            await anyio.sleep(0.015)
        harness.interrupt()
        await harness.settle()
        fade = harness.of(Audio)[-1]
        assert (fade.ms, fade.response_id) == (5, "r")
        assert abs(int(fade.samples[-1])) <= abs(int(fade.samples[0]))


async def test_an_interrupt_is_heard_while_the_last_is_played() -> None:
    """The stream has ended, the listener has not."""
    async with Harness(Pacer(lead_ms=500)) as harness:
        await harness.send(*reply(600))
        harness.session.end()
        await anyio.sleep(0.2)
        harness.interrupt()
        await harness.end()
    assert heard(harness)[-1] == ("r", 200, True)


async def test_an_interrupt_leaves_alone_what_is_live() -> None:
    """A sound that belongs to no response goes on, and is reported once."""
    frames = [frame.stamped(LIVE) for frame in reply(400)]
    async with Harness(Pacer()) as harness:
        await harness.send(*frames)
        await anyio.sleep(0.1)
        harness.interrupt()
        await harness.end()
    assert np.array_equal(joined(harness.frames), joined(frames))
    assert [ms for _, ms, done in heard(harness) if done] == [400]


@pytest.mark.parametrize("rate", [11_025, 16_000])
async def test_the_filled_stream_is_steady(rate: int) -> None:
    """On hold too; neither ahead nor behind after ten minutes, and no reply has to queue behind silence."""
    async with Harness(Pacer(fill="silence", lead_ms=500)) as harness:
        for frame in framed(tone(200, 1000, rate=rate), rate=rate, epoch=0, response_id="r"):
            await harness.send(frame)
        await anyio.sleep(0.2)
        harness.session.offer(Hold())
        await anyio.sleep(2)
        harness.session.offer(Resume())
        await anyio.sleep(60)
        sent = sum(len(frame.samples) for frame in harness.of(Audio))
        assert sent / rate == pytest.approx(62.2, abs=0.05)
        await harness.send(*framed(tone(ms=20, rate=rate), rate=rate, epoch=0, response_id="s"))
        await harness.settle()
        assert harness.of(Audio)[-1].response_id == "s"
        await harness.session.cancel()


@pytest.mark.parametrize(
    "bad",
    [
        {"lead_ms": 0},
        {"chunk_ms": float("nan")},
        {"fade_ms": -1},
        {"report_ms": 0},
        {"fill": "noise"},
        {"behind_ms": 40},
    ],
)
async def test_bad_settings_are_refused(bad: dict[str, object]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"Pacer\(.*expected"):
        Pacer(**bad)  # type: ignore[arg-type]


async def test_it_conforms() -> None:
    """The conformance suite passes."""
    await check_processor(Pacer)


async def test_a_player_may_fade_and_report_by_itself() -> None:
    """Then nothing fades here, on an interrupt as on a hold, and no `Played` is sent."""
    async with Harness(Pacer(fade_ms=0, reports=False)) as harness:
        await harness.send(*reply(2000))
        await anyio.sleep(0.1)
        await harness.send(Hold())
        await anyio.sleep(0.1)
        await harness.send(Resume())
        await anyio.sleep(0.1)
        harness.interrupt()
        await anyio.sleep(0.1)
    sound = harness.of(Audio)
    assert {frame.ms for frame in sound} == {20}
    assert all(frame.samples.max() > 1000 for frame in sound)
    assert not harness.of(Played)


async def test_a_device_has_a_latency() -> None:
    """What is heard is as much later, and the sound is given as much sooner."""
    async with Harness(Pacer(lead_ms=80, behind_ms=30)) as harness:
        await harness.send(*reply(1000), ResponseEnded(response_id="r"))
        await harness.end()
    assert times(harness)[:5] == [0, 0, 0, 10, 30]
    assert harness.timeline[-1].at == pytest.approx(1.03)
