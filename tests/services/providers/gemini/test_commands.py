"""The Gemini Live protocol without I/O: what is sent for commands, and push to talk."""

from __future__ import annotations

import base64
from typing import Any

from bargein.services.history import Entry, Picture
from bargein.services.providers.gemini import PROFILE, GeminiProtocol
from bargein.services.providers.gemini.protocol import MAX_PENDING_MS
from bargein.services.realtime import Settings
from bargein.services.sockets import Endpoint

from .protocol_kit import INTERRUPTED, MADE, OVER, Both, sent, sound

PCM = b"\1\0" * 320


def live(messages: Any) -> list[str]:
    """The fields of realtime_input that are sent."""
    return [next(iter(each["realtime_input"])) for each in sent(messages)]


def test_setup_message() -> None:
    """It uses Gemini's words, with `extra` merged over it, and Gemini's own tools beside ours."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    both = Both(
        background={"slow": "SILENT"},
        voice="Puck",
        instructions="Be brief.",
        turn_detection={"type": "server_vad", "silenceDurationMs": 300, "interrupt_response": False},
        tools=[{"name": "slow", "description": "Slow.", "parameters": schema}],
        extra={"tools": [{"googleSearch": {}}], "generationConfig": {"temperature": 0.5}},
    )
    assert both.opening[0]["setup"] == {
        "model": "models/gemini-2.5",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}}},
            "temperature": 0.5,
        },
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "slow",
                        "description": "Slow.",
                        "behavior": "NON_BLOCKING",
                        "parameters": {
                            "type": "OBJECT",
                            "properties": {"a": {"type": "INTEGER"}},
                            "required": ["a"],
                        },
                    }
                ]
            },
            {"googleSearch": {}},
        ],
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
        "realtimeInputConfig": {
            "automaticActivityDetection": {"silenceDurationMs": 300},
            "activityHandling": "NO_INTERRUPTION",
        },
        "sessionResumption": {},
    }


def test_history_seeding() -> None:
    """History is sent as context only, with calls as words and pictures with their entries.

    Newer models are told in the setup that it will come.
    """
    both = Both()
    call = Entry(role="call", call_id="c", name="clock", arguments="{}", output="noon")
    picture = Picture(media="image/png", data=b"png")
    entries = [
        Entry(role="user", text="hello", pictures=(picture,)),
        Entry(role="assistant", text="hi there", heard="hi"),
        call,
        Entry(role="system", text="be brief"),
    ]
    (message,) = sent(both.protocol.seed(entries))
    assert message["client_content"]["turnComplete"] is False
    turns = message["client_content"]["turns"]
    assert [turn["role"] for turn in turns] == ["user", "model", "user", "user"]
    assert [part for turn in turns for part in turn["parts"]] == [
        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(b"png").decode()}},
        {"text": "hello"},
        {"text": "hi"},
        {"text": "(clock was called with {}, and answered: noon)"},
        {"text": "be brief"},
    ]
    for model, told in (("models/gemini-2.5-flash", False), ("models/gemini-3.1-flash-live", True)):
        seeded = GeminiProtocol(address=lambda: Endpoint(url="wss://x.invalid"), seeded=True)
        (setup,) = sent(seeded.open_session(Settings(model=model)))
        assert ("historyConfig" in setup["setup"]) is told


def test_text_waits_for_the_request() -> None:
    """Text alone would interrupt. Instructions come last."""
    protocol = Both().protocol
    assert sent(protocol.text("one")) == sent(protocol.text("two")) == []
    (message,) = sent(protocol.respond("briefly"))
    assert [turn["parts"][0]["text"] for turn in message["client_content"]["turns"]] == ["one", "two", "briefly"]
    assert message["client_content"]["turnComplete"] is True
    assert sent(protocol.respond()) == [{"client_content": {"turnComplete": True}}]


def test_newer_models_get_text_as_realtime_input() -> None:
    """Text and request are one message."""
    protocol = Both(model="models/gemini-3.1-flash-live-preview").protocol
    list(protocol.text("one"))
    list(protocol.text("two"))
    assert sent(protocol.respond()) == [{"realtime_input": {"text": "one\ntwo"}}]


def test_sound_and_pictures() -> None:
    """They are sent as they come. A pause of the source is reported once."""
    protocol = Both().protocol
    (message,) = sent(protocol.audio(PCM))
    assert message["realtime_input"]["audio"]["mimeType"] == "audio/pcm;rate=16000"
    assert base64.b64decode(message["realtime_input"]["audio"]["data"]) == PCM
    (message,) = sent(protocol.image(b"jpeg", "jpg"))
    assert message["realtime_input"]["video"]["mimeType"] == "image/jpeg"
    assert live(protocol.audio_paused()) == ["audioStreamEnd"]
    assert live(protocol.audio_paused()) == []
    assert live(protocol.speech_started()) + live(protocol.clear_audio()) == []


def test_newer_models_get_no_sound_during_a_call() -> None:
    """Sound would close the connection, so up to half a minute of it waits."""
    both = Both(model="models/gemini-3.1-flash-live-preview")
    both({"toolCall": {"functionCalls": [{"id": "c1", "name": "clock"}]}})
    for _ in range(2 * MAX_PENDING_MS // 20):
        assert live(both.protocol.audio(PCM)) == []
    answer, *rest = sent(both.protocol.tool_result("c1", "noon"))
    assert "tool_response" in answer
    assert 20 * len(rest) == MAX_PENDING_MS
    assert both.protocol.dropped_ms == MAX_PENDING_MS
    assert live(both.protocol.audio(PCM)) == ["audio"]


def test_activity_lasts_until_the_commit() -> None:
    """Sound begins the activity when the model is silent. A commit ends it and asks for the answer."""
    both = Both(turn_detection=None)
    assert both.opening[0]["setup"]["realtimeInputConfig"] == {"automaticActivityDetection": {"disabled": True}}
    protocol = both.protocol
    assert live(protocol.audio(PCM)) == ["activityStart", "audio"]
    assert live(protocol.audio(PCM)) == ["audio"]
    assert live(protocol.commit()) == ["activityEnd"]
    assert live(protocol.audio_paused()) == []


def test_sound_waits_while_the_model_speaks() -> None:
    """It would interrupt. It goes with the next activity, or with the commit of the user's turn."""
    both = Both(turn_detection=None)
    protocol = both.protocol
    list(protocol.audio(PCM))
    list(protocol.commit())
    assert live(protocol.audio(PCM)) == [], "the answer is awaited"
    both(sound(), MADE)
    assert live(protocol.audio(PCM)) == [], "it plays"
    assert live(protocol.commit()) == ["activityStart", "audio", "audio", "activityEnd"]
    both(INTERRUPTED, OVER, sound(), MADE, OVER)
    assert live(protocol.audio(PCM)) == ["activityStart", "audio"]


def test_interrupt_begins_an_activity() -> None:
    """The last second of sound goes with it, because a detector decides late."""
    both = Both(turn_detection=None)
    protocol = both.protocol
    list(protocol.respond())
    both(sound())
    for _ in range(100):
        list(protocol.audio(PCM))
    assert live(protocol.cancel("turn-1")) == ["activityStart", *["audio"] * 50]
    assert live(protocol.speech_started()) == live(protocol.cancel("turn-1")) == []
    assert live(protocol.audio(PCM)) == ["audio"]


def test_speech_alone_does_not_interrupt() -> None:
    """It may be a cough. All of it goes with the interrupt that follows, or with the sound after the reply."""
    for interrupted in (True, False):
        both = Both(turn_detection=None)
        protocol = both.protocol
        list(protocol.respond())
        both(sound())
        for _ in range(100):
            list(protocol.audio(PCM))
        assert live(protocol.speech_started()) == []
        for _ in range(20):
            assert live(protocol.audio(PCM)) == []
        if not interrupted:
            both(MADE, OVER)
        began = live(protocol.cancel("turn-1") if interrupted else protocol.audio(PCM))
        assert began == ["activityStart", *["audio"] * (70 + (not interrupted))]


def test_detector_above_begins_activities() -> None:
    """Once it has reported speech, sound alone begins no activity."""
    both = Both(turn_detection=None)
    protocol = both.protocol
    list(protocol.speech_started())
    list(protocol.audio(PCM))
    list(protocol.commit())
    both(sound(), MADE, OVER)
    assert live(protocol.audio(PCM)) == []
    assert live(protocol.clear_audio()) == []
    assert live(protocol.speech_started()) == ["activityStart"], "what was cleared is forgotten"


def test_commit_without_sound_requests_an_answer() -> None:
    """It answers the typed text, or nothing at all."""
    protocol = Both(turn_detection=None).protocol
    list(protocol.text("hello"))
    (message,) = sent(protocol.commit())
    assert message["client_content"]["turns"][0]["parts"] == [{"text": "hello"}]


def test_text_ends_an_activity() -> None:
    """The newest picture is sent with it."""
    protocol = Both(turn_detection=None).protocol
    assert live(protocol.image(b"old", "jpeg")) == live(protocol.image(b"new", "jpeg")) == []
    list(protocol.text("what is this?"))
    picture, question = sent(protocol.respond())
    assert base64.b64decode(picture["realtime_input"]["video"]["data"]) == b"new"
    assert "client_content" in question
    list(protocol.cancel("turn-1"))
    list(protocol.text("and this?"))
    end, question = sent(protocol.respond())
    assert end == {"realtime_input": {"activityEnd": {}}}


def test_profile_refuses_unsupported_options() -> None:
    """The error comes before anything is sent."""
    assert not PROFILE.supports_cancel
    assert not PROFILE.sends_response_ids
    assert PROFILE.supports_resumption
