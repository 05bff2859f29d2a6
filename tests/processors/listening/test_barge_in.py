"""BargeIn: speech that holds, interrupts or is forgiven, and what mutes it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Processor,
    ResponseStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.pipeline.testing import Harness, check_processor, framed, tone
from bargein.processors import AgentActivity, BargeIn, Pacer, SpeechContinued, Spoken, TurnControl

from .barge_in_kit import Agent, Situation, heard

pytestmark = pytest.mark.virtual


async def test_speech_holds_and_then_interrupts() -> None:
    """At once, and when it has lasted the minimum."""
    async with Situation(min_ms=300) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Hold", 100), ("Interrupt", 300)]
        assert it.harness.session.epoch == 1


async def test_a_cough_is_forgiven() -> None:
    """The agent goes on when it is over."""
    async with Situation(min_ms=300) as it:
        await it.agent_speaks()
        await it.speech(150)
        await anyio.sleep(2)
        assert it.done == [("Hold", 100), ("Resume", 650)]
        assert it.harness.session.epoch == 0


async def test_without_a_minimum_it_interrupts_at_once() -> None:
    """There is nothing to hold for."""
    async with Situation(min_ms=0) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Interrupt", 100)]


async def test_not_tentative_means_no_hold() -> None:
    """Only the interrupt."""
    async with Situation(tentative=False) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Interrupt", 300)]


async def test_speech_while_the_agent_is_silent_holds_nothing() -> None:
    """Nothing is on hold afterwards, and the epoch stands."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(UserText(text="over"))
        before = it.harness.session.epoch
        it.from_, it.began = len(it.harness.timeline), anyio.current_time()
        await it.speech(1000)
        assert [kind for kind, _ in it.done if kind != "Interrupt"] == []
        assert it.harness.session.epoch >= before


async def test_a_protected_response_is_not_interrupted() -> None:
    """Not even on hold."""
    async with Situation(Agent(protected=True)) as it:
        await it.agent_speaks()
        await it.speech(2000)
        await it.send(UserText(text="I want to say something"))
        assert it.done == []


async def test_speech_that_outlasts_the_protection_interrupts_what_follows() -> None:
    """The user has not stopped speaking."""
    agent = Agent(protected=True)
    async with Situation(agent) as it:
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100))
        await anyio.sleep(1)
        agent.protected = False
        it.harness.session.offer(UserText(text="go"))
        await it.harness.settle()
        assert it.done == [("Interrupt", 1000)]


async def test_muting_rules() -> None:
    """Always; until the first response has been heard; while a tool runs."""
    async with Situation(mute=["always"]) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == []
    async with Situation(mute=["first response"]) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == []
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Hold", 100), ("Interrupt", 300)]


async def test_a_running_tool_mutes() -> None:
    """Until it has answered."""

    class Calls(Processor):
        async def run(self, inbox: Inbox[Transcript], out: Outlet[AgentActivity | ToolResult | Transcript]) -> None:
            await out.send(AgentActivity(response_id="r", call_ids=("c",)))
            async for _ in inbox:
                await out.send(ToolResult(call_id="c", output="done"))

    async with Harness(BargeIn(mute=["tools"]), Calls()) as harness:
        await harness.settle()
        await harness.send(SpeechStarted(item_id="s", lag_ms=100))
        await anyio.sleep(1)
        assert harness.of(Interrupt) == []
        await harness.send(heard("anything", item="x"))
        await harness.settle()
        assert len(harness.of(Interrupt)) <= 1
        assert harness.statistics().processors["BargeIn"].frames_in >= 4


async def test_nobody_is_left_on_hold() -> None:
    """When nothing more comes, the agent may finish."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100))
        it.harness.session.end()
        await it.harness.settle()
        assert it.done == [("Hold", 0), ("Resume", 0)]


async def test_an_interrupt_of_somebody_else_ends_the_hold() -> None:
    """No resume follows it."""
    async with Situation(min_words=1) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100))
        it.harness.interrupt()
        await it.send(SpeechStopped(item_id="s", pts=10**8, lag_ms=0))
        await anyio.sleep(2)
        assert it.done == [("Hold", 0), ("Interrupt", 0)]


@pytest.mark.parametrize(
    "bad",
    [{"min_ms": -1}, {"transcript_ms": float("inf")}, {"min_words": 1.5}, {"mute": "always"}, {"mute": ["sometimes"]}],
)
async def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"BargeIn\(.*expected"):
        BargeIn(**bad)


async def test_it_conforms() -> None:
    """The conformance suite passes; what it knows is about the user, and does not expire."""
    frames = [
        SpeechStarted(item_id="s"),
        Transcript(text="one two", item_id="s"),
        SpeechStopped(item_id="s", pts=700_000_000),
        UserText(text="hello"),
    ]
    await check_processor(BargeIn, frames, resets=False)


async def test_a_hold_does_not_last_for_ever() -> None:
    """The microphone was muted in the middle of a sound: the agent goes on."""
    async with Situation(hold_ms=3000) as it:
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100), SpeechContinued(item_id="s", ms=100))
        await anyio.sleep(10)
        assert it.done == [("Hold", 0), ("Resume", 3000)]


async def test_what_begins_while_the_user_speaks_is_interrupted() -> None:
    """Though there was nothing to interrupt when the speech was confirmed."""
    async with Situation() as it:
        it.began, it.from_ = anyio.current_time(), 0
        await it.send(SpeechStarted(item_id="s", lag_ms=100), SpeechContinued(item_id="s", ms=400))
        await anyio.sleep(1)
        await it.agent_speaks()
        await it.send(SpeechContinued(item_id="s", ms=1400))
        assert it.harness.session.epoch == 1


async def test_it_leaves_it_to_somebody_above() -> None:
    """Nothing is put on hold then, and what is on hold goes on."""
    async with Harness(BargeIn(), Spoken(), Pacer()) as harness:
        await harness.send(ResponseStarted(response_id="r"), *framed(tone(300, 5000), response_id="r"))
        await anyio.sleep(0.5)
        await harness.send(SpeechStarted(item_id="a"))
        await harness.next(Hold)
        await harness.send(TurnControl())
        await harness.next(Resume)
        await harness.send(SpeechContinued(item_id="a", ms=2000), UserText(text="Stop."), SpeechStarted(item_id="b"))
        await anyio.sleep(2)
        assert len(harness.of(Hold)) == 1
        await harness.send(TurnControl(external=False), SpeechStarted(item_id="c"))
        await harness.next(Hold)
        await harness.session.cancel()
