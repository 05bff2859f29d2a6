"""The Gemini Live protocol without I/O: which response a piece belongs to, and what is sent for a command."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bargein.services.history import Entry, Picture
from bargein.services.providers.gemini import PROFILE, GeminiProtocol, wire
from bargein.services.providers.gemini._turns import LATE_MS, Continuity
from bargein.services.providers.gemini.protocol import MAX_PENDING_MS
from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    GoingAway,
    ItemOver,
    ResponseBegan,
    ResponseOver,
    Resumable,
    SessionReady,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    ToolCallWithdrawn,
    Transcribed,
    UsageReported,
)
from bargein.services.sockets import Endpoint

AUTOMATIC = {"type": "server_vad"}
PCM = b"\1\0" * 320


def content(**fields: Any) -> dict[str, Any]:
    return {"serverContent": fields}


def sound(ms: int = 20) -> dict[str, Any]:
    data = base64.b64encode(bytes(48 * ms)).decode()
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}
    return content(modelTurn={"parts": [part]})


def words(text: str) -> dict[str, Any]:
    return content(outputTranscription={"text": text})


def heard(text: str, **more: Any) -> dict[str, Any]:
    return content(inputTranscription={"text": text, **more})


MADE = content(generationComplete=True)
OVER = content(turnComplete=True)
INTERRUPTED = content(interrupted=True)


class Both:
    """A protocol, and what it made of the messages so far."""

    def __init__(self, *, model: str = "models/gemini-2.5", background: Any = None, **settings: Any) -> None:
        self.protocol = GeminiProtocol(address=lambda: Endpoint(url="wss://x.invalid"), background=background)
        told = {"turn_detection": AUTOMATIC, "transcription": {}, **settings}
        self.opening = [json.loads(each) for each in self.protocol.open_session(Settings(model=model, **told))]
        self.events: list[Event] = []

    def __call__(self, *messages: dict[str, Any]) -> list[Event]:
        """Receive; gives the events of these."""
        made = [event for each in messages for event in self.protocol.receive(json.dumps(each).encode())]
        self.events += made
        return made

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Boundaries and sound, each with the number of its response."""
        kinds = {ResponseBegan: "began", AudioPiece: "sound", TextPiece: "words", ResponseOver: "over"}
        found = [
            (event.outcome if isinstance(event, ResponseOver) else kinds[type(event)], event.response_id[-1])  # type: ignore[attr-defined]
            for event in self.events
            if type(event) in kinds
        ]
        return [each for at, each in enumerate(found) if not at or found[at - 1] != each]


def sent(messages: Any) -> list[Any]:
    """What is sent, as JSON."""
    return [json.loads(each) for each in messages]


def live(messages: Any) -> list[str]:
    """The fields of realtime_input that are sent."""
    return [next(iter(each["realtime_input"])) for each in sent(messages)]


# Which response a piece belongs to ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([sound(), words("a"), MADE, OVER], "began1 sound1 words1 completed1"),
        ([words("a"), sound(), OVER], "began1 words1 sound1 completed1"),
        ([sound(), INTERRUPTED, OVER, sound(), MADE, OVER], "began1 sound1 interrupted1 began2 sound2 completed2"),
        (
            [sound(), INTERRUPTED, sound(), OVER, sound(), MADE, OVER],
            "began1 sound1 interrupted1 began2 sound2 completed2",
        ),
        ([sound(), MADE, words("late"), OVER], "began1 sound1 words1 completed1"),
        ([sound(), MADE, sound(), OVER, MADE, OVER], "began1 sound1 completed1 began2 sound2 completed2"),
        ([sound(), MADE, sound(), MADE, OVER], "began1 sound1 completed1 began2 sound2 completed2"),
        ([sound(), MADE, INTERRUPTED, OVER], "began1 sound1 interrupted1"),
        ([INTERRUPTED, OVER, sound(), MADE, OVER], "began1 sound1 completed1"),
        ([OVER, sound(), MADE, OVER], "began1 sound1 completed1"),
        ([content(), sound(), content(), OVER], "began1 sound1 completed1"),
    ],
)
def test_responses_are_separated_by_order(messages: list[dict[str, Any]], turns: str) -> None:
    """`interrupted`, `turnComplete` and sound after `generationComplete` are boundaries.

    A boundary belongs to what came before it.
    """
    both = Both()
    both(*messages)
    assert " ".join(map("".join, both.turns)) == turns


def test_several_keys_in_one_message() -> None:
    """The order is words, sound, boundaries, usage."""
    both = Both()
    message = sound()
    message["serverContent"] |= {"outputTranscription": {"text": "a"}, "generationComplete": True, "turnComplete": True}
    message["usageMetadata"] = {
        "promptTokenCount": 7,
        "candidatesTokenCount": 5,
        "cachedContentTokenCount": 3,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}],
    }
    both(message)
    assert [kind for kind, _ in both.turns] == ["began", "words", "sound", "completed"]
    assert both.of(ItemOver)
    usage = {"input_tokens": 7, "output_tokens": 5, "cached_tokens": 3, "input_audio_tokens": 6}
    assert both.of(ResponseOver)[0].usage == usage


def test_reasoning_counts_as_output() -> None:
    """The API counts the tokens of reasoning apart from those of the response."""
    both = Both()
    both(sound(), OVER | {"usageMetadata": {"responseTokenCount": 37, "thoughtsTokenCount": 28}})
    assert both.of(ResponseOver)[0].usage == {"output_tokens": 65}


def test_usage_of_an_interrupted_turn() -> None:
    """It arrives with the boundary, and belongs to the interrupted turn although that is over."""
    both = Both()
    both(sound(), INTERRUPTED, OVER | {"usageMetadata": {"promptTokenCount": 3}})
    assert both.of(UsageReported) == [UsageReported(response_id="turn-1", usage={"input_tokens": 3})]


def test_request_that_ends_without_a_response() -> None:
    """Interrupted or unanswered, it ends as a response that never began."""
    both = Both()
    list(both.protocol.respond())
    both(INTERRUPTED, OVER)
    list(both.protocol.respond())
    both(OVER)
    assert [(event.outcome, event.response_id) for event in both.of(ResponseOver)] == [
        ("interrupted", "turn-1"),
        ("failed", "turn-2"),
    ]
    assert both.of(ResponseBegan) == []


def test_words_with_sound_belong_to_its_turn() -> None:
    """Words without sound may be late, and then belong to the turn before."""
    both = Both()
    new = sound()
    new["serverContent"]["outputTranscription"] = {"text": "new"}
    both(sound(), MADE, words("late"), new)
    assert both.turns[-3:] == [("began", "2"), ("words", "2"), ("sound", "2")]
    assert [(event.response_id, event.text) for event in both.of(TextPiece)] == [("turn-1", "late"), ("turn-2", "new")]


def test_ids_are_unique() -> None:
    """Ids are unique over all connections of a conversation."""
    continuity = Continuity()
    for number in ("1", "2"):
        both = Both()
        both.protocol = GeminiProtocol(address=lambda: Endpoint(url="wss://x.invalid"), continuity=continuity)
        both(sound())
        assert both.turns[0] == ("began", number)


def test_ids_of_several_conversations() -> None:
    """Ids begin with a mark of their conversation, so two conversations in one history never share one."""
    call = wire.FunctionCall(name="clock")
    one, other = Continuity("a-"), Continuity("b-")
    assert [one.next_turn(), one.next_user_item(), one.add_call(call)] == ["a-turn-1", "a-user-1", "a-call-1"]
    assert [other.next_turn(), other.next_user_item(), other.add_call(call)] == ["b-turn-1", "b-user-1", "b-call-1"]


def test_reasoning_is_not_spoken() -> None:
    """Text is not spoken either, where the model speaks. Where it writes, text is the reply."""
    parts = content(modelTurn={"parts": [{"text": "hm", "thought": True}, {"text": "yes"}]})
    assert Both()(parts) == []
    written = Both(output="text")
    written(parts, MADE)
    assert [event.text for event in written.of(TextPiece)] == ["yes"]
    assert written.of(ItemOver), "a voice of one's own need not wait for the boundary"


# What the user said ---------------------------------------------------------------------------------------------------


def test_transcripts_share_one_item_until_the_answer() -> None:
    """Each transcript holds all that is known.

    It is final when the model begins, and a late one belongs to the same item.
    """
    both = Both()
    both(heard("Good"), heard(" morning"), sound(), heard(" to you"), MADE, OVER, heard("Next"))
    said = [(event.item_id, event.text, event.final) for event in both.of(Transcribed)]
    assert said == [
        ("user-1", "Good", False),
        ("user-1", "Good morning", False),
        ("user-1", "Good morning", True),
        ("user-1", "Good morning to you", True),
        ("user-2", "Next", False),
    ]


def test_words_during_a_reply_are_the_next_item() -> None:
    """This holds once so much of the reply has come that the words cannot be late."""
    both = Both()
    both(heard("Hello"), sound(LATE_MS + 100), heard("wait"), INTERRUPTED, OVER, heard(" please"), sound())
    said = [(event.item_id, event.text, event.final) for event in both.of(Transcribed)]
    assert said[2:] == [("user-2", "wait", False), ("user-2", "wait please", False), ("user-2", "wait please", True)]


def test_late_transcript_stands_before_its_answer() -> None:
    """If the answer is to typed text, there is no such place."""
    both = Both()
    both(sound(), heard("Hello"))
    kinds = [type(event) for event in both.events]
    assert kinds.index(AudioCommitted) < kinds.index(ResponseBegan)
    assert both.of(Transcribed) == [Transcribed(item_id="user-1", text="Hello", final=True)]
    written = Both()
    list(written.protocol.respond())
    written(sound())
    assert written.of(AudioCommitted) == []


def test_unanswered_words_become_final() -> None:
    """The next words are another item."""
    both = Both()
    both(heard("Hm"), OVER, heard("Hello", finished=True))
    assert [(event.item_id, event.final) for event in both.of(Transcribed)] == [
        ("user-1", False),
        ("user-1", True),
        ("user-2", True),
    ]


def test_activity_events_of_the_server() -> None:
    """Vertex reports speech when asked. It interrupts where the server interrupts."""
    both = Both()
    both({"voiceActivity": {"voiceActivityType": "ACTIVITY_START", "audioOffset": "1.5s"}})
    both({"voiceActivity": {"voiceActivityType": "ACTIVITY_END", "audioOffset": "2s"}})
    assert both.events == [SpeechBegan(ms=1500.0, interrupts=True), SpeechOver(ms=2000.0)]


# Calls and sessions ---------------------------------------------------------------------------------------------------


def test_calls() -> None:
    """Calls of the present turn are answered with their names. Calls without an id are answered without one."""
    both = Both(background={"slow": "WHEN_IDLE"})
    calls = [{"id": "c1", "name": "quick", "args": {"a": 1}}, {"name": "slow"}]
    both({"toolCall": {"functionCalls": calls}}, {"toolCallCancellation": {"ids": ["c1", "c9"]}})
    first, second = both.of(ToolCallReceived)
    assert (first.call_id, first.name, json.loads(first.arguments), first.waits) == ("c1", "quick", {"a": 1}, True)
    assert (second.arguments, second.waits) == ("{}", False)
    assert [event.call_id for event in both.of(ToolCallWithdrawn)] == ["c1", "c9"]
    (answer,) = sent(both.protocol.tool_result("c1", "one"))
    assert answer == {
        "tool_response": {"functionResponses": [{"id": "c1", "name": "quick", "response": {"output": "one"}}]}
    }
    (answer,) = sent(both.protocol.tool_result(second.call_id, "two"))
    assert answer["tool_response"]["functionResponses"] == [
        {"name": "slow", "response": {"output": "two"}, "scheduling": "WHEN_IDLE"}
    ]


def test_session_messages() -> None:
    """Resumable handles are kept, and the remaining time is reported."""
    both = Both()
    both({"sessionResumptionUpdate": {"newHandle": "h", "resumable": True}}, {"goAway": {"timeLeft": "49.5s"}})
    both({"sessionResumptionUpdate": {"newHandle": "", "resumable": False}}, {"goAway": {"timeLeft": "soon"}})
    assert both.events == [Resumable(handle="h"), GoingAway(remaining_seconds=49.5), GoingAway(remaining_seconds=0.0)]
    assert "sessionResumption" in both.opening[0]["setup"]
    both.protocol.resume("h")
    (setup,) = sent(both.protocol.open_session(Settings(model="m", turn_detection=AUTOMATIC)))
    assert setup["setup"]["sessionResumption"] == {"handle": "h"}
    assert both({"setupComplete": {"sessionId": "s"}}) == [
        SessionReady(session_id="s", config={"sessionId": "s"}, resumed=True)
    ]
    assert both({"setupComplete": {}}) == []


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


# Commands -------------------------------------------------------------------------------------------------------------


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


# Push to talk ---------------------------------------------------------------------------------------------------------


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
