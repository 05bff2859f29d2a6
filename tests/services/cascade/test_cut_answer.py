"""A noise that interrupts like speech, and has no words: the answer continues."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Hold, Interrupt, Resume, SpeechStarted, SpeechStopped, Text, Transcript, UserText
from bargein.pipeline.testing import Harness, speech_like
from bargein.processors import BargeIn, Heard, Pacer, Spoken, Turn
from bargein.services.cascade import Answer, Cascade
from bargein.services.cascade._answer.cut_answer import CutAnswer, CutAnswerWatch
from bargein.services.frames import Respond, Say

from .parts import Ears, Mind, Voice

pytestmark = pytest.mark.virtual

STORY = "Once upon a time there was a king who had three sons and no time to listen to any of them. "


async def hear(harness: Harness, ms: float, *, before: float, after: float = 20.0) -> None:
    """Send room noise with a sound in it that a detector takes for speech."""
    clip = np.concatenate([np.zeros(int(16_000 * before)), speech_like(ms), np.zeros(int(16_000 * after))])
    noise = np.random.default_rng(0).normal(0, 20, len(clip))
    samples = (clip + noise).clip(-32768, 32767).astype(np.int16)
    for at in range(0, len(samples), 320):
        pts = at * 1_000_000_000 // 16_000
        await harness.send(Audio(samples=samples[at : at + 320], rate=16_000, pts=pts))
        await anyio.sleep(0.02)


def replies(harness: Harness) -> list[str]:
    texts: dict[str, str] = {}
    for frame in harness.of(Text):
        texts[frame.response_id] = texts.get(frame.response_id, "") + frame.text
    return [text.strip() for text in texts.values()]


@pytest.mark.parametrize("ms", [600, 1500])
async def test_a_noise_over_an_answer(ms: float) -> None:
    """Where duration interrupts, the rest of the answer is spoken, and every word of it is heard once."""
    brain = Cascade(Ears(), Mind([STORY]), Voice(words=True), barge_in=BargeIn())
    async with Harness(brain, Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await hear(harness, ms, before=2)
        heard = " ".join(frame.text for frame in harness.of(Heard) if frame.done)
        assert harness.session.epoch >= 1
        assert [frame.text for frame in harness.of(Turn)] == ["Tell me a story."]
        # A word may be cut in the middle: then it counts as not heard, and is said again.
        assert heard.split() == STORY.split()
        assert len(replies(harness)) == 2


@pytest.mark.parametrize("ms", [300, 600, 1500])
async def test_by_default_a_noise_holds_and_resumes(ms: float) -> None:
    """Nothing of the answer is cut or said twice, because words decide."""
    mind = Mind([STORY])
    async with Harness(Cascade(Ears(), mind, Voice(words=True)), Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await hear(harness, ms, before=2)
        heard = " ".join(frame.text for frame in harness.of(Heard) if frame.done)
        assert harness.session.epoch == 0
        assert heard.split() == STORY.split()
        assert len(mind.prompts) == 1
        assert len(harness.of(Hold)) == len(harness.of(Resume)) == 1


async def test_a_noise_while_the_model_thinks() -> None:
    """Where duration interrupts, the question is asked again."""
    mind = Mind([2.0, "I have thought about it."])
    brain = Cascade(Ears(), mind, Voice(words=True), barge_in=BargeIn())
    async with Harness(brain, Spoken(), Pacer()) as harness:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: hear(harness, 700, before=1.5, after=8))
            await anyio.sleep(1.0)
            await harness.send(UserText(text="What do you think?"))
        assert len(mind.prompts) == 2
        assert mind.said == [("user", "What do you think?")]
        assert replies(harness)[-1] == "I have thought about it."


async def test_an_unfinished_answer_is_continued_by_the_model() -> None:
    """It sees what was heard, and is told to go on."""
    mind = Mind(["One two three. ", 60.0], ["Four five six."])
    async with Harness(Answer(mind, instructions="Count.")) as harness:
        await harness.send(UserText(text="?"), Turn(text="Count to six.", turn=1))
        text = await harness.next(Text)
        await harness.send(SpeechStarted(item_id="noise"))
        harness.session.offer(Heard(response_id=text.response_id, item_id=text.item_id, text="One two"))
        await anyio.sleep(0.1)
        harness.interrupt()
        await harness.send(SpeechStopped(item_id="noise"), Transcript(text="", item_id="noise", final=True))
        await anyio.sleep(1)
        assert mind.said == [("user", "Count to six."), ("assistant", "One two")]
        assert mind.prompts[-1].instructions.startswith("Count.\n\nA noise interrupted you.")


async def test_words_are_answered_and_not_the_noise() -> None:
    brain = Cascade(Ears("Stop, what time is it?"), Mind([STORY], ["It is noon."]), Voice(words=True))
    async with Harness(brain, Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await hear(harness, 1500, before=2)
        assert [frame.text for frame in harness.of(Turn)] == ["Tell me a story.", "Stop, what time is it?"]
        assert replies(harness)[1:] == ["It is noon."]


async def test_an_interrupt_by_hand_is_final() -> None:
    """Also when a noise follows."""
    brain = Cascade(Ears(), Mind([STORY]), Voice(words=True))
    async with Harness(brain, Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio)
        await anyio.sleep(1)
        harness.interrupt()
        await hear(harness, 1500, before=2)
        assert len(replies(harness)) == 1


def watch() -> CutAnswerWatch:
    return CutAnswerWatch()


CUT = CutAnswer(Respond(), "r1")


def final(item: str, text: str = "") -> Transcript:
    return Transcript(text=text, item_id=item, final=True)


async def test_all_speech_must_be_without_words() -> None:
    each = watch()
    for item in ("a", "b"):
        each.on_speech_started(SpeechStarted(item_id=item))
    each.on_interrupt(CUT)
    assert each.on_transcript(final("a")) is None
    assert each.on_transcript(Transcript(text="", item_id="b")) is None
    assert each.on_transcript(final("b")) is CUT
    assert each.on_transcript(final("b")) is None


async def test_a_recogniser_with_items_of_its_own() -> None:
    each = watch()
    each.on_speech_started(SpeechStarted(item_id="a"))
    each.on_interrupt(CUT)
    assert each.on_transcript(final("utterance 1")) is CUT


async def test_speech_that_is_reported_in_the_step_of_the_interrupt() -> None:
    each = watch()
    each.on_interrupt(CUT)
    each.on_speech_started(SpeechStarted(item_id="a"))
    assert each.on_transcript(final("a")) is CUT


async def test_speech_that_comes_later_decides_nothing() -> None:
    each = watch()
    each.on_interrupt(CutAnswer(Say(text="Hello."), ""))
    await anyio.sleep(0.1)
    each.on_speech_started(SpeechStarted(item_id="a"))
    assert each.on_transcript(final("a")) is None


async def test_words_or_something_else_to_say_end_the_wait() -> None:
    for end in (lambda each: each.on_transcript(final("a", "Stop.")), CutAnswerWatch.clear):
        each = watch()
        each.on_speech_started(SpeechStarted(item_id="a"))
        each.on_interrupt(CUT)
        end(each)
        assert each.on_transcript(final("a")) is None


async def test_the_interrupts_are_seen_below() -> None:
    """The continued answer belongs to the epoch after the interrupt."""
    brain = Cascade(Ears(), Mind([STORY]), Voice(words=True))
    async with Harness(brain, Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await hear(harness, 1500, before=2)
        assert len(harness.of(Interrupt)) == harness.session.epoch
