"""Realtime: tool calls, their results and who answers them, against a scripted peer."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from bargein.pipeline import ResponseEnded, ResponseStarted, Text, ToolCall, ToolResult, UserText
from bargein.services.frames import Configure, Connected, ToolFinished
from bargein.services.history import History
from bargein.services.tools import tool

from .peer import Peer
from .session_kit import Settled, sent, session, until_sent

pytestmark = pytest.mark.virtual


def calling(peer: Peer, *names: str) -> Any:
    """The first response calls tools, the next ones speak."""
    state = {"called": False}

    async def on_event(event: dict[str, Any]) -> bool:
        if event["type"] != "response.create" or state["called"]:
            return False
        state["called"] = True
        await peer.send("response.created", response={"id": "r"})
        for at, name in enumerate(names):
            ids = {"response_id": "r", "item_id": f"f{at}", "call_id": f"c{at}"}
            await peer.send("response.function_call_arguments.done", name=name, arguments='{"n": 1}', **ids)
            item = {"type": "function_call", "id": f"f{at}", "call_id": f"c{at}", "name": name, "arguments": '{"n": 1}'}
            await peer.send("response.output_item.done", response_id="r", item=item)
        await peer.send("response.done", response={"id": "r", "status": "completed"})
        return True

    return on_event


@pytest.mark.parametrize("meanwhile", [True, False])
async def test_question_while_a_tool_runs(meanwhile: bool) -> None:
    """It is answered at once if the provider allows that, otherwise after the tool. The result reaches the provider."""

    @tool
    async def report(n: int) -> str:
        await anyio.sleep(20)
        return "all is well"

    peer = Settled()
    peer.on_event = calling(peer, "report")
    model = peer.model(tools=[report])
    model.profile = msgspec.structs.replace(model.profile, answers_during_tool_calls=meanwhile)
    peer_protocol = model._protocol

    def protocol() -> Any:
        made = peer_protocol()
        made.profile = model.profile  # type: ignore[misc]
        return made

    model._protocol = protocol
    async with session(model) as harness:
        await harness.send(UserText("make the report"))
        await harness.next(ToolCall)
        await anyio.sleep(2)
        asked = anyio.current_time()
        harness.interrupt("the user wants to know something else")
        await harness.send(UserText("what is your name?"))
        while (await harness.next(Text, within_seconds=60)).response_id == "r":
            pass
        waited = anyio.current_time() - asked
        assert (waited < 5) == meanwhile
        assert meanwhile or waited >= 17
        await anyio.sleep(40)
        items = [event["item"] for event in peer.of("conversation.item.create")]
        outputs = [item["output"] for item in items if item["type"] == "function_call_output"]
        assert outputs == ["all is well"]
        await harness.session.cancel()


async def test_several_calls_lead_to_one_response() -> None:
    """Each tool runs once, whatever the wire repeats. One request follows all results."""
    runs: list[int] = []

    @tool
    async def slow(n: int) -> str:
        runs.append(n)
        await anyio.sleep(1)
        return "slow"

    @tool
    def fast(n: int) -> str:
        runs.append(n)
        return "fast"

    peer = Settled()
    peer.on_event = calling(peer, "slow", "fast")
    async with session(peer.model(tools=[slow, fast])) as harness:
        await harness.send(UserText(text="go"))
        await harness.next(ResponseEnded)
        await harness.next(ResponseEnded, within_seconds=30)
        assert sent(peer) == [
            "conversation.item.create",
            "response.create",
            "conversation.item.create",
            "conversation.item.create",
            "response.create",
        ]
        outputs = {event["item"]["call_id"]: event["item"]["output"] for event in peer.received[3:5]}
        assert outputs == {"c0": "slow", "c1": "fast"}
        assert runs == [1, 1]
        assert {frame.name for frame in harness.of(ToolFinished)} == {"slow", "fast"}
        assert peer.received[0]["session"]["tools"][0]["name"] == "slow"
        await harness.session.cancel()


async def test_tool_results_survive_an_interrupt() -> None:
    """They reach the model. No response is requested, because the user has said something else."""

    @tool
    async def slow(n: int) -> str:
        await anyio.sleep(1)
        return "done"

    peer = Settled()
    peer.on_event = calling(peer, "slow")
    async with session(peer.model(tools=[slow])) as harness:
        await harness.send(UserText(text="go"))
        await harness.next(ToolCall)
        harness.interrupt()
        await anyio.sleep(3)
        assert [event["item"].get("output") for event in peer.of("conversation.item.create")] == [None, "done"]
        assert len(peer.of("response.create")) == 1
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseStarted)
        await harness.session.cancel()


async def test_application_answers_calls() -> None:
    """The model has no tools here."""
    peer = Settled()
    peer.on_event = calling(peer, "theirs")
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="go"))
        call = await harness.next(ToolCall)
        await harness.send(ToolResult(call_id=call.call_id, output="42"))
        await harness.next(ResponseStarted)
        assert peer.of("conversation.item.create")[-1]["item"]["output"] == "42"
        await harness.session.cancel()


async def test_call_of_another_brain_is_sent_with_its_result() -> None:
    """It is sent once, and only if it was open when the conversation was taken over."""
    peer, history = Settled(), History()
    history.user("What is the weather?")
    for name in ("first", "second"):
        history.call(name, "weather", "{}")
    model = peer.model(history=history)
    history.result("first", "sunny")
    async with session(model) as harness:
        await harness.next(Connected)
        for _ in range(2):
            await harness.send(
                ToolResult(call_id="second", output="rainy"), ToolResult(call_id="third", output="windy")
            )
        await anyio.sleep(1)
        items = [event["item"] for event in peer.of("conversation.item.create")]
        outputs = [(item["call_id"], item["output"]) for item in items if item["type"] == "function_call_output"]
        assert outputs == [("first", "sunny"), ("second", "rainy")]
        await harness.session.cancel()


async def test_unanswered_call_of_an_interrupted_response() -> None:
    """The application never answers it, and the conversation continues."""
    peer = Settled()
    peer.on_event = calling(peer, "theirs")
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="go"))
        await harness.next(ToolCall)
        harness.interrupt()
        await harness.send(UserText(text="never mind"))
        await harness.next(ResponseStarted)
        await harness.next(ResponseEnded)
        await harness.session.cancel()


async def test_tool_runs_once_across_connections() -> None:
    """The new session gets the call together with its result."""
    runs: list[int] = []

    @tool
    async def slow(n: int) -> str:
        runs.append(n)
        await anyio.sleep(2)
        return "done"

    peer = Settled()
    peer.on_event = calling(peer, "slow")
    async with session(peer.model(tools=[slow])) as harness:
        await harness.send(UserText(text="go"))
        await harness.next(ToolCall)
        await peer.close()
        await harness.next(ResponseStarted, within_seconds=30)
        assert runs == [1]
        items = [event["item"] for event in peer.of("conversation.item.create")]
        assert [item["type"] for item in items] == ["message", "message", "function_call", "function_call_output"]
        assert peer.connections == 2
        await harness.session.cancel()


async def test_application_tools_beside_own_tools() -> None:
    """The application sends schemas and answers these calls.

    Calls that run here are marked. Empty instructions restore the first ones.
    """

    @tool
    def here() -> str:
        return "from here"

    peer = Settled()
    async with session(peer.model(instructions="first", tools=[here])) as harness:
        await harness.next(Connected)
        await harness.send(Configure(schemas=({"type": "function", "name": "there"},), instructions="second"))
        await harness.send(Configure(instructions=""))
        await until_sent(peer, "session.update", 3)
        told = [event["session"] for event in peer.of("session.update")]
        assert [each["name"] for each in told[1]["tools"]] == ["here", "there"]
        assert [each["instructions"] for each in told] == ["first", "second", "first"]
        for name in ("here", "there"):
            await peer.send("response.created", response={"id": f"r-{name}"})
            await peer.send(
                "response.function_call_arguments.done",
                response_id=f"r-{name}", call_id=name, name=name, arguments="{}",
            )  # fmt: skip
            assert (await harness.next(ToolCall)).handled == (name == "here")
        await harness.session.cancel()
