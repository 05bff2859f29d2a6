"""EchoCancel: the agent's voice comes back through simulated rooms, and is not heard."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Interrupt, LinkWarning, Outlet, Pass, Pipeline, Processor, SpeechStarted, UserText
from bargein.pipeline.lowlevel import import_extra
from bargein.pipeline.testing import Harness, check_processor, framed, joined, noise, tone
from bargein.processors import BargeIn, EchoCancel, Pacer, PlayedSound, Spoken, Vad
from bargein.processors.audio._reference import MicrophoneClock, Reference
from tests.environment import amount
from tests.room import Agent, Loudspeaker, Room, removed_db, speech

pytestmark = pytest.mark.virtual

SAID = ("weather", "table", "directions", "long", "flight", "dinner", "phone", "appointment")


async def call(room: Room, *, seconds: float = 4, cancel: bool = True, **options: Any) -> Agent:
    """An agent speaks for some seconds after half a second of silence."""
    words = itertools.islice(itertools.cycle(SAID), 4 + round(seconds / 2))
    agent = Agent(speech(*words, rate=room.rate), room.rate)
    canceller = [EchoCancel(**options)] if cancel else []
    async with Harness(*canceller, agent, Pacer(), room.loudspeaker) as harness:
        await room.live(harness, 500)
        await harness.send(UserText("speak"))
        await room.live(harness, 1000 * seconds)
    return agent


def seconds_removed(room: Room, agent: Agent, first: int, last: int) -> list[float]:
    """What was removed in each second, in decibels."""
    return [round(removed_db(room, agent.heard, 1000 * at, 1000 * at + 1000)) for at in range(first, last)]


# The echo ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
async def test_it_removes_the_echo(rate: int) -> None:
    """At the rates of telephones, brains and sound devices; without it, all of the echo is heard."""
    room, plain = Room(rate=rate), Room(rate=rate)
    assert min(seconds_removed(room, await call(room), 1, 4)) > 20
    assert max(seconds_removed(plain, await call(plain, seconds=2, cancel=False), 1, 2)) < 1


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", amount([20, 400], [20, 50, 100, 200, 300, 400]))
@pytest.mark.parametrize("place", ["small", "loud"])
async def test_it_finds_the_delay(delay_ms: float, place: str) -> None:
    """Of a sound device or a telephone, in a room that is dead or loud."""
    rt60_ms, db = {"small": (80.0, -20.0), "loud": (400.0, 0.0)}[place]
    room = Room(delay_ms=delay_ms, seed=3, rt60_ms=rt60_ms, db=db)
    assert min(seconds_removed(room, await call(room), 1, 4)) > 15


@pytest.mark.slow
@pytest.mark.parametrize("drift_ppm", [-100, 100])
async def test_clocks_drift_apart(drift_ppm: float) -> None:
    """The microphone's crystal is not the loudspeaker's: they are 6 ms apart after a minute."""
    seconds = amount(12, 180)
    room = Room(drift_ppm=drift_ppm)
    removed = seconds_removed(room, await call(room, seconds=seconds), 1, seconds)
    assert sorted(removed)[len(removed) // 20] > 20
    assert min(removed) > 10


async def test_a_path_longer_than_it_finds() -> None:
    """With `delay_ms` it is found, too."""
    room = Room(delay_ms=900)
    assert min(seconds_removed(room, await call(room, seconds=5, delay_ms=700), 2, 5)) > 20


@pytest.mark.parametrize("frame_ms", [7, 30, 100])
async def test_frames_of_any_length(frame_ms: float) -> None:
    """Nothing is lost, at most 10 ms waits, and `pts` counts on."""
    room = Room(frame_ms=frame_ms, jitter_ms=10)
    agent = await call(room, seconds=4)
    assert min(seconds_removed(room, agent, 1, 4)) > 20
    count = sum(len(frame.samples) for frame in agent.heard)
    assert room.taken - 160 < count <= room.taken
    at = 0
    for frame in agent.heard:
        assert frame.pts == at * 1_000_000_000 // 16_000
        at += len(frame.samples)


async def test_lost_sound_is_a_gap() -> None:
    """The microphone was off for a second and a half: it goes on where the time is."""
    room = Room()
    agent = Agent(speech(*SAID), 16_000)
    async with Harness(EchoCancel(), agent, Pacer(), room.loudspeaker) as harness:
        await harness.send(UserText("speak"))
        await room.live(harness, 3000)
        for _ in range(75):  # nobody takes it
            room.record(320)
        await room.live(harness, 3000)
    room.echo[150:225] = []
    assert min(seconds_removed(room, agent, 1, 3) + seconds_removed(room, agent, 4, 6)) > 15


# Who interrupts ------------------------------------------------------------------------------------------------------


async def conversation(room: Room, *, cancel: bool, user_at_ms: float | None) -> tuple[list[int], int]:
    """When speech is noticed, in milliseconds since an agent began to speak for long, and the number of interrupts."""
    agent = Agent(speech(*SAID), 16_000)
    if user_at_ms is not None:
        room.says(1000 + user_at_ms, speech("manager", "wait", dbfs=-20))
    canceller = [EchoCancel()] if cancel else []
    async with Harness(*canceller, Vad(), BargeIn(), agent, Spoken(), Pacer(), room.loudspeaker) as harness:
        await room.live(harness, 1000)
        began = anyio.current_time() - harness._began
        await harness.send(UserText("speak"))
        await room.live(harness, 6000)
        noticed = [round(1000 * (each.at - began)) for each in harness.timeline.of(SpeechStarted)]
        return noticed, len(harness.of(Interrupt))


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", amount([60, 300], [20, 60, 150, 300, 400]))
async def test_the_agent_does_not_interrupt_itself(delay_ms: float) -> None:
    """Over a loudspeaker it does without echo cancellation."""
    noticed, interrupts = await conversation(Room(delay_ms=delay_ms), cancel=False, user_at_ms=None)
    assert noticed
    assert interrupts
    assert await conversation(Room(delay_ms=delay_ms), cancel=True, user_at_ms=None) == ([], 0)


@pytest.mark.parametrize("delay_ms", amount([60, 300], [20, 60, 150, 300, 400]))
async def test_the_user_does_interrupt(delay_ms: float) -> None:
    """And is noticed while the agent speaks on."""
    noticed, interrupts = await conversation(Room(delay_ms=delay_ms), cancel=True, user_at_ms=2500)
    assert 2500 < noticed[0] < 3300
    assert interrupts


async def test_the_next_answer_is_clean() -> None:
    """What an interrupt cut is not taken for sound that was played."""
    room = Room()
    agent = Agent(speech(*SAID), 16_000)
    async with Harness(EchoCancel(), Vad(), agent, Pacer(), room.loudspeaker) as harness:
        for _ in range(3):
            await harness.send(UserText("speak"))
            await room.live(harness, 2500)
            harness.interrupt()
            await room.live(harness, 500)
        assert not harness.of(SpeechStarted)
    assert min(seconds_removed(room, agent, 1, 2) + seconds_removed(room, agent, 7, 8)) > 20


# What the player says ------------------------------------------------------------------------------------------------


class Microphone(Processor):
    async def run(self, out: Outlet[Audio]) -> None: ...


class Listener(Processor):
    """Keeps what the player says."""

    def __init__(self) -> None:
        self.reports: list[PlayedSound] = []

    def process(self, frame: PlayedSound) -> None:
        self.reports.append(frame)


def line(reports: list[PlayedSound], end: int) -> np.ndarray[Any, Any]:
    """What reports say was played: each replaces what was said for its time and later."""
    line = np.zeros(end, np.int16)
    for each in reports:
        at = round(each.start_seconds * each.rate)
        line[at:] = 0
        part = each.samples[: end - at]
        line[at : at + len(part)] = part
    return line


@pytest.mark.parametrize("fade_ms", [0, 5])
async def test_the_pacer_says_what_is_heard(fade_ms: float) -> None:
    """To the sample, over an interrupt and a pause."""
    loudspeaker, listener = Loudspeaker(16_000), Listener()
    sound = noise(1000)
    async with Harness(listener, Pacer(fade_ms=fade_ms), loudspeaker) as harness:
        began = loudspeaker.start()
        await harness.send(*framed(sound[:1600], response_id="r0", epoch=0))
        await anyio.sleep(0.3)
        await harness.send(*framed(sound, response_id="r1", epoch=0))
        await anyio.sleep(0.333)
        harness.interrupt()
        await anyio.sleep(0.2)
        await harness.send(*framed(sound, response_id="r2", epoch=1))
        await harness.end()
        reports = [PlayedSound(e.samples, e.rate, e.start_seconds - began) for e in listener.reports]
    played = loudspeaker.line.astype(np.int16)[: loudspeaker.end]
    assert np.array_equal(line(reports, len(played)), played)


async def test_the_reference_follows_reports() -> None:
    """It converts their rate, mixes their channels, and forgets what was cut."""
    reference = Reference(16_000)
    sound = tone(400, 200, rate=24_000)
    for at in range(0, len(sound), 480):
        reference.add(PlayedSound(np.stack([sound[at : at + 480]] * 2, 1), 24_000, 100 + at / 24_000))
    wanted = tone(400, 200)
    assert np.abs(reference.read(1_600_000, 3000).astype(int) - wanted[:3000]).max() < 300
    assert not reference.silent_since(1_602_000)
    reference.add(PlayedSound(np.zeros(0, np.int16), 24_000, 100.1))
    assert not reference.read(1_601_600, 3200).any()
    assert np.abs(reference.read(1_600_000, 1600).astype(int) - wanted[:1600]).max() < 300
    assert reference.silent_since(1_602_000)
    reference.add(PlayedSound(sound, 24_000, 200.0))
    assert not reference.read(1_600_000, 1600).any()
    assert reference.read(3_200_000, 1600).any()


def test_the_clock_takes_the_earliest_arrival() -> None:
    """Late ones are delays. What drifts is corrected slowly while something sounds, and at once while nothing does."""
    clock = MicrophoneClock(16_000)
    assert clock.advance(320, 0, 10.02, silent=False) == 160_000
    assert clock.advance(320, 0, 10.09, silent=False) == 160_320
    assert clock.advance(320, 0, 9.96, silent=False) == 159_040, "the first arrivals were late"
    for at in range(1, 300):
        start = clock.advance(320, 0, 9.96 + 0.02 * at * 1.001, silent=False)
    assert 159_040 + 299 * 320 <= start <= 159_040 + 299 * 320 + 60
    for at in range(300, 500):
        start = clock.advance(320, 0, 9.96 + 0.02 * at * 1.001, silent=True)
    assert abs(start + 320 - (9.96 + 0.02 * at * 1.001) * 16_000) < 0.005 * 16_000


# What does not fit ---------------------------------------------------------------------------------------------------


async def test_without_an_agent_sound_passes() -> None:
    """A quiet line changes the user's sound only by a delay and a high-pass filter."""
    said = speech("weather")
    async with Harness(EchoCancel()) as harness:
        await harness.play(list(framed(said)))
        frames = await harness.end()
    heard = joined(frames).astype(float)
    assert np.mean(heard**2) == pytest.approx(np.mean(said.astype(float) ** 2), rel=0.3)


async def test_it_mixes_to_mono() -> None:
    """As ears take it."""
    async with Harness(EchoCancel()) as harness:
        await harness.send(Audio(np.zeros((320, 2), np.int16), 16_000))
        await harness.end()
    (frame,) = harness.of(Audio)
    assert frame.channels == 1


@pytest.mark.parametrize("rate", [4000, 22_050 + 1])
async def test_a_strange_rate_is_refused(rate: int) -> None:
    """With what to insert."""
    with pytest.raises(ValueError, match=r"Insert Resample\(16000\)"):
        list(EchoCancel().process(Audio(np.zeros(100, np.int16), rate)))


@pytest.mark.parametrize("delay_ms", [-1, float("nan"), float("inf")])
def test_a_bad_delay_is_refused(delay_ms: float) -> None:
    """With its name."""
    with pytest.raises(ValueError, match="delay_ms"):
        EchoCancel(delay_ms=delay_ms)


def test_a_missing_library_is_named() -> None:
    """With the extra that has it."""
    with pytest.raises(ModuleNotFoundError, match=r"bargein\[echo\]"):
        import_extra("pywebrtc_audio_", "echo", "EchoCancel")


async def test_a_sink_without_reports_is_warned_of() -> None:
    """The link check says what is missing."""

    with pytest.warns(LinkWarning, match=r"'EchoCancel' takes PlayedSound.*insert Pacer\(\)"):
        _ = Pipeline(Microphone(), EchoCancel(), Pass(Audio), Loudspeaker(16_000)).plan


async def test_it_conforms() -> None:
    """The conformance suite passes."""
    await check_processor(EchoCancel, resets=False)
