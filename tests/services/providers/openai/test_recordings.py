"""Recorded sessions of real services: what was received means what it meant, what is sent looks as it did.

The recordings are no part of the project: `BARGEIN_RECORDINGS` names the folder they are in.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    Transcript,
    Usage,
    UserText,
)
from bargein.pipeline.testing import Harness
from bargein.services.frames import Connected, Disconnected
from bargein.services.providers.azure import VOICE_LIVE, VoiceLive, VoiceLiveProtocol
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.client.protocol import OpenAIProtocol
from bargein.services.providers.openai.client.realtime import OpenAIRealtime
from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.xai import XAI, GrokVoice, GrokVoiceProtocol
from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    ItemOver,
    ProtocolFault,
    Realtime,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    Transcribed,
)
from tests.services.recordings import Player, matches, steps
from tests.services.recordings import recorded as recorded_of

recorded = recorded_of("openai", "azure", "xai")
OPTIONAL = {
    "event_id",
    "session.tools",
    "session.resumption.enabled",
    "response",
    "response.metadata",
    "response.metadata.request",
}
"""What we send and the recorded client did not; the interface takes both from anybody."""


class Recording:
    """A session as it was recorded, and what is to be found in it."""

    def __init__(self, name: str) -> None:
        self.family = name.partition("_")[0]
        self.dialect = {"openai": GA, "azure": VOICE_LIVE, "xai": XAI}[self.family]
        self.steps = steps(name)
        for _, data in self.steps:
            if data["type"] in ("session.created", "session.updated"):
                data["session"].pop("expires_at", None)  # a date, and it is another one today

    @property
    def received(self) -> list[dict[str, Any]]:
        return [data for direction, data in self.steps if direction == "received"]

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [data for direction, data in self.steps if direction == "sent"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for data in self.received if data["type"] == kind]

    # What the service says when all is over, to be compared with what we made of the pieces

    @property
    def responses(self) -> list[dict[str, Any]]:
        return [data["response"] for data in self.of("response.done")]

    @property
    def boundaries(self) -> list[tuple[str, str]]:
        kinds = {"response.created": "began", "response.done": "over"}
        return [(kinds[data["type"]], data["response"]["id"]) for data in self.received if data["type"] in kinds]

    @property
    def replies(self) -> dict[str, str]:
        return {
            item["id"]: "".join(part.get("text") or part.get("transcript") or "" for part in item["content"])
            for response in self.responses
            for item in response["output"]
            if item["type"] == "message"
        }

    @property
    def calls(self) -> list[tuple[str, str, str, str]]:
        return [
            (response["id"], item["call_id"], item["name"], item["arguments"])
            for response in self.responses
            for item in response["output"]
            if item["type"] == "function_call"
        ]

    @property
    def usage(self) -> list[dict[str, int]]:
        found = []
        for event in self.of("response.done"):
            used = event.get("usage") or event["response"]["usage"]
            found.append(
                {
                    "input_tokens": used["input_tokens"],
                    "output_tokens": used["output_tokens"],
                    "input_audio_tokens": used["input_token_details"]["audio_tokens"],
                    "cached_tokens": used["input_token_details"].get("cached_tokens", 0),
                    "output_audio_tokens": used["output_token_details"]["audio_tokens"],
                }
            )
        return found

    @property
    def transcripts(self) -> dict[str, str]:
        kind = "conversation.item.input_audio_transcription.completed"
        return {data["item_id"]: data["transcript"] for data in self.of(kind)}

    @property
    def partials(self) -> dict[str, list[str]]:
        """All that was known of an item after each delta."""
        found: dict[str, list[str]] = defaultdict(list)
        for data in self.of("conversation.item.input_audio_transcription.delta"):
            found[data["item_id"]].append((found[data["item_id"]] or [""])[-1] + data["delta"])
        return dict(found)

    @property
    def sound(self) -> dict[str, bytes]:
        found: dict[str, bytes] = defaultdict(bytes)
        for data in self.of("response.output_audio.delta") + self.of("response.audio.delta"):
            found[data["item_id"]] += base64.b64decode(data["delta"])
        return dict(found)

    @property
    def outputs(self) -> dict[str, str]:
        """What the tools answered, by the call."""
        items = [data["item"] for data in self.sent if data["type"] == "conversation.item.create"]
        return {item["call_id"]: item["output"] for item in items if item["type"] == "function_call_output"}

    @property
    def settings(self) -> Settings:
        """What the recorded client asked for."""
        (sent,) = (data["session"] for data in self.sent if data["type"] == "session.update")
        session = self.dialect.read_session(sent)
        heard = session["audio"]["input"]
        return Settings(
            model="gpt-realtime",
            instructions=session["instructions"],
            output=session.get("output_modalities", ["audio"])[0],
            turn_detection=heard["turn_detection"],
            transcription=heard["transcription"],
            tools=[{key: tool[key] for key in tool if key != "type"} for tool in session.get("tools", ())],
        )

    def protocol(self) -> OpenAIProtocol:
        """Of the service."""
        if self.family == "azure":
            return VoiceLiveProtocol(url="wss://example.invalid", headers={}, dialect=VOICE_LIVE)
        if self.family == "xai":
            return GrokVoiceProtocol(url="wss://example.invalid", headers={})
        return OpenAIProtocol(url="wss://example.invalid", headers={})

    def model(self, **options: Any) -> Realtime:
        """Of the service."""
        settings = self.settings
        options |= {
            "api_key": "x",
            "instructions": settings.instructions,
            "turn_detection": settings.turn_detection,
            "transcription": settings.transcription,
        }
        if self.family == "azure":
            return VoiceLive("m", "https://example.invalid", **options)
        if self.family == "xai":
            return GrokVoice(**options)
        return OpenAIRealtime(output=settings.output, **options)


def produced(data: dict[str, Any], ours: OpenAIProtocol, settings: Settings) -> list[dict[str, Any]]:
    """A recorded command, made by us."""
    item = data.get("item", {})
    if data["type"] == "session.update":
        made = list(ours.open_session(settings))
    elif data["type"] == "input_audio_buffer.append":
        made = [ours.audio(base64.b64decode(data["audio"]))]
    elif item.get("type") == "function_call_output":
        made = list(ours.tool_result(item["call_id"], item["output"]))
    elif item.get("type") == "message":
        made = list(ours.text(item["content"][0]["text"]))
    else:
        assert data["type"] == "response.create"
        made = list(ours.respond())
    return [json.loads(message) for message in made]


@recorded
def test_recorded_server_events_decode(name: str) -> None:
    """Each recorded server event decodes to a struct, and survives being written and read again."""
    for data in Recording(name).received:
        if data["type"] == "ping":
            continue  # xAI's sign of life, which asks for nothing
        event = wire.decode_server_event(json.dumps(data))
        assert not isinstance(event, str), f"{event} is unknown here"
        assert wire.decode_server_event(wire.encode(event)) == event


@recorded
def test_recorded_client_events_decode(name: str) -> None:
    """Each recorded client event decodes to a struct that holds all of it, and nothing else."""
    for data in Recording(name).sent:
        event = wire.decode_client_event(json.dumps(data))
        assert not isinstance(event, str), f"{event} is unknown here"
        assert json.loads(wire.encode(event)) == data


@recorded
def test_commands_produce_the_recorded_messages(name: str) -> None:
    """The same commands make the same messages: all that was recorded, and beyond that only optional fields."""
    recording = Recording(name)
    for data in recording.sent:
        (ours,) = produced(data, recording.protocol(), recording.settings)
        matches(ours, data, OPTIONAL)
        assert type(wire.decode_client_event(json.dumps(ours))) is type(wire.decode_client_event(json.dumps(data)))


@recorded
def test_events_add_up_to_the_summaries(name: str) -> None:
    """Transcripts, replies, calls, usage and boundaries, joined from pieces, equal the summaries of the service."""
    recording = Recording(name)
    ours = recording.protocol()
    events: list[Event] = [event for data in recording.received for event in ours.receive(json.dumps(data))]
    assert not [event for event in events if isinstance(event, ProtocolFault)]

    ready = [event for event in events if isinstance(event, SessionReady)]
    assert [event.config for event in ready] == [data["session"] for data in recording.of("session.updated")]
    assert [event.session_id for event in ready] == [data["session"]["id"] for data in recording.of("session.created")]

    boundaries = [
        ("began" if isinstance(event, ResponseBegan) else "over", event.response_id)
        for event in events
        if isinstance(event, ResponseBegan | ResponseOver)
    ]
    assert boundaries == recording.boundaries
    over = [event for event in events if isinstance(event, ResponseOver)]
    assert [event.usage for event in over] == recording.usage
    assert {event.outcome for event in over} == {"completed"}

    calls = [event for event in events if isinstance(event, ToolCallReceived)]
    assert [(call.response_id, call.call_id, call.name, call.arguments) for call in calls] == recording.calls

    said: dict[str, str] = defaultdict(str)
    sound: dict[str, bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, TextPiece):
            said[event.item_id] += event.text
        elif isinstance(event, AudioPiece):
            sound[event.item_id] += event.pcm
    assert said == recording.replies
    assert sound == recording.sound
    assert {event.item_id: event.text for event in events if isinstance(event, ItemOver)} == recording.replies

    partials: dict[str, list[str]] = defaultdict(list)
    for event in events:
        if isinstance(event, Transcribed) and not event.final:
            partials[event.item_id].append(event.text.strip())
    expected = {item: [text.strip() for text in texts] for item, texts in recording.partials.items()}
    assert partials == expected
    finals = [event for event in events if isinstance(event, Transcribed) and event.final]
    assert {event.item_id: event.text for event in finals} == recording.transcripts
    assert len(finals) == len(recording.transcripts)

    for kind, type_ in (
        (SpeechBegan, "input_audio_buffer.speech_started"),
        (SpeechOver, "input_audio_buffer.speech_stopped"),
        (AudioCommitted, "input_audio_buffer.committed"),
    ):
        items = [event.item_id for event in events if isinstance(event, kind)]
        assert items == [data["item_id"] for data in recording.of(type_)]
    assert all(event.answered for event in events if isinstance(event, AudioCommitted))
    assert all(event.interrupts for event in events if isinstance(event, SpeechBegan))


@recorded
def test_pieces_lie_within_their_response(name: str) -> None:
    """Sound, text and calls lie between the boundaries of the response that they name."""
    recording, open_ = Recording(name), set[str]()
    ours = recording.protocol()
    for data in recording.received:
        for event in ours.receive(json.dumps(data)):
            if isinstance(event, ResponseBegan):
                open_.add(event.response_id)
            elif isinstance(event, ResponseOver):
                open_.remove(event.response_id)
            elif isinstance(event, AudioPiece | TextPiece | ItemOver | ToolCallReceived):
                assert event.response_id in open_
    assert not open_


@recorded
@pytest.mark.virtual
async def test_recorded_messages_lead_to_the_same_frames(name: str) -> None:
    """Through sockets, driver and dialogue the frames are the same, in epoch 0, and the same commands are sent."""
    recording = Recording(name)
    settings, outputs = recording.settings, iter(recording.outputs.values())
    player = Player(recording.steps)

    async def get_weather(city: str) -> str:
        """Look up the weather for a city."""
        assert city == "London"
        return next(outputs)

    model = recording.model(tools=[get_weather] if settings.tools else [], connect=player.connect)
    with anyio.fail_after(60):
        async with Harness(model) as harness:
            await harness.next(Connected)
            for data in recording.sent:
                if data["type"] == "input_audio_buffer.append":
                    await harness.send(Audio.from_bytes(base64.b64decode(data["audio"])[:32], 24_000))
                elif data.get("item", {}).get("type") == "message":
                    await harness.send(UserText(text=data["item"]["content"][0]["text"]))
            await player.over.wait()
            await harness.settle()
            await harness.end()

    assert not harness.of(Failure)
    assert not harness.of(Interrupt)
    assert not harness.of(Disconnected)
    assert harness.session.epoch == 0

    boundaries = [
        ("began" if isinstance(frame, ResponseStarted) else "over", frame.response_id)
        for frame in harness.frames
        if isinstance(frame, ResponseStarted | ResponseEnded)
    ]
    assert boundaries == recording.boundaries
    assert {frame.outcome for frame in harness.of(ResponseEnded)} == {"completed"}
    calls = harness.of(ToolCall)
    assert [(call.response_id, call.call_id, call.name, call.arguments) for call in calls] == recording.calls
    usage = [{key: getattr(frame, key) for key in recording.usage[0]} for frame in harness.of(Usage)]
    assert usage == recording.usage
    assert [frame.response_id for frame in harness.of(Usage)] == [response["id"] for response in recording.responses]

    said: dict[str, str] = defaultdict(str)
    for text in harness.of(Text):
        said[text.item_id] += text.text
    assert said == recording.replies
    assert [text.item_id for text in harness.of(Text) if text.final] == list(recording.replies)
    sound: dict[str, bytes] = defaultdict(bytes)
    for audio in harness.of(Audio):
        assert audio.pts == len(sound[audio.item_id]) // 2 * 1_000_000_000 // 24_000
        sound[audio.item_id] += audio.to_bytes()
    assert sound == {item: pcm[: len(pcm) & ~1] for item, pcm in recording.sound.items()}

    heard = {frame.item_id: frame.text for frame in harness.of(Transcript) if frame.final}
    assert heard == recording.transcripts
    partial = [frame.text.strip() for frame in harness.of(Transcript) if not frame.final]
    assert partial == [text.strip() for texts in recording.partials.values() for text in texts]
    for kind, type_ in ((SpeechStarted, "speech_started"), (SpeechStopped, "speech_stopped")):
        items = [frame.item_id for frame in harness.frames if isinstance(frame, kind)]
        assert items == [data["item_id"] for data in recording.of(f"input_audio_buffer.{type_}")]

    assert [data["type"] for data in player.got] == [data["type"] for data in recording.sent]
    for ours, theirs in zip(player.got, recording.sent, strict=True):
        if theirs["type"] == "session.update":
            ours["session"].pop("tools", None)  # the schema is made of the function; its own tests are elsewhere
            theirs["session"].pop("tools", None)
        if theirs["type"] != "input_audio_buffer.append":  # cut in the recording, in the middle of a sample
            matches(ours, theirs, OPTIONAL)

    written = [entry.text for entry in model.history if entry.role == "assistant"]
    assert written == list(recording.replies.values())
    asked = [entry.text for entry in model.history if entry.role == "user"]
    typed = [data["item"]["content"][0]["text"] for data in recording.sent if "content" in data.get("item", {})]
    assert asked == [*typed, *recording.transcripts.values()]
    answered = [(entry.call_id, entry.output) for entry in model.history if entry.role == "call"]
    assert answered == list(recording.outputs.items())
