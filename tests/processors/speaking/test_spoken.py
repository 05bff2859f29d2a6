"""Spoken: the words that were heard, and no others."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import (
    Audio,
    Frame,
    Interrupt,
    Pipeline,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
)
from bargein.pipeline.testing import Harness, check_processor, framed, tone
from bargein.processors import AgentActivity, Heard, Pacer, Spoken, Timing

SENTENCE = "One two three four five six seven eight nine ten."


def sound(ms: float, response: str = "r", item: str = "i", epoch: int = 0) -> list[Audio]:
    samples = np.ones(round(ms * 16), np.int16)
    return [
        Audio(samples=frame.samples, rate=16_000, response_id=response, item_id=item, epoch=epoch)
        for frame in framed(samples)
    ]


def text(words: str, *, response: str = "r", item: str = "i", final: bool = False) -> Text:
    return Text(text=words, response_id=response, item_id=item, epoch=0, final=final)


def timings(words: str, ms: float) -> list[Timing]:
    """Each word takes so long."""
    return [
        Timing(text=word, start_ms=at * ms, end_ms=at * ms + ms, response_id="r", item_id="i", epoch=0)
        for at, word in enumerate(words.split())
    ]


def played(ms: float, *, done: bool = False, item: str = "i") -> Played:
    return Played(response_id="r", item_id=item, ms=ms, done=done)


ENDED = ResponseEnded(response_id="r")
CUT = Interrupt(epoch=1)


def give(spoken: Spoken, *frames: Any) -> list[Frame]:
    return [made for frame in frames for made in spoken.process(frame)]


def heard(frames: list[Frame]) -> list[tuple[str, bool]]:
    return [(frame.text, frame.done) for frame in frames if isinstance(frame, Heard)]


def last(*frames: Any) -> tuple[str, bool]:
    return heard(give(Spoken(), *frames))[-1]


def test_word_timings_give_exact_words() -> None:
    """A word has been heard when its end has; its punctuation goes with it."""
    said = "Well, hello there."
    frames = [text(said), *timings(said, 300), *sound(900), ENDED]
    for ms, words in {
        0: "",
        298: "",
        300: "Well,",
        590: "Well,",
        600: "Well, hello",
        899.5: "Well, hello there.",
    }.items():
        assert last(*frames, played(ms, done=True)) == (words, True), ms


def test_an_interrupted_item_keeps_what_was_heard() -> None:
    """The rest is reported as `remaining`."""
    frames = give(Spoken(), text(SENTENCE), *timings(SENTENCE, 100), *sound(500), played(0), played(100), CUT)
    assert heard(frames) == [("", False), ("One", False)]
    spoken = Spoken()
    give(spoken, text(SENTENCE), *timings(SENTENCE, 100), *sound(500), played(100), CUT)
    (done,) = [frame for frame in give(spoken, played(250, done=True)) if isinstance(frame, Heard)]
    assert (done.text, done.remaining, done.done) == ("One two", " three four five six seven eight nine ten.", True)


def test_without_timings_words_are_spread_over_the_audio() -> None:
    """Half the audio is about half the words, and all of it is all of them."""
    frames = [text(SENTENCE, final=True), *sound(2000), ENDED]
    assert last(*frames, played(1000, done=True))[0] in ("One two three four five", "One two three four five six")
    assert last(*frames, played(2000, done=True)) == (SENTENCE, True)
    assert last(*frames, played(1900, done=True))[0] != SENTENCE


def test_a_reply_that_is_still_coming_is_measured_by_the_voice() -> None:
    """Text that runs ahead of its audio is not spread over the little audio there is."""
    frames = [text(SENTENCE * 4), *sound(400)]
    words, _ = last(*frames, played(400), CUT, played(400, done=True))
    assert words in ("One", "One two")


def test_it_learns_how_fast_the_voice_speaks() -> None:
    """After one whole item the next one's unfinished words are placed at that rate."""
    fast = Spoken()
    give(fast, text(SENTENCE, item="a"), *sound(800, item="a"), ENDED, played(800, done=True, item="a"))
    words = heard(give(fast, text(SENTENCE + SENTENCE), *sound(400), played(400)))[-1][0]
    assert words in ("One two three four five", "One two three four five six")


def test_a_sentence_can_be_timed_as_a_whole() -> None:
    """Inside it, words are spread; at its end they are exact."""
    first, second = "A short one. ", "This is the second sentence."
    frames = [text(first), text(second), *sound(3000)]
    frames += [Timing(text=first, start_ms=0, end_ms=1000, response_id="r", item_id="i", epoch=0)]
    frames += [Timing(text=second, start_ms=1200, end_ms=3000, response_id="r", item_id="i", epoch=0)]
    assert last(*frames, played(1100), CUT, played(1100, done=True))[0] == "A short one."
    assert last(*frames, played(2100), CUT, played(2100, done=True))[0].startswith("A short one. This is")


def test_timings_may_come_before_their_text_and_spell_it_otherwise() -> None:
    """What is not found is tried again with more text, and given up when a later word is found."""
    said = "It is 12 degrees in Rome."
    frames = [*timings("It is twelve degrees in rome", 100), text("It is 12"), text(" degrees in Rome."), *sound(600)]
    assert last(*frames, played(400), CUT, played(400, done=True))[0] == "It is 12 degrees"
    assert last(*frames, ENDED, played(600, done=True))[0] == said


def test_scripts_without_spaces_are_cut_between_characters() -> None:
    """A word there is a character."""
    said = "今日は天気がいいですね。"
    frames = [text(said), *sound(1200), ENDED]
    words, _ = last(*frames, played(600, done=True))
    assert said.startswith(words)
    assert 4 <= len(words) <= 7


def test_what_never_began_to_play_was_not_heard() -> None:
    """It is told at the interrupt itself, for no sink will report it."""
    spoken = Spoken()
    give(spoken, text("First.", item="a"), *sound(100, item="a"), text("Second.", item="b"), *sound(100, item="b"))
    give(spoken, played(50, item="a"))
    assert [(frame.item_id, frame.text, frame.done) for frame in give(spoken, CUT) if isinstance(frame, Heard)] == [
        ("b", "", True)
    ]


def test_late_text_of_a_finished_item_is_waited_for() -> None:
    """Its transcript may trail its audio."""
    spoken = Spoken()
    assert heard(give(spoken, text("Hello"), *sound(500), played(500, done=True))) == [("Hello", False)] * 0
    assert heard(give(spoken, text(" world.", final=True))) == [("Hello world.", True)]


def test_a_failed_response_keeps_what_was_heard_of_it() -> None:
    """The audio that had come plays out; text without audio was not heard."""
    failed = ResponseEnded(response_id="r", outcome="failed")
    words, done = last(text(SENTENCE * 3), *sound(700), failed, played(700, done=True))
    assert done
    assert words in ("One two", "One two three", "One")


def test_text_that_is_only_read_is_none_of_its_business() -> None:
    """A response without audio is neither heard nor kept."""
    spoken = Spoken()
    assert heard(give(spoken, text("Read me.", final=True), ENDED)) == []
    assert not spoken._items


def test_captions_run_with_the_voice() -> None:
    """Each `Heard` has its caption downstream."""
    frames = give(
        Spoken(), text("One two."), *timings("One two.", 100), *sound(200), ENDED, played(100), played(200, done=True)
    )
    captions = [frame for frame in frames if isinstance(frame, Transcript)]
    assert [(frame.text, frame.final, frame.speaker) for frame in captions] == [
        ("One", False, "agent"),
        ("One two.", True, "agent"),
    ]


def test_what_the_agent_does_is_told_when_it_changes() -> None:
    """A response lasts until it is over and has been heard; tool calls until they are answered."""
    spoken = Spoken()

    def now(*frames: Any) -> list[AgentActivity]:
        return [frame for frame in give(spoken, *frames) if isinstance(frame, AgentActivity)]

    assert now(ResponseStarted(response_id="r", protected=True)) == [AgentActivity(response_id="r", protected=True)]
    assert now(text("Hello."), *sound(100), played(0)) == []
    assert now(ENDED) == []
    assert now(played(100, done=True)) == [AgentActivity()]
    assert now(ResponseStarted(response_id="s")) == [AgentActivity(response_id="s")]
    assert now(ToolCall(call_id="c", name="f")) == [AgentActivity(response_id="s", call_ids=("c",))]
    assert now(ResponseEnded(response_id="s")) == [AgentActivity(call_ids=("c",))]
    assert now(ToolResult(call_id="c", output="1")) == [AgentActivity()]
    assert now(ResponseStarted(response_id="t"), CUT)[-1] == AgentActivity()
    assert now(ResponseStarted(response_id="u"), ToolCall(call_id="d", name="f", response_id="u"))[-1].call_ids == (
        "d",
    )
    assert now(text("So", response="u"))[-1].call_ids == ()


@given(
    st.lists(st.sampled_from("ab ,.12天"), max_size=60).map("".join),
    st.lists(st.floats(0, 3000), min_size=1, max_size=10).map(sorted),
    st.integers(0, 3000),
    st.booleans(),
)
def test_what_was_heard_only_grows(said: str, positions: list[float], ms: int, ended: bool) -> None:
    """It is always a beginning of the text."""
    spoken = Spoken()
    give(spoken, text(said, final=True), *sound(ms))
    if ended:
        give(spoken, ENDED)
    before = ""
    for position in positions:
        for words, _ in heard(give(spoken, played(min(position, ms)))):
            assert said.startswith(words)
            assert len(words) >= len(before)
            before = words


def test_it_is_bounded() -> None:
    """Without a sink that reports, the oldest items are forgotten."""
    spoken = Spoken()
    for at in range(1000):
        give(spoken, text("x", item=str(at)), ResponseStarted(response_id=str(at)))
    assert len(spoken._items) <= 64
    assert len(spoken._responses) <= 64


@pytest.mark.virtual
async def test_with_a_pacer() -> None:
    """A barge-in in the middle of a reply: the words until then, and those alone."""
    async with Harness(Spoken(), Pacer(lead_ms=40)) as harness:
        await harness.send(ResponseStarted(response_id="r"), text(SENTENCE), *timings(SENTENCE, 200), *sound(2000))
        await anyio.sleep(0.75)
        harness.interrupt()
        await harness.settle()
        await harness.end()
    done = [frame for frame in harness.of(Heard) if frame.done]
    assert [frame.text for frame in done] == ["One two three"]
    assert harness.of(AgentActivity)[-1] == AgentActivity()


@pytest.mark.virtual
async def test_it_conforms() -> None:
    """The conformance suite passes."""
    await check_processor(Spoken)
    reply = [text("Hello "), *framed(tone(ms=100), response_id="r"), text("there.", final=True), ENDED]
    await check_processor(Spoken, reply)


def test_a_response_is_there_until_it_has_been_heard() -> None:
    """Also one that was finished before it began to play: its protection holds."""
    spoken = Spoken()
    frames = give(
        spoken, ResponseStarted(response_id="r", protected=True), text("Hello.", final=True), *sound(200), ENDED
    )
    assert [frame for frame in frames if isinstance(frame, AgentActivity)] == [
        AgentActivity(response_id="r", protected=True)
    ]
    assert AgentActivity() in give(spoken, played(200, done=True))


def test_words_are_found_as_words() -> None:
    """Not inside of others: a number that was spelled out does not jump ahead."""
    said = "I paid 100 euros for the phone."
    frames = [text(said, final=True), *timings("I paid one hundred euros for the phone", 300), *sound(2400), ENDED]
    words, _ = last(*frames, played(900, done=True))
    assert words in ("I paid", "I paid 100")


def test_what_was_heard_stays_heard() -> None:
    """Though more audio shows that the voice is slower than was thought."""
    spoken = Spoken()
    give(spoken, text("one two three four five six seven eight nine ten"), *sound(3000))
    before = heard(give(spoken, played(2500)))[-1][0]
    after = heard(give(spoken, *sound(9000), played(2600), CUT, played(2600, done=True)))[-1][0]
    assert after.startswith(before)


def test_what_comes_after_the_last_word_is_no_news() -> None:
    """An item is done once."""
    spoken = Spoken()
    give(spoken, text("Hello.", final=True), *sound(600), ENDED, played(600, done=True))
    assert heard(give(spoken, *timings("Hello.", 300), CUT)) == []


@pytest.mark.virtual
async def test_the_last_words_are_told_after_the_end() -> None:
    """A processor that records the heard words gets the last of them, fused or not."""

    class Keeps(Processor):
        def __init__(self) -> None:
            self.heard: list[Heard] = []

        def process(self, frame: Heard) -> None:
            self.heard.append(frame)

    for fused in (True, False):
        keeps = Keeps()
        pipeline = Pipeline(keeps, Spoken(), Pacer(), inputs=Frame)
        async with pipeline.session(fused=fused) as session:
            await session.send(
                ResponseStarted(response_id="r"),
            )
            for frame in (text("one two three four", final=True), *sound(2000), ENDED):
                await session.send(frame)
            await anyio.sleep(0.5)
            session.end()
            async for _ in session:
                pass
        assert (keeps.heard[-1].text, keeps.heard[-1].done) == ("one two three four", True)
