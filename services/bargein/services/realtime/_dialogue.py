"""What goes on between a provider and the graph: whose turn it is, what is stale, what was heard.

Synchronous throughout: events of the provider and frames of the graph come in, messages and frames come out through two
queues. So every interleaving is a sequence of calls, and no await can come between a decision and its consequence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import anyio

from bargein.pipeline import (
    Audio,
    Failure,
    Frame,
    Interrupt,
    Outlet,
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
from bargein.pipeline.lowlevel import Wakeup
from bargein.processors import Timing
from bargein.services.frames import Connected, OutOfBand, RateLimits, Remember, Respond, Say, ToolFinished
from bargein.services.history import Entry, History, Picture

from ._output_queue import OutputQueue
from ._playback import PlaybackTracker
from ._responses import Response, ResponseItem
from ._send_queue import COMMANDS, SendQueue
from ._tool_calls import PendingToolCalls
from .profile import Profile
from .protocol import (
    AudioCommitted,
    AudioPiece,
    Event,
    GoingAway,
    Interrupted,
    ItemCorrected,
    ItemOver,
    Message,
    OutOfBandCompleted,
    Protocol,
    ProtocolFault,
    RateLimitsReported,
    ResponseBegan,
    ResponseOver,
    Resumable,
    SessionReady,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    ToolCallWithdrawn,
    Transcribed,
    UsageReported,
    WordTimed,
)

__all__ = ["Dialogue"]

SECOND = 1_000_000_000
COMMITTED = Respond()
"""The answer to a commit, which some providers give without being asked."""
KEPT = 64
"""How many responses that are over are remembered, for what still comes of them."""
UNANSWERED = 256
"""How many, at most, where calls of theirs have no answer."""


class Dialogue:
    """The state of one conversation, over however many connections."""

    def __init__(
        self,
        *,
        out: Outlet[Any],
        history: History,
        has_tool: Callable[[str], bool],
        run_tool: Callable[[ToolCall], object],
        cancel_tool: Callable[[str], bool],
        gap_seconds: float,
        buffer_seconds: float,
        speaks: bool = True,
        resumption: str = "",
    ) -> None:
        self.history = history
        self.outbox = SendQueue(gap_seconds)
        self.again = False
        self.session = ""
        self.config: dict[str, Any] = {}
        self.expires = math.inf
        self.renewal = ""
        """Why another connection is to be made, in the first pause; empty when only `expires` says when."""
        self.heard_at = anyio.current_time()
        """When the provider last said anything."""
        self.resumption = resumption
        """What takes up the provider's session on another connection; empty for none."""
        self.sound_at = math.inf
        """When the user's source last gave sound; infinite while it gives none."""
        self.may_answer = False
        """The user's sound has come since the last response began."""
        self.fatal: str | None = None
        self.broken: str | None = None
        """Why the present connection is of no use any more."""
        self.user_speaking = False
        """So the provider says."""
        self.detected = False
        """So a detector of the application's own says, above."""
        self.give = OutputQueue()
        self.minding, self.resting = Wakeup(), Wakeup()
        self._out = out
        self._run_tool = run_tool
        self._cancel_tool = cancel_tool
        self._waiting_most = buffer_seconds * 1000
        self._responses: dict[str, Response] = {}
        self.memory = PlaybackTracker(history, self.outbox, self._responses, speaks=speaks)
        self.calls = PendingToolCalls(history, self._responses, has_tool)
        self._profile: Profile | None = None  # of the latest connection
        self._active: str | None = None
        self._requested: Respond | Say | None = None  # sent, and not begun
        self._expected = False  # the provider will respond by itself
        self._wanted: Respond | None = None  # to be sent when it can be
        self._says: deque[Say] = deque(maxlen=COMMANDS)  # the same, word for word, and before that
        self._cancel_next = False
        self._request: str | None = None  # its name
        self._kept: Entry | None = None  # the last entry that `resumption` knows
        self._sounds_until = 0.0  # when all would be played that the provider has sent
        self._final: deque[str] = deque(maxlen=KEPT)  # items of the user whose words are final
        self._asides: set[str] = set()  # what was asked apart, and not answered
        self._typed: deque[Entry] = deque(maxlen=COMMANDS)  # what was written, and waits for a session

    # The two queues -----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Tell all who wait that something has changed."""
        self.outbox.bell.set()
        self.give.bell.set()
        self.minding.set()
        self.resting.set()

    def emit(self, frame: Frame, outlet: Outlet[Any] | None = None) -> None:
        """Give a frame to the graph, in order."""
        self.give.add(frame, outlet or self._out)

    @property
    def protocol(self) -> Protocol | None:
        """The language of the present connection."""
        return self.outbox.protocol

    @property
    def ready(self) -> bool:
        """There is a session that can be used."""
        return self.outbox.open

    @property
    def epoch(self) -> int:
        """The session's present epoch."""
        return self._out.epoch

    @property
    def busy(self) -> bool:
        """A response is being made, asked for or expected, or a tool runs."""
        waiting = self._requested or self._wanted or self._says or self._expected
        return bool(self._active or waiting or self.calls.running)

    @property
    def owed(self) -> bool:
        """The provider should say something soon."""
        return bool(self._active or self._requested or self._expected) and not self.calls.unanswered

    @property
    def silence(self) -> float:
        """For how many seconds it has owed something. It may take the time that its reply takes to be heard."""
        return anyio.current_time() - max(self.heard_at, self._sounds_until) if self.owed else 0.0

    @property
    def pause(self) -> bool:
        """Nobody speaks, and nothing is under way."""
        speaking = self.user_speaking or self.detected
        return not (self.busy or speaking or self.give or self.memory.playing)

    @property
    def _provider(self) -> str:
        return self.protocol.profile.provider if self.protocol is not None else ""

    # Connections --------------------------------------------------------------------------------------------------

    def renew(self, reason: str, seconds: float) -> None:
        """Another connection is to be made: in the first pause, and at the latest in so many seconds."""
        self.renewal = reason
        self.expires = min(self.expires, anyio.current_time() + seconds)

    def due(self, before: float) -> bool:
        """It is time for another connection, so many seconds before the present one must end."""
        return bool(self.renewal) or self.expires < anyio.current_time() + before

    def connecting(self, protocol: Protocol) -> None:
        """A new connection is made; what the old one still says is not heard any more."""
        self.outbox.connect(protocol)
        self._profile = protocol.profile
        self.broken = None
        self.renewal, self.expires = "", math.inf
        self.calls.connect()

    def disconnected(self, reason: str) -> None:
        """The connection is gone. What was being made has failed; what has come is played out."""
        profile = self.protocol.profile if self.protocol is not None else None
        unheard = self.outbox.unheard
        self.outbox.disconnect()
        if self.user_speaking:
            self.user_speaking = False
            self.emit(SpeechStopped())
        again = self._requested
        if again is COMMITTED:
            again = COMMITTED if unheard else Respond()  # where its sound has become words, they are told
            if unheard:
                self.outbox.command(lambda protocol: protocol.commit(), behind_sound=True)
        lost = self._expected
        for response in list(self._responses.values()):
            if response.active:
                if not self.memory.begun(response) and not response.calls and not response.dropped:
                    again, lost = again or Respond(), True
                self._over(response, "failed", reason)
        self._requested, self._expected, self._cancel_next = None, False, False
        if profile is None or profile.supports_response_requests:
            self._want_again(again)
        elif lost:
            self._tell_again()
        for name in sorted(self._asides):
            self.emit(OutOfBand(name=name, text="", reason=reason))
        self._asides.clear()
        self.wake()

    def _want_again(self, asked: Respond | Say | None) -> None:
        """What was asked for has not come: it is asked for again, unless something else is by now."""
        if isinstance(asked, Say):
            self._says.appendleft(asked)
        else:
            self._wanted = self._wanted or asked

    def _tell_again(self) -> None:
        """Who cannot be asked for the answer that was lost answers what the user said last, when it is written."""
        unheard = (each for each in reversed(list(self.history)) if each.role != "call" and each.worth)
        last = next(unheard, None)
        if (
            self._profile is None
            or not self._profile.supports_text_input
            or last is None
            or last.role != "user"
            or not last.text
        ):
            return
        self._wanted = Respond()
        if not any(last is each for each in self._typed):
            self._tell(last)

    def _began(self, event: SessionReady) -> None:
        protocol = self.protocol
        assert protocol is not None
        self.session, self.config = event.session_id, event.config
        last = self._kept if event.resumed else None
        entries = list(self.history)
        new = next((at + 1 for at, entry in enumerate(entries) if entry is last), 0)
        worth = [entry for entry in entries[new:] if entry.worth_to(images=protocol.profile.supports_images)]
        known = [entry for entry in worth if not any(entry is each for each in self._typed)]
        self.calls.begin(known, resumed=event.resumed)
        self.outbox.begin(protocol.seed(known) if known and protocol.profile.supports_history_seeding else ())
        self.expires = anyio.current_time() + event.remaining_seconds if event.remaining_seconds else math.inf
        if not event.remaining_seconds and protocol.profile.max_session_seconds:
            self.expires = anyio.current_time() + protocol.profile.max_session_seconds
        self.emit(
            Connected(
                provider=protocol.profile.provider,
                session_id=event.session_id,
                reconnected=self.again,
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
        if pending := list(protocol.take_replies()):
            self.outbox.post(pending)
        self.resting.set()

    def handle(self, event: Event) -> None:
        """Act on what a message means."""
        if isinstance(event, AudioPiece):
            self._audio(event)
        elif isinstance(event, TextPiece):
            self._text(event.response_id, event.item_id, event.text)
        elif isinstance(event, WordTimed):
            self._word(event)
        elif isinstance(event, ItemOver):
            self._item_over(event)
        elif isinstance(event, ResponseBegan):
            if event.response_id not in self._responses:  # its first piece may have come before
                self._begin(event.response_id, event.request_id)
        elif isinstance(event, ResponseOver):
            self._response_over(event)
        elif isinstance(event, SpeechBegan):
            self._speech_began(event)
        elif isinstance(event, SpeechOver):
            self.user_speaking = False
            self.emit(SpeechStopped(item_id=event.item_id, pts=self.outbox.pts(event.ms)))
        elif isinstance(event, AudioCommitted):
            self.history.begin(event.item_id)
            self._expected = self._expected or event.answered
        elif isinstance(event, Transcribed):
            if event.item_id in self._final and not event.final:
                return
            if event.final:
                self._final.append(event.item_id)
                self.outbox.understood()
            self.history.user(event.text, event.item_id)
            self.emit(Transcript(text=event.text, item_id=event.item_id, final=event.final))
        elif isinstance(event, ToolCallReceived):
            self._call(event)
        elif isinstance(event, ToolCallWithdrawn):
            self._call_off(event.call_id)
        elif isinstance(event, SessionReady):
            self._began(event)
        elif isinstance(event, Interrupted):
            response = self._responses.get(event.response_id)
            if response is not None and not response.dropped:
                self._interrupt("the user spoke", cancelled=True)
        elif isinstance(event, ItemCorrected):
            self.history.correct(event.text, event.item_id, event.response_id)
        elif isinstance(event, UsageReported):
            self.emit(Usage(response_id=event.response_id, **event.usage))
        elif isinstance(event, Resumable):
            self.resumption = event.handle
            self._kept = next(reversed(list(self.history)), None)
            self.calls.keep()
        elif isinstance(event, OutOfBandCompleted):
            self._asides.discard(event.name)
            self.emit(OutOfBand(name=event.name, text=event.text, reason=event.reason))
        elif isinstance(event, RateLimitsReported):
            self.emit(RateLimits(provider=self._provider, remaining=event.remaining, reset_seconds=event.reset_seconds))
        elif isinstance(event, GoingAway):
            self.renew(f"{self._provider} closes the connection", event.remaining_seconds)
        elif isinstance(event, ProtocolFault):
            self._fault(event)

    def _begin(self, name: str, request: str | None = None) -> Response:
        """A response begins: now it is stamped, once."""
        ours = self._requested is not None and request in (None, self._request)
        called_off = ours and self._cancel_next
        protected = ours and self._requested is not None and self._requested.protected
        if ours:
            self._requested, self._cancel_next = None, False
        self._expected = self.may_answer = False
        self.outbox.understood()
        response = Response(name, None if called_off else self._out.reply(), self.outbox.number)
        self._responses[name] = response
        for old in list(self._responses.values())[:-KEPT]:
            if not old.calls or len(self._responses) > UNANSWERED:
                del self._responses[old.name]
                self.calls.forget(old)
        self._active = name
        if called_off:
            self._cancel(response)
        else:
            self.emit(ResponseStarted(response_id=name, protected=protected))
        return response

    def _of(self, name: str) -> Response | None:
        """The response a piece belongs to, if it is still wanted. Its news may come after its first piece."""
        response = self._responses.get(name)
        if response is None:
            response = self._begin(name)
        return None if response.dropped or not response.active else response

    def _item(self, response: Response, name: str) -> ResponseItem:
        if name not in response.items:
            response.items[name] = ResponseItem(response.epoch, self.memory.ms_per_weight)
        return response.items[name]

    def _audio(self, event: AudioPiece) -> None:
        response = self._of(event.response_id)
        if self.protocol is None:
            return
        rate = self.protocol.profile.output_rate
        self._sounds_until = max(self._sounds_until, anyio.current_time()) + len(event.pcm) / 2 / rate
        if response is None:
            return
        item = self._item(response, event.item_id)
        samples = item.sound(event.pcm)
        if samples is None:
            return
        pts = item.samples * SECOND // rate
        item.samples += len(samples)
        frame = Audio(samples=samples, rate=rate, pts=pts, response_id=event.response_id, item_id=event.item_id)
        item.alignment.add_audio(frame)
        self.emit(frame, response.outlet)
        if self.give.waiting_ms > self._waiting_most:
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
        item.alignment.add_text(text, False)
        self.history.assistant(text, item_name, name)
        self.emit(Text(text=text, response_id=name, item_id=item_name), response.outlet)

    def _word(self, event: WordTimed) -> None:
        response = self._of(event.response_id)
        if response is None:
            return
        self._item(response, event.item_id).alignment.add_timing(event.text, event.start_ms, event.end_ms)
        timing = Timing(
            text=event.text,
            start_ms=event.start_ms,
            end_ms=event.end_ms,
            response_id=event.response_id,
            item_id=event.item_id,
        )
        self.emit(timing, response.outlet)

    def _item_over(self, event: ItemOver) -> None:
        response = self._responses.get(event.response_id)
        if response is None or response.dropped or not response.active:
            return
        item = self._item(response, event.item_id)
        if item.final:
            return
        if event.text and not item.text:
            self._text(event.response_id, event.item_id, event.text)
        if item.text:
            item.final = True
            self.emit(Text(text="", response_id=event.response_id, item_id=event.item_id, final=True), response.outlet)

    def _response_over(self, event: ResponseOver) -> None:
        response = self._responses.get(event.response_id)
        if response is None or not response.active:
            if response is None and event.outcome != "completed" and self._active is None:
                self._requested = None  # it was over before it began
            self._expected = self._expected and response is None
            self._ask()  # one that was given up here is over at the provider, too
            return
        if event.usage:
            self.emit(Usage(response_id=event.response_id, **event.usage))
        interrupted = event.outcome == "interrupted" and not response.dropped
        self._over(response, event.outcome, event.reason)
        if interrupted and response.outlet is not None:
            self._interrupt("the provider stopped its response")
        self._ask()

    def _over(self, response: Response, outcome: Any, reason: str) -> None:
        response.active = False
        self._sounds_until = 0.0
        if self._active == response.name:
            self._active = None
        if response.outlet is None:
            return
        for item in response.items.values():
            (item.alignment.complete if outcome == "completed" else item.alignment.cut)()
        if outcome == "failed" and not response.dropped:
            self.memory.failed(response)
        if response.dropped and outcome == "completed":
            outcome = "interrupted"
        self.emit(ResponseEnded(response_id=response.name, outcome=outcome, reason=reason))
        self._results_complete(response)

    # Speech and interruption --------------------------------------------------------------------------------------

    def _speech_began(self, event: SpeechBegan) -> None:
        self.user_speaking = True
        self.emit(SpeechStarted(item_id=event.item_id, pts=self.outbox.pts(event.ms)))
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
        self._wanted = None
        self._says.clear()
        if self._requested is not None:
            self._cancel_next = True
        for response in self._responses.values():
            if not response.dropped or response.outlet is None:
                continue
            if response.active and not cancelled and not response.cancelled:
                self._cancel(response)
            self.memory.interrupted(response)
        self.give.expire()
        self.wake()

    def _cancel(self, response: Response) -> None:
        protocol = self.protocol
        response.cancelled = True
        if protocol is not None and protocol.profile.supports_cancel and self.ready:
            self.outbox.post(protocol.cancel(response.name))

    # What the application asks for --------------------------------------------------------------------------------

    def sounds(self) -> None:
        """The user's source gives sound."""
        self.may_answer = True
        if self.sound_at == math.inf:
            self.minding.set()
        self.sound_at = anyio.current_time()

    def quiet(self) -> None:
        """The user's source has given no sound for some time."""
        if self.sound_at != math.inf and self.ready:
            self.outbox.command(lambda protocol: protocol.audio_paused(), behind_sound=True)
        self.sound_at = math.inf

    def commit(self) -> None:
        """The user's turn is over, and it is the agent's."""
        self.outbox.command(lambda protocol: protocol.commit(), behind_sound=True)
        self.ask(COMMITTED)

    def text(self, text: str, item: str) -> None:
        """The user wrote something, which is to be answered."""
        self._tell(self.history.user(text, item))
        self.ask(Respond())

    def remember(self, frame: Remember) -> None:
        """Part of the conversation that was not said in it: the provider is told, once it is whole."""
        entry = self.history.remember(frame.role, frame.text, frame.item_id, call_id=frame.call_id, name=frame.name)
        protocol = self.protocol if self.ready else None  # a new connection is told of all there is
        if entry is not None and entry.worth and protocol is not None and protocol.profile.supports_history_seeding:
            self.outbox.post(protocol.seed([entry]))

    def show(self, picture: Picture) -> None:
        """The user shows a picture, which is part of the conversation, and not answered."""
        self._tell(self.history.show(picture), picture)

    def _tell(self, entry: Entry, picture: Picture | None = None) -> None:
        """Give the provider what the user wrote or shows: as such, and not as history, though it may have to wait."""

        def make(protocol: Protocol) -> Iterable[Message]:
            with suppress(ValueError):
                self._typed.remove(entry)
            if picture is not None:
                return protocol.image(picture.data, picture.media.removeprefix("image/"), picture.detail)
            return protocol.text(entry.text, entry.item_id)

        self._typed.append(entry)
        self.outbox.command(make)

    def aside(self, name: str, instructions: str) -> None:
        """Ask something apart from the conversation."""
        self._asides.add(name)
        self.outbox.command(lambda protocol: protocol.out_of_band(name, instructions))

    def say(self, frame: Say) -> None:
        """Have given words said, when that can be: after the response that is being made, one after the other."""
        self._says.append(frame)
        self._ask()

    def ask(self, respond: Respond) -> None:
        """Ask for a response, now or when it can be; several requests become one."""
        self._wanted = respond
        self._ask()

    def _ask(self) -> None:
        wanted = self._says[0] if self._says else self._wanted
        if wanted is None or not self.ready or self.protocol is None:
            return
        if not self.protocol.profile.supports_response_requests and not isinstance(wanted, Say):
            self._wanted = None
            self._expected = self._active is None and not self.calls.unanswered
            self.heard_at = anyio.current_time()
            return
        if self._requested is not None or self.calls.unanswered:
            return
        asked = wanted is COMMITTED and self.protocol.profile.responds_to_commit
        active = self._responses.get(self._active or "")
        if active is not None and not asked and (self.protocol.profile.supports_cancel or not active.dropped):
            return  # one that is dropped and cannot be cancelled is not waited for: the next takes its place
        self._requested = wanted
        self._cancel_next = False
        self._request = None
        if isinstance(wanted, Say):
            self._says.popleft()
            self.outbox.post(self.protocol.say(wanted.text, protected=wanted.protected))
            self._request = self.protocol.request_id
        else:
            self._wanted = None
        if isinstance(wanted, Respond) and not asked:
            self.outbox.post(self.protocol.respond(wanted.instructions))
            self._request = self.protocol.request_id
        self.heard_at = anyio.current_time()

    # Tools --------------------------------------------------------------------------------------------------------

    def _call(self, event: ToolCallReceived) -> None:
        response = self._responses.get(event.response_id) or self._begin(event.response_id)
        if response.outlet is None:
            return  # it was called off before it began
        call = self.calls.made(event, response)
        if call is not None:
            self.emit(call)
            if call.handled:
                self._run_tool(call)

    def result(self, frame: ToolResult) -> None:
        """A tool has answered: the model hears of it before its next response."""
        entry, calls = self.history.result(frame.call_id, frame.output), self.calls
        if entry is None or not (calls.awaited(frame.call_id) or calls.foreign(frame.call_id)):
            return
        known = calls.known(frame.call_id)
        if self.ready and self.protocol is not None:
            self.heard_at = anyio.current_time()
            if known:
                self.outbox.post(self.protocol.tool_result(frame.call_id, frame.output))
            else:  # it was called on another connection, or by another brain: this one must be told of the call, too
                calls.tell(frame.call_id)
                self.outbox.post(self.protocol.seed([entry]))
        self._answered(frame.call_id, known=known)

    def _call_off(self, call: str) -> None:
        """The provider does not want an answer: whoever works on it is told, and it is never answered."""
        entry = self.history.find_call(call)
        awaited = self.calls.awaited(call)
        if not self._cancel_tool(call) and awaited and entry is not None:
            self.emit(ToolFinished(call_id=call, name=entry.name, cancelled=True))
        self._answered(call)

    def _answered(self, call: str, *, known: bool = True) -> None:
        for response in self.calls.over(call):
            self._results_complete(response, known)
        self.wake()

    def tool_over(self, call: str) -> None:
        """A tool ended without an answer: an interrupt has called it off."""
        calls = self.calls
        if call in calls.running and calls.known(call) and self.ready and self.protocol is not None:
            self.outbox.post(self.protocol.cancel_tool_call(call))
        self._answered(call)

    def _results_complete(self, response: Response, known: bool = True) -> None:
        """All calls of a response are answered, and it is over: one more response, unless the user went on.

        Some providers go on by themselves, if the calls are `known` to them.
        """
        if response.active or response.calls or not response.called:
            return
        response.called = False
        continues = known and self.protocol is not None and self.protocol.profile.responds_to_tool_results
        if not response.dropped and self._wanted is None and not continues:
            if self.ready or self._profile is None or self._profile.supports_response_requests:
                self._wanted = Respond()
            else:
                self._tell_again()
        self._ask()

    # Faults -------------------------------------------------------------------------------------------------------

    def _fault(self, event: ProtocolFault) -> None:
        if event.busy:
            called_off, self._cancel_next = self._cancel_next, False
            if not called_off:
                self._want_again(self._requested or Respond())
            self._requested = None
            self._expected = self._active is None
            return
        if event.refused:
            self._requested, self._cancel_next = None, False
            self._ask()
        provider = self._provider
        self.emit(Failure(message=f"{provider}: {event.message}", processor=provider, fatal=event.fatal))
        if event.broken:
            self.broken = event.message
        if event.fatal:
            self.fatal = event.message
