"""What was heard: found out for each item, and reported to the history and the provider."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import anyio

from bargein.pipeline import Played
from bargein.processors import Heard
from bargein.services.history import Entry, History

from .responses import Response, ResponseItem, Responses
from .send_queue import SendQueue

__all__ = ["PlaybackTracker"]

BEGIN_SECONDS: Final = 0.1
"""How long after an interrupt a sink may still report that it had begun to play an item, in seconds."""

REPORT_SECONDS: Final = 1.0
"""How long after an interrupt a sink may report how far it has played an item that it had begun, in seconds."""

TOLERANCE_MS: Final = 1.0
"""Rounding of reports: audio counts as played completely up to this many milliseconds before its end."""


class PlaybackTracker:
    """Limits the history and the provider's memory to what the listener has heard.

    An item is settled once what was heard of it is known. Then it is written into the history, and the provider's item
    is truncated or deleted if not all of it was heard.

    Args:
        history: The conversation.
        send_queue: Where corrections for the provider go.
        responses: The responses of the conversation.
        speaks: The model has a voice. If not, its text is spoken below, or read.
        estimate: Returns how much of an item (by its response's id and its own) was played by now, in milliseconds, for
            a sink that may not report; None if there is no estimate.
    """

    def __init__(
        self,
        history: History,
        send_queue: SendQueue,
        responses: Responses,
        *,
        speaks: bool,
        estimate: Callable[[str, str], float | None] = lambda response_id, item_id: None,
    ) -> None:
        self.history = history
        self.has_voice_below = False
        """Whether there is a `Spoken` below, which reports what is heard of a text."""
        self._send_queue = send_queue
        self._responses = responses
        self._speaks = speaks
        self._estimate = estimate
        self._estimates: dict[tuple[str, str], float | None] = {}  # of interrupted items, at the interrupt
        self._deadlines: dict[tuple[str, str], float] = {}  # until when reports about interrupted items are awaited

    @property
    def playing(self) -> bool:
        """Whether an item is being heard."""
        for response in self._responses.by_id.values():
            for item_id, item in response.items.items():
                if not item.alignment.started or item.settled:
                    continue
                # While it is being made, more audio will come, so an estimate says nothing about its end.
                estimate = None if response.active else self._estimate(response.response_id, item_id)
                if estimate is None or estimate < item.alignment.audio_ms - TOLERANCE_MS:
                    return True
        return False

    def has_content(self, response: Response) -> bool:
        """Return whether anything of a response has come that can be heard, or read if the model has no voice."""
        return any(item.sample_count or (item.has_text and not self._speaks) for item in response.items.values())

    # What happens to a response -----------------------------------------------------------------------------------

    def on_interrupt(self, response: Response) -> None:
        """Note that no more of a response will be heard. The sink will report how much was heard."""
        now = anyio.current_time()
        for item_id, item in response.items.items():
            key = (response.response_id, item_id)
            if not item.settled and key not in self._deadlines:
                item.alignment.cut()
                self._estimates[key] = self._estimate(response.response_id, item_id)
                self._deadlines[key] = now + (REPORT_SECONDS if item.alignment.started else BEGIN_SECONDS)

    def on_failure(self, response: Response) -> None:
        """Note that a response has failed: words of the model's own voice without audio will not be heard."""
        for item_id, item in response.items.items():
            if self._speaks and not item.alignment.audio_ms:
                self._write_heard(response, item_id, item, "")

    # Reports from below -------------------------------------------------------------------------------------------

    def on_played(self, frame: Played) -> None:
        """Take the report of a sink about how far an item was played."""
        response, item = self._find(frame.response_id, frame.item_id)
        if response is None or item is None:
            return
        if not item.alignment.audio_ms:
            return  # its text is spoken by another voice, and `Heard` will report it
        item.alignment.set_played(frame.ms, frame.done, frame.gaps)
        if frame.done:
            self._settle(response, frame.item_id, item)
        elif (key := (frame.response_id, frame.item_id)) in self._deadlines:
            # A sink that reports will also report the end. Until then the estimate is not needed.
            self._deadlines[key] = max(self._deadlines[key], anyio.current_time() + BEGIN_SECONDS)

    def on_heard(self, frame: Heard) -> None:
        """Take the report of `Spoken` about the words that were heard of an item."""
        response, item = self._find(frame.response_id, frame.item_id)
        if response is None or item is None:
            return
        item.heard = frame.text
        if not frame.done or item.alignment.audio_ms:
            return
        if not frame.remaining.strip():
            item.settled = True  # all of it was heard
            return
        self._replace(response, frame.item_id, item, frame.text)

    # Reports that do not come -------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """Return when `check_deadlines` has something to do; infinity for never."""
        return min(self._deadlines.values(), default=math.inf)

    def check_deadlines(self) -> None:
        """Settle the items whose reports have not come in time by what is known of them."""
        now = anyio.current_time()
        for (response_id, item_id), deadline in list(self._deadlines.items()):
            if deadline > now:
                continue
            del self._deadlines[response_id, item_id]
            estimate = self._estimates.pop((response_id, item_id), None)
            response, item = self._find(response_id, item_id)
            if response is None or item is None:
                continue
            if item.alignment.audio_ms:
                # An estimate counts only if no report has come. 0 changes nothing, because the greatest position
                # counts.
                no_report = not item.alignment.played_ms
                item.alignment.set_played(estimate if no_report and estimate is not None else 0, True)
                self._settle(response, item_id, item)
            elif self._speaks or self.has_voice_below:  # its audio never came, or the voice below never got to it
                self._replace(response, item_id, item, item.heard)

    # Settling -----------------------------------------------------------------------------------------------------

    def _find(self, response_id: str, item_id: str) -> tuple[Response | None, ResponseItem | None]:
        """Return a response and its item; None for an item that is settled or unknown."""
        response = self._responses.by_id.get(response_id)
        item = response.items.get(item_id) if response is not None else None
        return response, None if item is not None and item.settled else item

    def _settle(self, response: Response, item_id: str, item: ResponseItem) -> None:
        """Write down what was heard of an item with audio, and correct what the provider remembers."""
        alignment = item.alignment
        self._responses.ms_per_weight = alignment.measured_ms_per_weight
        received, played = alignment.audio_ms, min(alignment.played_ms, alignment.audio_ms)
        all_played = played >= received - TOLERANCE_MS
        if alignment.has_gaps:  # a truncation keeps a beginning, and cannot leave out the middle
            self._replace(response, item_id, item, alignment.heard_text)
            return
        if all_played and not alignment.is_cut:
            self._close(response, item_id, item)
            return
        self._write_heard(response, item_id, item, alignment.heard_text if played > 0 else "")
        protocol = self._send_queue.protocol
        # A response that was dropped may have more audio at the provider than came here, so it is truncated even if all
        # that came was heard.
        if protocol is not None and self._can_correct(response) and (not all_played or response.dropped):
            correction = protocol.truncate(item_id, int(played)) if played >= 1 else protocol.delete_item(item_id)
            self._send_queue.post(correction)

    def _replace(self, response: Response, item_id: str, item: ResponseItem, words: str) -> None:
        """Write down what was heard of an item that cannot be truncated: it is deleted and created again."""
        self._write_heard(response, item_id, item, words)
        protocol = self._send_queue.protocol
        if protocol is not None and self._can_correct(response):
            self._send_queue.post(protocol.delete_item(item_id))
            if words.strip():
                self._send_queue.post(protocol.seed([Entry(role="assistant", text=words)]))

    def _write_heard(self, response: Response, item_id: str, item: ResponseItem, words: str) -> None:
        # Settled before the history is changed: a report that comes later must not change it again.
        self._close(response, item_id, item)
        self.history.set_heard(words, item_id, response.response_id)

    def _close(self, response: Response, item_id: str, item: ResponseItem) -> None:
        item.settled = True
        self._deadlines.pop((response.response_id, item_id), None)
        self._estimates.pop((response.response_id, item_id), None)

    def _can_correct(self, response: Response) -> bool:
        """Return whether the provider knows a response, and can correct what it remembers of it."""
        queue = self._send_queue
        # The items belong to the connection that made them. A later one was only sent the history.
        truncates = queue.protocol is not None and queue.protocol.profile.supports_truncation
        return truncates and queue.open and response.connection == queue.connection
