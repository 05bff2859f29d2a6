"""Answer: turns in, answers out, with pictures, instructions, summaries and failures of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Failure, Image, Interrupt, ResponseEnded, ResponseStarted, Text, Usage, Video
from bargein.pipeline.testing import Harness
from bargein.processors import EncodeJpeg, Turn
from bargein.services.cascade import Answer, ToolRequest
from bargein.services.frames import Configure, OutOfBand, Remember, Respond, Say
from bargein.services.history import Entry, History, HistoryStatistics, Picture
from bargein.services.tools import tool

from .parts import Mind
from .turns import said, turn

pytestmark = pytest.mark.virtual


async def test_a_turn_is_answered() -> None:
    """Piece by piece, between its boundaries, with what it cost."""
    mind = Mind(["Good ", "morning", ".", Usage(input_tokens=3)])
    async with Harness(Answer(mind, instructions="Be kind.")) as harness:
        await harness.send(turn("Hello."))
        await harness.end()
    kinds = [type(frame).__name__ for frame in harness.frames]
    assert kinds == ["Turn", "ResponseStarted", "Text", "Text", "Text", "Usage", "Text", "ResponseEnded"]
    assert [frame.final for frame in harness.of(Text)] == [False, False, False, True]
    assert mind.said == [("user", "Hello.")]
    assert mind.prompts[0].instructions == "Be kind."
    assert harness.of(Usage)[0].response_id == "response-1"
    assert mind.entered == 0


async def test_something_may_be_asked_apart() -> None:
    """It is answered in text, beside the conversation, of which it is no part; also when that fails."""
    mind = Mind([1.0, "They said ", "hello."], ["Hello."], [ValueError("broken")])
    answer = Answer(mind)
    async with Harness(answer) as harness:
        await harness.send(Respond(out_of_band="summary", instructions="Sum up."))
        await harness.settle()
        await harness.send(turn("Hello."))
        await harness.next(ResponseEnded)
        assert harness.timeline[-1].at < 0.5
        assert await harness.next(OutOfBand) == OutOfBand(name="summary", text="They said hello.")
        assert mind.prompts[0].instructions == "Sum up."
        await harness.send(Respond(out_of_band="again"))
        assert (await harness.next(OutOfBand)).reason == "Mind: broken"
        await harness.end()
    assert said(harness) == ["Hello."]
    assert [entry.remembered for entry in answer.history] == ["Hello.", "Hello."]


async def test_turns_that_come_meanwhile_are_answered_together() -> None:
    """After the present answer, once."""
    mind = Mind(["Well, ", 1.0, "yes."], ["Both."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("One."), turn("Two.", 2), turn("Three.", 3))
        await harness.end()
    assert said(harness) == ["Well, yes.", "Both."]
    assert mind.said == [("user", "One."), ("user", "Two."), ("user", "Three."), ("assistant", "Well, yes.")]


async def test_or_end_the_present_answer() -> None:
    """And both are answered at once."""
    mind = Mind(["Well, ", 10.0, "yes."], ["Both."])
    async with Harness(Answer(mind, meanwhile="interrupt")) as harness:
        await harness.send(turn("One."))
        await anyio.sleep(1)
        await harness.send(turn("Two.", 2))
        await harness.next(ResponseEnded)
        await harness.next(ResponseEnded)
        assert harness.timeline[-1].at == pytest.approx(1)
        assert [entry for entry in mind.said if entry[0] == "user"] == [("user", "One."), ("user", "Two.")]
        await harness.session.cancel()
    with pytest.raises(ValueError, match="meanwhile='ignore'"):
        Answer(mind, meanwhile="ignore")  # type: ignore[arg-type]


async def test_words_that_turn_out_to_be_others_are_answered_anew() -> None:
    """If nothing was heard of the answer; else they are kept in mind."""
    mind = Mind(["I see", 5.0], ["A table for two."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("A cable"))
        await anyio.sleep(0.5)
        await harness.send(turn("A table for two", revision=1))
        await anyio.sleep(1)
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted", "completed"]
        assert harness.session.epoch == 1
        assert ("user", "A table for two") in mind.said
        await harness.send(turn("A table for three", revision=2))
        await anyio.sleep(1)
        assert len(harness.of(ResponseStarted)) == 2
        await harness.session.cancel()


async def test_a_model_that_fails_is_apologised_for() -> None:
    """A failure for who watches, words for who listens, and the conversation continues."""
    mind = Mind(["I ", RuntimeError("the model is on fire")], ["Better now."])
    async with Harness(Answer(mind, error_reply="Sorry.")) as harness:
        await harness.send(turn("Hello."))
        ended = await harness.next(ResponseEnded)
        await harness.send(turn("Again.", 2))
        await harness.end()
    assert ended.outcome == "failed"
    assert [frame.message for frame in harness.of(Failure)] == ["Mind: the model is on fire"]
    assert said(harness) == ["I Sorry.", "Better now."]


async def test_a_turn_without_words_is_not_left_unanswered() -> None:
    """One whose words may yet come is answered when they do."""
    mind = Mind(["I see."])
    async with Harness(Answer(mind, no_speech_reply="Pardon?")) as harness:
        await harness.send(turn("", final=True))
        await harness.next(ResponseEnded)
        assert said(harness) == ["Pardon?"]
        await harness.send(turn("", 2, final=False))
        await anyio.sleep(1)
        assert len(harness.of(ResponseStarted)) == 1
        await harness.send(turn("It is me.", 2, revision=1))
        await harness.next(ResponseEnded)
        assert said(harness) == ["Pardon?", "I see."]
        assert mind.said == [("assistant", "Pardon?"), ("user", "It is me.")]
        await harness.session.cancel()


async def test_a_conversation_goes_on_in_another_session() -> None:
    """Its items are not mistaken for those of the first."""
    history = History()

    @tool
    def again() -> str:
        return "again"

    for _ in range(2):
        mind = Mind([ToolRequest(name="again")], ["Yes."])
        async with Harness(Answer(mind, history=history, tools=[again])) as harness:
            await harness.send(turn("Hello."))
            await harness.end()
        history = History.from_json(history.to_json())
    assert [entry.remembered or entry.output for entry in history] == ["Hello.", "again", "Yes."] * 2


JPEG = bytes(next(EncodeJpeg().process(Image(np.zeros((2, 2, 3), np.uint8)))).data)


def photo(**fields: Any) -> Image:
    return Image(data=JPEG, format="jpeg", **fields)


async def test_what_the_user_shows_is_in_the_prompt() -> None:
    """A picture, and of a video one a second; the agent's own pass."""
    mind = Mind(["A dog."])
    mind.images = True
    async with Harness(Answer(mind)) as harness:
        await harness.send(photo(detail="low"), turn("What is that?"))
        await harness.next(ResponseEnded)
        (entry, _) = mind.prompts[0].entries
        assert entry.available_pictures == (Picture(media="image/jpeg", data=JPEG, detail="low"),)
        await harness.send(photo(response_id="r"))
        for number in range(50):
            await harness.send(Video(data=JPEG, format="jpeg", pts=number * 40_000_000))
        await harness.send(turn("And that?", 2))
        await harness.next(ResponseEnded)
        assert sum(len(entry.available_pictures) for entry in mind.prompts[1].entries) == 3
        assert len(harness.of(Image)) == 1
        await harness.session.cancel()


async def test_a_model_that_cannot_look_is_not_shown_anything() -> None:
    """That is a failure, once for a video, and the conversation continues."""
    mind = Mind(["I see nothing."])
    history = History()
    history.show(Picture(media="image/png", data=b"png"))
    async with Harness(Answer(mind, history=history)) as harness:
        await harness.send(photo(), *(Video(data=b"x", format="jpeg", pts=n * 10**9) for n in range(5)))
        await harness.send(turn("What is that?"))
        await harness.end()
    assert [frame.message for frame in harness.of(Failure)] == [
        f"Mind: Mind cannot do {what}; use a model that takes pictures, or describe them in text"
        for what in ("Image", "Video")
    ]
    assert mind.said == [("user", "What is that?")]
    assert said(harness) == ["I see nothing."]


async def test_raw_pictures_are_encoded() -> None:
    """The model gets a picture in a format of the web, whatever the source sends."""
    mind = Mind(["A black square."])
    mind.images = True
    async with Harness(Answer(mind)) as harness:
        await harness.send(Image(np.zeros((2, 2, 3), np.uint8)), turn("What is that?"))
        await harness.end()
    (picture,) = mind.prompts[0].entries[0].available_pictures
    assert (picture.media, picture.data[:2]) == ("image/jpeg", b"\xff\xd8")


async def test_what_was_not_said_may_be_remembered() -> None:
    """An earlier conversation, and none of it is answered."""
    mind = Mind(["Yes."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(
            Remember(role="system", text="Be kind."),
            Remember(role="user", text="Hello.", item_id="u"),
            Remember(role="assistant", text="Hi.", item_id="a"),
            Remember(role="call", text="{}", call_id="c", name="f"),
            Remember(role="result", text="42", call_id="c"),
        )
        await anyio.sleep(1)
        assert not mind.prompts
        await harness.send(turn("Go on."))
        await harness.end()
    assert mind.said == [
        ("system", "Be kind."), ("user", "Hello."), ("assistant", "Hi."), ("call", "42"), ("user", "Go on."),
    ]  # fmt: skip


async def test_it_can_be_told_what_to_say_and_to_do() -> None:
    """Word for word; with other instructions, once or from now on; protected, if it must be."""
    mind = Mind(["Yes."])
    answer = Answer(mind, instructions="first")
    async with Harness(answer) as harness:
        await harness.send(Say(text="Welcome.", protected=True))
        await harness.next(ResponseEnded)
        await harness.send(Respond(instructions="once"))
        await harness.next(ResponseEnded)
        await harness.send(Configure(instructions="second"), Respond())
        await harness.next(ResponseEnded)
        await harness.send(Configure(instructions=""), Respond())
        await harness.next(ResponseEnded)
        await harness.end()
    assert said(harness) == ["Welcome.", *["Yes."] * 3]
    assert [frame.protected for frame in harness.of(ResponseStarted)] == [True, False, False, False]
    assert [prompt.instructions for prompt in mind.prompts] == ["once", "second", "first"]
    assert [entry.text for entry in answer.history] == ["Welcome.", *["Yes."] * 3]
    assert not harness.of(Interrupt)


async def test_a_long_conversation_is_summarised_beside_it() -> None:
    """No answer waits for that, and neither does the end; the statistics show it."""

    async def summarise(entries: Sequence[Entry]) -> str:
        await anyio.sleep(5)
        return "Before."

    mind = Mind(["Yes, indeed."])
    history = History(max_entries=12, summarise=summarise)
    async with Harness(Answer(mind, history=history)) as harness:
        for number in range(1, 7):
            await harness.send(turn("A question.", number))
            await harness.next(ResponseEnded)
        assert anyio.current_time() < 1
        await anyio.sleep(6)
        own = harness.statistics().processors["answer"].own
        assert isinstance(own, HistoryStatistics)
        assert own.summarised >= 4
        for number in range(7, 10):
            await harness.send(turn("A question.", number))
            await harness.next(ResponseEnded)
        assert mind.said[0] == ("system", "Before.")
        await harness.session.cancel()
    slow = History(max_entries=4, summarise=summarise)
    async with Harness(Answer(mind, history=slow)) as harness:
        await harness.send(turn("One."), turn("Two.", 2), turn("Three.", 3))
        before = anyio.current_time()
        await harness.end()
        assert anyio.current_time() == before
    assert slow.statistics().summarised == slow.statistics().failed == 0


async def test_a_slow_model_asks_for_patience() -> None:
    """Once, after four seconds, and the answer follows. A slow tool does so, too. Not if the reply is empty."""
    for wait_reply, expected in (("Wait.", ["Wait.", "Done."]), ("", ["Done."])):
        async with Harness(Answer(Mind([9.0, "Done."]), wait_reply=wait_reply)) as harness:
            await harness.send(Turn(text="What?", turn=1))
            await anyio.sleep(20)
            texts = [(at, frame.text) for at, frame in harness.timeline if isinstance(frame, Text) and frame.text]
            assert [text for _, text in texts] == expected
            assert [round(at) for at, _ in texts] == [4, 9][-len(expected) :]

    async def slow() -> str:
        """Take a while."""
        await anyio.sleep(10)
        return "result"

    mind = Mind([ToolRequest(name="slow")], ["Done."])
    async with Harness(Answer(mind, tools=[slow])) as harness:
        await harness.send(Turn(text="What?", turn=1))
        await anyio.sleep(20)
        assert [frame.text for frame in harness.of(Text) if frame.text] == ["One moment, please.", "Done."]
