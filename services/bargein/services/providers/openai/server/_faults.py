"""Faults of the service on demand, for tests of clients."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from bargein.pipeline.lowlevel import CheckedFields

__all__ = ["FaultInjector", "Faults"]

Event = dict[str, Any]

STRAGGLER = b"\x00\x40\x00\xc0" * 480
"""40 ms of loud sound at 24 kHz."""


class Faults(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """Faults of a server, for tests of clients. By default nothing goes wrong."""

    late_deltas_after_cancel: int = 0
    """Deltas of sound that still come between a cancellation and its `response.done`."""
    late_deltas_after_done: int = 0
    """Deltas of sound that still come after the `response.done` of a cancellation."""
    delta_before_created: bool = False
    """The first delta of a response comes before its `response.created`."""
    split_deltas: int = 0
    """Pieces that each delta is cut into: sound through its samples, text and arguments anywhere. 0 for no cut."""
    slow_reader_seconds: float = 0.0
    """Seconds that the server takes to read each message."""
    close_after_events: int = 0
    """Events after which the connection breaks without a close frame; 0 for never."""
    expire_after_seconds: float = 0.0
    """Seconds after which the session expires; 0 for the time in the limits."""
    error_events: tuple[str, ...] = ()
    """Codes of error events: after each `response.created` comes one with the next code."""
    duplicate_speech_started: bool = False
    """Each `speech_started` comes twice."""
    malformed_json: bool = False
    """After each `response.created` come a message that is not JSON and one that is not an event."""
    unknown_events: bool = False
    """Before each event comes one of an unknown type, and each event has an unknown field."""
    html_answer: bool = False
    """The handshake is answered with a web page."""
    refuse_status: int = 0
    """HTTP status that refuses the handshake; 0 for none."""


class FaultInjector:
    """Replaces each event that is sent by what a faulty service would send."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._codes = list(faults.error_events)
        self._held: list[Event] = []  # response.created and what follows, until a delta
        self._last: Event | None = None  # the latest delta of sound

    def apply(self, event: Event) -> Iterator[Event | str]:
        """Return what is sent in place of an event: events, or text that is not an event."""
        for each in self._reordered(event):
            for piece in self._split(each):
                if self._faults.unknown_events:
                    yield {"type": "rate_limits.forecast", "event_id": "event_unknown", "outlook": [1, None]}
                    piece = {**piece, "x_unknown": {"deep": []}}
                yield piece
                yield from self._after(piece)

    def _reordered(self, event: Event) -> Iterator[Event]:
        kind, faults = event["type"], self._faults
        if kind == "response.output_audio.delta":
            self._last = event
        if faults.delta_before_created and (self._held or kind == "response.created"):
            if kind.endswith(".delta") and "response_id" in event:
                held, self._held = self._held, []
                yield event
                yield from held
                return
            self._held.append(event)
            if kind == "response.done":
                yield from self._held
                self._held = []
            return
        done = kind == "response.done" and event["response"]["status"] == "cancelled"
        if done:
            yield from self._stragglers(event, faults.late_deltas_after_cancel)
        yield event
        if done:
            yield from self._stragglers(event, faults.late_deltas_after_done)
        if kind == "input_audio_buffer.speech_started" and faults.duplicate_speech_started:
            yield event

    def _stragglers(self, event: Event, count: int) -> Iterator[Event]:
        like = self._last
        if like is not None and like["response_id"] == event["response"]["id"]:
            for at in range(count):
                yield {**like, "event_id": f"event_late_{at}", "delta": STRAGGLER}

    def _split(self, event: Event) -> Iterator[Event]:
        count = self._faults.split_deltas
        delta = event.get("delta")
        if count < 2 or not delta:
            yield event
            return
        size = len(delta)
        cuts = [at * size // count | 1 for at in range(1, count)]  # odd: through a sample
        edges = [0, *sorted({cut for cut in cuts if cut < size}), size]
        for first, last in pairwise(edges):
            yield {**event, "delta": delta[first:last]}

    def _after(self, event: Event) -> Iterator[Event | str]:
        if event["type"] != "response.created":
            return
        if self._faults.malformed_json:
            yield '{"type": "response.output_audio.delta", "delta": '
            yield '["no event"]'
        if self._codes:
            code = self._codes.pop(0)
            error = {"type": "server_error", "code": code, "message": f"A fault on demand: {code}."}
            yield {"type": "error", "event_id": "event_fault", "error": {**error, "param": None, "event_id": None}}
