"""A line: its pieces, its marks, and what was heard by them, on a clock made of numbers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from bargein.pipeline import Audio, Interrupt, Played, ResponseEnded
from bargein.pipeline.testing import framed, tone
from bargein.services.media.g711 import codec
from bargein.services.transports.control import ControlError, Finish
from bargein.services.transports.frames import Dtmf
from bargein.services.transports.message_socket import Marked
from bargein.services.transports.telephony._format import PhoneCall
from bargein.services.transports.telephony._line import PhoneLine
from bargein.services.transports.telephony.twilio import Twilio

MULAW = codec({"type": "audio/pcmu"})


class Phone:
    """A line, and what was sent on it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.line = PhoneLine(Twilio(), PhoneCall(stream="MZ1", codec=MULAW, params={}), lambda: self.now)
        self.sent: list[dict[str, Any]] = []

    def sends(self, messages: Iterable[str | bytes]) -> list[dict[str, Any]]:
        sent = [json.loads(message) for message in messages]
        self.sent += sent
        return sent

    def says(self, ms: float, *, chunk: float = 20, response: str = "r", item: str = "", epoch: int = 0) -> None:
        for piece in framed(tone(300, ms, rate=8000), ms=chunk, rate=8000, response_id=response, epoch=epoch):
            frame = Audio(samples=piece.samples, rate=8000, response_id=response, item_id=item, epoch=epoch)
            self.sends(self.line.encode_audio(frame))

    def sounds(self) -> list[int]:
        return [len(MULAW.decode(_bytes(each))) for each in self.sent if each["event"] == "media"]

    def marks(self) -> list[str]:
        return [each["mark"]["name"] for each in self.sent if each["event"] == "mark"]

    def plays(self, mark: str) -> list[Played]:
        return list(self.line.report_played(Marked(mark=mark)))


def _bytes(message: dict[str, Any]) -> bytes:
    return base64.b64decode(message["media"]["payload"])


def test_what_comes_from_the_caller() -> None:
    """Sound with its place in time, keys, marks, and the end."""
    phone = Phone()
    piece = tone(300, 20, rate=8000)
    media = Twilio().encode_audio(PhoneCall(stream="MZ1", codec=MULAW, params={}), MULAW.encode(piece))
    first, second = (frame for _ in range(2) for frame in phone.line.decode(media))
    assert isinstance(first, Audio)
    assert isinstance(second, Audio)
    assert (first.pts, second.pts, first.rate) == (0, 20_000_000, 8000)
    assert np.abs(first.samples.astype(int) - piece).max() < 600
    assert list(phone.line.decode('{"event":"mark","mark":{"name":"7"}}')) == [Marked(mark="7")]
    assert list(phone.line.decode('{"event":"dtmf","dtmf":{"digit":"5"}}')) == [Dtmf(digit="5")]
    assert list(phone.line.decode('{"event":"stop"}')) == [Finish(reason="the call has ended")]
    with pytest.raises(ControlError):
        list(phone.line.decode("garbage"))


def test_pieces_are_20_ms() -> None:
    """However the sound comes; the last is filled with silence."""
    phone = Phone()
    phone.says(110, chunk=30)
    assert phone.sounds() == [160] * 5
    phone.sends(phone.line.encode_event(ResponseEnded(response_id="r")))
    assert phone.sounds() == [160] * 6
    last = MULAW.decode(_bytes([each for each in phone.sent if each["event"] == "media"][-1]))
    assert last[:80].any()
    assert not last[80:].any()


def test_marks_say_what_was_heard() -> None:
    """Every 100 ms, and at the end of the response."""
    phone = Phone()
    phone.says(250)
    phone.sends(phone.line.encode_event(ResponseEnded(response_id="r")))
    assert phone.marks() == ["1", "2", "3"]
    assert phone.plays("1") == [Played(response_id="r", ms=100)]
    assert phone.plays("2") == [Played(response_id="r", ms=200)]
    assert phone.plays("3") == [Played(response_id="r", ms=250, done=True)]
    assert phone.plays("3") == []
    assert phone.plays("unknown") == []


def test_items_have_marks_of_their_own() -> None:
    """What is left of one goes out before the next begins."""
    phone = Phone()
    phone.says(130, item="a", chunk=130)
    phone.says(100, item="b")
    phone.sends(phone.line.encode_event(ResponseEnded(response_id="r")))
    assert phone.sounds() == [160] * 12
    played = [played for mark in phone.marks() for played in phone.plays(mark)]
    assert [(each.item_id, each.ms, each.done) for each in played] == [
        ("a", 100, False),
        ("b", 100, False),
        ("a", 130, True),
        ("b", 100, True),
    ]


def test_an_interrupt_clears_and_says_what_was_heard() -> None:
    """What was confirmed, and what has been played since; late marks say nothing any more."""
    phone = Phone()
    phone.says(400)
    phone.now += 0.1
    phone.plays("1")
    phone.now += 0.05
    assert phone.sends(phone.line.encode_event(Interrupt(epoch=1))) == [{"event": "clear", "streamSid": "MZ1"}]
    assert list(phone.line.report_played(Interrupt(epoch=1))) == [Played(response_id="r", ms=150, done=True)]
    assert phone.plays("2") == []
    assert not phone.sends(phone.line.encode_event(Interrupt(epoch=2)))
    assert not list(phone.line.report_played(Interrupt(epoch=2)))


def test_never_more_was_heard_than_was_sent() -> None:
    """However long the vendor says nothing."""
    phone = Phone()
    phone.says(60)
    phone.now += 5
    phone.sends(phone.line.encode_event(Interrupt(epoch=1)))
    assert list(phone.line.report_played(Interrupt(epoch=1))) == [Played(response_id="r", ms=60, done=True)]


def test_what_is_newer_than_an_interrupt_is_kept() -> None:
    """A late interrupt ends only what it is about."""
    phone = Phone()
    phone.says(100, response="old", epoch=0)
    phone.says(100, response="new", epoch=1)
    phone.sends(phone.line.encode_event(Interrupt(epoch=1)))
    assert [each.response_id for each in phone.line.report_played(Interrupt(epoch=1))] == ["old"]
    assert phone.plays(phone.marks()[-1]) == [Played(response_id="new", ms=100)]


def test_a_mark_that_is_not_confirmed_is_taken_for_played() -> None:
    """After three seconds of the caller's sound: what waits for the end of an answer must not wait for ever."""
    phone = Phone()
    phone.says(200)
    phone.sends(phone.line.encode_event(ResponseEnded(response_id="r")))
    media = Twilio().encode_audio(PhoneCall(stream="MZ1", codec=MULAW, params={}), bytes(160))
    phone.now += 60
    overdue = [frame for _ in range(154) for frame in phone.line.decode(media) if isinstance(frame, Marked)]
    assert not overdue, "nothing came from the caller either, so the line stood still"
    overdue = [frame for _ in range(16) for frame in phone.line.decode(media) if isinstance(frame, Marked)]
    assert {frame.mark for frame in overdue} == {"1"}, "until the sink has heard of it"
    played: list[Played] = []
    while marks := [frame for frame in phone.line.decode(media) if isinstance(frame, Marked)]:
        played += phone.plays(marks[0].mark)
    assert played == [
        Played(response_id="r", ms=100),
        Played(response_id="r", ms=200),
        Played(response_id="r", ms=200, done=True),
    ]


def test_a_vendor_that_confirms_nothing_costs_no_memory() -> None:
    """So many marks are remembered, and no more."""
    phone = Phone()
    phone.says(200_000, chunk=1000)
    assert len(phone.line._marks) == 1000


def test_sound_of_no_response_is_played_and_not_reported() -> None:
    """Such as the caller's own."""
    phone = Phone()
    phone.says(200, response="")
    assert phone.sounds() == [160] * 10
    assert not phone.marks()


def test_what_was_heard_before_the_first_mark_is_back_is_reported() -> None:
    """A line far away confirms late. Until then our clock says how much was heard, less the way to the ear."""
    phone = Phone()
    reports: list[Played] = []
    for piece in framed(tone(300, 500, rate=8000), ms=20, rate=8000, response_id="r", epoch=0):
        frame = Audio(samples=piece.samples, rate=8000, response_id="r", epoch=0)
        phone.sends(phone.line.encode_audio(frame))
        reports += phone.line.report_played(frame)
        phone.now += 0.02
    assert [each.ms for each in reports] == [pytest.approx(ms) for ms in (100, 200, 300)]
    assert phone.plays("1") == [], "no less than was reported"
    phone.sends(phone.line.encode_event(Interrupt(epoch=1)))
    (last,) = phone.line.report_played(Interrupt(epoch=1))
    assert last.done
    assert 300 <= last.ms <= 500


def test_the_way_to_the_ear_is_measured_by_the_marks() -> None:
    """Half of a mark's delay: later, and then the clear is as long on its way as the sound was."""
    phone = Phone()
    phone.says(100, response="a")
    phone.now += 0.1 + 0.6  # there and back again
    phone.plays("1")
    phone.now += 1
    phone.says(500, response="b")
    phone.now += 0.45
    (report,) = phone.line.report_played(Audio(samples=tone(300, 20, rate=8000), rate=8000, response_id="b"))
    assert report.ms == pytest.approx(150)
    phone.sends(phone.line.encode_event(Interrupt(epoch=1)))
    heard = {each.response_id: each.ms for each in phone.line.report_played(Interrupt(epoch=1))}
    assert heard["b"] == pytest.approx(450), "until the clear arrives"


def test_a_mark_that_is_overdue_bounds_what_was_heard() -> None:
    """The network stands still: what was written since then waits in it, and the clear will drop it."""
    phone = Phone()
    phone.says(1000, chunk=20)
    phone.now += 0.1
    phone.plays("1")
    phone.now += 0.1
    phone.plays("2")
    phone.now += 0.7
    phone.sends(phone.line.encode_event(Interrupt(epoch=1)))
    (last,) = phone.line.report_played(Interrupt(epoch=1))
    assert last.ms == pytest.approx(300)


def test_sound_that_was_skipped_counts_as_a_place_and_not_as_time() -> None:
    """The peer did not keep up. What follows is heard without it, and marks count from the beginning of the item."""
    phone = Phone()
    phone.says(100)
    phone.line.skip_audio(Audio(samples=tone(300, 1000, rate=8000), rate=8000, response_id="r", epoch=0))
    phone.says(100)
    phone.now += 0.2
    assert [each.ms for mark in phone.marks() for each in phone.plays(mark)] == [100, 1120]
