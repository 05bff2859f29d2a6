"""Failover: moves to another brain by hand, and what of the call moves with them."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Interrupt, ResponseEnded, ResponseStarted, ToolCall, ToolResult, UserText
from bargein.pipeline.testing import framed, silence
from bargein.processors import Heard
from bargein.services.cascade import Cascade, ToolRequest
from bargein.services.failover import Failover
from bargein.services.frames import BrainSwitched
from bargein.services.tools import tool
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.realtime.peer import Peer
from tests.speech import utterances

from .call_kit import STORY, Dying, call, realtime, reserve, said, stale, switched, text

pytestmark = pytest.mark.virtual


@pytest.mark.parametrize("second", ["cascade", "realtime"])
async def test_running_tool_continues(second: str) -> None:
    """It runs once, and the next brain answers with its result."""
    runs: list[str] = []

    @tool
    async def weather(city: str) -> str:
        runs.append(city)
        await anyio.sleep(2)
        return "sunny"

    class Dying(Mind):
        async def answer(self, prompt: Any) -> Any:
            async for piece in super().answer(prompt):
                yield piece
            group.start_soon(later)

    async def later() -> None:
        await anyio.sleep(0.5)
        brain.switch()

    peer = Peer()
    tools = [weather]
    first = Cascade(
        Ears(), Dying([ToolRequest(name="weather", arguments='{"city": "Paris"}')]), Voice(), tools=tools, name="1"
    )
    others = {"cascade": reserve("It is sunny.", tools=tools, name="2"), "realtime": realtime(peer, tools=tools)}
    other = others[second]
    other.name = "2"
    brain = Failover(first, other)
    async with anyio.create_task_group() as group, call(brain) as harness:
        await harness.send(UserText(text="What is the weather in Paris?"))
        await harness.next(BrainSwitched, within_seconds=5)
        await anyio.sleep(1)
        assert not harness.of(Audio)
        await harness.next(Audio, within_seconds=5)
        await anyio.sleep(3)
        assert runs == ["Paris"]
        assert said(brain.history)[:2] == [("user", "What is the weather in Paris?"), ("call", "sunny")]
        if second == "realtime":
            outputs = [event["item"] for event in peer.of("conversation.item.create")]
            assert [each.get("output") for each in outputs if each["type"] == "function_call_output"] == ["sunny"]
            assert len(peer.replies) == 1
        else:
            assert text(harness) == "It is sunny."
        await harness.session.cancel()


async def test_application_answers_after_the_move() -> None:
    """The call of one brain, the result for the other."""
    first = Cascade(Ears(), Mind([ToolRequest(name="weather", call_id="c1")]), Voice(), name="first")
    brain = Failover(first, reserve("It is sunny."))
    async with call(brain) as harness:
        await harness.send(UserText(text="What is the weather?"))
        asked = await harness.next(ToolCall)
        brain.switch()
        await anyio.sleep(2)
        assert not harness.of(Audio)
        await harness.send(ToolResult(call_id=asked.call_id, output="sunny"))
        await harness.next(Audio)
        await anyio.sleep(3)
        assert said(brain.history) == [
            ("user", "What is the weather?"),
            ("call", "sunny"),
            ("assistant", "It is sunny."),
        ]
        await harness.session.cancel()


async def test_switch_there_and_back() -> None:
    """In pauses nothing is cut or said twice, and each brain knows what the others have said."""
    minds = [Mind(["One."], ["Three."]), Mind(["Two."], ["Four."])]
    brains = [Cascade(Ears(), mind, Voice(words=True), name=str(at)) for at, mind in enumerate(minds)]
    brain = Failover(*brains, cooldown_seconds=1)
    async with call(brain) as harness:
        for number in range(4):
            await harness.send(UserText(text=f"Say {number + 1}."))
            await anyio.sleep(5)
            brain.switch()
            await anyio.sleep(5)
        assert switched(harness) == [("0", "1"), ("1", "0"), ("0", "1"), ("1", "0")]
        assert not any(frame.failed for frame in harness.of(BrainSwitched))
        assert {frame.reason for frame in harness.of(Interrupt)} == {"the user wrote"}  # and not that it was moved
        words = [(f"Say {at + 1}.", word) for at, word in enumerate(("One.", "Two.", "Three.", "Four."))]
        assert said(brain.history) == [each for one, two in words for each in (("user", one), ("assistant", two))]
        assert len(minds[1].said) == 7
        responses = [frame.response_id for frame in harness.of(ResponseStarted)]
        assert len(set(responses)) == 4
        await harness.session.cancel()


async def test_response_interrupted_by_a_move_has_an_end() -> None:
    """The brain that was left has no time to report the end itself."""
    brain = Failover(reserve([STORY, "More of it, ", 5.0, "later."], name="first"), reserve("Yes.", name="second"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio)
        harness.interrupt()
        brain.switch()
        await anyio.sleep(1)
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted"]
        await harness.session.cancel()


async def test_interrupt_cancels_tools_of_a_left_brain() -> None:
    """The history says what became of the call."""

    @tool(cancellable=True)
    async def slow() -> str:
        await anyio.sleep(60)
        return "done"

    brain = Failover(reserve([ToolRequest(name="slow")], name="first", tools=[slow]), reserve("Yes.", name="second"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Go."))
        await harness.next(ToolCall)
        brain.switch()
        await anyio.sleep(1)
        harness.interrupt()
        await anyio.sleep(1)
        assert [entry.output for entry in brain.history if entry.role == "call"] == ['"called off: the user went on"']
        await harness.session.cancel()


async def test_switch_while_the_agent_speaks() -> None:
    """The agent is interrupted, and the other brain answers."""
    brain = Failover(reserve([STORY, STORY, 5.0, STORY], name="first"), reserve("I will be brief."))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio)
        await anyio.sleep(2)
        brain.switch("cascade")
        await anyio.sleep(8)
        cut, whole = [frame.text.strip() for frame in harness.of(Heard) if frame.done and frame.text]
        assert STORY.startswith(cut)
        assert 3 < len(cut.split()) < 12
        assert whole == "I will be brief."
        assert said(brain.history) == [
            ("user", "Tell me a story."),
            ("assistant", cut),
            ("assistant", "I will be brief."),
        ]
        assert not stale(harness)
        await harness.session.cancel()


async def test_complete_reply_is_played_to_its_end() -> None:
    """The caller does not notice the move, and may interrupt the reply."""
    peer = Peer(words=(12, 12), pace=0.0)
    brain = Failover(realtime(peer), reserve("Yes?"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me something."))
        await harness.next(ResponseStarted)
        await anyio.sleep(1)
        assert peer.replies[0].done
        await peer.close()
        await anyio.sleep(1)
        assert switched(harness) == [("OpenAIRealtime", "cascade")]
        assert not harness.of(Interrupt)
        await anyio.sleep(1)
        harness.interrupt()
        await anyio.sleep(1)
        (heard,) = [frame.text for frame in harness.of(Heard) if frame.done]
        assert 3 < len(heard.split()) < 9
        assert said(brain.history) == [("user", "Tell me something."), ("assistant", heard)]
        await harness.session.cancel()


@pytest.mark.parametrize("at", [900, 1500, 2600])
@pytest.mark.parametrize("failing", [False, True])
async def test_move_while_the_user_speaks(at: int, failing: bool) -> None:
    """The other brain hears all of it, and answers once."""
    speech = utterances()["weather"]
    sound = np.concatenate([silence(800), speech.samples, silence(3000)])
    first: Any = Dying() if failing else Cascade(Ears("What is", "in Paris?"), Mind(["..."]), Voice(), name="first")
    ears = Ears("What is the weather in Paris?")
    brain = Failover(first, reserve("It is sunny.", ears=ears))

    async def move() -> None:
        await anyio.sleep(at / 1000)
        if failing:
            await harness.send(UserText(text="die"))
        else:
            brain.switch()

    async with call(brain) as harness, anyio.create_task_group() as group:
        group.start_soon(move)
        await harness.play(list(framed(sound, rate=16_000)))
        await anyio.sleep(5)
        begin, end = speech.speech_ms[0][0], speech.speech_ms[-1][1]
        assert max(ears.heard_ms) > end - begin
        assert text(harness).endswith("It is sunny.")
        assert said(brain.history)[-1] == ("assistant", "It is sunny.")
        assert ("user", "What is the weather in Paris?") in said(brain.history)
        assert brain.dropped_ms == 0
        await harness.session.cancel()


async def test_brain_chosen_by_hand_stays() -> None:
    """It stays until it fails."""
    peer = Peer()
    brain = Failover(realtime(peer), Dying(), cooldown_seconds=1)
    async with call(brain) as harness:
        await harness.settle()
        brain.switch("dying", reason="a test")
        await anyio.sleep(100)
        assert harness.of(BrainSwitched)[-1].reason == "a test"
        assert brain.active == "dying"
        await harness.send(UserText(text="die"))
        await anyio.sleep(1)
        assert brain.active == "OpenAIRealtime"
        await harness.session.cancel()


async def test_typed_text_interrupts_the_reply_of_a_left_brain() -> None:
    """The new brain interrupts words that it did not say itself."""
    brain = Failover(reserve(STORY, name="first"), reserve("Yes?"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio)
        await anyio.sleep(1)
        brain.switch()
        await anyio.sleep(0.5)
        assert not harness.of(Interrupt)
        await harness.send(UserText(text="Wait."))
        await anyio.sleep(0.1)
        assert len(harness.of(Interrupt)) == 1
        await anyio.sleep(3)
        heard = [frame.text for frame in harness.of(Heard) if frame.done]
        assert STORY.startswith(heard[0])
        assert [words for _, words in said(brain.history)] == ["Tell me a story.", heard[0].strip(), "Wait.", "Yes?"]
        await harness.session.cancel()
