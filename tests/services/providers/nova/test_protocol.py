"""Nova Sonic's protocol without I/O: the events of a message, and the messages of a command."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.services.history import Entry
from bargein.services.providers.nova import PROFILE, PROFILE_1, NovaProtocol
from bargein.services.realtime import (
    AudioPiece,
    Event,
    ItemCorrected,
    ProtocolFault,
    ResponseBegan,
    SessionReady,
    Settings,
    TextPiece,
    ToolCallReceived,
    UsageReported,
)

from .peer import chunk, event_of, exception, message, parsed

KEYS = st.sampled_from(
    ["contentId", "type", "role", "stopReason", "content", "toolName", "toolUseId", "details", "additionalModelFields"]
)
ROLES: list[Any] = ["user", "assistant", "system", "call"]
WORDS = st.none() | st.text(max_size=20)


class Service:
    """Makes the service's messages, and reads what they mean; turns are called by their numbers."""

    def __init__(self) -> None:
        self.protocol = NovaProtocol(url="https://x.invalid")
        self._count = 0

    def event(self, name: str, **fields: Any) -> list[Event]:
        return list(self.protocol.receive(chunk(name, completionId="k", **fields)))

    def begin(self, kind: str, role: str, stage: str | None = None, block: str = "") -> tuple[str, list[Event]]:
        self._count += 1
        block = block or f"b{self._count}"
        more = {"additionalModelFields": json.dumps({"generationStage": stage})} if stage else {}
        return block, self.event("contentStart", contentId=block, type=kind, role=role, **more)

    def block(self, kind: str, role: str, stage: str | None, *content: str, stop: str = "PARTIAL_TURN") -> list[Event]:
        """A whole block: of text, or of sound if its kind says so."""
        block, events = self.begin(kind, role, stage)
        for each in content:
            name = "audioOutput" if kind == "AUDIO" else "textOutput"
            events += self.event(name, contentId=block, role=role, content=each)
        return events + self.event("contentEnd", contentId=block, type=kind, stopReason=stop)

    def user(self, words: str) -> list[Event]:
        return self.block("TEXT", "USER", "FINAL", words)

    def preview(self, words: str, stop: str = "PARTIAL_TURN") -> list[Event]:
        return self.block("TEXT", "ASSISTANT", "SPECULATIVE", words, stop=stop)

    def sound(self, stop: str = "PARTIAL_TURN") -> list[Event]:
        return self.block("AUDIO", "ASSISTANT", None, "AQACAA==", stop=stop)

    def spoken(self, words: str, stop: str = "PARTIAL_TURN") -> list[Event]:
        return self.block("TEXT", "ASSISTANT", "FINAL", words, stop=stop)


def told(events: list[Event]) -> list[str]:
    """Events in short, with the numbers of their turns."""
    lines = []
    for event in events:
        name = getattr(event, "response_id", "") or getattr(event, "item_id", "")
        what = [type(event).__name__, name.partition("-")[2]]
        for field in ("text", "outcome", "final", "answered"):
            if getattr(event, field, None):
                what.append(str(getattr(event, field)))
        lines.append(" ".join(each for each in what if each))
    return lines


# Turns ----------------------------------------------------------------------------------------------------------------


def test_turn() -> None:
    """The events are the user's words, the announced text, the sound, and the spoken text."""
    service = Service()
    assert service.event("completionStart") == []
    assert told(service.user("What time is it?")) == ["Transcribed u0 What time is it?", "AudioCommitted u0 True"]
    assert told(service.preview("It is noon.")) == [
        "Transcribed u0 What time is it? True",
        "ResponseBegan 1",
        "TextPiece 1 It is noon.",
    ]
    (piece, over, ended) = service.sound("END_TURN")
    assert isinstance(piece, AudioPiece)
    assert piece.pcm == b"\x01\x00\x02\x00"
    assert told([over, ended]) == ["ItemOver 1", "ResponseOver 1 completed"]
    assert service.spoken("It is noon.", "END_TURN") == []
    assert service.event("completionEnd", stopReason="END_TURN") == []


def test_several_sentences_in_one_turn() -> None:
    """A turn lasts until one of its spoken blocks says that it ends.

    A block that only announces text does not end it.
    """
    service = Service()
    events = service.preview("One.", "END_TURN") + service.sound() + service.spoken("One.")
    events += service.preview("Two.") + service.sound() + service.spoken("Two.", "END_TURN")
    assert told(events) == [
        "ResponseBegan 1",
        "TextPiece 1 One.",
        "AudioPiece 1",
        "TextPiece 1  Two.",
        "AudioPiece 1",
        "ItemOver 1",
        "ResponseOver 1 completed",
    ]
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == "One. Two."


def test_block_in_pieces() -> None:
    """The pieces are one sentence, and not a correction."""
    service = Service()
    events = service.block("TEXT", "ASSISTANT", "SPECULATIVE", "It is ", "noon.") + service.preview(" Bye. ")
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == "It is noon. Bye. "
    service.sound("END_TURN")
    assert service.spoken("It is noon.") == []
    assert service.spoken("Bye.", "END_TURN") == []


def test_several_turns_in_one_completion() -> None:
    """Each turn has its own id, also without any input of the user between them."""
    service = Service()
    for number in (1, 2, 3):
        assert told(service.preview("Yes."))[0] == f"ResponseBegan {number}"
        assert told(service.sound("END_TURN"))[-1] == f"ResponseOver {number} completed"


def test_ids_differ_between_connections() -> None:
    """The next connection uses other ids."""
    (one,), (other,) = (
        [event for event in Service().preview("Yes.") if isinstance(event, ResponseBegan)] for _ in range(2)
    )
    assert one.response_id != other.response_id


def test_user_words_in_pieces() -> None:
    """They are final when the agent begins, with words or with a call."""
    service = Service()
    service.user("What is")
    assert told(service.user("the weather?"))[0] == "Transcribed u0 What is the weather?"
    _, events = service.begin("TOOL", "TOOL")
    assert told(events) == ["Transcribed u0 What is the weather? True", "ResponseBegan 1"]
    assert told(service.user("Hello?"))[0] == "Transcribed u1 Hello?"


def test_words_during_a_reply_expect_no_answer() -> None:
    """Words that the user says during a reply do not make an answer due."""
    service = Service()
    service.preview("Well,")
    assert told(service.user("uh-huh")) == ["Transcribed u1 uh-huh"]


def test_spoken_words_that_differ() -> None:
    """The correction is reported when all has been spoken. Without announced text, the spoken words are the text."""
    service = Service()
    service.preview("It's 12.")
    service.preview("Bye.")
    service.sound("END_TURN")
    assert service.spoken("It is noon.") == []
    (corrected,) = service.spoken("Bye.", "END_TURN")
    assert isinstance(corrected, ItemCorrected)
    assert corrected.text == "It is noon. Bye."
    service.sound()
    assert told(service.spoken("Hello.", "END_TURN")) == ["ItemOver 2 Hello.", "ResponseOver 2 completed"]


def test_late_spoken_text() -> None:
    """Spoken text that comes after the next turn has begun does not correct that turn."""
    service = Service()
    service.preview("Let me see.")
    service.sound()
    block, _ = service.begin("TOOL", "TOOL")
    service.event("contentEnd", contentId=block, type="TOOL", stopReason="TOOL_USE")
    service.preview("It is noon.")
    assert service.spoken("Let me see.") == []
    service.sound("END_TURN")
    assert service.spoken("It is noon.", "END_TURN") == []
    service.preview("Well,")
    assert told(service.spoken('{"interrupted":true}', "INTERRUPTED")) == [
        "Interrupted 3",
        "ResponseOver 3 interrupted",
    ]


@pytest.mark.parametrize("missing", ["completionEnd", "END_TURN", "contentEnd"])
def test_missing_end_of_turn(missing: str) -> None:
    """A turn ends at the latest when the next one begins, after the user has said something."""
    service = Service()
    if missing == "contentEnd":
        service.preview("One.")
        service.begin("AUDIO", "ASSISTANT")
    else:
        service.preview("One.")
        service.sound("END_TURN" if missing == "completionEnd" else "PARTIAL_TURN")
    service.user("And?")
    events = service.event("completionStart") if missing == "completionEnd" else []
    events += service.preview("Two.")
    assert told(events)[-2:] == ["ResponseBegan 2", "TextPiece 2 Two."]
    assert ("ResponseOver 1 completed" in told(events)) == (missing != "completionEnd")


def test_completion_ends_its_turn() -> None:
    """The end of a completion ends an open turn."""
    service = Service()
    service.preview("One.")
    assert told(service.event("completionEnd", stopReason="END_TURN")) == ["ItemOver 1", "ResponseOver 1 completed"]


# Interruption ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ['{ "interrupted" : true }', '{"interrupted":true}', ' {"interrupted": true}\n'])
def test_interruption_is_reported_once(content: str) -> None:
    """The service reports it as text, at the end of that text and at the end of the sound. It is one event."""
    service = Service()
    service.preview("A long story")
    block, _ = service.begin("AUDIO", "ASSISTANT")
    events = service.spoken(content, "INTERRUPTED")
    assert told(events) == ["Interrupted 1", "ResponseOver 1 interrupted"]
    assert service.event("contentEnd", contentId=block, type="AUDIO", stopReason="INTERRUPTED") == []


def test_late_pieces_belong_to_their_turn() -> None:
    """Sound that comes after the interruption belongs to the interrupted turn, never to the next."""
    service = Service()
    service.preview("A long story")
    block, _ = service.begin("AUDIO", "ASSISTANT")
    service.spoken('{"interrupted":true}', "INTERRUPTED")
    assert told(service.event("audioOutput", contentId=block, content="AAAA")) == ["AudioPiece 1"]
    assert told(service.sound()) == ["AudioPiece 1"]
    service.user("Wait.")
    assert told(service.preview("Yes?"))[-1] == "TextPiece 2 Yes?"
    assert told(service.event("audioOutput", contentId=block, content="AAAA")) == ["AudioPiece 1"]
    assert told(service.sound())[0] == "AudioPiece 2"


def test_interruption_of_a_finished_turn() -> None:
    """The sound ended normally, and the text then says that the turn was interrupted."""
    service = Service()
    service.preview("A story.")
    service.sound("END_TURN")
    assert told(service.spoken('{"interrupted":true}', "INTERRUPTED")) == ["Interrupted 1"]
    assert service.spoken("A", "PARTIAL_TURN") == []


def test_interruption_without_a_turn() -> None:
    """It is no event. Text that only resembles an interruption is not one."""
    service = Service()
    assert service.spoken('{"interrupted":true}', "INTERRUPTED") == []
    for text in ('{"interrupted": false}', "{interrupted}", '["interrupted"]', '{"a": 1}', "{" * 5000):
        assert [type(event) for event in service.preview(text)][-1] is TextPiece


# Tools, costs, faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ['{"city": "Paris"}', '"{\\"city\\": \\"Paris\\"}"'])
def test_call_ends_its_turn(content: str) -> None:
    """The answer to its result is another turn. Arguments are sometimes JSON within JSON."""
    service = Service()
    block, _ = service.begin("TOOL", "TOOL")
    (call,) = service.event("toolUse", contentId=block, toolName="weather", toolUseId="tu-1", content=content)
    assert isinstance(call, ToolCallReceived)
    assert (call.call_id, call.name, json.loads(call.arguments)) == ("tu-1", "weather", {"city": "Paris"})
    events = service.event("contentEnd", contentId=block, type="TOOL", stopReason="TOOL_USE")
    assert told(events) == ["ItemOver 1", "ResponseOver 1 completed"]
    assert told(service.preview("Sunny."))[0] == "ResponseBegan 2"


def test_usage_since_the_last_report() -> None:
    """Usage counts since the last report. Zero is not reported."""
    service = Service()
    service.preview("Yes.")
    delta = {"input": {"speechTokens": 5, "textTokens": 6}, "output": {"speechTokens": 7, "textTokens": 8}}
    (used,) = service.event("usageEvent", details={"delta": delta, "total": delta})
    assert isinstance(used, UsageReported)
    assert used.usage == {
        "input_tokens": 11,
        "output_tokens": 15,
        "input_audio_tokens": 5,
        "output_audio_tokens": 7,
    }
    assert used.response_id.endswith("-1")
    assert service.event("usageEvent", details={}) == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (exception("throttlingException", "slow down"), "throttlingException: slow down"),
        (exception("newException", ""), "newException"),
        (
            message({":message-type": "exception", ":exception-type": "modelStreamErrorException"}, b"plain"),
            "modelStreamErrorException: plain",
        ),
        (
            message({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "oh"}, b""),
            "InternalFailure: oh",
        ),
    ],
)
def test_failures_end_the_connection(data: bytes, says: str) -> None:
    """The error has the service's words."""
    (fault,) = NovaProtocol(url="x").receive(data)
    assert isinstance(fault, ProtocolFault)
    assert (fault.message, fault.broken, fault.fatal) == (says, True, False)


@pytest.mark.parametrize("kind", ["validationException", "accessDeniedException", "resourceNotFoundException"])
def test_early_failures_are_final(kind: str) -> None:
    """A failure before the connection has worked is final. A later one is not."""
    service = Service()
    (fault,) = service.protocol.receive(exception(kind, "no"))
    assert isinstance(fault, ProtocolFault)
    assert fault.fatal
    service.event("completionStart")
    (fault,) = service.protocol.receive(exception(kind, "no"))
    assert isinstance(fault, ProtocolFault)
    assert not fault.fatal


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=50))
def test_malformed_message_is_a_fault(data: bytes | str) -> None:
    """A message that cannot be read is a fault, and the next message is read."""
    protocol = NovaProtocol(url="x")
    (fault,) = protocol.receive(data)
    assert isinstance(fault, ProtocolFault)
    assert not fault.broken
    assert list(protocol.receive(chunk("completionStart"))) == []


@settings(deadline=None)
@given(
    st.sampled_from(["contentStart", "contentEnd", "textOutput", "audioOutput", "toolUse", "usageEvent"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
        max_leaves=12,
    ),
)
def test_any_json_is_handled(name: str, fields: Any) -> None:
    """JSON of any shape raises nothing."""
    inner = base64.b64encode(json.dumps({"event": {name: fields}}).encode()).decode()
    data = message({":message-type": "event", ":event-type": "chunk"}, json.dumps({"bytes": inner}).encode())
    assert all(isinstance(event, Event) for event in NovaProtocol(url="x").receive(data))


# What it is told ------------------------------------------------------------------------------------------------------


def written(messages: Any) -> list[tuple[str, dict[str, Any]]]:
    return [event_of(parsed(each)) for each in messages]


def test_opening_and_closing() -> None:
    """The session, the prompt and the instructions open it. A microphone that was never opened is not closed."""
    protocol = NovaProtocol(url="x")
    assert list(protocol.close_session()) == []
    opening = written(protocol.open_session(Settings(model="m")))
    assert [name for name, _ in opening] == ["sessionStart", "promptStart", "contentStart", "textInput", "contentEnd"]
    assert opening[3][1]["content"].startswith("You are")
    (ready,) = protocol.on_open()
    assert isinstance(ready, SessionReady)
    assert [name for name, _ in written(protocol.close_session())] == ["promptEnd", "sessionEnd"]
    list(protocol.audio(b"\x00\x00"))
    assert [name for name, _ in written(protocol.close_session())] == ["contentEnd", "promptEnd", "sessionEnd"]
    list(protocol.receive(exception("throttlingException", "")))
    assert list(protocol.close_session()) == [], "nobody listens"


def test_sound_opens_the_microphone_once() -> None:
    """Further sound goes into the same block."""
    protocol = NovaProtocol(url="x")
    first, second = written(protocol.audio(b"\x01\x00")), written(protocol.audio(b"\x02\x00"))
    assert [name for name, _ in first + second] == ["contentStart", "audioInput", "audioInput"]
    assert first[0][1]["audioInputConfiguration"] == {
        "mediaType": "audio/lpcm",
        "sampleRateHertz": 16_000,
        "sampleSizeBits": 16,
        "channelCount": 1,
        "audioType": "SPEECH",
        "encoding": "base64",
    }
    assert first[1][1]["content"] == "AQA="
    assert len({fields["contentName"] for _, fields in first + second}) == 1


@pytest.mark.parametrize("profile", [PROFILE, PROFILE_1])
def test_call_of_another_connection(profile: Any) -> None:
    """Before the microphone is open it is sent as history; later as text, where the model reads text."""
    entry = Entry(role="call", call_id="c", name="weather", arguments="{}", output="sunny")
    protocol = NovaProtocol(url="x", profile=profile)
    (start, content, _) = written(protocol.seed([entry]))
    assert (start[1]["role"], start[1]["interactive"]) == ("USER", False)
    assert content[1]["content"] == "[weather {}: sunny]"
    list(protocol.audio(b"\x00\x00"))
    late = written(protocol.seed([entry]))
    assert [fields["interactive"] for name, fields in late if name == "contentStart"] == [
        True
    ] * profile.supports_text_input


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            Entry,
            role=st.sampled_from(ROLES),
            text=st.text(max_size=30),
            output=WORDS,
        ),
        max_size=120,
    )
)
def test_history_alternates(entries: list[Entry]) -> None:
    """The user comes first, with at most forty messages, none of them empty."""
    known = [entry for entry in entries if entry.worth]
    events = written(NovaProtocol(url="x").seed(known))
    roles = [fields["role"] for name, fields in events if name == "contentStart"]
    assert roles == ["USER", "ASSISTANT"] * (len(roles) // 2) + ["USER"] * (len(roles) % 2)
    assert len(roles) <= 40
    assert all(fields["content"].strip() for name, fields in events if name == "textInput")


def test_history_is_limited() -> None:
    """It is limited in bytes, and cut between two characters."""
    said: list[tuple[Any, str]] = [("user", "a"), ("assistant", "€"), ("user", "c"), ("assistant", "d"), ("user", "€")]
    entries = [Entry(role=role, text=letter * 60_000) for role, letter in said]
    for profile, most in ((PROFILE, 50_000), (PROFILE_1, 1000)):
        events = written(NovaProtocol(url="x", profile=profile).seed(entries))
        sizes = [len(fields["content"].encode()) for name, fields in events if name == "textInput"]
        assert max(sizes) <= most
        assert sum(sizes) <= 200_000
        assert min(sizes) > most - 5
        assert len(sizes) == (3 if profile is PROFILE else 5)
