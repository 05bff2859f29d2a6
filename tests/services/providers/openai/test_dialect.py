"""Dialects: one table for reading and writing sessions, responses, items and events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.services.history import Entry, Picture
from bargein.services.providers.azure import AZURE, AZURE_BETA, VOICE_LIVE, AzureRealtime, VoiceLive
from bargein.services.providers.openai.client.protocol import OpenAIProtocol
from bargein.services.providers.openai.dialect import BETA, GA, Dialect
from bargein.services.providers.openai.server._core.config import new_session
from bargein.services.providers.qwen import QWEN, QwenOmni
from bargein.services.providers.xai import XAI, GrokVoice
from bargein.services.realtime import Realtime, SessionReady

DIALECTS = {
    "GA": GA,
    "beta": BETA,
    "Azure": AZURE,
    "Azure's beta": AZURE_BETA,
    "Voice Live": VOICE_LIVE,
    "Qwen": QWEN,
    "xAI": XAI,
}
every = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
TOOL = {"type": "function", "name": "get_time", "description": "Clock", "parameters": {"type": "object"}}
WORDS = st.text(max_size=8)
NAMES = ["audio", "input", "output", "format", "type", "voice", "turn_detection", "tools", "function", "content", "id"]
SESSIONS = st.fixed_dictionaries(
    {"instructions": WORDS},
    optional={
        "output_modalities": st.sampled_from([["audio"], ["text"]]),
        "max_output_tokens": st.sampled_from(["inf", 100]),
        "tools": st.lists(st.just(TOOL), max_size=2),
        "audio": st.fixed_dictionaries(
            {},
            optional={
                "input": st.fixed_dictionaries(
                    {"turn_detection": st.none() | st.just({"type": "server_vad", "threshold": 0.3})},
                    optional={"format": st.sampled_from([{"type": "audio/pcmu"}, {"type": "audio/pcm"}])},
                ),
                "output": st.fixed_dictionaries({"voice": WORDS}),
            },
        ),
    },
)


@every
@given(SESSIONS)
def test_session_survives_writing_and_reading(dialect: Dialect, session: dict[str, Any]) -> None:
    """A session that is written in the dialect and read again is the same, except for fields that the dialect lacks."""
    given = json.loads(json.dumps(session))
    written = dialect.write_session(session)
    assert session == given, "what was given is not written to"
    read = dialect.read_session(written)
    lacks = {name for name in ("output_modalities",) if name in dialect.lacks}
    expected = {name: value for name, value in session.items() if name not in lacks and value != {}}
    assert read == ({"type": "realtime", **expected} if "type" in dialect.lacks else session)


@every
def test_whole_session(dialect: Dialect) -> None:
    """A server's session object survives too, and no field stays at GA's place if the dialect has another one."""
    session = new_session("s", "m", 0, dialect.session_defaults, lenient=True)
    written = dialect.write_session(session)
    assert not set(written) & dialect.lacks
    assert dialect.read_session(written)["audio"]["input"]["turn_detection"]["type"] == "server_vad"


def test_the_beta_is_flat() -> None:
    """As Azure and others still write it."""
    session = {
        "type": "realtime",
        "instructions": "Be short.",
        "output_modalities": ["audio"],
        "max_output_tokens": 7,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "turn_detection": {"type": "server_vad"},
                "transcription": {"model": "whisper-1"},
                "noise_reduction": None,
            },
            "output": {"format": {"type": "audio/pcma"}, "voice": "alloy", "speed": 1.0},
        },
        "tools": [TOOL],
    }
    flat = {
        "instructions": "Be short.",
        "modalities": ["text", "audio"],
        "max_response_output_tokens": 7,
        "input_audio_format": "pcm16",
        "output_audio_format": "g711_alaw",
        "input_audio_transcription": {"model": "whisper-1"},
        "input_audio_noise_reduction": None,
        "turn_detection": {"type": "server_vad"},
        "voice": "alloy",
        "tools": [TOOL],
    }
    assert BETA.write_session(session) == flat
    assert AZURE_BETA.write_session(session) == flat
    assert VOICE_LIVE.write_session(session) == {**flat, "input_audio_sampling_rate": 24_000}
    nested = {"type": "function", "function": {name: TOOL[name] for name in ("name", "description", "parameters")}}
    assert QWEN.write_session(session) == {**flat, "tools": [nested]}


@pytest.mark.parametrize("modalities", [["audio", "text"], ["text", "audio"], ["audio"]])
def test_alternative_spellings(modalities: list[str]) -> None:
    """Each spelling is understood. The first is written."""
    assert BETA.read_session({"modalities": modalities})["output_modalities"] == ["audio"]


def test_responses_and_items() -> None:
    """They are translated into the dialect and back."""
    ask = {"type": "response.create", "response": {"output_modalities": ["text"], "metadata": {"a": "b"}}}
    assert BETA.write_command(ask) == {"type": "response.create", "response": {"modalities": ["text"]}}
    assert json.loads(BETA.read_command(json.dumps(BETA.write_command(ask))))["response"] == {
        "output_modalities": ["text"]
    }
    bare = {"type": "response.create", "event_id": "e", "response": {"metadata": {"a": "b"}}}
    assert XAI.write_command(bare) == {"type": "response.create", "event_id": "e"}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}
    told = BETA.write_command({"type": "conversation.item.create", "item": said})
    assert told["item"]["content"] == [{"type": "text", "text": "Hi."}]
    assert json.loads(BETA.read_command(json.dumps(told)))["item"] == said
    done = {"type": "response.done", "response": {"id": "r", "output": [said], "audio": {"output": {"voice": "x"}}}}
    assert BETA.write_event(done) == {
        "type": "response.done",
        "response": {"id": "r", "output": [told["item"]], "voice": "x"},
    }


def test_pictures_of_qwen() -> None:
    """A picture is an item in GA and a separate event in Qwen's dialect, in both directions."""
    part = {"type": "input_image", "image_url": "data:image/jpeg;base64,/9j/"}
    item = {"type": "message", "role": "user", "content": [part]}
    event = {"type": "conversation.item.create", "event_id": "e", "item": item}
    shown = {"type": "input_image_buffer.append", "event_id": "e", "image": "/9j/"}
    assert QWEN.write_command(event) == shown
    assert json.loads(QWEN.read_command(json.dumps(shown))) == event


@pytest.mark.parametrize(
    "data",
    ["{", "[]", "{}", '{"type": 1}', '{"type": "session.update"}', '{"type": "session.update", "session": 3}', b"\xff"],
)
@every
def test_unreadable_fields_are_left(dialect: Dialect, data: str | bytes) -> None:
    """They stay for the decoder to refuse. Nothing raises."""
    assert dialect.read_command(data) == data


def test_events_that_a_dialect_lacks() -> None:
    """They are not sent. Others are renamed."""
    assert BETA.write_event({"type": "conversation.item.done", "item": {}}) is None
    assert BETA.write_event({"type": "response.output_text.done"}) == {"type": "response.text.done"}
    assert VOICE_LIVE.write_event({"type": "conversation.item.done"}) == {"type": "conversation.item.done"}


SHOWN = Entry(role="user", text="Look.", pictures=(Picture(media="image/jpeg", data=b"\xff\xd8"),))
UNSAID = Entry(role="user", pictures=(Picture(media="image/jpeg", data=b"\xff\xd8"),))


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        (AzureRealtime("d", "https://a.azure.com", api_key="k"), [["input_text", "input_image"], ["input_image"]]),
        (VoiceLive("m", "https://a.azure.com", api_key="k"), [["input_text"]]),
        (QwenOmni(api_key="k"), [["input_text"]]),
        (GrokVoice(api_key="k"), [["input_text"]]),
    ],
    ids=["Azure", "Voice Live", "Qwen", "xAI"],
)
def test_pictures_in_history(model: Realtime, kinds: list[list[str]]) -> None:
    """They are sent where a picture can be an item, and left out elsewhere."""
    told = [json.loads(message)["item"] for message in model._protocol().seed([SHOWN, UNSAID])]
    assert [[part["type"] for part in item["content"]] for item in told] == kinds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.slow
@every
@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6))
def test_session_with_fields_of_wrong_types(dialect: Dialect, session: dict[str, Any]) -> None:
    """A session whose fields have other types than documented raises nothing."""
    ours = OpenAIProtocol(url="wss://example.invalid", headers={}, dialect=dialect)
    (ready,) = ours.receive(json.dumps({"type": "session.updated", "session": session}))
    assert isinstance(ready, SessionReady)
    dialect.read_command(json.dumps({"type": "session.update", "session": session}))
    dialect.read_command(json.dumps({"type": "response.create", "response": session}))
    dialect.read_command(json.dumps({"type": "conversation.item.create", "item": session}))
