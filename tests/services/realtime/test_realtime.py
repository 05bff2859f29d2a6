"""Realtime: interruption, memory, connections and tools, against a scripted peer."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Image,
    Interrupt,
    Outlet,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    UserText,
    Video,
)
from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import Commit, Pacer, Spoken, TurnControl
from bargein.services.frames import (
    Configure,
    Connected,
    Disconnected,
    OutOfBand,
    RateLimits,
    Respond,
    Say,
    ToolFinished,
)
from bargein.services.history import History
from bargein.services.providers.openai.client.realtime import OpenAIRealtime
from bargein.services.realtime import RealtimeError, ReconnectPolicy, UnsupportedError
from bargein.services.sockets import SocketRefusedError
from bargein.services.tools import tool

from .peer import WORD_MS, Peer

pytestmark = pytest.mark.virtual


class Settled(Peer):
    """A peer without chance: no pauses, no stragglers, four words."""

    def __init__(self, **options: Any) -> None:
        super().__init__(words=(4, 4), pace=0.0, **options)
        self.stragglers = False


def session(model: OpenAIRealtime, **options: Any) -> Harness:
    return Harness(model, Spoken(), Pacer(), **options)


def sent(peer: Peer, *but: str) -> list[str]:
    """The types of what the client sent, after the settings."""
    return [event["type"] for event in peer.received[1:] if event["type"] not in but]


async def until_sent(peer: Peer, kind: str, times: int = 1) -> None:
    with anyio.fail_after(30):
        while len(peer.of(kind)) < times:  # noqa: ASYNC110 - in virtual time
            await anyio.sleep(0.01)


# Interruption ---------------------------------------------------------------------------------------------------------


async def test_interrupt_truncates_a_finished_response() -> None:
    """The response is over and its audio still plays: only a truncation is sent, at the reported position."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await anyio.sleep(1.23)
        assert peer.replies[0].done
        harness.interrupt()
        await until_sent(peer, "conversation.item.truncate")
        assert sent(peer) == ["conversation.item.create", "response.create", "conversation.item.truncate"]
        (cut,) = peer.of("conversation.item.truncate")
        assert cut["item_id"] == "item-0"
        assert 1200 <= cut["audio_end_ms"] <= 1240
        assert harness.frames.count(Interrupt(epoch=1)) == 1
        await harness.session.cancel()


async def test_unfinished_response_is_cancelled_by_id() -> None:
    """Its late events are dropped."""
    peer = Peer(3, words=(20, 20), pace=0.2)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await anyio.sleep(0.3)
        harness.interrupt()
        came = len(harness.of(Audio))
        await anyio.sleep(5)
        assert [event["response_id"] for event in peer.of("response.cancel")] == ["resp-0"]
        assert len(harness.of(Audio)) <= came + 1, "no more than the fade"
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted"]
        await harness.session.cancel()


async def test_heard_items_are_kept_and_others_deleted() -> None:
    """An item is deleted if nothing of it was played, and left unchanged if all of it was."""
    peer = Settled()
    model = peer.model()
    async with session(model) as harness:
        await harness.send(UserText(text="one"))
        await anyio.sleep(10)
        await harness.send(UserText(text="two"), UserText(text="three"))
        await anyio.sleep(0.5)
        harness.interrupt()
        await anyio.sleep(2)
        assert peer.replies[0].truncated is None
        assert not peer.replies[0].deleted
        assert peer.replies[1].truncated is not None
        first = next(entry for entry in model.history if entry.role == "assistant")
        assert first.remembered == " ".join(peer.replies[0].words)
        await harness.session.cancel()


async def test_cancel_before_the_response_begins() -> None:
    """A cancel that is sent before the response begins applies to that response and not to the next one."""
    peer = Settled()
    gate = anyio.Event()

    async def slow(event: dict[str, Any]) -> bool:
        if event["type"] == "response.create" and not peer.replies:
            await gate.wait()
        return False

    peer.on_event = slow
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await until_sent(peer, "response.create")
        harness.interrupt()
        gate.set()
        await until_sent(peer, "response.cancel")
        assert peer.of("response.cancel")[0]["response_id"] == "resp-0"
        await anyio.sleep(1)
        assert harness.of(ResponseStarted) == []
        await harness.send(UserText(text="again"))
        await harness.next(ResponseEnded)
        assert [frame.response_id for frame in harness.of(ResponseStarted)] == ["resp-1"]
        await harness.session.cancel()


async def test_interruption_by_the_server() -> None:
    """Its speech-started event is one step, however often it comes, and no cancel is sent."""
    peer = Peer(1, words=(20, 20), pace=0.1)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await anyio.sleep(0.7)
        await peer.speech(3)
        await anyio.sleep(3)
        assert harness.session.epoch == 1
        assert peer.of("response.cancel") == []
        assert len(peer.of("conversation.item.truncate")) == 1
        await harness.session.cancel()


async def test_interrupt_response_off() -> None:
    """If `interrupt_response` is off, the server's speech-started event interrupts nothing."""
    peer = Settled()
    model = peer.model(turn_detection={"type": "server_vad", "interrupt_response": False})
    async with session(model) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await peer.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")
        await anyio.sleep(1)
        assert harness.of(SpeechStarted)
        assert harness.session.epoch == 0
        await harness.session.cancel()


async def test_text_for_a_separate_voice() -> None:
    """The item is replaced by the words that were heard."""

    class Voice(Processor):
        async def process(self, frame: Text | ResponseEnded, out: Outlet[Text | Audio | ResponseEnded]) -> None:
            await out.send(frame)
            if isinstance(frame, Text) and frame.final:
                for each in framed(tone(ms=4 * WORD_MS), response_id=frame.response_id):
                    await out.send(
                        Audio(
                            samples=each.samples, rate=each.rate, response_id=frame.response_id, item_id=frame.item_id
                        )
                    )

    peer = Settled()

    async def speaks(event: dict[str, Any]) -> bool:
        if event["type"] != "response.create":
            return False
        await peer.send("response.created", response={"id": "r"})
        for word in ("one", " two", " three", " four"):
            await peer.send("response.output_text.delta", response_id="r", item_id="i", delta=word)
        await peer.send("response.output_text.done", response_id="r", item_id="i", text="one two three four")
        await peer.send("response.done", response={"id": "r", "status": "completed"})
        return True

    peer.on_event = speaks
    model = peer.model(output="text")
    async with Harness(model, Voice(), Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="count"))
        await harness.next(Audio)
        await anyio.sleep(1.1)
        harness.interrupt()
        await until_sent(peer, "conversation.item.create", 2)
        assert peer.of("conversation.item.delete")[0]["item_id"] == "i"
        replaced = peer.of("conversation.item.create")[1]["item"]
        assert replaced["role"] == "assistant"
        assert "one two three four".startswith(replaced["content"][0]["text"])
        assert replaced["content"][0]["text"] != "one two three four"
        await harness.session.cancel()


# Turns and transcripts ------------------------------------------------------------------------------------------------


async def test_transcripts_belong_to_items() -> None:
    """A late transcript belongs to its own item, and an interrupt does not drop it."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        for item, text in (("u1", "Hel"), ("u2", "By"), ("u1", "lo")):
            await peer.send("conversation.item.input_audio_transcription.delta", item_id=item, delta=text)
        harness.interrupt()
        await peer.send("conversation.item.input_audio_transcription.completed", item_id="u1", transcript="Hello. ")
        await anyio.sleep(0.1)
        assert [(frame.item_id, frame.text, frame.final) for frame in harness.of(Transcript)] == [
            ("u1", "Hel", False),
            ("u2", "By", False),
            ("u1", "Hello", False),
            ("u1", "Hello.", True),
        ]
        await harness.session.cancel()


async def test_push_to_talk() -> None:
    """A commit ends the turn, and asks for the answer."""
    peer = Settled()
    async with session(peer.model(turn_detection=None)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(ms=200, rate=24_000), rate=24_000), Commit())
        await harness.next(ResponseEnded)
        assert sent(peer)[-2:] == ["input_audio_buffer.commit", "response.create"]
        assert len(peer.of("input_audio_buffer.append")) == 10
        assert peer.received[0]["session"]["audio"]["input"]["turn_detection"] is None
        await harness.session.cancel()


async def test_requests_wait_for_the_active_response() -> None:
    """Several become one. A server that is busy is asked again."""
    peer = Peer(0, words=(40, 40), pace=0.1)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="one"))
        await harness.next(ResponseStarted)
        await harness.send(Respond(instructions="a"), Respond(instructions="b"))
        await anyio.sleep(0.05)
        assert len(peer.of("response.create")) == 1
        await harness.next(ResponseEnded, within_seconds=60)
        await harness.next(ResponseEnded, within_seconds=60)
        asked = [event["response"].get("instructions") for event in peer.of("response.create")]
        assert asked == [None, "b"]
        await peer.respond()  # its own idea, at the same moment as ours
        await harness.send(Respond())
        await anyio.sleep(60)
        assert len(peer.replies) == 4
        await harness.session.cancel()


async def test_response_begins_once() -> None:
    """Its begin event may come after its first piece, or twice.

    A response that was interrupted in between stays interrupted.
    """
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        piece = {"response_id": "r", "item_id": "i", "delta": base64.b64encode(bytes(4800)).decode()}
        await peer.send("response.output_audio.delta", **piece)
        await harness.next(ResponseStarted)
        harness.interrupt()
        await peer.send("response.created", response={"id": "r"})
        await peer.send("response.output_audio.delta", **piece)
        await anyio.sleep(0.5)
        assert len(harness.of(ResponseStarted)) == 1
        assert all(frame.epoch != 1 for frame in harness.of(Audio))
        await harness.session.cancel()


async def test_item_keeps_its_words() -> None:
    """Later events about the item (that it is committed, or another part of it) do not change its words."""
    peer = Settled()
    model = peer.model()
    transcription = "conversation.item.input_audio_transcription"
    async with session(model) as harness:
        await harness.next(Connected)
        await peer.send(f"{transcription}.completed", item_id="u", transcript="My name is Ann.")
        await peer.send("input_audio_buffer.committed", item_id="u")
        await peer.send(f"{transcription}.delta", item_id="u", delta="name")
        await anyio.sleep(0.1)
        assert [entry.text for entry in model.history] == ["My name is Ann."]
        assert [frame.final for frame in harness.of(Transcript)] == [True]
        await harness.session.cancel()


async def test_waiting_input_stays_in_order() -> None:
    """The sound of a push-to-talk turn is sent before its commit."""
    peer = Settled()
    peer.refuse = [SocketRefusedError("not now")]
    async with session(peer.model(turn_detection=None)) as harness:
        await harness.send(*framed(tone(ms=40, rate=24_000), rate=24_000), Commit())
        await until_sent(peer, "response.create")
        append = "input_audio_buffer.append"
        assert sent(peer) == [append, append, "input_audio_buffer.commit", "response.create"]
        await harness.session.cancel()


async def test_text_without_sound_was_not_heard() -> None:
    """It is deleted at the model and in the history."""
    peer = Settled()
    model = peer.model()
    async with session(model) as harness:
        await harness.next(Connected)
        await peer.send("response.created", response={"id": "r"})
        delta = {"response_id": "r", "item_id": "i", "delta": "The code is 4711."}
        await peer.send("response.output_audio_transcript.delta", **delta)
        await harness.next(Text)
        harness.interrupt()
        await until_sent(peer, "conversation.item.delete")
        assert model.history.remembered == []
        await harness.session.cancel()


async def test_unrequested_response_is_not_the_requested_one() -> None:
    """It has neither the protection nor the cancel of the requested one."""
    peer = Peer(0, words=(2, 2), pace=0.0)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="so that it shows whether it repeats metadata"))
        await harness.next(ResponseEnded)

        async def crossing(event: dict[str, Any]) -> bool:
            if event["type"] == "response.create" and len(peer.replies) == 1:
                await peer.respond()
            return False

        peer.on_event = crossing
        await harness.send(Respond(instructions="carefully", protected=True))
        await harness.next(ResponseEnded, within_seconds=30)
        await harness.next(ResponseEnded, within_seconds=30)
        assert [frame.protected for frame in harness.of(ResponseStarted)] == [False, False, True]
        asked = [event["response"].get("instructions") for event in peer.of("response.create")]
        assert asked == [None, "carefully", "carefully"]
        await harness.session.cancel()


async def test_refused_request_does_not_block_the_next() -> None:
    """The refused response will not come, so the next request is sent."""
    peer = Settled()

    async def refuses(event: dict[str, Any]) -> bool:
        if event["type"] != "response.create" or len(peer.of("response.create")) > 1:
            return False
        await anyio.sleep(0.5)
        await peer.send("error", error={"code": "invalid_value", "message": "no", "event_id": event["event_id"]})
        return True

    peer.on_event = refuses
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(Respond(instructions="a"), Respond(instructions="b"))
        await harness.next(ResponseStarted)
        assert [event["response"]["instructions"] for event in peer.of("response.create")] == ["a", "b"]
        await harness.session.cancel()


# Tools ----------------------------------------------------------------------------------------------------------------


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


async def test_failed_out_of_band_request() -> None:
    """A request that is refused, or lost with its connection, is reported as failed."""
    peer = Settled()

    async def answers(event: dict[str, Any]) -> bool:
        asked = event.get("response") or {}
        if asked.get("instructions") == "refused":
            await peer.send("error", error={"message": "I will not", "event_id": event["event_id"]})
            return True
        return asked.get("conversation") == "none"

    peer.on_event = answers
    async with session(peer.model()) as harness:
        await harness.send(Respond(out_of_band="one", instructions="refused"))
        first = await harness.next(OutOfBand)
        assert (first.name, first.text, first.reason) == ("one", "", "I will not")
        await harness.send(Respond(out_of_band="two", instructions="lost"))
        await until_sent(peer, "response.create", 2)
        await peer.close()
        assert (await harness.next(OutOfBand)).name == "two"
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


# Connections ----------------------------------------------------------------------------------------------------------


async def test_lost_connection_is_restored() -> None:
    """Settings, the conversation as it was heard, and the sound of the gap are sent."""
    peer = Settled()
    async with session(peer.model(instructions="Be brief.")) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded)
        await anyio.sleep(5)
        peer.refuse.append(SocketRefusedError("not now"))
        peer.received.clear()
        await peer.close()
        await anyio.sleep(0.1)
        await harness.send(*framed(tone(ms=100, rate=24_000), rate=24_000))
        await harness.next(Disconnected)
        connected = await harness.next(Connected, within_seconds=30)
        await anyio.sleep(0.1)
        assert connected.reconnected
        assert connected.session_id == "sess-2"
        assert peer.received[0]["session"]["instructions"] == "Be brief."
        said = [event["item"]["content"][0] for event in peer.of("conversation.item.create")]
        assert [part["type"] for part in said] == ["input_text", "output_text"]
        assert said[1]["text"] == " ".join(peer.replies[0].words)
        assert sum(len(base64.b64decode(event["audio"])) for event in peer.of("input_audio_buffer.append")) == 4800
        await harness.session.cancel()


async def test_sound_of_a_gap_is_bounded() -> None:
    """The oldest is dropped and counted."""
    peer = Settled()
    peer.refuse = [SocketRefusedError("not now")] * 3
    model = peer.model(reconnect=ReconnectPolicy(gap_seconds=1, jitter=0))
    async with session(model) as harness:
        await harness.send(*framed(tone(ms=5000, rate=24_000), rate=24_000))
        await harness.next(Connected, within_seconds=30)
        await anyio.sleep(0.1)
        assert len(peer.of("input_audio_buffer.append")) == 50
        assert model.dropped_ms == 4000
        await harness.session.cancel()


async def test_sound_for_a_stuck_socket_is_bounded() -> None:
    """It neither blocks the microphone nor fills the memory."""
    peer = Settled()

    async def stuck(event: dict[str, Any]) -> bool:
        if event["type"] == "input_audio_buffer.append":
            await anyio.sleep_forever()
        return False

    peer.on_event = stuck
    model = peer.model(reconnect=ReconnectPolicy(gap_seconds=1))
    async with session(model) as harness:
        await harness.next(Connected)
        for frame in framed(tone(ms=10_000, rate=24_000), rate=24_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert 6000 <= model.dropped_ms <= 9000
        await harness.session.cancel()


async def test_provider_that_does_not_read_is_left() -> None:
    """The next connection gets what this one was not sent, as part of the conversation."""
    peer = Settled()

    async def stuck(event: dict[str, Any]) -> bool:
        if event["type"] == "conversation.item.create" and peer.connections == 1:
            await anyio.sleep_forever()
        return False

    peer.on_event = stuck
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        for number in range(5_000):
            await harness.send(UserText(text=f"{number}"))
        lost = await harness.next(Disconnected, within_seconds=10)
        assert "messages waited for it, and it did not read them" in lost.reason
        assert not lost.final
        await harness.next(Connected, within_seconds=10)
        await anyio.sleep(1)
        assert "4999" in {event["item"]["content"][0]["text"] for event in peer.of("conversation.item.create")}
        await harness.session.cancel()


async def test_graph_that_takes_nothing_ends_the_session() -> None:
    """What the provider sends does not pile up without a bound."""
    peer = Settled()

    class Stuck(Processor):
        async def process(self, frame: Transcript, out: Outlet[Transcript]) -> None:
            await anyio.sleep_forever()

    with pytest.raises(RealtimeError, match="frames wait for the graph below, which takes none"):
        async with Harness(peer.model(), Stuck()) as harness:
            await harness.next(Connected)
            for number in range(21_000):
                await peer.send(
                    "conversation.item.input_audio_transcription.completed", item_id=f"i{number}", transcript="Well."
                )
            await anyio.sleep(10)


@pytest.mark.parametrize(
    ("refusal", "attempts", "says"),
    [
        (SocketRefusedError("answers 401", 401, '{"error": "bad key"}'), 1, "the key is not accepted.*bad key"),
        (SocketRefusedError("answers 404", 404), 1, "no such model"),
        (SocketRefusedError("cannot be reached"), 4, "given up after 4 attempts"),
    ],
)
async def test_reconnecting_stops(refusal: SocketRefusedError, attempts: int, says: str) -> None:
    """It stops at once if retrying is useless, otherwise after the attempts of the policy."""
    peer = Settled()
    peer.refuse = [refusal] * 10
    with pytest.raises(RealtimeError, match=says):
        async with session(peer.model(reconnect=ReconnectPolicy(max_attempts=3))):
            await anyio.sleep(60)
    assert 10 - len(peer.refuse) == attempts


async def test_fatal_error_ends_the_session() -> None:
    """The exception has the provider's words."""
    peer = Settled()
    with pytest.raises(RealtimeError, match="You have no money"):
        async with session(peer.model()) as harness:
            await harness.next(Connected)
            await peer.send("error", error={"code": "insufficient_quota", "message": "You have no money"})
            await anyio.sleep(1)
            await harness.end()
    assert peer.connections == 1


async def test_silent_provider_is_dead() -> None:
    """While an answer is due, and not while nothing was asked."""
    peer = Settled()

    async def silent(event: dict[str, Any]) -> bool:
        return event["type"] == "response.create" and peer.connections == 1

    peer.on_event = silent
    async with session(peer.model()) as harness:
        await anyio.sleep(300)
        assert peer.connections == 1
        await harness.send(UserText(text="hello?"))
        await harness.next(ResponseStarted, within_seconds=60)
        assert peer.connections == 2
        await harness.session.cancel()


async def test_session_is_replaced_before_its_limit() -> None:
    """The session is replaced in a pause, and the conversation continues."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded)
        await anyio.sleep(3600)
        assert peer.connections == 2
        (gone,) = harness.of(Disconnected)
        assert (gone.clean, gone.final) == (True, False)
        await harness.send(UserText(text="still there?"))
        await harness.next(ResponseStarted)
        await harness.session.cancel()


async def test_unreadable_messages() -> None:
    """Malformed, binary and unknown messages are reported or ignored, and the session continues."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        assert peer._socket is not None
        for data in ("{", "[]", '{"type": 3}', b"\x00\x01", '{"type": "response.done"}', '{"type": "brand.new"}'):
            await peer._socket.send(data)
        await peer.send("error", error={"message": "something else was wrong"})
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded)
        assert len(harness.of(Failure)) == 6
        await harness.session.cancel()


async def test_audio_before_its_response_and_cut_inside_a_sample() -> None:
    """Nothing of it is lost."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        sound = np.arange(480, dtype="<i2").tobytes()
        for part in (sound[:101], sound[101:400], sound[400:]):
            delta = base64.b64encode(part).decode()
            await peer.send("response.output_audio.delta", response_id="r", item_id="i", delta=delta)
        await peer.send("response.created", response={"id": "r"})
        await peer.send("response.done", response={"id": "r", "status": "completed"})
        await harness.next(ResponseEnded)
        samples = np.concatenate([frame.samples for frame in harness.of(Audio)])
        assert np.array_equal(samples, np.arange(480))
        await harness.session.cancel()


async def test_waiting_audio_is_bounded_in_seconds() -> None:
    """A reply that nothing plays is stopped, and that is reported."""
    peer = Settled()
    model = peer.model()
    model._buffer_seconds = 5.0
    async with Harness(model, Pacer().options(capacity=2)) as harness:
        await harness.next(Connected)
        await peer.send("response.created", response={"id": "r"})
        for _ in range(40):
            delta = base64.b64encode(bytes(24_000)).decode()
            await peer.send("response.output_audio.delta", response_id="r", item_id="i", delta=delta)
        await anyio.sleep(0.1)
        assert peer.of("response.cancel")
        ended = await harness.next(ResponseEnded, within_seconds=60)
        assert (ended.outcome, "waited to be played" in ended.reason) == ("failed", True)
        await harness.session.cancel()


# What is sent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 4])
async def test_sound_of_any_format(rate: int, channels: int) -> None:
    """The model brings the conversion: the provider gets sound of the same length."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        for frame in framed(tone(ms=400, rate=rate), rate=rate):
            samples = np.repeat(frame.samples.reshape(-1, 1), channels, axis=1) if channels > 1 else frame.samples
            await harness.send(Audio(samples, rate, pts=frame.pts))
        await harness.end()
    sent = b"".join(base64.b64decode(event["audio"]) for event in peer.of("input_audio_buffer.append"))
    missing = 24_000 * 4 // 10 - len(sent) // 2
    assert 0 <= missing <= 48  # the resampler holds back 2 ms at most, which the end of the session may lose


@pytest.mark.parametrize("greeting", ["Hello!", Say("Hello!", protected=True), Respond(instructions="Say Hello!")])
async def test_greeting(greeting: str | Say | Respond) -> None:
    """It comes once, before the user has said anything. A conversation that continues is not greeted again."""
    peer = Settled()
    model = peer.model(greeting=greeting)
    async with session(model) as harness:
        await until_sent(peer, "response.create", 1)
        assert "Hello!" in peer.of("response.create")[0]["response"]["instructions"]
        await harness.session.cancel()
    model.history.user("Good morning.")
    async with session(model) as harness:
        await harness.next(Connected)
        await anyio.sleep(1)
        assert len(peer.of("response.create")) == 1
        await harness.session.cancel()


def test_greeting_is_words_or_a_frame() -> None:
    """Anything else is refused by name."""
    with pytest.raises(TypeError, match=r"OpenAIRealtime\(greeting=3\): expected what the agent says first"):
        OpenAIRealtime(api_key="k", greeting=3)  # type: ignore[arg-type]


async def test_long_frame_is_cut() -> None:
    """No message holds more than a second."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.send(*framed(tone(ms=2500, rate=24_000), rate=24_000, ms=2500))
        await until_sent(peer, "input_audio_buffer.append", 3)
        sizes = [len(base64.b64decode(event["audio"])) for event in peer.of("input_audio_buffer.append")]
        assert sizes == [48_000, 48_000, 24_000]
        await harness.session.cancel()


async def test_earlier_conversation_is_sent_to_the_model() -> None:
    """Its own history, or another brain's: heard words, and calls with their results."""
    history = History()
    history.user("Hello.", "u1")
    history.assistant("Good morning to you.", "a1", "r1")
    history.set_heard("Good morning", "a1", "r1")
    history.call("c1", "weather", "{}", "r1")
    history.result("c1", "sunny")
    history.call("c2", "never answered", "{}", "r1")
    peer = Settled()
    async with session(peer.model(history=history)) as harness:
        await harness.next(Connected)
        await until_sent(peer, "conversation.item.create", 4)
        items = [event["item"] for event in peer.of("conversation.item.create")]
        assert [item["type"] for item in items] == ["message", "message", "function_call", "function_call_output"]
        assert items[1]["content"] == [{"type": "output_text", "text": "Good morning"}]
        await harness.session.cancel()


async def test_out_of_band_answer() -> None:
    """It is text with the name of the question, and not a response of the conversation."""
    peer = Settled()

    async def answers(event: dict[str, Any]) -> bool:
        asked = event.get("response") or {}
        if asked.get("conversation") != "none":
            return False
        await peer.send("response.created", response={"id": "x", "metadata": asked["metadata"]})
        for part in ("an", "gry"):
            await peer.send("response.output_text.delta", response_id="x", item_id="i", delta=part)
        await peer.send("response.done", response={"id": "x", "status": "completed"})
        return True

    peer.on_event = answers
    async with session(peer.model()) as harness:
        await harness.send(Respond(out_of_band="mood", instructions="How does the user feel?"))
        aside = await harness.next(OutOfBand)
        assert (aside.name, aside.text) == ("mood", "angry")
        assert not harness.of(ResponseStarted)
        assert not harness.of(Text)
        await harness.session.cancel()


async def test_telephone_sound() -> None:
    """G.711 on the wire, 8 kHz in the graph."""
    peer = Settled()

    async def answers(event: dict[str, Any]) -> bool:
        if event["type"] == "input_audio_buffer.append":
            ids = {"response_id": "r", "item_id": "i"}
            await peer.send("response.output_audio.delta", delta=event["audio"], **ids)
        return False

    peer.on_event = answers
    sound = tone(ms=20, rate=8000)
    async with session(peer.model(audio="audio/pcmu")) as harness:
        await harness.send(*framed(sound, rate=8000))
        echo = await harness.next(Audio)
        assert echo.rate == 8000
        assert np.abs(echo.samples.astype(int) - sound).max() < 0.04 * np.abs(sound).max()
        assert peer.received[0]["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
        assert len(base64.b64decode(peer.of("input_audio_buffer.append")[0]["audio"])) == 160
        await harness.session.cancel()


async def test_rate_limits_are_reported() -> None:
    """`RateLimits` is reported."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await peer.send("rate_limits.updated", rate_limits=[{"name": "tokens", "remaining": 7, "reset_seconds": 0.5}])
        limits = await harness.next(RateLimits)
        assert (limits.remaining, limits.reset_seconds) == ({"tokens": 7}, {"tokens": 0.5})
        await harness.session.cancel()


async def test_pictures_are_sampled() -> None:
    """One a second of a video, each still picture; the next connection has them, too."""
    peer = Settled()
    model = peer.model(fps=1)
    async with session(model) as harness:
        await harness.next(Connected)
        await harness.send(*(Video(data=b"jpeg", format="jpeg", pts=at * 100_000_000) for at in range(30)))
        await harness.send(Image(data=b"png", format="png", detail="low"))
        await until_sent(peer, "conversation.item.create", 4)
        parts = [event["item"]["content"][0] for event in peer.of("conversation.item.create")]
        assert parts[3] == {"type": "input_image", "image_url": "data:image/png;base64,cG5n", "detail": "low"}
        assert [entry.available_pictures[0].media for entry in model.history] == [*["image/jpeg"] * 3, "image/png"]
        await peer.close()
        await harness.next(Connected, within_seconds=30)
        await until_sent(peer, "conversation.item.create", 8)
        again = [event["item"]["content"][0] for event in peer.of("conversation.item.create")[4:]]
        assert again == parts
        await harness.session.cancel()


async def test_raw_pictures_are_encoded() -> None:
    """The model brings the encoder."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(Image(np.zeros((8, 8, 3), np.uint8)))
        await until_sent(peer, "conversation.item.create", 1)
        (part,) = peer.of("conversation.item.create")[0]["item"]["content"]
        assert part["image_url"].startswith("data:image/jpeg;base64,")
        await harness.session.cancel()


async def test_the_session_can_be_changed() -> None:
    """Instructions and tools; a later connection has them, too."""

    @tool
    def other() -> str:
        return ""

    peer = Settled()
    async with session(peer.model(instructions="first")) as harness:
        await harness.next(Connected)
        await harness.send(Configure(instructions="second", tools=(other,)))
        await until_sent(peer, "session.update", 2)
        await peer.close()
        await harness.next(Connected, within_seconds=30)
        for event in peer.of("session.update")[1:]:
            assert event["session"]["instructions"] == "second"
            assert event["session"]["tools"][0]["name"] == "other"
        await harness.session.cancel()


async def test_half_a_character_is_replaced() -> None:
    """It is sent as a question mark."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="a\ud83db"))
        await until_sent(peer, "conversation.item.create", 1)
        assert peer.of("conversation.item.create")[0]["item"]["content"][0]["text"] == "a?b"
        await harness.session.cancel()


async def test_turn_control() -> None:
    """Another processor can take over turn detection; then a `Commit` ends a turn. It can be given back."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(TurnControl(), Commit(), TurnControl(external=False), Commit())
        await until_sent(peer, "session.update", 3)
        told = [event["session"]["audio"]["input"]["turn_detection"] for event in peer.of("session.update")]
        assert told == [{"type": "server_vad"}, None, {"type": "server_vad"}]
        await anyio.sleep(1)
        assert len(peer.of("input_audio_buffer.commit")) == 1
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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"api_key": ""}, "there is no API key"),
        ({"api_key": "sk-\n"}, "characters that no key has"),
        ({"turn_detection": "telepathy"}, "server_vad, semantic_vad"),
        ({"fps": 0}, "pictures a second"),
    ],
)
async def test_bad_settings_are_refused(options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows the value, but never a key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match=says) as error:
        OpenAIRealtime(**{"api_key": "secret", **options})
    assert "secret" not in str(error.value)


# Without a graph ------------------------------------------------------------------------------------------------------


async def test_conversation_without_a_graph() -> None:
    """It is connected when the block begins, yields typed frames, and is interrupted at the position that the caller
    has played."""
    peer = Settled()
    model = peer.model()
    async with model.connect() as conversation:
        assert (conversation.connected, conversation.session_id, conversation.provider) == (True, "sess-1", "OpenAI")
        await conversation.send_audio(bytes(960))
        await conversation.send_image(b"jpeg")
        await conversation.send_text("hello")
        async for event in conversation:
            if isinstance(event, ResponseEnded):
                break
        assert await conversation.interrupt(played_ms=700) == 1
        await until_sent(peer, "conversation.item.truncate")
        assert peer.of("conversation.item.truncate")[0]["audio_end_ms"] == 700
        with pytest.raises(UnsupportedError, match=r"say\(\); use respond"):
            await conversation.say("hello")
        await conversation.update(instructions="new")
        await conversation.commit()
        await conversation.clear()
        await conversation.respond("briefly")
        await until_sent(peer, "session.update", 2)
    assert not model.connected
    assert json.dumps(peer.received)


async def test_conversation_without_a_player() -> None:
    """Received audio counts as heard in real time."""
    peer = Settled()
    async with peer.model().connect() as conversation:
        await conversation.send_text("hello")
        async for event in conversation:
            if isinstance(event, ResponseEnded):
                break
        await anyio.sleep(1)
        await conversation.interrupt()
        await until_sent(peer, "conversation.item.truncate")
        assert peer.of("conversation.item.truncate")[0]["audio_end_ms"] == pytest.approx(1000, abs=60)


@pytest.mark.parametrize(("seconds", "heard"), [(30, "whole"), (1, "part"), (0, "none")])
async def test_server_interruption_without_a_player(seconds: float, heard: str) -> None:
    """An answer of long ago was heard, and one that has just begun was not."""
    peer = Settled()
    model = peer.model()
    async with model.connect() as conversation:
        await conversation.send_text("hello")
        async for event in conversation:
            if isinstance(event, ResponseEnded):
                break
        reply = peer.replies[0]
        await anyio.sleep(seconds)
        await peer.send("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
        async for event in conversation:
            if isinstance(event, Interrupt):
                break
        await anyio.sleep(5)
        (entry,) = [entry for entry in model.history if entry.role == "assistant"]
        if heard == "whole":
            assert entry.remembered == " ".join(reply.words)
            assert (reply.truncated, reply.deleted) == (None, False)
        elif heard == "part":
            assert 0 < len(entry.remembered) < len(" ".join(reply.words))
            assert reply.truncated == pytest.approx(1000, abs=60)
        else:
            assert entry.remembered == ""
            assert reply.deleted


async def test_reports_override_real_time() -> None:
    """A report counts, before an interrupt of the server or soon after it."""
    for late in (False, True):
        peer = Settled()
        async with peer.model().connect() as conversation:
            await conversation.send_text("hello")
            async for event in conversation:
                if isinstance(event, ResponseEnded):
                    break
            reply = peer.replies[0]
            if not late:
                await conversation.played(reply.name, 400, item_id=reply.item)
            await anyio.sleep(10)
            await peer.send("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
            async for event in conversation:
                if isinstance(event, Interrupt):
                    break
            if late:
                await conversation.played(reply.name, 400, item_id=reply.item, done=True)
            await anyio.sleep(5)
            assert reply.truncated == 400


async def test_conversation_that_cannot_connect() -> None:
    """The error is raised by the `async with` statement itself."""
    peer = Settled()
    peer.refuse = [SocketRefusedError("answers 401", 401)]
    with pytest.raises(RealtimeError, match="the key is not accepted"):
        async with peer.model().connect():
            raise AssertionError("it began")
