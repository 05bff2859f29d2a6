"""What each command of the client looks like on the wire."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
import pytest

from bargein.services.history import Entry, History
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.client.protocol import PROFILE, AudioForm, OpenAIProtocol
from bargein.services.realtime import AudioPiece, Event, Settings, ToolCallReceived
from bargein.services.sockets import Endpoint

from .protocol_kit import CALL, OF, PCM, SETTINGS, hears, message, protocol

SHORT = "item_0123456789012345678901234567"[:32]


def text_item(role: str, kind: str, text: str) -> dict[str, Any]:
    content = [{"type": kind, "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": content}}


COMMANDS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "audio": (lambda p: [p.audio(PCM)], [{"type": "input_audio_buffer.append", "audio": "AAABAP//AgA="}]),
    "commit": (lambda p: p.commit(), [{"type": "input_audio_buffer.commit"}]),
    "clear": (lambda p: p.clear_audio(), [{"type": "input_audio_buffer.clear"}]),
    "text": (lambda p: p.text("hello"), [text_item("user", "input_text", "hello")]),
    "image": (
        lambda p: p.image(b"\xff\xd8\xff\xe0", "jpeg"),
        [
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "data:image/jpeg;base64,/9j/4A=="}],
                },
            }
        ],
    ),
    "tool result": (
        lambda p: p.tool_result("call_7", '{"time":"10:05"}'),
        [
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "call_7", "output": '{"time":"10:05"}'},
            }
        ],
    ),
    "empty tool result": (
        lambda p: p.tool_result("call_7", ""),
        [
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "call_7", "output": ""},
            }
        ],
    ),
    "respond": (
        lambda p: p.respond(),
        [
            {
                "type": "response.create",
                "event_id": "respond-1",
                "response": {"metadata": {"request": "respond-1"}},
            }
        ],
    ),
    "respond in a way": (
        lambda p: p.respond("Be kind."),
        [
            {
                "type": "response.create",
                "event_id": "respond-1",
                "response": {"metadata": {"request": "respond-1"}, "instructions": "Be kind."},
            }
        ],
    ),
    "aside": (
        lambda p: p.out_of_band("summary", "Sum it up."),
        [
            {
                "type": "response.create",
                "event_id": "out-of-band-1",
                "response": {
                    "conversation": "none",
                    "output_modalities": ["text"],
                    "tool_choice": "none",
                    "instructions": "Sum it up.",
                    "metadata": {"apart": "summary"},
                },
            }
        ],
    ),
    "cancel": (lambda p: p.cancel("resp_1"), [{"type": "response.cancel", "response_id": "resp_1"}]),
    "truncate": (
        lambda p: p.truncate("item_A", 1480),
        [{"type": "conversation.item.truncate", "item_id": "item_A", "content_index": 0, "audio_end_ms": 1480}],
    ),
    "forget": (lambda p: p.delete_item("item_A"), [{"type": "conversation.item.delete", "item_id": "item_A"}]),
    "opening": (
        lambda p: p.open_session(SETTINGS),
        [
            {
                "type": "session.update",
                "event_id": "settings",
                "session": {
                    "type": "realtime",
                    "instructions": "Be brief.",
                    "output_modalities": ["audio"],
                    "audio": {
                        "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": None},
                        "output": {"format": {"type": "audio/pcm", "rate": 24000}},
                    },
                    "tools": [],
                },
            }
        ],
    ),
    "no replies": (lambda p: p.take_replies(), []),
    "no history": (lambda p: p.seed([]), []),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str) -> None:
    """Each, to the letter; and a client event of the interface."""
    command, expected = COMMANDS[name]
    made = list(command(protocol()))
    assert [message(each) for each in made] == expected
    assert not [each for each in made if isinstance(wire.decode_client_event(each), str)]


def test_a_picture_may_have_a_detail() -> None:
    """If it is said, it is sent."""
    (made,) = protocol().image(b"x", "png", "high")
    (part,) = message(made)["item"]["content"]
    assert part == {"type": "input_image", "image_url": "data:image/png;base64,eA==", "detail": "high"}


@pytest.mark.parametrize(("item", "sent"), [("", None), ("u1", "u1"), (SHORT, SHORT), (SHORT + "x", None)])
def test_ids_of_items(item: str, sent: str | None) -> None:
    """Ours, as far as the interface takes them."""
    (made,) = protocol().text("hello", item)
    assert message(made)["item"].get("id") == sent


def test_all_settings() -> None:
    """Each in its place; `extra` over all of them, deep inside."""
    tool = {"name": "get_time", "description": "Clock", "parameters": {"type": "object", "properties": {}}}
    settings = Settings(
        model="m",
        instructions="Be brief.",
        voice="marin",
        output="text",
        tools=[tool],
        turn_detection={"type": "semantic_vad", "eagerness": "high"},
        transcription={"model": "whisper-1", "language": "en"},
        extra={
            "max_output_tokens": 100,
            "audio": {"output": {"speed": 1.2}, "input": {"transcription": {"language": "de"}}},
            "tool_choice": "required",
        },
    )
    (made,) = protocol().update(settings)
    assert message(made) == {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "Be brief.",
            "output_modalities": ["text"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
                    "transcription": {"model": "whisper-1", "language": "de"},
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.2},
            },
            "tools": [{"type": "function", **tool}],
            "max_output_tokens": 100,
            "tool_choice": "required",
        },
    }
    assert settings.extra["audio"]["output"] == {"speed": 1.2}, "what was given is not written to"


@pytest.mark.parametrize("form", ["audio/pcmu", "audio/pcma"])
def test_telephone_sound(form: AudioForm) -> None:
    """G.711 on the wire, a byte a sample, named without a rate; 16-bit samples on our side of it."""
    profile = msgspec.structs.replace(PROFILE, input_rate=8000, output_rate=8000)
    ours = OpenAIProtocol(url="wss://example.invalid", headers={}, profile=profile, form=form)
    told = ours.session(SETTINGS)["audio"]
    assert told["input"]["format"] == told["output"]["format"] == {"type": form}
    sound = (8000 * np.sin(np.arange(160) / 5)).astype("<i2")
    sent = message(ours.audio(sound.tobytes()))["audio"]
    assert len(base64.b64decode(sent)) == 160
    (piece,) = hears(ours, "response.output_audio.delta", **OF, delta=sent)
    assert isinstance(piece, AudioPiece)
    assert np.abs(np.frombuffer(piece.pcm, "<i2").astype(int) - sound).max() < 300


def test_a_conversation_is_seeded() -> None:
    """Words by their role, of the agent's those that were heard; a call goes with its answer."""
    ours = protocol()
    entries = [
        Entry(role="system", text="The shop is closed."),
        Entry(role="user", text="When do you open?", item_id="item_of_another_session"),
        Entry(role="call", call_id="c", name="get_time", arguments='{"city":"Rome"}', output="10:05"),
        Entry(role="assistant", text="At nine, as always.", heard="At nine,"),
        Entry(role="assistant", text="Goodbye."),
    ]
    call = {"type": "function_call", "call_id": "c", "name": "get_time", "arguments": '{"city":"Rome"}'}
    assert [message(each) for each in ours.seed(entries)] == [
        text_item("system", "input_text", "The shop is closed."),
        text_item("user", "input_text", "When do you open?"),
        {"type": "conversation.item.create", "item": call},
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "10:05"},
        },
        text_item("assistant", "output_text", "At nine,"),
        text_item("assistant", "output_text", "Goodbye."),
    ]
    # A response of the new session may use the id again: then it is another call.
    assert len(hears(ours, "response.output_item.done", response_id="r", item=CALL)) == 1
    assert hears(ours, "response.output_item.done", response_id="r", item=CALL) == []


def test_where_it_connects() -> None:
    """To the given address with the given headers, which nobody prints."""
    endpoint = protocol().endpoint()
    assert isinstance(endpoint, Endpoint)
    assert (endpoint.url, endpoint.headers["Authorization"]) == (
        "wss://example.invalid/v1/realtime?model=m",
        "Bearer x",
    )
    assert "Bearer" not in repr(endpoint)


def test_profiles_are_kept_apart() -> None:
    """One connection's profile is its own: the class keeps OpenAI's."""
    azure = msgspec.structs.replace(PROFILE, provider="Azure OpenAI")
    assert OpenAIProtocol(url="wss://example.invalid", headers={}, profile=azure).profile.provider == "Azure OpenAI"
    assert OpenAIProtocol.profile.provider == protocol().profile.provider == "OpenAI"


def test_ids_of_earlier_calls_are_made_to_fit() -> None:
    """Other providers have longer ids: a call and its results keep one id, and two calls keep two."""
    ours, history = protocol(), History()
    ids = [f"call-6f1c2a3b-1111-2222-3333-444455556666-{at}" for at in (0, 1)]
    for call_id in (*ids, "call_short"):
        history.call(call_id, "weather", "{}", "r1")
        history.result(call_id, "sunny")
    items = [message(each)["item"] for each in ours.seed(history.remembered)]
    late = message(next(iter(ours.tool_result(ids[0], "rain"))))["item"]
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    assert all(len(call_id) <= 32 for call_id in calls)
    assert calls[2] == "call_short"
    assert len(set(calls)) == 3
    assert [item["call_id"] for item in items if item["type"] == "function_call_output"] == calls
    assert late["call_id"] == calls[0]
    own = message(next(iter(ours.tool_result("call-of-this-provider-with-a-very-long-id", "x"))))["item"]
    assert own["call_id"] == "call-of-this-provider-with-a-very-long-id"


def test_a_call_id_may_be_used_again_in_another_response() -> None:
    """Within a response a call is reported once, however often it is sent; the same id later is another call."""
    ours = protocol()

    def calls(response_id: str) -> list[Event]:
        item = {"type": "function_call", "call_id": "call_1", "name": "clock", "arguments": "{}", "status": "completed"}
        fields = {"response_id": response_id, "item_id": "i", "output_index": 0}
        events = hears(ours, "response.function_call_arguments.done", **fields, call_id="call_1", name="clock")
        events += hears(ours, "response.output_item.done", **fields, item=item)
        events += hears(ours, "response.done", response={"id": response_id, "status": "completed", "output": [item]})
        return [event for event in events if isinstance(event, ToolCallReceived)]

    for response_id in ("r1", "r2"):
        (call,) = calls(response_id)
        assert call == ToolCallReceived(response_id=response_id, call_id="call_1", name="clock", arguments="{}")
