"""What goes on between a provider and the graph: whose turn it is, what is stale, what was heard.

Synchronous throughout: events of the provider and frames of the graph come in, messages and frames come out through two
queues. So every interleaving is a sequence of calls, and no await can come between a decision and its consequence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import anyio
import numpy as np
from bargein.pipeline import (
    LIVE,
    Audio,
    Failure,
    Frame,
    Interrupt,
    Outlet,
    Played,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    Usage,
)
from bargein.processors import Alignment, Heard

from ..frames import Aside, Connected, RateLimits, Respond
from ..history import Entry, History
from ._bell import Bell
from .protocol import (
    AsideOver,
    AudioCommitted,
    AudioPiece,
    CallCancelled,
    CallMade,
    Event,
    GoingAway,
    ItemOver,
    Limited,
    Message,
    Protocol,
    ProtocolFault,
    Ready,
    ResponseBegan,
    ResponseOver,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    Transcribed,
)

__all__ = ["Dialogue"]

SECOND = 1_000_000_000
KEPT = 64
"""How many responses that are over are remembered, for what still comes of them."""
UNHEARD_S = 0.1
"""So long after an interrupt a sink may still report that it had begun an item."""
REPORT_S = 1.0
"""And so long how far it came."""
TOLERANCE_MS = 1.0


class _Item:
    """One item of a response."""

    def __init__(self, epoch: int, ms_per_weight: float) -> None:
        self.alignment = Alignment(epoch, ms_per_weight)
        self.samples = 0
        self.half = b""  # a sample that was cut in two
        self.text = False
        self.final = False
        self.settled = False  # what was heard of it is known, and told


class _Response:
    """One response, from its beginning until it is forgotten."""

    def __init__(self, name: str, outlet: Outlet[Any] | None, connection: int) -> None:
        self.name = name
        self.connection = connection
        """On which connection it was made: another one knows nothing of it."""
        self.outlet = outlet
        """Stamped when the response began; None for one that was called off before."""
        self.epoch = outlet.epoch if outlet is not None else -1
        self.active = True
        self.cancelled = False
        self.items: dict[str, _Item] = {}
        self.calls: set[str] = set()  # that were made and not answered
        self.called = False

    @property
    def dropped(self) -> bool:
        return self.outlet is None or self.outlet.stale


class Dialogue:
    """The state of one conversation, over however many connections."""

    def __init__(
        self,
        *,
        out: Outlet[Any],
        history: History,
        run_tool: Callable[[ToolCall], bool],
        cancel_tool: Callable[[str], object],
        gap_seconds: float,
        buffer_seconds: float,
        speaks: bool = True,
    ) -> None:
        self.history = history
        self.protocol: Protocol | None = None
        self.ready = False
        self.again = False
        self.session = ""
        self.config: dict[str, Any] = {}
        self.expires = math.inf
        self.heard_at = anyio.current_time()
        """When the provider last said anything."""
        self.fatal: str | None = None
        self.user_speaking = False
        self.outbox: deque[Message] = deque()
        self.give: deque[tuple[Outlet[Any], Frame]] = deque()
        self.dropped_ms = 0.0
        """How much of the user's sound was lost because the connection was."""
        self.sending, self.giving, self.minding, self.resting = Bell(), Bell(), Bell(), Bell()
        self._out = out
        self._speaks = speaks  # with a voice of its own
        self._run_tool = run_tool
        self._cancel_tool = cancel_tool
        self._gap_ms = 0.0  # of sound that waits for a connection
        self._gap_most = gap_seconds * 1000
        self._waiting_ms = 0.0  # of reply audio that waits for room in the graph
        self._waiting_most = buffer_seconds * 1000
        self._later: deque[_Late | _Sound] = deque()  # commands and sound that wait for a connection, in order
        self._responses: dict[str, _Response] = {}
        self._active: str | None = None
        self._requested: Respond | None = None  # sent, and not begun
        self._expected = False  # the provider will respond by itself
        self._wanted: Respond | None = None  # to be sent when it can be
        self._cancel_next = False
        self._request: str | None = None  # its name
        self._running: set[str] = set()
        self._here: set[str] = set()  # calls that were made on this connection
        self._deadlines: dict[tuple[str, str], float] = {}
        self._ms_per_weight = Alignment.MS_PER_WEIGHT  # as the voice has spoken so far
        self._number = 0  # of the connection
        self._final: deque[str] = deque(maxlen=KEPT)  # items of the user whose words are final
        self._asides: set[str] = set()  # what was asked apart, and not answered
        self._origin: int | None = None  # pts of the first sound sent on this connection
        self._sent_ms = 0.0

    # The two queues -----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Tell all who wait that something has changed."""
        self.sending.ring()
        self.giving.ring()
        self.minding.ring()
        self.resting.ring()

    def post(self, messages: Iterable[Message]) -> None:
        """Send messages, as soon as there is a session."""
        self.outbox.extend(messages)
        self.sending.ring()

    def emit(self, frame: Frame, outlet: Outlet[Any] | None = None) -> None:
        """Give a frame to the graph, in order."""
        self.give.append((outlet or self._out, frame))
        if isinstance(frame, Audio):
            self._waiting_ms += frame.ms
        self.giving.ring()

    def given(self, frame: Frame) -> None:
        """A frame has left the queue."""
        if isinstance(frame, Audio):
            self._waiting_ms -= frame.ms

    def _command(self, make: Callable[[Protocol], Iterable[Message]]) -> None:
        """Send a command now, or when there is a session."""
        if self.ready and self.protocol is not None:
            self.post(make(self.protocol))
        else:
            self._later.append(_Late(make))
            if sum(isinstance(each, _Late) for each in self._later) > KEPT:
                self._later.remove(next(each for each in self._later if isinstance(each, _Late)))

    @property
    def epoch(self) -> int:
        """The session's present epoch."""
        return self._out.epoch

    @property
    def busy(self) -> bool:
        """A response is being made, asked for or expected, or a tool runs."""
        return bool(self._active or self._requested or self._wanted or self._expected or self._running)

    @property
    def owed(self) -> bool:
        """The provider should say something soon."""
        return bool(self._active or self._requested or self._expected)

    @property
    def pause(self) -> bool:
        """Nobody speaks, and nothing is under way."""
        return not (self.busy or self.user_speaking or self.give or self._playing)

    @property
    def _playing(self) -> bool:
        return any(
            item.alignment.started and not item.settled
            for response in self._responses.values()
            for item in response.items.values()
        )

    # Connections --------------------------------------------------------------------------------------------------

    def connecting(self, protocol: Protocol) -> None:
        """A new connection is made; what the old one still says is not heard any more."""
        self.protocol = protocol
        self._number += 1
        self.ready = False
        self.outbox.clear()
        self._here.clear()
        self._origin, self._sent_ms = None, 0.0

    def disconnected(self, reason: str) -> None:
        """The connection is gone. What was being made has failed; what has come is played out."""
        self.ready, self.protocol = False, None
        self.outbox.clear()
        if self.user_speaking:
            self.user_speaking = False
            self.emit(SpeechStopped())
        again = self._requested
        for response in list(self._responses.values()):
            if response.active:
                if not response.items and not response.calls and not response.dropped:
                    again = again or Respond()
                self._over(response, "failed", reason)
        self._requested, self._expected, self._cancel_next = None, False, False
        self._wanted = self._wanted or again
        for name in sorted(self._asides):
            self.emit(Aside(name=name, text="", reason=reason))
        self._asides.clear()
        self.wake()

    def _began(self, event: Ready) -> None:
        protocol = self.protocol
        assert protocol is not None
        self.session, self.config = event.session, event.config
        if self.again or len(self.history):
            self.post(protocol.seed(self.history.remembered))
        self.ready = True
        self.expires = anyio.current_time() + event.seconds if event.seconds else math.inf
        if not event.seconds and protocol.profile.session_seconds:
            self.expires = anyio.current_time() + protocol.profile.session_seconds
        while self._later:
            late = self._later.popleft()
            if isinstance(late, _Late):
                self.post(late.make(protocol))
            else:
                self._append(late.pcm, late.ms, late.pts)
        self._gap_ms = 0.0
        self.emit(
            Connected(
                provider=protocol.profile.provider,
                session=event.session,
                again=self.again,
                config=event.config,
                profile=protocol.profile,
            )
        )
        self.again = True
        self._ask()

    # What the provider says ---------------------------------------------------------------------------------------

    def receive(self, data: Message) -> None:
        """A message came."""
        protocol = self.protocol
        if protocol is None:
            return
        self.heard_at = anyio.current_time()
        for event in protocol.receive(data):
            self.handle(event)
        self.outbox.extend(protocol.pending())
        if self.outbox:
            self.sending.ring()
        self.resting.ring()

    def handle(self, event: Event) -> None:
        """Act on what a message means."""
        if isinstance(event, AudioPiece):
            self._audio(event)
        elif isinstance(event, TextPiece):
            self._text(event.response, event.item, event.text)
        elif isinstance(event, ItemOver):
            self._item_over(event)
        elif isinstance(event, ResponseBegan):
            if event.response not in self._responses:  # its first piece may have come before
                self._begin(event.response, event.request)
        elif isinstance(event, ResponseOver):
            self._response_over(event)
        elif isinstance(event, SpeechBegan):
            self._speech_began(event)
        elif isinstance(event, SpeechOver):
            self.user_speaking = False
            self.emit(SpeechStopped(item=event.item, pts=self._pts(event.ms)))
        elif isinstance(event, AudioCommitted):
            self.history.begin(event.item)
            self._expected = self._expected or event.answered
        elif isinstance(event, Transcribed):
            if event.item in self._final and not event.final:
                return
            if event.final:
                self._final.append(event.item)
            self.history.user(event.text, event.item)
            self.emit(Transcript(text=event.text, item=event.item, final=event.final))
        elif isinstance(event, CallMade):
            self._call(event)
        elif isinstance(event, CallCancelled):
            self._cancel_tool(event.call)
            self._answered(event.call)
        elif isinstance(event, Ready):
            self._began(event)
        elif isinstance(event, AsideOver):
            self._asides.discard(event.name)
            self.emit(Aside(name=event.name, text=event.text, reason=event.reason))
        elif isinstance(event, Limited):
            provider = self.protocol.profile.provider if self.protocol is not None else ""
            self.emit(RateLimits(provider=provider, remaining=event.remaining, reset_seconds=event.reset_seconds))
        elif isinstance(event, GoingAway):
            self.expires = min(self.expires, anyio.current_time() + event.seconds)
        elif isinstance(event, ProtocolFault):
            self._fault(event)

    def _begin(self, name: str, request: str | None = None) -> _Response:
        """A response begins: now it is stamped, once."""
        ours = self._requested is not None and request in (None, self._request)
        called_off = ours and self._cancel_next
        protected = ours and self._requested is not None and self._requested.protected
        if ours:
            self._requested, self._cancel_next = None, False
        self._expected = False
        response = _Response(name, None if called_off else self._out.reply(), self._number)
        self._responses[name] = response
        for old in list(self._responses.values())[:-KEPT]:
            if not old.calls:
                del self._responses[old.name]
        self._active = name
        if called_off:
            self._cancel(response)
        else:
            self.emit(ResponseStarted(response=name, protected=protected))
        return response

    def _of(self, name: str) -> _Response | None:
        """The response a piece belongs to, if it is still wanted. Its news may come after its first piece."""
        response = self._responses.get(name)
        if response is None:
            response = self._begin(name)
        return None if response.dropped or not response.active else response

    def _item(self, response: _Response, name: str) -> _Item:
        if name not in response.items:
            response.items[name] = _Item(response.epoch, self._ms_per_weight)
        return response.items[name]

    def _audio(self, event: AudioPiece) -> None:
        response = self._of(event.response)
        if response is None or self.protocol is None:
            return
        item = self._item(response, event.item)
        pcm = item.half + event.pcm
        item.half = pcm[len(pcm) & ~1 :]
        if len(pcm) < 2:
            return
        rate = self.protocol.profile.output_rate
        samples = np.frombuffer(pcm, "<i2", len(pcm) // 2).astype(np.int16, copy=False)
        pts = item.samples * SECOND // rate
        frame = Audio(samples=samples, rate=rate, pts=pts, response=event.response, item=event.item)
        item.samples += len(samples)
        item.alignment.sounds(frame)
        self.emit(frame, response.outlet)
        if self._waiting_ms > self._waiting_most:
            self._cancel(response)
            self._over(
                response, "failed", f"more than {self._waiting_most / 1000:g} s of its audio waited to be played"
            )

    def _text(self, name: str, item_name: str, text: str) -> None:
        response = self._of(name)
        if response is None or not text:
            return
        item = self._item(response, item_name)
        item.text = True
        item.alignment.says(text, False)
        self.history.assistant(text, item_name, name)
        self.emit(Text(text=text, response=name, item=item_name), response.outlet)

    def _item_over(self, event: ItemOver) -> None:
        response = self._responses.get(event.response)
        if response is None or response.dropped or not response.active:
            return
        item = self._item(response, event.item)
        if item.final:
            return
        if event.text and not item.text:
            self._text(event.response, event.item, event.text)
        if item.text:
            item.final = True
            self.emit(Text(text="", response=event.response, item=event.item, final=True), response.outlet)

    def _response_over(self, event: ResponseOver) -> None:
        response = self._responses.get(event.response)
        if response is None or not response.active:
            if response is None and event.outcome == "failed" and self._active is None:
                self._requested = None  # it failed before it began
            self._expected = self._expected and response is None
            self._ask()  # one that was given up here is over at the provider, too
            return
        if event.usage:
            self.emit(Usage(response=event.response, **event.usage))
        interrupted = event.outcome == "interrupted" and not response.dropped
        self._over(response, event.outcome, event.reason)
        if interrupted and response.outlet is not None:
            self._interrupt("the provider stopped its response")
        self._ask()

    def _over(self, response: _Response, outcome: Any, reason: str) -> None:
        response.active = False
        if self._active == response.name:
            self._active = None
        if response.outlet is None:
            return
        for item in response.items.values():
            (item.alignment.complete if outcome == "completed" else item.alignment.cut)()
        if response.dropped and outcome == "completed":
            outcome = "interrupted"
        self.emit(ResponseEnded(response=response.name, outcome=outcome, reason=reason))
        self._results_complete(response)

    # Speech and interruption --------------------------------------------------------------------------------------

    def _speech_began(self, event: SpeechBegan) -> None:
        self.user_speaking = True
        self.emit(SpeechStarted(item=event.item, pts=self._pts(event.ms)))
        if event.interrupts:
            self._expected = False
            self._interrupt("the user spoke", cancelled=True)

    def _interrupt(self, reason: str, *, cancelled: bool = False) -> None:
        """The provider has been interrupted: one step for one cause. `cancelled`: it stops by itself."""
        before = self._out.epoch
        self._out.offer(Interrupt(reason=reason))
        if self._out.epoch != before:
            self.interrupted(cancelled=cancelled)

    def interrupted(self, *, cancelled: bool = False) -> None:
        """The epoch has advanced: stop what was being said, and find out what was heard of it."""
        now = anyio.current_time()
        self._wanted = None
        if self._requested is not None:
            self._cancel_next = True
        for response in self._responses.values():
            if not response.dropped or response.outlet is None:
                continue
            if response.active and not cancelled and not response.cancelled:
                self._cancel(response)
            for name, item in response.items.items():
                if not item.settled and (response.name, name) not in self._deadlines:
                    item.alignment.cut()
                    wait = REPORT_S if item.alignment.started else UNHEARD_S
                    self._deadlines[response.name, name] = now + wait
        kept = deque(
            (outlet, frame)
            for outlet, frame in self.give
            if not (outlet.stale and frame.epoch == LIVE and isinstance(frame, Audio | Text))
        )
        self._waiting_ms = sum(frame.ms for _, frame in kept if isinstance(frame, Audio))
        self.give.clear()
        self.give.extend(kept)
        self.wake()

    def _cancel(self, response: _Response) -> None:
        protocol = self.protocol
        response.cancelled = True
        if protocol is not None and protocol.profile.cancels and self.ready:
            self.post(protocol.cancel(response.name))

    def played(self, frame: Played) -> None:
        """The sink reports how far an item was heard."""
        response = self._responses.get(frame.response)
        item = response.items.get(frame.item) if response is not None else None
        if response is None or item is None or item.settled:
            return
        if not item.alignment.audio_ms:
            return  # its text is spoken by another voice: `Heard` will say what became of it
        item.alignment.plays(frame.ms, frame.done)
        if frame.done:
            self._settle(response, frame.item, item)
        elif (key := (frame.response, frame.item)) in self._deadlines:
            self._deadlines[key] = max(self._deadlines[key], anyio.current_time() + UNHEARD_S)

    def _settle(self, response: _Response, name: str, item: _Item) -> None:
        """What was heard of an item is known: correct the provider's memory and ours."""
        item.settled = True
        self._deadlines.pop((response.name, name), None)
        alignment, protocol = item.alignment, self.protocol
        self._ms_per_weight = alignment.learned
        received, played = alignment.audio_ms, min(alignment.played_ms, alignment.audio_ms)
        all_of_it = played >= received - TOLERANCE_MS
        if not received or (all_of_it and not alignment.is_cut):
            return
        self.history.heard(alignment.heard if played > 0 else "", name, response.name)
        if protocol is None or not protocol.profile.truncates or not self.ready or response.connection != self._number:
            return
        if not all_of_it or response.dropped:
            self.post(protocol.truncate(name, int(played)) if played >= 1 else protocol.forget(name))

    def _unheard(self, response: _Response, name: str, item: _Item) -> None:
        item.settled = True
        self.history.heard("", name, response.name)
        protocol = self.protocol
        if protocol is not None and protocol.profile.truncates and self.ready and response.connection == self._number:
            self.post(protocol.forget(name))

    def heard(self, frame: Heard) -> None:
        """`Spoken` says which words were heard: what a voice of one's own made of the text."""
        response = self._responses.get(frame.response)
        item = response.items.get(frame.item) if response is not None else None
        if not frame.done or item is None or item.settled or item.alignment.audio_ms or not frame.coming.strip():
            return
        item.settled = True
        self._deadlines.pop((frame.response, frame.item), None)
        self.history.heard(frame.text, frame.item, frame.response)
        protocol = self.protocol
        known = response is not None and response.connection == self._number
        if protocol is not None and protocol.profile.truncates and self.ready and known:
            self.post(protocol.forget(frame.item))
            if frame.text.strip():
                self.post(protocol.seed([Entry(role="assistant", text=frame.text)]))

    def next_deadline(self) -> float:
        """When `due` has something to do."""
        return min(self._deadlines.values(), default=math.inf)

    def due(self) -> None:
        """No report has come for some items: what is known of them is all there is."""
        now = anyio.current_time()
        for (name, item_name), deadline in list(self._deadlines.items()):
            if deadline <= now:
                del self._deadlines[name, item_name]
                response = self._responses.get(name)
                item = response.items.get(item_name) if response is not None else None
                if response is None or item is None or item.settled:
                    continue
                if item.alignment.audio_ms:
                    item.alignment.plays(0, True)
                    self._settle(response, item_name, item)
                elif self._speaks:  # its sound never came
                    self._unheard(response, item_name, item)

    # What the application asks for --------------------------------------------------------------------------------

    def audio(self, pcm: bytes, ms: float, pts: int) -> None:
        """The user's sound. Without a session it is kept, as far as there is room."""
        if self.ready:
            self._append(pcm, ms, pts)
            self.sending.ring()
            return
        self._later.append(_Sound(pcm, ms, pts))
        self._gap_ms += ms
        while self._gap_ms > self._gap_most:
            oldest = next(each for each in self._later if isinstance(each, _Sound))
            self._later.remove(oldest)
            self._gap_ms -= oldest.ms
            self.dropped_ms += oldest.ms

    def _append(self, pcm: bytes, ms: float, pts: int) -> None:
        if self.protocol is None:
            return
        if self._origin is None:
            self._origin = pts
        self._sent_ms += ms
        self.outbox.append(self.protocol.audio(pcm))

    def _pts(self, ms: float) -> int:
        return (self._origin or 0) + round(ms * 1e6)

    def commit(self) -> None:
        """The user's turn is over, and it is the agent's."""
        self._command(lambda protocol: protocol.commit())
        self.ask(Respond())

    def text(self, text: str, item: str) -> None:
        """The user wrote something, which is to be answered."""
        self.history.user(text, item)
        if self.ready:
            self._command(lambda protocol: protocol.text(text, item))  # later it is part of the history
        self.ask(Respond())

    def aside(self, name: str, instructions: str) -> None:
        """Ask something apart from the conversation."""
        self._asides.add(name)
        self._command(lambda protocol: protocol.aside(name, instructions))

    def command(self, make: Callable[[Protocol], Iterable[Message]]) -> None:
        """Send whatever else there is to send."""
        self._command(make)

    def ask(self, respond: Respond) -> None:
        """Ask for a response, now or when it can be; several requests become one."""
        self._wanted = respond
        self._ask()

    def _ask(self) -> None:
        wanted = self._wanted
        if wanted is None or not self.ready or self.protocol is None:
            return
        if self._active is not None or self._requested is not None or any(self._unanswered()):
            return
        self._wanted, self._requested = None, wanted
        self._cancel_next = False
        self.post(self.protocol.respond(wanted.instructions))
        self._request = self.protocol.request
        self.heard_at = anyio.current_time()

    # Tools --------------------------------------------------------------------------------------------------------

    def _unanswered(self) -> set[str]:
        """Calls that the next response must wait for; not those of an interrupted one that we do not run."""
        responses = self._responses.values()
        return {call for each in responses for call in each.calls if call in self._running or not each.dropped}

    def _call(self, event: CallMade) -> None:
        response = self._responses.get(event.response) or self._begin(event.response)
        if response.outlet is None:
            return  # it was called off before it began
        if any(event.call == entry.call for entry in self.history if entry.role == "call"):
            return
        call = ToolCall(call=event.call, name=event.name, arguments=event.arguments, response=event.response)
        self.history.call(event.call, event.name, event.arguments, event.response)
        response.calls.add(event.call)
        response.called = True
        self._here.add(event.call)
        self.emit(call)
        if self._run_tool(call):
            self._running.add(event.call)

    def result(self, frame: ToolResult) -> None:
        """A tool has answered: the model hears of it before its next response."""
        entry = self.history.result(frame.call, frame.output)
        if entry is None or not any(frame.call in response.calls for response in self._responses.values()):
            return
        if self.ready and self.protocol is not None:
            if frame.call in self._here:
                self.post(self.protocol.tool_result(frame.call, frame.output))
            else:  # it was called on another connection: this one must be told of the call, too
                self.post(self.protocol.seed([entry]))
        self._answered(frame.call)

    def _answered(self, call: str) -> None:
        self._running.discard(call)
        for response in self._responses.values():
            if call in response.calls:
                response.calls.discard(call)
                self._results_complete(response)
        self.wake()

    def tool_over(self, call: str) -> None:
        """A tool ended without an answer."""
        self._answered(call)

    def _results_complete(self, response: _Response) -> None:
        """All calls of a response are answered, and it is over: one more response, unless the user went on."""
        if response.active or response.calls or not response.called:
            return
        response.called = False
        if not response.dropped and self._wanted is None:
            self._wanted = Respond()
        self._ask()

    # Faults -------------------------------------------------------------------------------------------------------

    def _fault(self, event: ProtocolFault) -> None:
        if event.busy:
            called_off, self._cancel_next = self._cancel_next, False
            if not called_off:
                self._wanted = self._wanted or self._requested or Respond()
            self._requested = None
            self._expected = self._active is None
            return
        if event.refused:
            self._requested, self._cancel_next = None, False
            self._ask()
        provider = self.protocol.profile.provider if self.protocol is not None else ""
        self.emit(Failure(message=f"{provider}: {event.message}", processor=provider, fatal=event.fatal))
        if event.fatal:
            self.fatal = event.message


class _Late(NamedTuple):
    """A command that waits for a protocol to put it in words."""

    make: Callable[[Protocol], Iterable[Message]]


class _Sound(NamedTuple):
    """Sound that waits for a connection."""

    pcm: bytes
    ms: float
    pts: int
