"""Server-sent events are read as the standard says, or more kindly."""

from __future__ import annotations

import pytest

from bargein.services.providers._shared.sse import EventTooLargeError, ServerEvent, SseReader


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        (b"data: a\n\n", [ServerEvent("a")]),
        (b"\xef\xbb\xbfdata:a\ndata: b\n\n", [ServerEvent("a\nb")]),
        (b": comment\n\nevent: x\ndata:  a\nid: 7\n\n", [ServerEvent(" a", "x")]),
        (b"event: x\n\ndata: a\n\n", [ServerEvent("a")]),
        (b"data\n\ndata: a", [ServerEvent(""), ServerEvent("a")]),
    ],
)
def test_server_sent_events(wire: bytes, events: list[ServerEvent]) -> None:
    """Comments, names, several lines of data and a missing last line are read."""
    reader = SseReader()
    assert [*reader.feed(wire), *reader.end()] == events


def test_an_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that never ends is an error, and does not fill the memory."""
    monkeypatch.setattr("bargein.services.providers._shared.sse.MAX_EVENT_BYTES", 100)
    with pytest.raises(EventTooLargeError, match="more than 100 bytes"):
        list(SseReader().feed(b"data: " + b"x" * 200))
