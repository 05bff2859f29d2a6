"""Recorded sessions of the real service: what was received means what it meant, what is sent looks as it did.

The recordings are no part of the project: `BARGEIN_RECORDINGS` names the folder they are in.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Audio, Failure, Interrupt, ResponseEnded, ResponseStarted, Text, ToolCall, Usage, UserText
from bargein.pipeline.testing import Harness
from bargein.services.frames import Connected, Disconnected
from bargein.services.history import Entry, History
from bargein.services.providers.gemini import GeminiLive, GeminiProtocol, wire
from bargein.services.realtime import (
    AudioPiece,
    Event,
    ProtocolFault,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    Settings,
    TextPiece,
    ToolCallReceived,
)
from bargein.services.sockets import Endpoint
from bargein.services.tools import tool
from tests.services.recordings import Player, matches, steps
from tests.services.recordings import recorded as recorded_of

recorded = recorded_of("gemini")
OPTIONAL = {
    "setup.sessionResumption",
    "setup.contextWindowCompression.slidingWindow",
    "setup.systemInstruction.role",
}
"""What we send and the recorded client did not."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([*wire.ServerMessage.__struct_encode_fields__])
INNER = st.sampled_from([*wire.ServerContent.__struct_encode_fields__, "functionCalls", "ids", "parts", "text"])


@tool
async def record_reading(zqx_measurement: int, qbf_note: str | None = None) -> str:
    """Store the supplied sensor value."""
    return f"Recorded {zqx_measurement} ({qbf_note})."


class Recording:
    """A session as it was recorded, and what is to be found in it."""

    def __init__(self, name: str) -> None:
        self.steps = steps(name)
        self.received = [data for direction, data in self.steps if direction == "received"]
        self.sent = [data for direction, data in self.steps if direction == "sent"]
        contents = [data["serverContent"] for data in self.received if "serverContent" in data]
        self.said = "".join(each["outputTranscription"]["text"] for each in contents if "outputTranscription" in each)
        parts = [part for each in contents for part in each.get("modelTurn", {}).get("parts", [])]
        self.sound = b"".join(base64.b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part)
        self.calls = [
            (call["id"], call["name"], call["args"])
            for data in self.received
            for call in data.get("toolCall", {}).get("functionCalls", [])
        ]
        (self.used,) = (data["usageMetadata"] for data in self.received if "usageMetadata" in data)
        # What the model thought is billed as output, and counted apart from it.
        self.output_tokens = self.used["responseTokenCount"] + self.used.get("thoughtsTokenCount", 0)
        (self.setup,) = (data["setup"] for data in self.sent if "setup" in data)
        turns = [data["client_content"] for data in self.sent if "client_content" in data]
        self.asked = [turn["turns"][0]["parts"][0]["text"] for turn in turns if turn["turnComplete"]]
        self.earlier = [
            Entry(role="user" if each["role"] == "user" else "assistant", text=each["parts"][0]["text"])
            for turn in turns
            if not turn["turnComplete"]
            for each in turn["turns"]
        ]

    def model(self, **options: Any) -> GeminiLive:
        """A model that asks for the same."""
        history = History()
        for entry in self.earlier:
            if entry.role == "user":
                history.user(entry.text)
            else:
                history.assistant(entry.text)
        instructions = self.setup.get("systemInstruction", {"parts": [{"text": ""}]})["parts"][0]["text"]
        return GeminiLive(
            self.setup["model"],
            api_key="x",
            instructions=instructions,
            tools=[record_reading] if "tools" in self.setup else [],
            history=history,
            **options,
        )


# Replayed through the protocol ----------------------------------------------------------------------------------------


def protocol(**settings: Any) -> GeminiProtocol:
    made = GeminiProtocol(address=lambda: Endpoint(url="wss://example.invalid"))
    list(made.open_session(Settings(model="m", turn_detection={"type": "server_vad"}, transcription={}, **settings)))
    return made


@recorded
@pytest.mark.parametrize("binary", [True, False])
def test_recorded_messages_decode_to_the_same_events(name: str, binary: bool) -> None:
    """One turn, its words, its sound, its calls and its usage, from frames of either kind."""
    recording, ours = Recording(name), protocol()
    frames = [json.dumps(data).encode() if binary else json.dumps(data) for data in recording.received]
    events: list[Event] = [event for frame in frames for event in ours.receive(frame)]
    assert not [event for event in events if isinstance(event, ProtocolFault)]
    assert isinstance(events[0], SessionReady)
    began, over = ([event for event in events if isinstance(event, kind)] for kind in (ResponseBegan, ResponseOver))
    assert [event.response_id for event in began] == [event.response_id for event in over] == ["turn-1"]
    pieces = [event for event in events if isinstance(event, AudioPiece | TextPiece | ToolCallReceived)]
    assert {event.response_id for event in pieces} == {"turn-1"}
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == recording.said
    assert b"".join(event.pcm for event in events if isinstance(event, AudioPiece)) == recording.sound
    made = [
        (event.call_id, event.name, json.loads(event.arguments))
        for event in events
        if isinstance(event, ToolCallReceived)
    ]
    assert made == recording.calls
    (ended,) = (event for event in events if isinstance(event, ResponseOver))
    assert ended.outcome == "completed"
    assert ended.usage["input_tokens"] == recording.used["promptTokenCount"]
    assert ended.usage["output_tokens"] == recording.output_tokens
    details = {each["modality"]: each["tokenCount"] for each in recording.used["responseTokensDetails"]}
    assert ended.usage["output_audio_tokens"] == details["AUDIO"]


# Replayed through the whole processor ---------------------------------------------------------------------------------


@recorded
@pytest.mark.virtual
async def test_recorded_messages_lead_to_the_same_frames(name: str) -> None:
    """Through sockets, driver and dialogue the frames are the same, in epoch 0, and the same messages are sent."""
    recording = Recording(name)
    player = Player(recording.steps, str.encode)
    model = recording.model(connect=player.connect)
    with anyio.fail_after(60):
        async with Harness(model) as harness:
            await harness.next(Connected)
            for text in recording.asked:
                await harness.send(UserText(text=text))
            await player.over.wait()
            await harness.settle()
            await harness.end()
    assert not harness.of(Failure)
    assert not harness.of(Interrupt)
    assert not harness.of(Disconnected)
    (started,), (ended,) = harness.of(ResponseStarted), harness.of(ResponseEnded)
    assert ended.response_id == started.response_id
    assert ended.outcome == "completed"
    assert "".join(frame.text for frame in harness.of(Text)) == recording.said
    sound = b"".join(frame.to_bytes() for frame in harness.of(Audio))
    assert sound == recording.sound[: len(recording.sound) & ~1]
    made = [(frame.call_id, frame.name, json.loads(frame.arguments)) for frame in harness.of(ToolCall)]
    assert made == recording.calls
    assert [frame.output_tokens for frame in harness.of(Usage)] == [recording.output_tokens]
    assert len(player.got) == len(recording.sent)
    for ours, theirs in zip(player.got, recording.sent, strict=True):
        matches(ours, theirs, OPTIONAL)
    entries = [entry.text for entry in model.history if entry.role == "assistant"]
    assert entries[-1] == recording.said


# The codec ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "null",
        "[]",
        '"setupComplete"',
        '{"serverContent":7}',
        '{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"no base64"}}]}}}',
        '{"toolCall":{"functionCalls":[{"id":"c"}]}}',
        b"\xff\xfe",
        b"",
    ],
)
def test_malformed_messages_are_faults(data: str | bytes) -> None:
    """Not JSON, not an object, or fields of the wrong type: each is one error and one fault event."""
    with pytest.raises(wire.MalformedMessageError, match=r"."):
        wire.decode(data)
    assert [type(event) for event in protocol().receive(data)] == [ProtocolFault]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"serverContent": {}},
        {"serverContent": {"groundingMetadata": {"a": [1]}, "waitingForInput": True}},
        {"somethingNew": {"x": 1}},
        {"usageMetadata": ["odd"]},
        {"usageMetadata": {"promptTokenCount": "many", "responseTokensDetails": [7]}},
        {"voiceActivity": 7},
        {"sessionResumptionUpdate": {"resumable": False}},
        {
            "serverContent": {
                "modelTurn": {"parts": [{"executableCode": {"code": "1"}}, {"text": "hm", "thought": True}]}
            }
        },
        {"serverContent": {"modelTurn": None, "interrupted": None, "outputTranscription": {"text": None}}},
    ],
)
def test_unknown_and_empty_messages_are_ignored(data: dict[str, Any]) -> None:
    """They are neither an event nor a fault."""
    assert list(protocol().receive(json.dumps(data))) == []


@given(JSON | st.dictionaries(KEYS, JSON | st.dictionaries(INNER, JSON, max_size=3), max_size=3))
def test_any_json_is_handled(value: Any) -> None:
    """Nothing else is raised, whatever comes."""
    ours = protocol()
    for event in ours.receive(json.dumps(value)):
        assert isinstance(event, Event)
    assert not [event for event in ours.receive('{"serverContent":{}}') if isinstance(event, ProtocolFault)]


@given(st.binary() | st.text())
def test_any_bytes_are_handled(data: str | bytes) -> None:
    """Nothing else is raised, whatever comes."""
    assert all(isinstance(event, Event) for event in protocol().receive(data))
