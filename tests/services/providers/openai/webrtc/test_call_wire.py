"""CallWire: a call's messages and its sound as one stream, without a call."""

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


def test_the_users_sound_goes_beside_the_channel() -> None:
    """All else goes as it is."""
    wire = CallWire()
    assert sent(wire, "input_audio_buffer.append", audio=base64.b64encode(LOUD).decode()) == [LOUD]
    assert sent(wire, "response.create") == [{"type": "response.create"}]


def test_formats_are_not_told() -> None:
    """The peers have agreed on them."""
    audio = {"input": {"format": {"type": "audio/pcm"}, "turn_detection": None}, "output": {"format": {}, "voice": "v"}}
    (update,) = sent(CallWire(), "session.update", session={"type": "realtime", "audio": audio})
    assert update["session"]["audio"] == {"input": {"turn_detection": None}, "output": {"voice": "v"}}


def test_other_sound_than_pcm_is_refused() -> None:
    """It would be noise."""
    with pytest.raises(ValueError, match="audio/pcmu"):
        sent(CallWire(), "session.update", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}}})


def test_sound_belongs_to_the_response_that_is_heard() -> None:
    """Before and after one there is none."""
    wire = sounding()
    (delta,) = map(json.loads, wire.sound(LOUD))
    assert (delta["response_id"], delta["item_id"]) == ("r", "i")
    assert base64.b64decode(delta["delta"]) == LOUD
    came(wire, "output_audio_buffer.cleared", response_id="r")
    assert not list(wire.sound(LOUD))


def test_what_comes_before_the_news_is_kept() -> None:
    """As far as there is no silence within."""
    wire = CallWire()
    for piece in (LOUD, QUIET, LOUD, LOUD):
        assert not list(wire.sound(piece))
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    messages = list(wire.receive('{"type":"output_audio_buffer.started","response_id":"r"}', 0.0))
    assert [json.loads(each)["type"] for each in messages] == [
        "output_audio_buffer.started",
        *["response.output_audio.delta"] * 2,
    ]


def test_the_rest_of_what_was_cut_off_is_nobodys() -> None:
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


def test_a_response_is_over_when_it_has_been_heard() -> None:
    """The end also waits for the tail of its sound."""
    wire = sounding()
    assert done(wire) == []
    assert came(wire, "rate_limits.updated") == ["rate_limits.updated"]
    assert came(wire, "output_audio_buffer.stopped", response_id="r") == ["output_audio_buffer.stopped"]
    assert wire.ending == "r"
    assert list(wire.sound(LOUD))
    assert [json.loads(each)["type"] for each in wire.end_current()] == ["response.done"]
    assert not wire.sounding


def test_it_may_be_made_before_it_sounds() -> None:
    """Then its end waits all the same; and if it is cut off, it was not completed."""
    wire = CallWire()
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    assert done(wire) == []
    came(wire, "output_audio_buffer.started", response_id="r")
    assert came(wire, "output_audio_buffer.cleared", response_id="r") == [
        "output_audio_buffer.cleared",
        "response.done",
    ]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_what_was_cut_off_is_over_at_once(status: str) -> None:
    """Nothing more of it will be heard."""
    assert done(sounding(), status) == ["response.done"]


def test_what_makes_no_sound_is_over_at_once() -> None:
    """A call of a tool, or text; and what has been heard already."""
    assert done(CallWire()) == ["response.done"]
    wire = sounding()
    came(wire, "output_audio_buffer.stopped", response_id="r")
    list(wire.end_current())
    assert done(wire) == ["response.done"]


def test_what_never_sounds_is_over_after_a_while() -> None:
    """Though it was said to have sound; one that sounds may take its time."""
    wire = CallWire()
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    done(wire)
    assert wire.has_unplayed
    assert not list(wire.end_soundless(SOUND_STARTS_SECONDS - 0.1))
    assert [json.loads(each)["type"] for each in wire.end_soundless(SOUND_STARTS_SECONDS)] == ["response.done"]
    wire = sounding()
    done(wire)
    assert not list(wire.end_soundless(1000))


def test_the_next_may_begin_before_the_last_is_settled() -> None:
    """Then that is over."""
    wire = sounding()
    done(wire)
    came(wire, "output_audio_buffer.stopped", response_id="r")
    came(wire, "response.content_part.added", response_id="s", item_id="j", part={"type": "audio"})
    assert came(wire, "output_audio_buffer.started", response_id="s") == [
        "output_audio_buffer.started",
        "response.done",
    ]
    assert wire.sounding == "s"


def test_the_server_is_told_to_be_silent_once() -> None:
    """Behind the cancellation; and instead of a truncation, which it does itself."""
    wire = sounding()
    assert sent(wire, "response.cancel", response_id="r")[1:] == [CLEAR]
    assert sent(wire, "conversation.item.truncate", item_id="i", audio_end_ms=5) == []
    assert sent(sounding(), "conversation.item.truncate", item_id="i", audio_end_ms=5) == [CLEAR]
    assert sent(CallWire(), "response.cancel", response_id="r") == [{"type": "response.cancel", "response_id": "r"}]


@pytest.mark.parametrize("how", ["response.cancel", "conversation.item.truncate"])
def test_a_cut_off_response_that_sounds_again_is_cleared_again(how: str) -> None:
    """The clear came while the server was still making it; its rest is dropped, and the next response sounds alone."""
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


def test_a_response_that_is_cancelled_before_it_sounds_is_cleared_when_it_does() -> None:
    """The server has its sound already, and would play all of it."""
    wire = CallWire()
    came(wire, "response.content_part.added", response_id="r", item_id="i", part={"type": "audio"})
    assert sent(wire, "response.cancel", response_id="r") == [{"type": "response.cancel", "response_id": "r"}]
    list(wire.sound(LOUD))
    assert came(wire, "output_audio_buffer.started", response_id="r") == ["output_audio_buffer.started"]
    assert [json.loads(each) for each in wire.requests()] == [CLEAR]
    assert not wire.sounding
    assert came(wire, "output_audio_buffer.cleared", response_id="r") == ["output_audio_buffer.cleared"]


def test_garbage_is_left_to_who_reads_it() -> None:
    """It is passed on."""
    assert list(CallWire().receive("{", 0.0)) == ["{"]
