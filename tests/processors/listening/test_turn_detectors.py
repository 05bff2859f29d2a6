"""Turn detectors: how long the silence must last, by the words, by the pauses, and by what a detector hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Frame, SpeechStarted, SpeechStopped, Transcript
from bargein.pipeline.testing import Harness, framed, run_virtual, tone
from bargein.processors import (
    AdaptiveSilence,
    Commit,
    PauseRequest,
    SpeechContinued,
    SpeechPaused,
    TextTurnDetector,
    Turn,
    TurnEvidence,
    Turns,
    Vad,
    decide_silence,
)

pytestmark = pytest.mark.virtual

MS = 1_000_000


class Fake:
    """Answers what it is told to, after a while, and keeps what it was asked."""

    def __init__(self, *answers: float | Exception | None, after_ms: float = 0.0, audio_seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.after_ms = after_ms
        self.audio_seconds = audio_seconds
        self.asked: list[TurnEvidence] = []
        self.open = False

    async def silence_ms(self, evidence: TurnEvidence) -> float | None:
        self.asked.append(evidence)
        await anyio.sleep(self.after_ms / 1000)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def __aenter__(self) -> Fake:
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open = False


def started(item: str = "a", at: float = 0) -> SpeechStarted:
    return SpeechStarted(item_id=item, pts=round(at * MS), lag_ms=100)


def stopped(item: str = "a", at: float = 1000) -> SpeechStopped:
    return SpeechStopped(item_id=item, pts=round(at * MS), lag_ms=500)


def said(text: str, item: str = "a", *, final: bool = True) -> Transcript:
    return Transcript(text, item_id=item, final=final)


def paused(at: float = 1000, ms: int = 1200) -> SpeechPaused:
    """A pause that is noticed after 200 ms, with the sound before."""
    return SpeechPaused(pts=round(at * MS), item_id="a", audio=Audio(tone(200, ms), 16_000))


SCRIPT: list[Frame | float] = [started(), 1200, paused(), 300, said("Hello."), stopped(), 4000]
"""One second of speech: noticed as a pause at 1200, as its end at 1500. The plain silence of 700 ms ends at 1700."""


async def play(turns: Turns, *script: Frame | float) -> tuple[list[tuple[int, str]], list[Failure]]:
    """Send frames and wait between them, in milliseconds. Return the turns with their times, and the failures."""
    async with Harness(turns) as harness:
        for step in script:
            if isinstance(step, Frame):
                await harness.send(step)
            else:
                await harness.settle()
                await anyio.sleep(step / 1000)
        await harness.settle()
        await harness.session.cancel()
        found = [(round(each.at * 1000), each.frame) for each in harness.timeline]
    return (
        [(at, frame.text) for at, frame in found if isinstance(frame, Turn)],
        [frame for _, frame in found if isinstance(frame, Failure)],
    )


@pytest.mark.parametrize(
    ("answers", "ms"),
    [
        ([], 700),
        ([None, None], 700),
        ([1500.0], 1500),
        ([300.0], 300),
        ([300.0, None], 300),
        ([300.0, 1500.0, 900.0], 1500),
    ],
)
def test_each_row_of_the_table(answers: list[float | None], ms: float) -> None:
    assert decide_silence(700, answers) == ms


ROWS: dict[str, tuple[list[Fake], int]] = {
    "no detectors": ([], 1700),
    "no opinion": ([Fake(None)], 1700),
    "longer": ([Fake(1500.0)], 2500),
    "shorter than what has passed": ([Fake(300.0)], 1500),
    "the longest": ([Fake(300.0), Fake(1000.0), Fake(None)], 2000),
    "it hears, and is asked in the pause": ([Fake(1500.0, audio_seconds=8, after_ms=300)], 2500),
    "no opinion of what it hears": ([Fake(None, audio_seconds=8, after_ms=80)], 1700),
    "one hears and one reads": ([Fake(None, audio_seconds=8), Fake(900.0)], 1900),
    "later than the plain silence": ([Fake(None, after_ms=450)], 1950),
    "too late": ([Fake(1500.0, after_ms=600)], 2000),
    "it fails": ([Fake(OSError("no model"))], 1700),
    "one fails and one answers": ([Fake(OSError("no model")), Fake(900.0)], 1900),
    "no number": ([Fake(float("nan"))], 1700),
}
"""The detectors, and when the turn ends. The words of `SCRIPT` are known before the end of speech."""


@pytest.mark.parametrize("row", ROWS)
async def test_a_turn_ends(row: str) -> None:
    detectors, end = ROWS[row]
    turns, failures = await play(Turns(detectors=detectors), *SCRIPT)
    assert turns == [(end, "Hello.")]
    assert len(failures) == (row in ("too late", "it fails", "one fails and one answers", "no number"))


async def test_words_that_come_after_the_end_of_speech_count() -> None:
    """An ear that gives all words at the end: they come when the plain silence is over."""
    script: list[Frame | float] = [started(), 1500, stopped(), 300, said("My number is"), 4000]
    turns, _ = await play(Turns(silence_ms=500, detectors=[TextTurnDetector()]), *script)
    assert turns == [(2500, "My number is")]


async def test_speech_that_goes_on_takes_the_answers_back() -> None:
    """The turn goes on, and its end is asked for again, with all words and without the old answer."""
    detector = Fake(1500.0, None)
    turns, _ = await play(
        Turns(detectors=[detector]),
        *(started(), said("My number is"), 1500, stopped(), 900),
        *(started("b", 2400), said("five.", "b"), 1000),
        *(stopped("b", 3000), 4000),
    )
    assert turns == [(3600, "My number is five.")]
    assert [each.text for each in detector.asked] == ["My number is", "My number is five."]


async def test_a_new_question_replaces_an_open_one() -> None:
    """A detector that is still thinking about the words when they change."""
    detector = Fake(3000.0, None, after_ms=100)
    turns, failures = await play(
        Turns(detectors=[detector]), started(), said("five", final=False), 1500, stopped(), 50, said("five six"), 4000
    )
    assert turns == [(1700, "five six")]
    assert len(detector.asked) == 2
    assert failures == []


async def test_one_failure_is_reported_and_the_third_is_the_last() -> None:
    """The call goes on with the plain silence."""
    detector = Fake(OSError("no model"))
    script = [
        step
        for at in range(0, 25_000, 5000)
        for step in (started(f"{at}", at), said("yes", f"{at}"), 1500, stopped(f"{at}", at + 1000), 3500)
    ]
    turns, failures = await play(Turns(detectors=[detector]), *script)
    assert [at for at, _ in turns] == [1700, 6700, 11_700, 16_700, 21_700]
    assert [each.message for each in failures] == ["Fake: no model; the plain silence of 700 ms ends the turn"]
    assert len(detector.asked) == 3


async def test_a_slow_one_is_reported_with_its_bound() -> None:
    _, (failure,) = await play(Turns(detectors=[Fake(None, after_ms=9000)], detector_ms=200), *SCRIPT)
    assert failure.message == "Fake: no answer within 200 ms; the plain silence of 700 ms ends the turn"
    assert failure.processor == "Fake"


async def test_a_commit_does_not_wait_for_a_detector() -> None:
    turns, _ = await play(Turns(detectors=[Fake(3000.0)]), *SCRIPT[:-1], Commit(), 4000)
    assert turns == [(1500, "Hello.")]


async def test_it_gets_the_sound_of_the_turn() -> None:
    """From half a second before it, and its own length at most. Detectors without need get none."""
    short, long, reader = Fake(None, audio_seconds=1), Fake(None, audio_seconds=8), Fake(None)
    await play(Turns(detectors=[short, long, reader]), started(at=3000), 10, paused(4000, ms=4200), stopped(), 4000)
    for detector, first_ms in ((short, 3200), (long, 2500)):
        (evidence,) = detector.asked
        assert evidence.audio is not None
        assert (evidence.audio.pts, evidence.audio.ms) == (first_ms * MS, 4200 - first_ms)
        assert np.array_equal(evidence.audio.samples, tone(200, 4200)[first_ms * 16 :])
    assert [each.audio for each in reader.asked] == [None]


async def test_it_is_entered_and_left_with_the_session() -> None:
    detector = Fake(None)
    async with Harness(Turns(detectors=[detector])) as harness:
        await harness.settle()
        assert detector.open
    assert not detector.open


async def test_a_vad_above_is_asked_for_the_pauses() -> None:
    """Below a `Vad` nothing else is needed, for a cascade's turns and above a model that hears by itself."""
    detector = Fake(1500.0, audio_seconds=8)
    async with Harness(Vad(), Turns(transcript_ms=0, detectors=[detector])) as harness:
        sound = np.concatenate([np.zeros(16_000, np.int16), speech(1000), np.zeros(48_000, np.int16)])
        for frame in framed(sound):
            await harness.send(frame)
            await anyio.sleep(frame.ms / 1000)
        ends = [at for at, frame in harness.timeline if isinstance(frame, Turn)]
        assert not harness.of(SpeechPaused)  # nobody below needs it
        await harness.session.cancel()
    assert len(detector.asked) == 1
    assert [round(at - 3.5) for at in ends] == [0]


def speech(ms: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Something that a detector takes for speech."""
    times = np.arange(16 * ms) / 16_000
    voice = sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 12)) * (1 + 0.8 * np.sin(25 * times))
    return (4000 * voice).astype(np.int16)


def test_a_vad_reports_each_pause_once() -> None:
    """After 200 ms, with the sound up to now, and again only after more speech."""

    vad = Vad()
    assert list(vad.process(PauseRequest(ms=200, audio_seconds=2))) == []
    silence = np.zeros(300 * 16, np.int16)
    sound = np.concatenate([speech(1000), silence, speech(1000), *[silence] * 4])
    out = [made for frame in framed(sound) for made in vad.process(frame)]
    pauses = [frame for frame in out if isinstance(frame, SpeechPaused)]
    assert all(abs(each.pts / MS - at) < 150 for each, at in zip(pauses, (1000, 2300), strict=True))
    for each in pauses:
        end = (each.audio.pts + each.audio.duration) // MS
        assert 180 <= end - each.pts // MS <= 340
        assert np.array_equal(each.audio.samples, sound[each.audio.pts * 16 // MS : end * 16])
    assert pauses[1].audio.ms == 2000
    stop = next(frame for frame in out if isinstance(frame, SpeechStopped))
    assert out.index(pauses[1]) < out.index(stop)


def test_a_vad_that_is_quicker_reports_the_pause_before_the_end() -> None:

    vad = Vad(stop_ms=100)
    list(vad.process(PauseRequest(ms=200, audio_seconds=2)))
    out = [
        made
        for frame in framed(np.concatenate([speech(500), np.zeros(8000, np.int16)]))
        for made in vad.process(frame)
        if not isinstance(made, Audio | SpeechContinued)
    ]
    assert [type(each) for each in out] == [SpeechStarted, SpeechPaused, SpeechStopped]


def test_a_vad_keeps_no_sound_unless_asked() -> None:
    vad = Vad()
    out = [
        made
        for frame in framed(np.concatenate([speech(500), np.zeros(16_000, np.int16)]))
        for made in vad.process(frame)
    ]
    assert not any(isinstance(each, SpeechPaused) for each in out)


TEXTS = {
    "": False,
    "Yes.": False,
    "Yes": False,
    "Is it?": False,
    "What is it for?": False,
    "Stop!": False,
    "I would like a coffee,": True,
    "Let me think...": True,
    "Well…": True,
    "I want —": True,
    "Two things:": True,
    "I went there and": True,
    "I went there and.": True,
    "It was late, because.": True,
    "Give me the": True,
    "Um.": True,
    "My number is": True,
    "My number is.": True,
    "my NUMBER is": True,
    "Could you": True,
    "I want to go to": True,
    "That is what I was looking for.": False,
    "That's it.": False,
    "I would like a coffee with milk": False,
    "Thanks a lot": False,
    "Brand": False,
    "Well..": True,
    "He said “no.”": False,
    "我想要，": True,
}
"""Each row of the table of `TextTurnDetector`, more than once."""


@pytest.mark.parametrize("text", TEXTS)
def test_unfinished_words(text: str) -> None:
    assert TextTurnDetector().is_unfinished(text) is TEXTS[text]


async def test_words_of_ones_own() -> None:
    """For another language, or another use."""
    detector = TextTurnDetector(unfinished_ms=900, open_words=["und"], open_phrases=["meine Nummer ist"], links=["mit"])
    answers = {
        text: await detector.silence_ms(TurnEvidence(text=text))
        for text in ("Ja und.", "Meine Nummer ist", "Kaffee mit", "Kaffee mit.", "and")
    }
    assert list(answers.values()) == [900, 900, 900, None, None]


@pytest.mark.parametrize(
    ("pauses", "ms"),
    [
        ((), None),
        ((900.0,), None),
        ((900.0, 0.0), 500),
        ((900.0, 800.0), 960),
        ((0.0, 900.0, 0.0, 800.0, 0.0), 960),
        ((2000.0, 3000.0), 1500),
        ((0.0,) * 8, 500),
    ],
)
async def test_the_silence_follows_the_pauses(pauses: tuple[float, ...], ms: float | None) -> None:
    """Never by one pause alone, and within its bounds."""
    assert await AdaptiveSilence().silence_ms(TurnEvidence(pauses_ms=pauses)) == ms


async def test_pauses_are_learned() -> None:
    """Those in a turn, and those in which a turn was ended too early; not the time until the next answer."""
    detector = Fake(None)
    await play(
        Turns(detectors=[detector]),
        *(started("a", 0), said("one", "a"), 1500, stopped("a", 1000), 100),
        *(started("b", 1600), said("two", "b"), 900, stopped("b", 2000), 1000),  # 600 ms in the turn
        *(started("c", 3000), said("three", "c"), 1000, stopped("c", 4000), 3000),  # 1000 ms: it was cut in two
        *(started("d", 8000), said("four", "d"), 1000, stopped("d", 9000), 3000),
    )
    assert [each.pauses_ms for each in detector.asked] == [(), (), (1000.0,), (1000.0, 0.0)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Turns("commit", detectors=[TextTurnDetector()]),
        lambda: Turns(detector_ms=0),
        lambda: TextTurnDetector(unfinished_ms=-1),
        lambda: AdaptiveSilence(min_ms=0),
        lambda: AdaptiveSilence(min_ms=900, max_ms=800),
        lambda: AdaptiveSilence(factor=0.5),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], object]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"\w+\(.*expected"):
        make()


def test_a_detector_that_ignores_its_end_holds_nobody() -> None:
    """It swallows its cancellation; the turn ends, and so does the session."""

    class Stuck(Fake):
        async def silence_ms(self, evidence: TurnEvidence) -> float | None:
            for _ in range(20):
                try:
                    await anyio.sleep(1)
                except BaseException:
                    continue
            return 9000.0

    async def call() -> list[tuple[int, str]]:
        return (await play(Turns(detectors=[Stuck(None)]), *SCRIPT))[0]

    assert run_virtual(call) == [(2000, "Hello.")]


@pytest.mark.parametrize(
    ("detectors", "message"),
    [
        (TextTurnDetector(), r"got TextTurnDetector; write a list"),
        ([1], "int is not an object with `audio_seconds`"),
        ([TextTurnDetector], "TextTurnDetector is not an object with `audio_seconds`"),
    ],
)
def test_what_is_no_list_of_detectors_is_refused(detectors: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^Turns\(detectors=\.\.\.\): {message}"):
        Turns(detectors=detectors)
