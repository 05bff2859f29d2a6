"""The Gemini Live protocol without I/O: responses, transcripts, calls and sessions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bargein.services.providers.gemini import GeminiProtocol, wire
from bargein.services.providers.gemini._turns import LATE_MS, Continuity
from bargein.services.realtime import (
    AudioCommitted,
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

from .protocol_kit import AUTOMATIC, INTERRUPTED, MADE, OVER, Both, content, sent, sound


def words(text: str) -> dict[str, Any]:
    return content(outputTranscription={"text": text})


def heard(text: str, **more: Any) -> dict[str, Any]:
    return content(inputTranscription={"text": text, **more})


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
