"""Cascade: the graph that it is, and how it behaves in a conversation."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Hold,
    Inbox,
    Interrupt,
    LinkWarning,
    Outlet,
    Pipeline,
    Played,
    Processor,
    ResponseStarted,
    Resume,
    Text,
    Transcript,
    UserText,
)
from bargein.pipeline.draw import mermaid
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import BargeIn, Heard, Pacer, Sentences, SileroVad, Spoken, Turn, Turns, Vad
from bargein.services.cascade import Answer, Cascade, Speak, Transcribe
from bargein.services.history import History
from tests.speech import utterances

from .parts import Ears, Mind, Voice

pytestmark = pytest.mark.virtual


def talk(*parts: str | float) -> list[Audio]:
    """Utterances by name, and silences in milliseconds."""
    sound = [utterances()[part].samples if isinstance(part, str) else silence(part) for part in parts]
    return list(framed(np.concatenate(sound)))


def test_it_can_be_drawn() -> None:
    """With each part by its name."""
    drawing = mermaid(Cascade(Ears(), Mind(["x"]), Voice()))
    for name in ("Resample", "Vad", "transcribe", "BargeIn", "Turns", "answer", "Sentences", "speak"):
        assert name in drawing


def test_its_parts_can_be_replaced() -> None:
    """Each processor by one of the same kind; barging in may be left out."""
    vad, turns, sentences = Vad(SileroVad(), speech_only=True), Turns("commit"), Sentences()
    history = History()
    brain = Cascade(
        Ears(), Mind(["x"]), Voice(), vad=vad, turns=turns, sentences=sentences, barge_in=None, history=history
    )
    drawing = mermaid(brain)
    assert "BargeIn" not in drawing
    assert brain.history is history


def test_a_misspelled_option_is_named() -> None:
    """With the class, and the nearest option."""
    for make in (Cascade, Cascade.offline):
        parts = {"stt": Ears(), "llm": Mind(["x"]), "tts": Voice()}
        options: dict[str, Any] = {**parts, "instruction": "Be brief."}
        with pytest.raises(
            TypeError, match=r"\(instruction=...\): there is no such option; did you mean instructions="
        ):
            make(**options)


def test_it_is_refused_what_is_no_part() -> None:
    """With what was expected in its place."""
    stt, llm, tts = Ears(), Mind(["x"]), Voice()
    wrong: Any
    for wrong, told in (
        ((tts, llm, stt), "Cascade(stt): a Voice has no transcribe(); expected a SpeechToText"),
        ((stt, "gpt", tts), "Cascade(llm): a str has no answer(); expected a LanguageModel"),
        ((stt, llm, None), "Cascade(tts): a NoneType has no speak(); expected a TextToSpeech"),
        ((stt, Mind, tts), "Cascade(llm): Mind is a class; expected an object, Mind()"),
    ):
        with pytest.raises(TypeError, match=re.escape(told)):
            Cascade(*wrong)


def test_a_history_is_a_history() -> None:
    """And not a list of messages, of which the error tells only the type."""
    wrong: Any = [{"role": "user", "content": "Hello."}]
    with pytest.raises(TypeError, match=r"Answer\(history=...\): got list; write history=History\(...\)"):
        Cascade(Ears(), Mind(["x"]), Voice(), history=wrong)


class Microphone(Processor):
    async def run(self, out: Outlet[Audio | UserText]) -> None: ...


class Loudspeaker(Processor):
    async def run(self, inbox: Inbox[Audio], out: Outlet[Played]) -> None: ...


def test_a_pipeline_without_spoken_is_warned_of() -> None:
    """Its history would hold what nobody heard. The voice, which reports what it cannot say, is no substitute."""
    with pytest.warns(LinkWarning) as caught:
        _ = Pipeline(Microphone(), Cascade(Ears(), Mind(["x"]), Voice()), Loudspeaker()).plan
    warned = [str(each.message) for each in caught if "takes Heard" in str(each.message)]
    assert len(warned) == 1
    assert "Below 'cascade/answer' insert Spoken()" in warned[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = Pipeline(Microphone(), Cascade(Ears(), Mind(["x"]), Voice()), Spoken(), Loudspeaker()).plan


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_its_processors_are_refused_durations_that_cannot_be(seconds: float) -> None:
    """The error names the option and its range."""
    for make in (
        lambda: Transcribe(Ears(), finish_seconds=seconds),
        lambda: Transcribe(Ears(), max_utterance_seconds=seconds),
        lambda: Answer(Mind(["x"]), silent_seconds=seconds),
        lambda: Speak(Voice(), silent_seconds=seconds),
    ):
        with pytest.raises(ValueError, match=rf"_seconds={seconds}\): expected a positive number"):
            make()


async def test_another_of_the_same_parts_goes_on_in_the_next_session() -> None:
    """As new, in the same conversation."""
    mind = Mind(["One."], ["Two."])
    brain = Cascade(Ears(), mind, Voice(), instructions="Be brief.", barge_in=None, name="it")
    for each, words in ((brain, "One?"), (brain.fresh(), "Two?")):
        async with Harness(each) as harness:
            await harness.send(UserText(text=words))
            await harness.next(ResponseStarted)
            await anyio.sleep(1)
            await harness.session.cancel()
        assert "BargeIn" not in mermaid(each)
        assert each.name == "it"
    assert [entry.text for entry in mind.prompts[-1].entries] == ["One?", "One.", "Two?"]
    assert mind.prompts[-1].instructions == "Be brief."


async def test_the_first_sentence_is_heard_while_the_rest_is_written() -> None:
    """The listener waits for one sentence, not for the answer."""
    mind = Mind(["It is sunny in Paris. ", "And ", 5.0, "warm."])
    async with Harness(Cascade(Ears(), mind, Voice()), Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="What is the weather?"))
        await harness.next(Audio)
        assert harness.timeline.of(Audio)[0].at < 0.1
        assert mind.left == 0
        await harness.session.cancel()


async def test_a_barge_in_from_the_microphone() -> None:
    """Real speech: hold at once, interrupt when it is speech, the answer to it, and a memory of what was heard."""
    mind = Mind(["One two three four five six seven eight nine ten eleven twelve. " * 3], ["I am waiting."])
    brain = Cascade(Ears("No, wait."), mind, Voice(words=True))
    async with Harness(brain, Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="Count."))
        await harness.play([*talk(3000.0, "wait", 3000.0)])
        await anyio.sleep(5)
        first = next(arrival for arrival in harness.timeline if isinstance(arrival.frame, Hold | Interrupt))
        assert isinstance(first.frame, Hold)
        began = 3.0 + utterances()["wait"].speech_ms[0][0] / 1000
        assert 0 <= first.at - began <= 0.25
        assert harness.session.epoch == 1
        heard = next(frame for frame in harness.of(Heard) if frame.done)
        assert 6 <= len(heard.text.split()) <= 20
        assert [frame.text for frame in harness.of(Turn)] == ["Count.", "No, wait."]
        assert (
            "".join(frame.text for frame in harness.of(Text) if frame.response_id == "response-2").strip()
            == "I am waiting."
        )
        assert [entry.remembered.strip() for entry in brain.history][1:] == [
            heard.text.strip(), "No, wait.", "I am waiting.",
        ]  # fmt: skip
        await harness.session.cancel()


async def test_half_a_second_of_silence_ends_a_turn() -> None:
    """A pause within a sentence does not end it."""
    ears, mind = Ears("One.", "Two.", "Three."), Mind(["Yes."])
    async with Harness(Cascade(ears, mind, Voice()), Spoken(), Pacer()) as harness:
        for number, name in enumerate(("weather", "long", "table"), 1):
            began = anyio.current_time()
            await harness.play([*talk(name, 3000.0)])
            turns = harness.timeline.of(Turn)
            assert len(turns) == number
            over = utterances()[name].speech_ms[-1][1] / 1000
            assert abs(turns[-1].at - (began + over + 0.5)) < 0.2
        await harness.session.cancel()


async def test_a_short_word_is_forgiven() -> None:
    """With words required: a nod holds the agent, and lets it go on; not a word of the answer is lost."""
    mind = Mind(["One two three four five six seven eight nine ten."])
    brain = Cascade(Ears("Yeah."), mind, Voice(words=True), barge_in=BargeIn(min_words=1))
    async with Harness(brain, Spoken(), Pacer()) as harness:
        await harness.send(Transcript(text="hello", final=True, item_id="before"))
        await harness.send(UserText(text="Count."))
        await harness.play([*talk(1000.0, "yes", 4000.0)])
        await anyio.sleep(3)
        kinds = [type(frame).__name__ for frame in harness.frames if isinstance(frame, Hold | Resume)]
        assert kinds == ["Hold", "Resume"]
        done = [frame.text.strip() for frame in harness.of(Heard) if frame.done]
        assert done[0] == "One two three four five six seven eight nine ten."
        await harness.session.cancel()


async def test_an_eager_answer_is_discarded_when_the_words_were_others() -> None:
    """Begun on what was understood so far, without waiting for the recogniser to be sure."""
    mind = Mind(lambda prompt: [f"You said {prompt.entries[-1].text}.", 0.5, " Did you?"])
    ears = Ears("a cable a table for two", seconds=0.02)
    eager = Turns(silence_ms=500, transcript_ms=1)
    async with Harness(Cascade(ears, mind, Voice(), turns=eager), Spoken(), Pacer()) as harness:
        await harness.play([*talk(500.0, "stop", 6000.0)])
        await anyio.sleep(5)
        final = "".join(
            frame.text for frame in harness.of(Text) if frame.response_id == harness.of(ResponseStarted)[-1].response_id
        )
        assert final.strip() == "You said a cable a table for two. Did you?"
        assert len(mind.prompts) > 1
        spoken = [frame.text for frame in harness.of(Heard) if frame.done and frame.text]
        assert len(spoken) == 1, "only one answer was heard"
        await harness.session.cancel()
