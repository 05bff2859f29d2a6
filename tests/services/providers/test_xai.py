"""Grok's voice: what is sent, resumption, forced messages, and conversations with local peers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, ResponseEnded, ResponseStarted, Text, Transcript, Usage, UserText
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Pacer, Resample, Spoken
from bargein.services.frames import Connected, Disconnected, Say
from bargein.services.providers.openai.server.serve import Faults, serve
from bargein.services.providers.xai import XAI, GrokVoice
from bargein.services.realtime import RealtimeError, ReconnectPolicy, UnsupportedError, WordTimed
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, pipe
from bargein.services.testing import ScriptedBrain
from tests.services.piped import piped
from tests.speech import utterances


class Quirks:
    """What xAI makes of the events of its dialect: usage beside the response, cumulative transcripts, signs of life."""

    def __call__(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """An event, or several."""
        kind = event["type"]
        if kind == "session.updated":
            event["session"].pop("id")
            yield {"type": "conversation.created", "conversation": {"id": "conv-1"}}
            yield {"type": "ping", "timestamp": 1}
        elif kind == "conversation.item.input_audio_transcription.delta":
            words = event.pop("delta").split(" ")
            for count in range(1, len(words) + 1):
                yield {**event, "type": kind.replace("delta", "updated"), "transcript": " ".join(words[:count])}
            return
        elif kind == "conversation.item.input_audio_transcription.completed":
            yield {**event, "status": "in_progress"}
        elif kind == "response.done":
            event["usage"], event["response"]["usage"] = event["response"]["usage"], {}
            event["response"]["status_details"] = "unimplemented"
        yield event


def sent(model: GrokVoice, *commands: Any) -> list[dict[str, Any]]:
    """The messages of some commands, on one connection."""
    protocol = model._protocol()
    return [json.loads(message) for command in commands for message in command(protocol)]


# What is sent ---------------------------------------------------------------------------------------------------------


def test_the_session() -> None:
    """As GA, but for a voice and turn detection at the top; tools that run there beside those that run here."""
    model = GrokVoice(
        api_key="k",
        instructions="Be brief.",
        voice="ara",
        rate=16_000,
        server_tools=[{"type": "web_search"}],
        transcription={"model": "grok-transcribe", "language_hint": "en"},
        extra={"reasoning": {"effort": "none"}, "audio": {"output": {"speed": 1.2}}},
    )
    (opening,) = sent(model, lambda protocol: protocol.open_session(model.settings))
    form = {"type": "audio/pcm", "rate": 16_000}
    assert opening == {
        "type": "session.update",
        "event_id": "settings",
        "session": {
            "instructions": "Be brief.",
            "voice": "ara",
            "turn_detection": {"type": "server_vad"},
            "audio": {
                "input": {"format": form, "transcription": {"model": "grok-transcribe", "language_hint": "en"}},
                "output": {"format": form, "speed": 1.2},
            },
            "tools": [{"type": "web_search"}],
            "reasoning": {"effort": "none"},
            "resumption": {"enabled": True},
        },
    }


def test_telephone_sound() -> None:
    """G.711 has 8 kHz, whatever the rate."""
    model = GrokVoice(api_key="k", audio="audio/pcma")
    (opening,) = sent(model, lambda protocol: protocol.open_session(model.settings))
    assert opening["session"]["audio"]["input"]["format"] == {"type": "audio/pcma"}
    assert (model.profile.input_rate, model.profile.output_rate) == (8000, 8000)
    (heard,) = sent(model, lambda protocol: [protocol.audio(bytes(320))])
    assert len(heard["audio"]) == 216, "160 bytes, in base64"


def test_words_are_said_as_they_are() -> None:
    """An item that requests no response carries them. A protected one cannot be interrupted."""
    (protected,) = sent(GrokVoice(api_key="k"), lambda protocol: protocol.say("Welcome.", protected=True))
    assert protected["item"]["interruptible"] is False
    assert sent(GrokVoice(api_key="k"), lambda protocol: protocol.say("Welcome.")) == [
        {
            "type": "conversation.item.create",
            "item": {
                "type": "force_message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Welcome."}],
            },
        }
    ]


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent, with what to use instead."""
    monkeypatch.delenv("XAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="XAI_API_KEY"):
        GrokVoice()
    with pytest.raises(ValueError, match="expected 8000 to 48000"):
        GrokVoice(api_key="k", rate=96_000)
    with pytest.raises(ValueError, match="expected one of audio/pcm"):
        GrokVoice(api_key="k", audio="audio/opus")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="xAI cannot do images"):
        GrokVoice(api_key="k").profile.require("supports_images", "images")


# In conversation ------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_its_ways_are_understood() -> None:
    """Cumulative transcripts, of which the one that is not all is no final one; usage beside the response; no id."""
    said = np.concatenate([silence(500), utterances()["weather"].samples, silence(1500)])
    brain = ScriptedBrain("It is sunny.", hears=["What is the weather?"])
    async with piped(lambda: brain, XAI, change=Quirks()) as peer:
        async with Harness(Resample(24_000), GrokVoice(api_key="k", connect=peer.connect)) as harness:
            await harness.play(list(framed(said)))
            await harness.next(ResponseEnded, within_seconds=30)
            heard = [(frame.text, frame.final) for frame in harness.of(Transcript)]
            assert heard[:2] == [("What", False), ("What is", False)]
            assert heard[-2:] == [("What is the weather?", False), ("What is the weather?", True)]
            (usage,) = harness.of(Usage)
            assert (usage.input_tokens, usage.output_tokens) == (10, 3)
            assert harness.of(Connected)[0].session_id.startswith("sess_")
            assert not harness.of(Failure)
            await harness.session.cancel()


@pytest.mark.parametrize(
    "options", [{"audio": "audio/pcma"}, {"audio": "audio/pcmu"}, {"rate": 8000}, {"rate": 48_000}]
)
@pytest.mark.virtual
async def test_other_sounds(options: dict[str, Any]) -> None:
    """What is said is heard, and what is answered comes, at the rate that was chosen, as loud as it was."""
    said = np.concatenate([silence(500), utterances()["weather"].samples, silence(1500)])
    brain = ScriptedBrain("It is sunny.", hears=["What is the weather?"], word_ms=200)
    async with piped(lambda: brain, XAI) as peer:
        model = GrokVoice(api_key="k", connect=peer.connect, **options)
        rate = options.get("rate", 8000)
        async with Harness(Resample(rate), model) as harness:
            await harness.play(list(framed(said)))
            await harness.next(ResponseEnded, within_seconds=30)
            spoken = harness.of(Audio)
            assert {frame.rate for frame in spoken} == {rate}
            assert abs(sum(frame.ms for frame in spoken) - 600) < 10
            assert 6000 < max(int(np.abs(frame.samples).max()) for frame in spoken) < 9000
            assert abs(brain.heard_ms - len(said) / 16) < 200
            await harness.session.cancel()


@pytest.mark.virtual
async def test_say_is_said() -> None:
    """Word for word, as a response like any other."""
    brain = ScriptedBrain("Something else.")
    async with piped(lambda: brain, XAI, change=Quirks()) as peer:
        model = GrokVoice(api_key="k", connect=peer.connect)
        async with Harness(model) as harness:
            await harness.send(Say(text="Welcome to the shop."))
            await harness.next(ResponseEnded, within_seconds=10)
            assert "".join(frame.text for frame in harness.of(Text)) == "Welcome to the shop."
            assert not peer.of("response.create")
            assert [entry.text for entry in model.history] == ["Welcome to the shop."]
            await harness.session.cancel()


@pytest.mark.virtual
async def test_what_is_to_be_said_waits_its_turn() -> None:
    """Behind the response that is being made, one after the other, protected where that is asked for; all is given."""
    brain = ScriptedBrain("An answer.", paced=True)
    async with piped(lambda: brain, XAI, change=Quirks()) as peer:
        async with Harness(GrokVoice(api_key="k", connect=peer.connect)) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(ResponseStarted, within_seconds=10)
            await harness.send(Say(text="First."), Say(text="Second.", protected=True))
            await anyio.sleep(0.01)
            assert not [each for each in peer.sent if each.get("item", {}).get("type") == "force_message"]
            await harness.end()
        assert "".join(frame.text for frame in harness.of(Text)) == "An answer.First.Second."
        assert [frame.protected for frame in harness.of(ResponseStarted)] == [False, False, True]
        assert not harness.of(Failure)


@pytest.mark.virtual
async def test_an_interrupt_calls_off_what_was_to_be_said() -> None:
    """The user has the floor."""
    async with piped(lambda: ScriptedBrain("word " * 20, paced=True), XAI, change=Quirks()) as peer:
        async with Harness(GrokVoice(api_key="k", connect=peer.connect)) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await harness.send(Say(text="By the way."))
            await anyio.sleep(0.1)
            harness.interrupt()
            await anyio.sleep(5)
            assert not [each for each in peer.sent if each.get("item", {}).get("type") == "force_message"]
            await harness.session.cancel()


def test_pieces_of_a_transcript_are_timed() -> None:
    """Each from where it begins to where the next one does, within an item."""
    protocol = GrokVoice(api_key="k")._protocol()
    pieces = [
        ("a", "I'll check the weather right", 0.0),
        ("a", " away.", 1.54),
        ("b", "It is", 0.0),
        ("b", " foggy", 1.0),
    ]
    events = [
        event
        for item, delta, start in pieces
        for event in protocol.receive(
            json.dumps(
                {
                    "type": "response.output_audio_transcript.delta",
                    "response_id": "r",
                    "item_id": item,
                    "delta": delta,
                    "start_time": start,
                }
            )
        )
        if isinstance(event, WordTimed)
    ]
    assert events == [
        WordTimed(response_id="r", item_id="a", text="I'll check the weather right", start_ms=0, end_ms=1540),
        WordTimed(response_id="r", item_id="b", text="It is", start_ms=0, end_ms=1000),
    ]


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.virtual
async def test_an_interrupt(truncates: bool) -> None:
    """Cancels by id, drops what is late; the provider's memory is cut where it is said that it can be."""
    faults = Faults(late_deltas_after_cancel=3, late_deltas_after_done=2, malformed_json=True, unknown_events=True)
    brain = ScriptedBrain("word " * 40, paced=True, word_ms=400)
    async with piped(lambda: brain, XAI, change=Quirks(), faults=faults) as peer:
        model = GrokVoice(api_key="k", supports_truncation=truncates, connect=peer.connect)
        async with Harness(model, Spoken(), Pacer()) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(2)
            number = harness.interrupt()
            came = len(harness.frames)
            await anyio.sleep(3)
            late = [frame for frame in harness.frames[came:] if isinstance(frame, Audio | Text)]
            assert all(frame.epoch >= number for frame in late)
            assert [bool(event["response_id"]) for event in peer.of("response.cancel")] == [True]
            assert len(peer.of("conversation.item.truncate")) == truncates
            await harness.session.cancel()


# Resumption -----------------------------------------------------------------------------------------------------------


class Keeper:
    """xAI as far as it keeps conversations: by hand, against the wire."""

    def __init__(self, *, forgets: bool = False, refuses: int = 0) -> None:
        self.urls: list[str] = []
        self.sent: list[list[dict[str, Any]]] = []
        self.forgets = forgets
        self.refuses = refuses  # a conversation that is asked for, by a status, or a close code
        self.items: list[dict[str, Any]] = []
        self.socket: Socket | None = None

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        ours, theirs = pipe()
        self.urls.append(endpoint.url)
        self.sent.append([])
        if "conversation_id" in endpoint.url and self.refuses:
            if self.refuses < 1000:
                raise SocketRefusedError(f"answers {self.refuses}", self.refuses)
            await theirs.close(self.refuses, "no such conversation")
            yield ours
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve, theirs, len(self.urls))
            try:
                yield ours
            finally:
                await ours.close()
                group.cancel_scope.cancel()

    async def say(self, kind: str, **fields: Any) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def _serve(self, socket: Socket, number: int) -> None:
        self.socket = socket
        resumed = "conversation_id=" in self.urls[-1] and not self.forgets
        name = "conv-1" if number == 1 or resumed else f"conv-{number}"
        await self.say("session.created", session={"id": f"s{number}", "turn_detection": {"type": None}})
        await self.say("conversation.created", conversation={"id": name})
        try:
            while True:
                event = json.loads(await socket.receive())
                self.sent[-1].append(event)
                if event["type"] == "session.update":
                    for item in self.items if resumed else []:
                        await self.say("conversation.item.added", item=item)
                    await self.say("session.updated", session=event["session"])
                elif event["type"] == "conversation.item.create":
                    item = {**event["item"], "id": f"i{len(self.items)}", "status": "completed"}
                    self.items.append(item)
                    await self.say("conversation.item.added", item=item)
                elif event["type"] == "response.create":
                    await self._respond(f"r{len(self.items)}")
        except SocketClosedError:
            pass

    async def _respond(self, name: str) -> None:
        of = {"response_id": name, "item_id": f"of-{name}", "content_index": 0, "output_index": 0}
        item = {"id": f"of-{name}", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.items.append(item)
        await self.say("response.created", response={"id": name, "status": "in_progress"})
        await self.say("conversation.item.added", item=item)
        await self.say("response.output_audio_transcript.delta", **of, delta="I hear you.")
        await self.say("response.output_audio.delta", **of, delta="AAAA")
        done = {"id": name, "status": "completed", "status_details": "unimplemented", "usage": {}}
        await self.say("response.done", response=done)


async def twice(keeper: Keeper, **options: Any) -> Harness:
    """A conversation that is broken off by 1011, and goes on."""
    policy = ReconnectPolicy(first_seconds=0.1)
    async with Harness(GrokVoice(api_key="k", connect=keeper.connect, reconnect=policy, **options)) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded, within_seconds=10)
        assert keeper.socket is not None
        await keeper.socket.close(1011, "try again")
        await harness.next(Disconnected, within_seconds=10)
        await anyio.sleep(1)
        await harness.send(UserText(text="still there?"))
        await harness.next(ResponseEnded, within_seconds=10)
        await harness.session.cancel()
    return harness


@pytest.mark.virtual
async def test_a_conversation_is_taken_up() -> None:
    """It is resumed by its id. Nothing is sent twice, and what the server repeats is not played twice."""
    keeper = Keeper()
    harness = await twice(keeper)
    assert [url.partition("&")[2] for url in keeper.urls] == ["", "conversation_id=conv-1"]
    assert [event["type"] for event in keeper.sent[1]] == [
        "session.update",
        "conversation.item.create",
        "response.create",
    ]
    assert "".join(frame.text for frame in harness.of(Text)) == "I hear you." * 2
    assert not harness.of(Failure)


@pytest.mark.virtual
async def test_a_conversation_that_is_no_more_is_told_anew() -> None:
    """When another one begins in its place, it is given the words so far."""
    keeper = Keeper(forgets=True)
    await twice(keeper)
    assert keeper.urls[1].endswith("conversation_id=conv-1")
    items = [event["item"] for event in keeper.sent[1] if event["type"] == "conversation.item.create"]
    assert [item["role"] for item in items] == ["user", "assistant", "user"]


@pytest.mark.parametrize("code", [404, 410, 1008, 1011])
@pytest.mark.virtual
async def test_a_conversation_that_is_refused(code: int) -> None:
    """It is not requested again. A new conversation begins and gets the words so far."""
    keeper = Keeper(refuses=code)
    harness = await twice(keeper)
    assert [url.partition("&")[2] for url in keeper.urls] == ["", "conversation_id=conv-1", ""]
    items = [event["item"] for event in keeper.sent[2] if event["type"] == "conversation.item.create"]
    assert [item["role"] for item in items] == ["user", "assistant", "user"]
    assert not any(frame.final for frame in harness.of(Disconnected))


@pytest.mark.virtual
async def test_without_resumption_it_is_told_anew() -> None:
    """It is not asked for, then."""
    keeper = Keeper()
    await twice(keeper, supports_resumption=False)
    assert "conversation_id" not in keeper.urls[1]
    assert "resumption" not in keeper.sent[0][0]["session"]
    items = [event["item"] for event in keeper.sent[1] if event["type"] == "conversation.item.create"]
    assert [item["role"] for item in items] == ["user", "assistant", "user"]


@pytest.mark.virtual
async def test_what_was_spoken_is_there_when_it_is_taken_up() -> None:
    """What the user said before the connection was lost is not told again in words."""
    keeper = Keeper()
    policy = ReconnectPolicy(first_seconds=0.1)
    async with Harness(GrokVoice(api_key="k", connect=keeper.connect, reconnect=policy)) as harness:
        await harness.next(Connected, within_seconds=10)
        await keeper.say("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")
        await keeper.say("conversation.item.added", item={"id": "u", "type": "message", "role": "user"})
        await keeper.say("input_audio_buffer.committed", item_id="u")
        done = "conversation.item.input_audio_transcription.completed"
        await keeper.say(done, item_id="u", transcript="What time is it?", status="completed")
        await harness.next(Transcript, within_seconds=10)
        assert keeper.socket is not None
        await keeper.socket.close(1011, "try again")
        await harness.next(Connected, within_seconds=10)
        await anyio.sleep(1)
        assert not [event for event in keeper.sent[1] if event["type"] == "conversation.item.create"]
        await harness.session.cancel()


@pytest.mark.virtual
async def test_another_process_may_take_it_up() -> None:
    """With the handle of the first."""
    keeper = Keeper()
    model = GrokVoice(api_key="k", connect=keeper.connect)
    async with Harness(model) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded, within_seconds=10)
        await harness.session.cancel()
    async with Harness(GrokVoice(api_key="k", connect=keeper.connect, resume=model.resumption)) as harness:
        await harness.next(Connected, within_seconds=10)
        assert keeper.urls[1].endswith("conversation_id=conv-1")
        await harness.session.cancel()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_over_a_socket(backend: str) -> None:
    """With its key and at its path it is answered; with another key it is told why not."""

    async def talk() -> None:
        async with serve(lambda: ScriptedBrain("Hello."), dialect=XAI, api_keys={"key"}) as server:
            async with GrokVoice(api_key="key", url=server.url).connect() as conversation:
                await conversation.say("Welcome.")
                words = ""
                async for event in conversation:
                    words += event.text if isinstance(event, Text) else ""
                    if isinstance(event, ResponseEnded):
                        break
                assert words == "Welcome."
            with pytest.raises(RealtimeError, match="the key is not accepted"):
                async with GrokVoice(api_key="other", url=server.url).connect():
                    pass

    async def within() -> None:
        with anyio.fail_after(60):
            await talk()

    anyio.run(within, backend=backend)
