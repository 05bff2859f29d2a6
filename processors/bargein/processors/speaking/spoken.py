"""Find out which words were heard and what the agent is doing, and report it upstream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from bargein.pipeline import (
    Audio,
    End,
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
from bargein.processors.frames import AgentActivity, Heard, Timing

from .alignment import Alignment

__all__ = [
    "Spoken",
]

MAX_ITEMS = 64
"""Maximum number of items tracked at once. Without a sink that reports, they would accumulate."""


class _Response:
    """The state of one response."""

    def __init__(self, protected: bool = False) -> None:
        self.protected = protected
        self.ended = False


class Spoken(Processor):
    """Compares the text of a reply with its played audio, and reports which words the listener has heard.

    Place it directly below the brain, and above the sink (or a `Pacer`) that reports `Played`. All frames from above
    pass. In addition it sends:

    * `Heard`, upstream: when an item begins to play, with every further word, and finally with `done` for each item
      that has ended, was interrupted, or never began. The brain's history keeps exactly these words.
    * `AgentActivity`, upstream, whenever it changes. `BargeIn` and `Turns` depend on it.
    * `Transcript` with `speaker="agent"`, downstream, together with `Heard`: captions that run with the voice.

    With a `Timing` for each word the result is exact. Otherwise the words are spread over the audio by their length, at
    the speaking rate measured so far. A voice above must take and pass `ResponseEnded`, so that it stays behind the
    audio.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Alignment] = {}
        self._settled: deque[tuple[str, str]] = deque(maxlen=MAX_ITEMS)
        self._responses: dict[str, _Response] = {}
        self._calls: tuple[str, ...] = ()
        self._calling = ""  # id of the response that made the calls
        self._reported = AgentActivity()
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
        """Yield the frame and the reports that it causes."""
        # Counted before the frame is passed on: a player below may report in the same step.
        if isinstance(frame, Audio | Text | Timing) and (item := self._item(frame)) is not None:
            if isinstance(frame, Audio):
                item.add_audio(frame)
            elif isinstance(frame, Text):
                item.add_text(frame.text, frame.final)
            else:
                item.add_timing(frame.text, frame.start_ms, frame.end_ms, frame.spoken)
        # Interrupts and the end are delivered to those below by the engine, and reports end here or go on above.
        if not isinstance(frame, Played | ToolResult | Interrupt | End):
            yield frame
        if isinstance(frame, Played):
            yield from self._on_played(frame)
        elif isinstance(frame, Interrupt):
            yield from self._on_interrupt(frame)
        elif isinstance(frame, ResponseStarted):
            self._on_response_started(frame)
            self._calls = ()
        elif isinstance(frame, ResponseEnded):
            yield from self._on_response_ended(frame)
        elif isinstance(frame, ToolCall):
            self._calls, self._calling = (*self._calls, frame.call_id), frame.response_id
        elif isinstance(frame, ToolResult):
            self._calls = tuple(call for call in self._calls if call != frame.call_id)
        elif isinstance(frame, Text):
            if self._calls and frame.response_id == self._calling:
                self._calls = ()  # the response continues, so a tool inside the brain has answered
                yield from self._report_activity()
            if frame.final:
                yield from self._settle(frame.response_id, frame.item_id)
        # Audio, its timings and its text come most often and change nothing about the activity.
        if not isinstance(frame, Audio | Timing | Text | End):
            yield from self._report_activity()

    def _item(self, frame: Audio | Text | Timing) -> Alignment | None:
        """Return the item of a frame; None without a response, or after the item is settled."""
        key = (frame.response_id, frame.item_id)
        if not frame.response_id or key in self._settled:
            return None
        item = self._items.get(key)
        if item is None:
            # The oldest goes: a late report about it is of no use any more.
            while len(self._items) >= MAX_ITEMS:
                self._items.pop(next(iter(self._items)))
            # Each item begins with the rate of the last one, because the voice is the same.
            item = self._items[key] = Alignment(frame.epoch, self._ms_per_weight)
        return item

    # Heard words ------------------------------------------------------------------------------------------------

    def _on_played(self, frame: Played) -> Iterator[Heard | Transcript]:
        item = self._items.get((frame.response_id, frame.item_id))
        if item is None:
            return
        before = item.heard_text if item.started else None
        item.set_played(frame.ms, frame.done, frame.gaps)
        if frame.done:
            yield from self._settle(frame.response_id, frame.item_id)
        elif item.heard_text != before:
            yield from self._report_heard(frame.response_id, frame.item_id, item, done=False)

    def _settle(self, response: str, name: str) -> Iterator[Heard | Transcript]:
        """Send the last `Heard` of an item once its audio and text are complete, or were cut."""
        item = self._items.get((response, name))
        # The audio may end before the text or after it. Whichever comes last settles the item.
        if item is not None and item.settled:
            self._ms_per_weight = item.measured_ms_per_weight
            del self._items[response, name]
            self._settled.append((response, name))
            self._forget_response(response)
            yield from self._report_heard(response, name, item, done=True)

    def _on_response_ended(self, frame: ResponseEnded) -> Iterator[Heard | Transcript]:
        if (response := self._responses.get(frame.response_id)) is not None:
            response.ended = True
        for (whose, name), item in list(self._items.items()):
            if whose == frame.response_id:
                (item.complete if frame.outcome == "completed" else item.cut)()
                yield from self._settle(whose, name)
                if item.silent:  # text without audio is never heard
                    self._items.pop((whose, name), None)
        self._forget_response(frame.response_id)

    def _on_interrupt(self, frame: Interrupt) -> Iterator[Heard | Transcript]:
        """Settle items that never began. The sink reports how far the others were played."""
        self._responses.clear()
        self._calls = ()
        for (response, name), item in list(self._items.items()):
            if item.epoch < frame.epoch:
                item.cut()
                # The sink never got it, so it will not report it.
                if not item.started:
                    item.set_played(0, done=True)
                yield from self._settle(response, name)

    def _report_heard(self, response: str, name: str, item: Alignment, *, done: bool) -> Iterator[Heard | Transcript]:
        heard = item.heard_text
        yield Heard(response_id=response, item_id=name, text=heard, remaining=item.remaining, done=done)
        if heard:
            yield Transcript(text=heard, final=done, item_id=name or response, speaker="agent")

    # Activity ------------------------------------------------------------------------------------------

    def _on_response_started(self, frame: ResponseStarted) -> None:
        while len(self._responses) >= MAX_ITEMS:
            self._responses.pop(next(iter(self._responses)))
        self._responses[frame.response_id] = _Response(frame.protected)

    def _forget_response(self, response: str) -> None:
        """Forget a response that has ended and whose audio has been heard."""
        state = self._responses.get(response)
        if state is not None and state.ended and not any(whose == response for whose, _ in self._items):
            del self._responses[response]

    def _report_activity(self) -> Iterator[AgentActivity]:
        activity = AgentActivity(
            response_id=next(reversed(self._responses), ""),
            protected=any(response.protected for response in self._responses.values()),
            call_ids=self._calls,
        )
        # Only changes: `BargeIn` and `Turns` start timers by it.
        if activity != self._reported:
            self._reported = activity
            yield activity
