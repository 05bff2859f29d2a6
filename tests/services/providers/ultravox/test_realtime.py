"""Ultravox: calls made over HTTP, conversations with local peers, calls that end, and unsupported options."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from bargein.pipeline import Audio, Failure, ResponseEnded, ResponseStarted, Text, ToolCall, UserText
from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import Pacer, Spoken
from bargein.services.frames import Connected, Disconnected, Respond, Say, ToolFinished
from bargein.services.history import History
from bargein.services.providers.openai.server.serve import Faults, serve
from bargein.services.providers.ultravox import ULTRAVOX, Ultravox
from bargein.services.realtime import RealtimeError, ReconnectPolicy, UnsupportedError
from bargein.services.testing import ScriptedBrain
from bargein.services.tools import tool
from tests.services.piped import piped
from tests.services.providers.chat.http_server import HttpServer, plain, serving

from .peer import UltravoxPeer

BACKENDS = ["asyncio", "trio"]


def run(backend: str, function: Callable[[], Awaitable[Any]]) -> None:
    """In real time, on either backend, because the sockets are real."""

    async def within() -> None:
        with anyio.fail_after(60):
            await function()

    anyio.run(within, backend=backend)


async def join(told: dict[str, Any]) -> str:
    return "wss://call.invalid"


def at(server: HttpServer, **options: Any) -> Ultravox:
    options.setdefault("reconnect", ReconnectPolicy(first_seconds=0.01))
    return Ultravox(api_key="s3cret", url=server.base_url.removesuffix("/v1"), **options)


# Over HTTP and a socket -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_call_is_created_and_joined(backend: str) -> None:
    """It is created over HTTP with the key, at the agent's address. The WebSocket that joins it needs no key."""

    async def talk() -> None:
        brain = ScriptedBrain("Hello there.")
        async with serve(lambda: brain, dialect=ULTRAVOX) as joined:
            made = plain(201, json.dumps({"callId": "c", "joinUrl": joined.url, "created": "now"}).encode())
            async with serving(made) as calls:
                async with at(calls, agent="a1", instructions="Be brief.").connect() as conversation:
                    await conversation.send_audio(tone(440, 200, rate=16_000))
                    await conversation.send_text("hello")
                    words, ms = "", 0.0
                    async for event in conversation:
                        words += event.text if isinstance(event, Text) else ""
                        ms += event.ms if isinstance(event, Audio) else 0
                        if isinstance(event, ResponseEnded):
                            break
                    assert (words, ms) == ("Hello there.", 200)
                ((first, headers, body),) = calls.requests
                assert first == "POST /api/agents/a1/calls?enableGreetingPrompt=false HTTP/1.1"
                assert headers["x-api-key"] == "s3cret"
                assert body["systemPrompt"] == "Be brief."
                assert not {"model", "firstSpeaker"} & set(body), "the agent has them"

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            plain(401, b'{"detail": "Invalid key"}'),
            r"answers 401: the key is not accepted \(\{\"detail\": \"Invalid key\"\}",
        ),
        # A key that the server repeats is removed before its words are cut, so that no part of it is left.
        (plain(403, b"x" * 297 + b" s3cret"), "answers 403"),
        (plain(404, b""), "answers 404: there is no such model or address"),
        (plain(201, b'{"callId": "c"}'), "returned no call that can be joined"),
        (plain(200, b"<html>", "text/html"), "returned no call that can be joined"),
        (["hang up"], "cannot be reached"),
    ],
    ids=["key", "a key that is repeated", "address", "no address", "a page", "hung up"],
)
def test_refused_call(backend: str, answer: Any, says: str) -> None:
    """A typed error has the reason and the server's words, and not the key."""

    async def talk() -> None:
        async with serving(answer) as calls:
            with pytest.raises(RealtimeError, match=says) as error:
                async with at(calls, reconnect=ReconnectPolicy(max_attempts=0)).connect():
                    pass
            assert "s3" not in str(error.value)

    run(backend, talk)


@pytest.mark.parametrize("backend", BACKENDS)
def test_throttled_calls_are_retried(backend: str) -> None:
    """A server that has too many calls or fails is asked again."""

    async def talk() -> None:
        async with serve(lambda: ScriptedBrain("Hello."), dialect=ULTRAVOX) as joined:
            made = plain(201, json.dumps({"joinUrl": joined.url}).encode())
            async with serving(plain(429, b"later"), plain(503, b""), made) as calls:
                async with at(calls).connect() as conversation:
                    await conversation.send_text("hello")
                    async for event in conversation:
                        if isinstance(event, ResponseEnded):
                            break
                assert len(calls.requests) == 3

    run(backend, talk)


@pytest.mark.virtual
async def test_failing_call_function_is_retried() -> None:
    """At last its exception is reported."""
    asked = 0

    async def join(told: dict[str, Any]) -> str:
        nonlocal asked
        asked += 1
        raise KeyError("joinUrl")

    with pytest.raises(RealtimeError, match="no call: KeyError: 'joinUrl'; given up after 3 attempts"):
        async with Ultravox(create_call=join, reconnect=ReconnectPolicy(max_attempts=2)).connect():
            pass
    assert asked == 3


# In conversation ------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_agent_continues_after_a_tool() -> None:
    """It continues without a request."""

    @tool
    async def weather(city: str) -> str:
        await anyio.sleep(0.3)
        return f"sunny in {city}"

    calls = [ToolCall(call_id="", name="weather", arguments='{"city": "Rome"}')] * 2
    async with piped(lambda: ScriptedBrain(calls, "It is sunny."), ULTRAVOX) as peer:
        async with Harness(Ultravox(create_call=join, tools=[weather], connect=peer.connect)) as harness:
            await harness.send(UserText(text="How is the weather?"))
            await harness.next(Audio, within_seconds=10)
            assert [frame.output for frame in harness.of(ToolFinished)] == ["sunny in Rome"] * 2
            await harness.next(ResponseEnded, within_seconds=10)
            assert "".join(frame.text for frame in harness.of(Text)) == "It is sunny."
            assert [event["type"] for event in peer.sent] == ["user_text_message"] + ["client_tool_result"] * 2
            await harness.session.cancel()


@pytest.mark.virtual
async def test_malformed_tool_arguments() -> None:
    """The tool's error says what is missing, and the agent goes on."""

    @tool
    async def weather(city: str) -> str:
        return f"sunny in {city}"

    replies = [ToolCall(call_id="", name="weather", arguments="in Rome, please")], "I cannot say."
    async with piped(lambda: ScriptedBrain(*replies), ULTRAVOX) as peer:
        async with Harness(Ultravox(create_call=join, tools=[weather], connect=peer.connect)) as harness:
            await harness.send(UserText(text="How is the weather?"))
            await harness.next(Audio, within_seconds=10)
            (finished,) = harness.of(ToolFinished)
            assert finished.error
            assert "city" in finished.output
            await harness.session.cancel()


@pytest.mark.virtual
async def test_interrupt_while_a_tool_runs() -> None:
    """The result is sent and not spoken of. The next question is answered."""

    @tool
    async def weather() -> str:
        await anyio.sleep(2)
        return "sunny"

    replies = [ToolCall(call_id="", name="weather", arguments="{}")], "Yes?", "It is sunny."
    async with piped(lambda: ScriptedBrain(*replies), ULTRAVOX) as peer:
        async with Harness(Ultravox(create_call=join, tools=[weather], connect=peer.connect)) as harness:
            await harness.send(UserText(text="How is the weather?"))
            await harness.next(ToolCall, within_seconds=10)
            harness.interrupt()
            await harness.next(ToolFinished, within_seconds=10)
            await anyio.sleep(3)
            assert [each["agentReaction"] for each in peer.of("client_tool_result")] == ["listens"]
            assert not harness.of(Audio)
            await harness.send(UserText(text="Hello?"))
            answer = (await harness.next(Audio, within_seconds=10)).response_id
            await harness.next(ResponseEnded, within_seconds=10)
            # The scripted brain now gives its reply to the result, too: only the answer to the question counts here.
            assert "".join(frame.text for frame in harness.of(Text) if frame.response_id == answer) == "Yes?"
            await harness.session.cancel()


@pytest.mark.virtual
async def test_interrupt_sends_an_empty_message() -> None:
    """What was on its way is dropped, and the next answer is heard."""
    async with piped(lambda: ScriptedBrain("word " * 40, "Yes.", paced=True, word_ms=400), ULTRAVOX) as peer:
        model = Ultravox(create_call=join, connect=peer.connect)
        async with Harness(model, Spoken(), Pacer()) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(2)
            number = harness.interrupt()
            came = len(harness.frames)
            await harness.send(UserText(text="stop"))
            await anyio.sleep(3)
            after = [frame for frame in harness.frames[came:] if isinstance(frame, Audio | Text)]
            assert all(frame.epoch >= number for frame in after)
            assert "".join(frame.text for frame in after if isinstance(frame, Text)) == "Yes."
            assert [event["text"] for event in peer.sent] == ["hello", "", "stop"]
            assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted", "completed"]
            await harness.session.cancel()


@pytest.mark.parametrize(
    "faults",
    [
        Faults(late_deltas_after_cancel=3, late_deltas_after_done=2, unknown_events=True),
        Faults(malformed_json=True, split_deltas=3, error_events=("server_error",)),
    ],
    ids=["late", "malformed"],
)
@pytest.mark.virtual
async def test_dropped_and_delayed_pieces(faults: Faults) -> None:
    """Nothing that is late is heard, and every other sample is."""
    brain = ScriptedBrain("word " * 40, "Yes, of course.", paced=True, word_ms=400)
    async with piped(lambda: brain, ULTRAVOX, faults=faults) as peer:
        async with Harness(Ultravox(create_call=join, connect=peer.connect), Spoken(), Pacer()) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(2)
            number = harness.interrupt()
            came = len(harness.frames)
            await harness.send(UserText(text="stop"))
            await anyio.sleep(5)
            after = [frame for frame in harness.frames[came:] if isinstance(frame, Audio | Text)]
            assert all(frame.epoch >= number for frame in after)
            assert sum(frame.ms for frame in after if isinstance(frame, Audio)) == pytest.approx(1200, abs=1)
            assert "".join(frame.text for frame in after if isinstance(frame, Text)) == "Yes, of course."
            await harness.session.cancel()


@pytest.mark.virtual
async def test_unreadable_message_is_reported() -> None:
    """The connection stays open."""
    peer = UltravoxPeer()
    async with Harness(peer.model()) as harness:
        await harness.next(Connected, within_seconds=10)
        peer.send("{")
        peer.say("news", of="another kind")
        peer.send(b"\x01")  # half a sample
        peer.say("state", state="listening")
        failure = await harness.next(Failure, within_seconds=10)
        assert failure.message.startswith("Ultravox: a message that cannot be read")
        await harness.send(UserText(text="hello"))
        await harness.next(Audio, within_seconds=10)
        await harness.session.cancel()


@pytest.mark.virtual
async def test_say_speaks_the_exact_words() -> None:
    """As a turn like any other, behind the one that is being made."""
    async with piped(lambda: ScriptedBrain("An answer.", paced=True), ULTRAVOX) as peer:
        model = Ultravox(create_call=join, connect=peer.connect)
        async with Harness(model) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await harness.send(Say(text="Welcome to the shop.", protected=True))
            await harness.end()
        assert "".join(frame.text for frame in harness.of(Text)) == "An answer.Welcome to the shop."
        assert [frame.protected for frame in harness.of(ResponseStarted)] == [False, True]
        assert peer.of("forced_agent_message") == [
            {
                "type": "forced_agent_message",
                "content": "Welcome to the shop.",
                "uninterruptible": True,
                "urgency": "soon",
            }
        ]


@pytest.mark.virtual
async def test_text_output() -> None:
    """For a separate voice."""
    async with piped(lambda: ScriptedBrain("Hello.", word_ms=0), ULTRAVOX) as peer:
        async with Harness(Ultravox(create_call=join, output="text", connect=peer.connect)) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(ResponseEnded, within_seconds=10)
            assert "".join(frame.text for frame in harness.of(Text)) == "Hello."
            assert not harness.of(Audio)
            await harness.session.cancel()


# Calls end ------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_call_is_replaced_before_its_limit() -> None:
    """In a pause. The next call gets the conversation, and does not greet again."""
    peer = UltravoxPeer(words=(3, 3))
    async with Harness(peer.model(first_speaker="agent", max_call_seconds=300), Spoken(), Pacer()) as harness:
        await harness.next(Connected, within_seconds=10)
        await harness.send(UserText(text="hello"))
        await anyio.sleep(290)
        assert len(peer.calls) == 2
        assert [call["firstSpeaker"] for call in peer.calls] == ["FIRST_SPEAKER_AGENT", "FIRST_SPEAKER_USER"]
        assert {call["maxDuration"] for call in peer.calls} == {"300s"}
        assert [frame.reconnected for frame in harness.of(Connected)] == [False, True]
        assert harness.of(Disconnected)[0].clean
        told = peer.received[-1]
        assert told["text"].splitlines()[1:] == ["user: hello", f"you: {' '.join(peer.turns[0].words)}"]
        assert told["deferResponse"]
        await harness.session.cancel()


@pytest.mark.parametrize("code", [1001, 1006, 1011])
@pytest.mark.virtual
async def test_broken_call_is_replaced(code: int) -> None:
    """Another call is made, and the user's sound goes on to it."""
    peer = UltravoxPeer()
    policy = ReconnectPolicy(first_seconds=0.1)
    async with Harness(peer.model(reconnect=policy)) as harness:
        await harness.next(Connected, within_seconds=10)
        await peer.close(code)
        await harness.next(Disconnected, within_seconds=10)
        for piece in framed(tone(440, 500, rate=16_000), rate=16_000):
            await harness.send(piece)
        await harness.next(Connected, within_seconds=10)
        await harness.send(UserText(text="hello"))
        await harness.next(Audio, within_seconds=10)
        assert peer.heard == 2 * 16 * 500
        await harness.session.cancel()


@pytest.mark.virtual
async def test_new_instructions_need_a_new_call() -> None:
    """It is made in the next pause."""
    peer = UltravoxPeer()
    async with peer.model(instructions="Be brief.").connect() as conversation:
        await conversation.update(instructions="Be kind.")
        await anyio.sleep(5)
        assert [call["systemPrompt"] for call in peer.calls] == ["Be brief.", "Be kind."]


@pytest.mark.virtual
async def test_history_of_another_brain() -> None:
    """It is the first message of the call, and then the user speaks first, whatever `first_speaker` says."""
    history = History()
    history.user("My name is Ann.", "u")
    peer = UltravoxPeer()
    async with peer.model(first_speaker="agent", history=history).connect():
        await anyio.sleep(1)
        assert peer.calls[0]["firstSpeaker"] == "FIRST_SPEAKER_USER"
        assert peer.received[0]["text"].endswith("user: My name is Ann.")


# What cannot be -------------------------------------------------------------------------------------------------------


def test_unsupported_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes before a call is made."""
    monkeypatch.delenv("ULTRAVOX_API_KEY", raising=False)
    with pytest.raises(ValueError, match="ULTRAVOX_API_KEY"):
        Ultravox()
    with pytest.raises(ValueError, match="up to 3600"):
        Ultravox(create_call=join, max_call_seconds=7200)
    with pytest.raises(UnsupportedError, match="Ultravox cannot do images"):
        Ultravox(create_call=join).profile.require("supports_images", "images")


@pytest.mark.virtual
async def test_response_request_is_a_user_message() -> None:
    """The protocol has no request for a response, so a message of the user stands for it."""
    peer = UltravoxPeer()
    async with Harness(peer.model()) as harness:
        await harness.send(Respond())
        await harness.next(ResponseStarted)
        assert not harness.of(Failure)
        await harness.session.cancel()
