"""Realtime with a provider that is ready without saying so, answers by itself, and must hear without a break."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Image,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    UserText,
)
from bargein.pipeline.testing import Harness, framed, tone
from bargein.services.frames import Connected, Disconnected, Respond, Say
from bargein.services.history import Entry
from bargein.services.realtime import (
    AudioPiece,
    Event,
    Interrupted,
    ItemCorrected,
    Message,
    Profile,
    Protocol,
    ProtocolFault,
    Realtime,
    RealtimeError,
    ResponseOver,
    SessionReady,
    Settings,
    TextPiece,
    ToolCallReceived,
    UsageReported,
)
from bargein.services.realtime._dialogue.responses import MAX_UNANSWERED
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, pipe

pytestmark = pytest.mark.virtual

PROFILE = Profile(
    provider="Plain",
    input_rate=16_000,
    output_rate=16_000,
    supports_response_requests=False,
    needs_continuous_audio=True,
    supports_history_seeding=True,
)


class Plain(Protocol):
    """Its messages are what they mean."""

    profile = PROFILE

    def endpoint(self) -> Endpoint:
        return Endpoint(url="wss://plain.invalid")

    def open_session(self, settings: Settings) -> Iterable[Message]:
        return ("open",)

    def on_open(self) -> Iterable[Event]:
        return (SessionReady(session_id="plain"),)

    def close_session(self) -> Iterable[Message]:
        return ("close",)

    def seed(self, entries: Sequence[Entry]) -> Iterable[Message]:
        return [f"seed {entry.remembered or f'{entry.name} {entry.output}'}" for entry in entries]

    def audio(self, pcm: bytes) -> Message:
        return f"sound {len(pcm) // 32} {'quiet' if not any(pcm) else 'loud'}"

    def text(self, text: str, item_id: str = "") -> Iterable[Message]:
        return (f"text {text}",)

    def tool_result(self, call_id: str, output: str) -> Iterable[Message]:
        return (f"result {call_id} {output}",)

    def receive(self, data: Message) -> Iterable[Event]:
        match json.loads(data):
            case ["sound", response]:
                yield AudioPiece(response_id=response, item_id="", pcm=bytes(32_000))
            case ["words", response, text]:
                yield TextPiece(response_id=response, item_id="", text=text)
            case ["over", response]:
                yield ResponseOver(response_id=response)
            case ["interrupted", response]:
                yield Interrupted(response_id=response)
            case ["corrected", response, text]:
                yield ItemCorrected(response_id=response, item_id="", text=text)
            case ["broken", reason]:
                yield ProtocolFault(message=reason, broken=True)
            case ["call", response, name]:
                yield ToolCallReceived(response_id=response, call_id=name, name="clock", arguments="{}")
            case ["used", tokens]:
                yield UsageReported(usage={"input_tokens": tokens})


class Provider:
    """The other end: keeps what it hears, and says what a test wants."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []
        self.socket: Socket | None = None
        self.refuses: anyio.Event | None = None

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        if self.refuses is not None:
            await self.refuses.wait()
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve, ours)
            try:
                yield theirs
            finally:
                await theirs.close()  # what was said before that is still heard

    async def _serve(self, socket: Socket) -> None:
        self.socket = socket
        self.heard.append([])
        with anyio.CancelScope(shield=True), suppress(SocketClosedError):
            while True:
                self.heard[-1].append(str(await socket.receive()))

    async def say(self, *event: Any) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(event))

    def words(self, connection: int = -1) -> list[str]:
        return [each for each in self.heard[connection] if not each.startswith("sound")]

    def model(self, profile: Profile = PROFILE, connect: Any = None) -> Realtime:
        return Realtime(
            profile=profile,
            protocol=Plain,
            settings=Settings(model="plain", turn_detection=None),
            connect=connect or self.connect,
        )


async def test_ready_without_a_server_reply() -> None:
    """The session is ready as soon as the opening has been sent, and the provider is sent the end."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await harness.end()
    await anyio.sleep(1)
    assert provider.words() == ["open", "close"]


async def test_gaps_are_filled_with_silence() -> None:
    """Silence is sent in pieces, as long as the gap, and none while there is sound."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await anyio.sleep(10)
        sounds = [each for each in provider.heard[0] if each.startswith("sound")]
        assert set(sounds) == {"sound 100 quiet"}
        assert 97 <= len(sounds) <= 100
        for at, frame in enumerate(framed(tone(440, 3000, rate=16_000), rate=16_000)):
            await harness.send(frame)
            if at == 1:
                provider.heard[0].clear()
            await anyio.sleep(frame.ms / 1000)
        assert not any("quiet" in each for each in provider.heard[0])
        await anyio.sleep(1)
        assert any("quiet" in each for each in provider.heard[0])
        await harness.session.cancel()


async def test_typed_text_is_sent_once() -> None:
    """Also before there is a session, where it is not part of the history yet. No response is requested."""
    provider = Provider()
    model = provider.model()
    async with Harness(model) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Connected)
        await harness.send(UserText(text="again"))
        await anyio.sleep(1)
        assert provider.words() == ["open", "text hello", "text again"]
        await provider.say("words", "r1", "Yes?")
        await provider.say("over", "r1")
        await harness.next(ResponseEnded)
        await anyio.sleep(300)
        assert len(provider.heard) == 1, "nothing more was due"
        await harness.session.cancel()


async def test_unanswered_text_is_sent_again() -> None:
    """The connection broke before the answer came. What was answered is history only."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.send(UserText(text="hello"))
        await anyio.sleep(1)
        assert provider.socket is not None
        await provider.socket.close(1006)
        await harness.next(Disconnected)
        await anyio.sleep(1)
        assert provider.words() == ["open", "text hello"]
        await provider.say("words", "r1", "Yes?")
        await provider.say("over", "r1")
        await harness.next(ResponseEnded)
        await provider.socket.close(1006)
        await anyio.sleep(1)
        assert provider.words() == ["open", "seed hello", "seed Yes?"]
        await harness.session.cancel()


async def test_question_of_a_tool_is_sent_again() -> None:
    """The connection broke after the tool's result, and before the provider's answer."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.send(UserText(text="what time is it?"))
        await harness.next(Connected)
        await provider.say("call", "r1", "c1")
        call = await harness.next(ToolCall)
        await harness.send(ToolResult(call_id=call.call_id, output="noon"))
        await anyio.sleep(1)
        assert provider.words() == ["open", "text what time is it?", "result c1 noon"]
        assert provider.socket is not None
        await provider.socket.close(1006)
        await harness.next(Disconnected)
        await anyio.sleep(1)
        assert provider.words() == ["open", "seed clock noon", "text what time is it?"]
        await harness.session.cancel()


async def test_tool_result_without_a_connection() -> None:
    """The question is sent again with the result, and no answer is waited for that was not requested."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.send(UserText(text="what time is it?"))
        await harness.next(Connected)
        await provider.say("call", "r1", "c1")
        call = await harness.next(ToolCall)
        refuse = provider.refuses = anyio.Event()
        assert provider.socket is not None
        await provider.socket.close(1006)
        await anyio.sleep(1)
        await harness.send(ToolResult(call_id=call.call_id, output="noon"))
        await anyio.sleep(1)
        refuse.set()
        await harness.next(Connected)
        await anyio.sleep(1)
        assert provider.words() == ["open", "seed clock noon", "text what time is it?"]
        await harness.session.cancel()


async def test_text_whose_sound_did_not_come() -> None:
    """It was not heard when the connection breaks: it is not remembered, and the question is sent again."""
    provider = Provider()
    model = provider.model()
    async with Harness(model) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Connected)
        await provider.say("words", "r1", "Yes?")
        await harness.next(Text)
        assert provider.socket is not None
        await provider.socket.close(1006)
        await harness.next(Disconnected)
        await anyio.sleep(1)
        assert [(entry.text, entry.remembered) for entry in model.history] == [("hello", "hello"), ("Yes?", "")]
        assert provider.words() == ["open", "text hello"]
        await harness.session.cancel()


async def test_interruption_of_a_finished_response() -> None:
    """Its sound still plays. It is one step, and only for the response that is named."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await provider.say("sound", "r1")
        await provider.say("over", "r1")
        await harness.next(ResponseEnded)
        await provider.say("interrupted", "r1")
        await harness.next(Interrupt)
        await provider.say("interrupted", "r1")
        await provider.say("sound", "r2")
        await harness.next(ResponseStarted)
        await provider.say("interrupted", "r1")
        await provider.say("interrupted", "unknown")
        await anyio.sleep(1)
        assert harness.session.epoch == 1
        assert [frame.epoch for frame in harness.of(Audio)] == [0, 1]
        await harness.session.cancel()


async def test_words_that_were_spoken_differently_are_corrected() -> None:
    """The history keeps the words that were spoken, and another session gets them. A correction of an unknown item is
    ignored."""
    provider = Provider()
    model = provider.model()
    async with Harness(model) as harness:
        await harness.next(Connected)
        await provider.say("words", "r1", "It's 12.")
        await provider.say("over", "r1")
        await harness.next(ResponseEnded)
        await provider.say("corrected", "r1", "It is noon.")
        await provider.say("corrected", "unknown", "Hm?")
        await anyio.sleep(1)
        assert [entry.remembered for entry in model.history] == ["It is noon."]
        await harness.session.cancel()


async def test_an_unusable_connection_is_replaced() -> None:
    """An unusable connection is closed although its socket is open. The next connection starts afresh."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await provider.say("broken", "I am confused")
        assert "I am confused" in (await harness.next(Failure)).message
        gone = await harness.next(Disconnected)
        assert (gone.reason, gone.clean, gone.final) == ("I am confused", False, False)
        await harness.next(Connected)
        await anyio.sleep(60)
        assert len(provider.heard) == 2
        await harness.session.cancel()


@pytest.mark.slow
async def test_state_is_bounded() -> None:
    """Over ten thousand events without an answer or an end."""
    provider = Provider()
    model = provider.model()
    async with Harness(model) as harness:
        await harness.next(Connected)
        for number in range(5000):
            await provider.say("call", f"r{number}", f"c{number}")
            await provider.say("over", f"r{number}")
            harness.timeline.clear()
        await harness.settle()
        dialogue = model._dialogue
        assert dialogue is not None
        assert len(dialogue.responses.by_id) <= MAX_UNANSWERED
        assert len(dialogue.tool_calls._known) <= MAX_UNANSWERED
        assert not dialogue.output
        assert len(model.history) <= model.history.entries.max_entries
        await harness.session.cancel()


async def test_usage_without_a_response_is_reported() -> None:
    """`Usage` that belongs to no response is reported when it comes."""
    provider = Provider()
    async with Harness(provider.model()) as harness:
        await harness.next(Connected)
        await provider.say("used", 12)
        assert (await harness.next(Usage)).input_tokens == 12
        await harness.session.cancel()


@pytest.mark.parametrize(
    ("profile", "frame"),
    [
        ({"supports_text_input": False}, Respond()),
        ({"supports_text_input": False}, Say("hello")),
        ({"supports_text_input": False}, UserText("hello")),
        ({}, Image(b"x", format="jpeg")),
    ],
)
async def test_an_unsupported_request_is_one_failure(profile: dict[str, Any], frame: Any) -> None:
    """The failure says what to do instead. Nothing is sent, and the call continues."""
    provider = Provider()
    fields = {name: getattr(PROFILE, name) for name in PROFILE.__struct_fields__}
    async with Harness(provider.model(Profile(**{**fields, **profile}))) as harness:
        await harness.next(Connected)
        await harness.send(frame, frame, frame)
        await anyio.sleep(1)
        (failure,) = harness.of(Failure)
        assert failure.message.startswith(("Plain cannot do", "Plain does not look at pictures"))
        assert not failure.fatal
        await provider.say("used", 12)
        await harness.next(Usage)
        await harness.session.cancel()
    assert not any(each.startswith("text") for each in provider.words())


async def test_a_model_without_requests_is_prompted() -> None:
    """Where a response cannot be requested, a text makes the model answer: the nearest thing to `Respond` and `Say`."""
    provider = Provider()
    async with Harness(provider.model(PROFILE)) as harness:
        await harness.next(Connected)
        await harness.send(Respond(instructions="Greet the caller."), Say("Good morning."))
        await anyio.sleep(1)
        assert not harness.of(Failure)
        await harness.session.cancel()
    sent = [each for each in provider.words() if each.startswith("text")]
    assert "Greet the caller." in sent[0]
    assert "Good morning." in sent[1]


async def test_a_refusal_after_the_first_words() -> None:
    """A refusal after the first words is final like any other, if retrying cannot succeed."""

    class Refusing:
        async def send(self, data: str | bytes) -> None:
            await anyio.lowlevel.checkpoint()

        async def receive(self) -> str | bytes:
            await anyio.sleep(0.1)
            raise SocketRefusedError("it answers 403", 403, "no")

        async def close(self, code: int = 1000, reason: str = "") -> None: ...

    @asynccontextmanager
    async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
        yield Refusing()

    with pytest.raises(RealtimeError, match=r"it answers 403: the key may not do this \(no\)"):
        async with Harness(Provider().model(connect=connect)) as harness:
            assert (await harness.next(Disconnected)).final
            await anyio.sleep(1)


def test_silence_is_zeros() -> None:
    """Silence is 16-bit zeros."""
    assert Plain().audio(np.zeros(1600, "<i2").tobytes()) == "sound 100 quiet"
