"""BargeIn: transcripts, late ones and those of other speech, and words that interrupt."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Interrupt, ResponseStarted, SpeechStarted, SpeechStopped, Text, UserText
from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import BargeIn, Heard, Pacer, SpeechContinued, Spoken

from .barge_in_kit import Agent, Situation, heard

pytestmark = pytest.mark.virtual


async def test_words_are_required_where_transcripts_come() -> None:
    """A nod is not enough, its words are not counted; a sentence is."""
    async with Situation(min_words=2) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.speech(600, heard("Yeah, okay."))
        assert it.done == [("Hold", 100), ("Resume", 1100)]
        await it.speech(600, heard("wait, stop", final=False))
        assert it.done[2:] == [("Hold", 1200), ("Interrupt", 1700)]


async def test_words_are_required_from_the_first_speech_on() -> None:
    """A noise at the greeting, before any transcript, resumes. So does a nod. Two words interrupt."""
    async with Situation(min_words=2) as it:
        await it.agent_speaks()
        await it.speech(600)
        await anyio.sleep(1)
        assert it.done == [("Hold", 100), ("Resume", 1800)], "700 ms for the transcript after the end of the speech"
    async with Situation(min_words=2) as it:
        await it.agent_speaks()
        await it.speech(600, heard("Yeah."))
        assert it.done == [("Hold", 100), ("Resume", 1100)]
        await it.speech(600, heard("No, stop."))
        assert it.done[2:] == [("Hold", 1200), ("Interrupt", 1700)]


async def test_two_seconds_of_speech_interrupt_without_a_transcript() -> None:
    """The recogniser may send nothing before the end. A transcript without enough words is waited for longer."""
    async with Situation(min_words=2) as it:
        await it.agent_speaks()
        await it.speech(2500)
        assert it.done == [("Hold", 100), ("Interrupt", 2000)]
    async with Situation(echo_guard=True) as it:
        await it.agent_speaks()
        await it.speech(2500)
        assert it.done == [], "it may be the agent's own sound"


@pytest.mark.parametrize("min_words", [0, 1])
async def test_short_words_are_words(min_words: int) -> None:
    """A "No." of 200 ms interrupts, when its transcript comes. "Uh huh" does not."""
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200, heard("No.", final=False))
        assert it.done == [("Hold", 100), ("Interrupt", 200)]
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200, heard("Two.", final=False))
        assert it.done[:1] == [("Hold", 100)], "it may be the first guess of a recogniser"
        await it.send(heard("Two."))
        assert it.done[-1] == ("Interrupt", 700)
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200, heard("Uh huh.", final=False), heard("Uh-huh."))
        assert it.done == [("Hold", 100), ("Resume", 700)]
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200)
        await it.send(heard("No."))
        assert it.done[0] == ("Hold", 100)
        assert it.done[-1] == ("Interrupt", 700), "the transcript came after the end"


async def test_a_late_transcript_still_interrupts_what_it_was_said_to() -> None:
    """The agent has gone on meanwhile."""
    async with Situation(min_words=1, transcript_ms=700) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.speech(500)
        await anyio.sleep(1.5)
        await it.send(heard("Stop it."))
        assert it.done == [("Hold", 100), ("Resume", 1700), ("Interrupt", 2500)]


async def test_a_late_transcript_does_not_interrupt_the_answer_to_it() -> None:
    """When the next response has begun, it is too late."""
    async with Situation(min_words=1) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.speech(500)
        await it.agent_speaks()
        await it.send(heard("Stop it."))
        assert "Interrupt" not in [kind for kind, _ in it.done]


async def test_a_transcript_of_earlier_speech_does_not_count() -> None:
    """It is joined by item."""
    async with Situation(min_words=1) as it:
        await it.send(SpeechStarted(item_id="old", lag_ms=0), SpeechStopped(item_id="old", pts=10**9), heard("hello"))
        await it.agent_speaks()
        await it.speech(600, heard("what I said before", item="old"))
        assert it.done == [("Hold", 100)]


async def test_the_agents_own_words_are_no_interruption() -> None:
    """Its sound comes back through the microphone; what the user says besides interrupts."""
    said = "The weather in Paris is sunny today, with a light wind from the south."
    async with Situation(Agent(words=said), echo_guard=True) as it:
        await it.agent_speaks()
        await it.speech(900, heard("weather in paris is sunny", final=False), heard("the weather and Paris is sunny"))
        await anyio.sleep(1)
        assert it.done == []
        await it.speech(900, heard("is sunny today no stop", final=False))
        assert [kind for kind, _ in it.done] == ["Interrupt"]


async def test_what_is_typed_interrupts() -> None:
    """At once, and the words follow."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(UserText(text="something else"))
        assert [kind for kind, _ in it.done] == ["Interrupt"]


async def test_the_users_words_pass() -> None:
    """All of them, whatever is decided."""
    frames = [
        SpeechStarted(item_id="s"),
        SpeechContinued(ms=100),
        heard("one", final=False),
        heard("one two"),
        SpeechStopped(item_id="s", pts=1),
    ]
    async with Harness(BargeIn()) as harness:
        await harness.send(*frames)
        assert [frame for frame in await harness.end() if not isinstance(frame, Interrupt)] == frames


async def test_with_spoken() -> None:
    """The words of a real reply guard against its echo."""
    said = "Thank you for calling the tea house, what can I do for you?"
    async with Harness(BargeIn(echo_guard=True), Spoken(), Pacer()) as harness:
        await harness.send(ResponseStarted(response_id="r"), Text(text=said, response_id="r", epoch=0))
        await harness.send(*framed(tone(ms=4000), response_id="r", epoch=0))
        await anyio.sleep(1)
        await harness.send(SpeechStarted(item_id="s", lag_ms=100), heard("you for calling", final=False))
        await anyio.sleep(0.5)
        assert not harness.of(Interrupt)
        await harness.send(heard("you for calling never mind", final=False))
        await harness.settle()
        assert harness.of(Interrupt)
        await harness.end()
    (last,) = [frame for frame in harness.of(Heard) if frame.done]
    assert said.startswith(last.text)
    assert "calling" in last.text


async def test_words_alone_interrupt_where_nobody_hears_speech() -> None:
    """A recogniser without a VAD; its late finals of the same item do not interrupt the answer."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(heard("wait", item="u1", final=False))
        assert [kind for kind, _ in it.done] == ["Interrupt"]
        await it.agent_speaks()
        await it.send(heard("wait a minute", item="u1"))
        assert it.done == []


async def test_a_late_final_of_a_foreign_item_is_late() -> None:
    """It was part of speech that has been decided."""
    async with Situation(min_words=1) as it:
        await it.agent_speaks()
        await it.speech(600, heard("wait", item="u1", final=False))
        await it.agent_speaks()
        await it.speech(400, heard("wait a minute", item="u1"))
        assert "Interrupt" not in [kind for kind, _ in it.done]
