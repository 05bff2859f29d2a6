"""Responses while they are being made and heard."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np

from bargein.pipeline import Audio, Outlet, ResponseEnded, Text
from bargein.pipeline.lowlevel import Samples, ns
from bargein.processors import Alignment, Timing
from bargein.services.history import History
from bargein.services.realtime.events import AudioPiece, ItemOver, TextPiece, WordTimed

from .output_queue import OutputQueue

__all__ = ["MAX_RESPONSES", "MAX_UNANSWERED", "Response", "ResponseItem", "Responses"]

MAX_RESPONSES: Final = 64
"""Number of responses that are kept, so that late events and reports still find them."""

MAX_UNANSWERED: Final = 256
"""Maximum number of responses that are kept while their tool calls have no answer."""


class ResponseItem:
    """One item of a response.

    Args:
        epoch: The epoch of the response.
        ms_per_weight: Speaking rate to assume, see `Alignment`.
    """

    def __init__(self, epoch: int, ms_per_weight: float) -> None:
        self.alignment = Alignment(epoch, ms_per_weight)
        """Which words have been heard."""
        self.sample_count = 0
        """Number of samples received so far."""
        self.has_text = False
        """Whether any text has been received."""
        self.text_is_final = False
        """Whether the frame that ends the text was sent."""
        self.heard = ""
        """The part of the text that another voice has spoken so far (`Heard`)."""
        self.settled = False
        """Whether it is known how much was heard, and written into the history."""
        self._odd_byte = b""  # half of a sample; the next piece brings the other half

    def to_samples(self, pcm: bytes) -> Samples | None:
        """Return the complete samples of a piece of audio; None if there is none. Half a sample waits for the next."""
        # Some providers cut PCM anywhere, also in the middle of a sample. One byte too few would turn all that follows
        # to noise.
        pcm = self._odd_byte + pcm
        self._odd_byte = pcm[len(pcm) & ~1 :]
        return np.frombuffer(pcm, "<i2", len(pcm) // 2).astype(np.int16, copy=False) if len(pcm) >= 2 else None


class Response:
    """One response, from its beginning until it is forgotten.

    Args:
        response_id: Its id.
        outlet: Stamps its frames with the epoch in which it began; None for a response that was cancelled before.
        connection: Number of the connection on which it is made.
    """

    def __init__(self, response_id: str, outlet: Outlet[Any] | None, connection: int) -> None:
        self.response_id = response_id
        self.connection = connection
        """Number of the connection on which it was made. Another connection knows nothing of it."""
        self.outlet = outlet
        # -1 is older than every epoch.
        self.epoch = outlet.epoch if outlet is not None else -1
        self.active = True
        """Whether the provider is still making it."""
        self.cancelled = False
        """Whether the provider was asked to stop it."""
        self.items: dict[str, ResponseItem] = {}
        self.calls: set[str] = set()
        """Ids of its tool calls that have no answer yet."""
        self.needs_follow_up = False
        """Whether another response is to be requested once all its tool calls have been answered."""

    @property
    def dropped(self) -> bool:
        """Whether its remaining frames are discarded."""
        return self.outlet is None or self.outlet.stale

    @property
    def has_output(self) -> bool:
        """Some sound or text of it has come."""
        return any(item.sample_count or item.has_text for item in self.items.values())

    @property
    def is_complete(self) -> bool:
        """All its sound and text has come, but perhaps not the message that it is over."""
        return self.has_output and all(item.text_is_final for item in self.items.values())

    @property
    def is_wanted(self) -> bool:
        """Whether more of it may come, and is wanted."""
        return self.active and not self.dropped


class Responses:
    """The latest responses of a conversation, and what is sent of them to the graph.

    Args:
        output: Takes the frames.
        history: Takes the text.
    """

    def __init__(self, output: OutputQueue, history: History) -> None:
        self.by_id: dict[str, Response] = {}
        """The responses, oldest first."""
        self.ms_per_weight = Alignment.MS_PER_WEIGHT
        """How fast the voice has spoken so far, see `Alignment`."""
        self._output = output
        self._history = history

    def add(self, response: Response) -> list[Response]:
        """Add a response. Returns old responses that are forgotten for it."""
        self.by_id[response.response_id] = response
        forgotten: list[Response] = []
        for old in list(self.by_id.values())[:-MAX_RESPONSES]:
            # A response with open tool calls is kept longer, because their results still refer to it. The second bound
            # holds even if they never come.
            if not old.calls or len(self.by_id) > MAX_UNANSWERED:
                del self.by_id[old.response_id]
                forgotten.append(old)
        return forgotten

    def item(self, response: Response, item_id: str) -> ResponseItem:
        """Return an item of a response, a new one if no item has that id."""
        if item_id not in response.items:
            response.items[item_id] = ResponseItem(response.epoch, self.ms_per_weight)
        return response.items[item_id]

    def add_audio(self, response: Response, event: AudioPiece, rate: int) -> None:
        """Send a piece of audio to the graph."""
        item = self.item(response, event.item_id)
        samples = item.to_samples(event.pcm)
        if samples is None:
            return
        # The time follows from the number of samples. A sum of rounded durations would drift.
        pts = ns(item.sample_count, rate)
        item.sample_count += len(samples)
        frame = Audio(samples, rate=rate, pts=pts, response_id=event.response_id, item_id=event.item_id)
        item.alignment.add_audio(frame)
        self._emit(response, frame)

    def add_text(self, response: Response, event: TextPiece) -> None:
        """Send a piece of text to the graph, and write it into the history."""
        if not event.text:
            return
        item = self.item(response, event.item_id)
        item.has_text = True
        item.alignment.add_text(event.text, False)
        self._history.assistant(event.text, event.item_id, event.response_id)
        self._emit(response, Text(event.text, response_id=event.response_id, item_id=event.item_id))

    def add_timing(self, response: Response, event: WordTimed) -> None:
        """Send the time of a word to the graph."""
        self.item(response, event.item_id).alignment.add_timing(event.text, event.start_ms, event.end_ms)
        timing = Timing(
            text=event.text,
            start_ms=event.start_ms,
            end_ms=event.end_ms,
            response_id=event.response_id,
            item_id=event.item_id,
        )
        self._emit(response, timing)

    def end_item(self, response: Response, event: ItemOver) -> None:
        """Send the end of an item's text to the graph; all of the text, if none has come before."""
        item = self.item(response, event.item_id)
        if item.text_is_final:
            return
        # Some providers send the text only once, at its end.
        if event.text and not item.has_text:
            piece = TextPiece(response_id=event.response_id, item_id=event.item_id, text=event.text)
            self.add_text(response, piece)
        if item.has_text:
            item.text_is_final = True
            self._emit(response, Text("", response_id=event.response_id, item_id=event.item_id, final=True))

    def end(
        self,
        response: Response,
        outcome: Literal["completed", "interrupted", "failed"],
        reason: str,
        out: Outlet[Any],
    ) -> None:
        """Send the end of a response to the graph.

        Args:
            response: The response. It is not one that was cancelled before it began.
            outcome: How it ended at the provider.
            reason: Why, if it is not complete.
            out: Where to send the frame: not with the response's epoch, because the end of a stale one is news, too.
        """
        for item in response.items.values():
            if outcome == "completed":
                item.alignment.complete()
            else:
                item.alignment.cut()
        # The provider finished the response, but its rest was discarded here.
        if response.dropped and outcome == "completed":
            outcome = "interrupted"
        self._output.add(ResponseEnded(response_id=response.response_id, outcome=outcome, reason=reason), out)

    def _emit(self, response: Response, frame: Audio | Text | Timing) -> None:
        assert response.outlet is not None, "a response that was cancelled before it began sends nothing"
        self._output.add(frame, response.outlet)
