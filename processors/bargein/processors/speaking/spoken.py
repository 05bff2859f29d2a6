"""Which words were heard, and what the agent is doing: told to those above."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from bargein.pipeline import (
    Audio,
    Delivery,
    End,
    Frame,
    Interrupt,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
)

from .alignment import Alignment

__all__ = ["AgentActivity", "Heard", "Spoken", "Timing"]

ITEMS = 64
"""How many items are followed at once: without a sink that reports, they would pile up."""


class Timing(Frame, frozen=True, kw_only=True):
    """When a piece of the text sounds in the audio of its item: a word, or a sentence where no more is known.

    A voice gives it with its audio. Expires with its response.
    """

    text: str
    """The piece, as it stands in the item's text."""
    start_ms: float
    """Where its sound begins, in milliseconds from the beginning of the item."""
    end_ms: float
    """Where its sound ends."""
    spoken: bool = True
    """Whether it sounds at all. False: the voice failed, and nobody will hear this piece."""
    response_id: str = ""
    """Which response it belongs to."""
    item_id: str = ""
    """Which item of the response."""


class Heard(Frame, frozen=True, kw_only=True):
    """The words of an item that the listener has heard."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    response_id: str
    """The response."""
    item_id: str = ""
    """The item of it."""
    text: str
    """All that has been heard of it so far, whole words."""
    remaining: str = ""
    """The rest of its text, as far as it is known: still to be heard, or never, when `done`."""
    done: bool = False
    """No more of it will be heard."""


class AgentActivity(Frame, frozen=True, kw_only=True):
    """What the agent is doing from now on."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    response_id: str = ""
    """The newest response that is being made or heard; empty when there is none."""
    protected: bool = False
    """One that is being made or heard must not be interrupted."""
    call_ids: tuple[str, ...] = ()
    """The tool calls of the latest response."""


class _Response:
    """What is going on of a response."""

    def __init__(self, protected: bool = False) -> None:
        self.protected = protected
        self.ended = False


class Spoken(Processor):
    """Align the reply's text with what has been played of its audio, and tell those above which words were heard.

    Stands below whatever speaks and above whatever reports `Played` (a `Pacer`). All that it takes passes. It gives:

    * `Heard`, upstream, when an item begins to play, whenever another word has been heard, and a last one (`done`) for
      every item whose audio ended, was interrupted, or never began: exactly what the conversation should remember;
    * `AgentActivity`, upstream, whenever that changes: what `BargeIn` and `Turns` go by;
    * `Transcript` with `speaker="agent"`, downstream, at the same moments as `Heard`: captions that run with the voice.

    A voice above takes and passes `ResponseEnded`, too, so that it does not overtake the sound. Where it gives a
    `Timing` for each word the words are exact; elsewhere they are spread over the audio by
    their length, at the rate at which the voice has spoken so far.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Alignment] = {}
        self._settled: deque[tuple[str, str]] = deque(maxlen=ITEMS)
        self._responses: dict[str, _Response] = {}
        self._calls: tuple[str, ...] = ()
        self._calling = ""  # the response that made them
        self._told = AgentActivity()
        self._ms_per_weight = Alignment.MS_PER_WEIGHT

    def process(
        self,
        frame: ResponseStarted
        | Text
        | Timing
        | Audio
        | ToolCall
        | ResponseEnded
        | Played
        | ToolResult
        | Interrupt
        | End,
    ) -> Iterator[
        ResponseStarted | Text | Timing | Audio | ToolCall | ResponseEnded | Heard | AgentActivity | Transcript
    ]:
        """Give the frame on, and what it changes."""
        if isinstance(frame, Audio | Text | Timing) and (item := self._item(frame)) is not None:
            if isinstance(frame, Audio):
                item.sounds(frame)
            elif isinstance(frame, Text):
                item.says(frame.text, frame.final)
            else:
                item.times(frame.text, frame.start_ms, frame.end_ms, frame.spoken)
        if not isinstance(frame, Played | ToolResult | Interrupt | End):
            yield frame
        if isinstance(frame, Played):
            yield from self._played(frame)
        elif isinstance(frame, Interrupt):
            yield from self._interrupted(frame)
        elif isinstance(frame, ResponseStarted):
            self._begin(frame)
            self._calls = ()
        elif isinstance(frame, ResponseEnded):
            yield from self._ended(frame)
        elif isinstance(frame, ToolCall):
            self._calls, self._calling = (*self._calls, frame.call_id), frame.response_id
        elif isinstance(frame, ToolResult):
            self._calls = tuple(call for call in self._calls if call != frame.call_id)
        elif isinstance(frame, Text):
            if self._calls and frame.response_id == self._calling:
                self._calls = ()  # the response goes on: whoever runs the tools inside a brain has answered
                yield from self._tell()
            if frame.final:
                yield from self._settle(frame.response_id, frame.item_id)
        if not isinstance(frame, Audio | Timing | Text | End):
            yield from self._tell()

    def _item(self, frame: Audio | Text | Timing) -> Alignment | None:
        """The item that a frame belongs to; None for what is no response's, or comes after all has been said."""
        key = (frame.response_id, frame.item_id)
        if not frame.response_id or key in self._settled:
            return None
        item = self._items.get(key)
        if item is None:
            while len(self._items) >= ITEMS:
                self._items.pop(next(iter(self._items)))
            item = self._items[key] = Alignment(frame.epoch, self._ms_per_weight)
        return item

    # What is heard ------------------------------------------------------------------------------------------------

    def _played(self, frame: Played) -> Iterator[Heard | Transcript]:
        item = self._items.get((frame.response_id, frame.item_id))
        if item is None:
            return
        before = item.heard if item.started else None
        item.plays(frame.ms, frame.done)
        if frame.done:
            yield from self._settle(frame.response_id, frame.item_id)
        elif item.heard != before:
            yield from self._say(frame.response_id, frame.item_id, item, done=False)

    def _settle(self, response: str, name: str) -> Iterator[Heard | Transcript]:
        """Say the last of an item once its audio is over and its text complete, or it was cut short."""
        item = self._items.get((response, name))
        if item is not None and item.settled:
            self._ms_per_weight = item.learned
            del self._items[response, name]
            self._settled.append((response, name))
            self._forget(response)
            yield from self._say(response, name, item, done=True)

    def _ended(self, frame: ResponseEnded) -> Iterator[Heard | Transcript]:
        if (response := self._responses.get(frame.response_id)) is not None:
            response.ended = True
        for (whose, name), item in list(self._items.items()):
            if whose == frame.response_id:
                (item.complete if frame.outcome == "completed" else item.cut)()
                yield from self._settle(whose, name)
                if item.silent:  # a text that is read has nothing to be heard
                    self._items.pop((whose, name), None)
        self._forget(frame.response_id)

    def _interrupted(self, frame: Interrupt) -> Iterator[Heard | Transcript]:
        """What has not begun to play never will; of what has, the sink reports how far it came."""
        self._responses.clear()
        self._calls = ()
        for (response, name), item in list(self._items.items()):
            if item.epoch < frame.epoch:
                item.cut()
                if not item.started:
                    item.plays(0, done=True)
                yield from self._settle(response, name)

    def _say(self, response: str, name: str, item: Alignment, *, done: bool) -> Iterator[Heard | Transcript]:
        heard = item.heard
        yield Heard(response_id=response, item_id=name, text=heard, remaining=item.remaining, done=done)
        if heard:
            yield Transcript(text=heard, final=done, item_id=name or response, speaker="agent")

    # What the agent does ------------------------------------------------------------------------------------------

    def _begin(self, frame: ResponseStarted) -> None:
        while len(self._responses) >= ITEMS:
            self._responses.pop(next(iter(self._responses)))
        self._responses[frame.response_id] = _Response(frame.protected)

    def _forget(self, response: str) -> None:
        """A response lasts until it has ended and all its sound has been heard."""
        state = self._responses.get(response)
        if state is not None and state.ended and not any(whose == response for whose, _ in self._items):
            del self._responses[response]

    def _tell(self) -> Iterator[AgentActivity]:
        activity = AgentActivity(
            response_id=next(reversed(self._responses), ""),
            protected=any(response.protected for response in self._responses.values()),
            call_ids=self._calls,
        )
        if activity != self._told:
            self._told = activity
            yield activity
