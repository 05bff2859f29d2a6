"""CallWire: the messages and the sound of a call as one stream, without a call."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bargein.services.providers.openai.webrtc._call_wire import SOUND_STARTS_SECONDS, CallWire

LOUD = b"\x00\x10" * 480
QUIET = b"\x01\x00" * 480
CLEAR = {"type": "output_audio_buffer.clear"}


def sent(wire: CallWire, type: str, **fields: Any) -> list[Any]:
    made: list[Any] = list(wire.send(json.dumps({"type": type, **fields})))
    return [each if isinstance(each, bytes) else json.loads(each) for each in made]


def came(wire: CallWire, type: str, **fields: Any) -> list[str]:
    return [json.loads(each)["type"] for each in wire.receive(json.dumps({"type": type, **fields}), 0.0)]


def sounding(response: str = "r", item: str = "i") -> CallWire:
    wire = CallWire()
    assert came(wire, "response.created", response={"id": response, "status": "in_progress"}) == ["response.created"]
    came(wire, "response.content_part.added", response_id=response, item_id=item, part={"type": "audio"})
    assert came(wire, "output_audio_buffer.started", response_id=response) == ["output_audio_buffer.started"]
    return wire


def done(wire: CallWire, status: str = "completed", response: str = "r") -> list[str]:
    return came(wire, "response.done", response={"id": response, "status": status})


def test_user_sound_goes_on_the_track() -> None:
    """All other messages pass unchanged."""
    wire = CallWire()
    assert sent(wire, "input_audio_buffer.append", audio=base64.b64encode(LOUD).decode()) == [LOUD]
    assert sent(wire, "response.create") == [{"type": "response.create"}]


def test_formats_are_not_sent() -> None:
    """The peers have agreed on them."""
    audio = {"input": {"format": {"type": "audio/pcm"}, "turn_detection": None}, "output": {"format": {}, "voice": "v"}}
    (update,) = sent(CallWire(), "session.update", session={"type": "realtime", "audio": audio})
    assert update["session"]["audio"] == {"input": {"turn_detection": None}, "output": {"voice": "v"}}


def test_other_sound_than_pcm_is_refused() -> None:
    """It would be noise."""
    with pytest.raises(ValueError, match="audio/pcmu"):
        sent(CallWire(), "session.update", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}}})


def test_sound_belongs_to_the_playing_response() -> None:
    """Before and after a response, sound belongs to none."""
    wire = sounding()
    (delta,) = map(json.loads, wire.sound(LOUD))
    assert (delta["response_id"], delta["item_id"]) == ("r", "i")
    assert base64.b64decode(delta["delta"]) == LOUD
    came(wire, "output_audio_buffer.cleared", response_id="r")
    assert not list(wire.sound(LOUD))


def test_sound_before_its_response_is_kept() -> None:
    """Only the sound after the last silence is kept."""
    wire = CallWire()
    for piece in (LOUD, QUIET, LOUD, LOUD):
        assert not list(wire.sound(piece))
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    messages = list(wire.receive('{"type":"output_audio_buffer.started","response_id":"r"}', 0.0))
    assert [json.loads(each)["type"] for each in messages] == [
        "output_audio_buffer.started",
        *["response.output_audio.delta"] * 2,
    ]


def test_rest_of_a_cancelled_response_is_dropped() -> None:
    """Until there is silence."""
    wire = sounding()
    came(wire, "output_audio_buffer.cleared", response_id="r")
    list(wire.sound(LOUD))
    assert came(wire, "output_audio_buffer.started", response_id="s") == ["output_audio_buffer.started"]
    came(wire, "output_audio_buffer.cleared", response_id="s")
    for piece in (LOUD, QUIET, LOUD):
        list(wire.sound(piece))
    messages = list(wire.receive('{"type":"output_audio_buffer.started","response_id":"t"}', 0.0))
    assert len(messages) == 2


def test_response_ends_when_it_has_been_heard() -> None:
    """The end also waits for the tail of its sound."""
    wire = sounding()
    assert done(wire) == []
    assert came(wire, "rate_limits.updated") == ["rate_limits.updated"]
    assert came(wire, "output_audio_buffer.stopped", response_id="r") == ["output_audio_buffer.stopped"]
    assert wire.ending == "r"
    assert list(wire.sound(LOUD))
    assert [json.loads(each)["type"] for each in wire.end_current()] == ["response.done"]
    assert not wire.sounding


def test_response_generated_before_it_plays() -> None:
    """Its end waits for the sound. If it is cut off, it was not completed."""
    wire = CallWire()
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    assert done(wire) == []
    came(wire, "output_audio_buffer.started", response_id="r")
    assert came(wire, "output_audio_buffer.cleared", response_id="r") == [
        "output_audio_buffer.cleared",
        "response.done",
    ]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_cancelled_response_ends_at_once(status: str) -> None:
    """Nothing more of it will be heard."""
    assert done(sounding(), status) == ["response.done"]


def test_silent_response_ends_at_once() -> None:
    """A tool call, or text; also a response that has been heard already."""
    assert done(CallWire()) == ["response.done"]
    wire = sounding()
    came(wire, "output_audio_buffer.stopped", response_id="r")
    list(wire.end_current())
    assert done(wire) == ["response.done"]


def test_response_that_never_plays_times_out() -> None:
    """It was announced with sound. A response that plays may take its time."""
    wire = CallWire()
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    done(wire)
    assert wire.has_unplayed
    assert not list(wire.end_soundless(SOUND_STARTS_SECONDS - 0.1))
    assert [json.loads(each)["type"] for each in wire.end_soundless(SOUND_STARTS_SECONDS)] == ["response.done"]
    wire = sounding()
    done(wire)
    assert not list(wire.end_soundless(1000))


def test_next_response_ends_the_last() -> None:
    """The next response may begin before the last one was heard to its end."""
    wire = sounding()
    done(wire)
    came(wire, "output_audio_buffer.stopped", response_id="r")
    came(wire, "response.content_part.added", response_id="s", item_id="j", part={"type": "audio"})
    assert came(wire, "output_audio_buffer.started", response_id="s") == [
        "output_audio_buffer.started",
        "response.done",
    ]
    assert wire.sounding == "s"


def test_buffer_is_cleared_once() -> None:
    """After the cancellation, and instead of a truncation, which the server does itself."""
    wire = sounding()
    assert sent(wire, "response.cancel", response_id="r")[1:] == [CLEAR]
    assert sent(wire, "conversation.item.truncate", item_id="i", audio_end_ms=5) == []
    assert sent(sounding(), "conversation.item.truncate", item_id="i", audio_end_ms=5) == [CLEAR]
    assert sent(CallWire(), "response.cancel", response_id="r") == [{"type": "response.cancel", "response_id": "r"}]


@pytest.mark.parametrize("how", ["response.cancel", "conversation.item.truncate"])
def test_cancelled_response_that_plays_on_is_cleared_again(how: str) -> None:
    """The clear came while the server was still generating.

    The rest is dropped, and the next response is heard alone.
    """
    wire = sounding()
    sent(wire, how, **({"response_id": "r"} if how == "response.cancel" else {"item_id": "i"}))
    assert came(wire, "output_audio_buffer.cleared", response_id="r") == ["output_audio_buffer.cleared"]
    for _ in range(3):
        assert not list(wire.requests())
        assert not list(wire.sound(LOUD))
        assert came(wire, "output_audio_buffer.started", response_id="r") == ["output_audio_buffer.started"]
        assert [json.loads(each) for each in wire.requests()] == [CLEAR]
        assert not list(wire.sound(LOUD))
        came(wire, "output_audio_buffer.cleared", response_id="r")
    assert done(wire) == ["response.done"]
    came(wire, "response.content_part.added", response_id="s", item_id="j", part={"type": "audio"})
    assert came(wire, "output_audio_buffer.started", response_id="s") == ["output_audio_buffer.started"]
    assert not list(wire.requests())
    assert [json.loads(each)["response_id"] for each in wire.sound(LOUD)] == ["s"]


def test_response_cancelled_before_it_plays() -> None:
    """It is cleared when it begins to play, because the server has all of its sound."""
    wire = CallWire()
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    assert sent(wire, "response.cancel", response_id="r") == [{"type": "response.cancel", "response_id": "r"}]
    list(wire.sound(LOUD))
    assert came(wire, "output_audio_buffer.started", response_id="r") == ["output_audio_buffer.started"]
    assert [json.loads(each) for each in wire.requests()] == [CLEAR]
    assert not wire.sounding
    assert came(wire, "output_audio_buffer.cleared", response_id="r") == ["output_audio_buffer.cleared"]


def test_unreadable_messages_pass() -> None:
    """The driver handles them."""
    assert list(CallWire().receive("{", 0.0)) == ["{"]
