"""What was heard: found out item by item, and told to the history and to the provider."""

from __future__ import annotations

import math

import anyio

from bargein.pipeline import Played
from bargein.processors import Alignment, Heard
from bargein.services.history import Entry, History

from ._responses import Response, ResponseItem
from ._send_queue import SendQueue

__all__ = ["PlaybackTracker"]

UNHEARD_S = 0.1
"""So long after an interrupt a sink may still report that it had begun an item."""
REPORT_S = 1.0
"""And so long how far it came."""
TOLERANCE_MS = 1.0


class PlaybackTracker:
    """Keeps the conversation and the provider's idea of it to what the listener has heard."""

    def __init__(self, history: History, outbox: SendQueue, responses: dict[str, Response], *, speaks: bool) -> None:
        self.history = history
        self.ms_per_weight = Alignment.MS_PER_WEIGHT
        """How fast the voice has spoken so far."""
        self._outbox = outbox
        self._responses = responses
        self._speaks = speaks  # with a voice of its own
        self.told = False
        """There is a `Spoken` below, which will say what is heard."""
        self._deadlines: dict[tuple[str, str], float] = {}  # until when reports of interrupted items are waited for

    @property
    def playing(self) -> bool:
        """Something is being heard."""
        items = (item for response in self._responses.values() for item in response.items.values())
        return any(item.alignment.started and not item.settled for item in items)

    def interrupted(self, response: Response) -> None:
        """Of this response no more will be heard; how much was, the sink will say."""
        now = anyio.current_time()
        for name, item in response.items.items():
            if not item.settled and (response.name, name) not in self._deadlines:
                item.alignment.cut()
                wait = REPORT_S if item.alignment.started else UNHEARD_S
                self._deadlines[response.name, name] = now + wait

    def begun(self, response: Response) -> bool:
        """Something of it has come that is heard, or is read where it has no voice of its own."""
        return any(item.samples or (item.text and not self._speaks) for item in response.items.values())

    def failed(self, response: Response) -> None:
        """It has ended in the middle: words of its own voice's whose sound has not come will not be heard."""
        for name, item in response.items.items():
            if self._speaks and not item.alignment.audio_ms:
                self._tell(response, name, item, "")

    def played(self, frame: Played) -> None:
        """The sink reports how far an item was heard."""
        response, item = self._find(frame.response_id, frame.item_id)
        if response is None or item is None:
            return
        if not item.alignment.audio_ms:
            return  # its text is spoken by another voice: `Heard` will say what became of it
        item.alignment.set_played(frame.ms, frame.done)
        if frame.done:
            self._settle(response, frame.item_id, item)
        elif (key := (frame.response_id, frame.item_id)) in self._deadlines:
            self._deadlines[key] = max(self._deadlines[key], anyio.current_time() + UNHEARD_S)

    def heard(self, frame: Heard) -> None:
        """`Spoken` says which words were heard: what a voice of one's own made of the text."""
        response, item = self._find(frame.response_id, frame.item_id)
        if response is None or item is None:
            return
        item.heard = frame.text
        if not frame.done or item.alignment.audio_ms:
            return
        if not frame.remaining.strip():
            item.settled = True  # all of it
            return
        self._replace(response, frame.item_id, item, frame.text)

    def next_deadline(self) -> float:
        """When `due` has something to do."""
        return min(self._deadlines.values(), default=math.inf)

    def due(self) -> None:
        """No report has come for some items: what is known of them is all there is."""
        now = anyio.current_time()
        for (name, item_name), deadline in list(self._deadlines.items()):
            if deadline > now:
                continue
            del self._deadlines[name, item_name]
            response, item = self._find(name, item_name)
            if response is None or item is None:
                continue
            if item.alignment.audio_ms:
                item.alignment.set_played(0, True)
                self._settle(response, item_name, item)
            elif self._speaks or self.told:  # its sound never came, or another voice never got to it
                self._replace(response, item_name, item, item.heard)

    def _find(self, response: str, item: str) -> tuple[Response | None, ResponseItem | None]:
        found = self._responses.get(response)
        its = found.items.get(item) if found is not None else None
        return found, None if its is not None and its.settled else its

    def _settle(self, response: Response, name: str, item: ResponseItem) -> None:
        """What was heard of an item is known: correct the provider's memory and ours."""
        alignment = item.alignment
        self.ms_per_weight = alignment.measured_ms_per_weight
        received, played = alignment.audio_ms, min(alignment.played_ms, alignment.audio_ms)
        all_of_it = played >= received - TOLERANCE_MS
        if all_of_it and not alignment.is_cut:
            item.settled = True
            self._deadlines.pop((response.name, name), None)
            return
        self._tell(response, name, item, alignment.heard if played > 0 else "")
        protocol = self._outbox.protocol
        if protocol is not None and self._knows(response) and (not all_of_it or response.dropped):
            self._outbox.post(protocol.truncate(name, int(played)) if played >= 1 else protocol.delete_item(name))

    def _tell(self, response: Response, name: str, item: ResponseItem, words: str) -> None:
        item.settled = True
        self._deadlines.pop((response.name, name), None)
        self.history.set_heard(words, name, response.name)

    def _replace(self, response: Response, name: str, item: ResponseItem, words: str) -> None:
        """Text cannot be cut: the item is forgotten, and made anew of what was heard."""
        self._tell(response, name, item, words)
        protocol = self._outbox.protocol
        if protocol is not None and self._knows(response):
            self._outbox.post(protocol.delete_item(name))
            if words.strip():
                self._outbox.post(protocol.seed([Entry(role="assistant", text=words)]))

    def _knows(self, response: Response) -> bool:
        """The provider can be told: it made the response on this connection, and its memory can be corrected."""
        outbox = self._outbox
        truncates = outbox.protocol is not None and outbox.protocol.profile.supports_truncation
        return truncates and outbox.open and response.connection == outbox.number
