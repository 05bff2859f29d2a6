"""What happens between a provider and the graph: whose turn it is, what is stale, what was heard.

All of it is synchronous: the provider's events and the graph's frames come in, and messages and frames go out through
two queues. So every interleaving is a sequence of calls, and no await can come between a decision and its consequence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import anyio

from bargein.pipeline import Failure, Outlet, Played, SpeechStarted, SpeechStopped, ToolCall, Transcript, Usage
from bargein.services.frames import Connected, OutOfBand, RateLimits, Respond, Say
from bargein.services.history import Entry, History
from bargein.services.realtime import events
from bargein.services.realtime.protocol import Message, Protocol
from bargein.services.realtime.settings import Settings

from .replies import Replies
from .requests import AnswerAction, Request
from .silence import SilenceBreaker
from .state import DialogueState
from .tool_exchange import ToolExchange

__all__ = ["Dialogue"]


class Dialogue(DialogueState):
    """One conversation: its state, its connections, and what each event of the provider does.

    Args:
        out: The model's outlet. Frames that do not belong to a response go there.
        history: The conversation.
        settings: What the first session is configured with.
        renew_seconds: Within which time a connection is replaced where new settings need that, in seconds.
        has_tool: Returns whether a tool of this name runs here.
        run_tool: Starts the tool of a call, which ends with `tools.on_result` or `tools.on_cancelled`.
        cancel_tool: Cancels the tool of a call; returns whether it was running.
        gap_seconds: How much of the user's audio is kept without a connection, in seconds.
        buffer_seconds: How much audio of a reply may wait for room in the graph, in seconds.
        speaks: The model has a voice. If not, it only writes.
        estimate_played: Returns how much of an item was played by now, see `PlaybackTracker`.
        resume_handle: Takes up a session of before; empty for a new one.
        dead_air_seconds: Maximum silence while the user waits for an answer, in seconds.
        wait_reply: What is said while a tool keeps the user waiting. Empty: nothing.
    """

    def __init__(
        self,
        *,
        out: Outlet[Any],
        history: History,
        settings: Settings,
        renew_seconds: float,
        has_tool: Callable[[str], bool],
        run_tool: Callable[[ToolCall], object],
        cancel_tool: Callable[[str], bool],
        gap_seconds: float,
        buffer_seconds: float,
        speaks: bool = True,
        estimate_played: Callable[[str, str], float | None] = lambda response_id, item_id: None,
        resume_handle: str = "",
        dead_air_seconds: float = math.inf,
        wait_reply: str = "",
    ) -> None:
        super().__init__(
            out=out,
            history=history,
            has_tool=has_tool,
            gap_seconds=gap_seconds,
            buffer_seconds=buffer_seconds,
            speaks=speaks,
            estimate_played=estimate_played,
            settings=settings,
            dead_air_seconds=dead_air_seconds,
        )
        self.replies = Replies(self)
        self.tools = ToolExchange(self, self.replies, run_tool, cancel_tool)
        self.silence = SilenceBreaker(self, self.replies, wait_reply)
        self.session_id = ""
        """The session's id at the provider; empty before the first."""
        self.resume_handle = resume_handle
        """Takes up the provider's session on another connection; empty if that cannot be."""
        self.renew_reason = ""
        """Why the connection is replaced in the first pause; empty if only its limit is a reason."""
        self.expires_at = math.inf
        """When the session must end."""
        self.fatal: str | None = None
        """Why no other connection will do; None if there is no such reason."""
        self.broken: str | None = None
        """Why the present connection can no longer be used; None if it can."""
        self._requested = settings
        self._session_settings: Settings | None = None  # what the present session knows; None before its opening
        self._renew_seconds = renew_seconds
        self._had_session = False
        self._resumable_entry: Entry | None = None  # the last entry that a resumed session knows
        self._out_of_band: set[str] = set()  # names of questions that have no answer yet
        self._handlers = self._handlers_by_event()

    def _handlers_by_event(self) -> dict[type[events.Event], Callable[[Any], None]]:
        # By exact class: events are never subclassed.
        return {
            events.AudioPiece: self.replies.on_audio,
            events.TextPiece: self.replies.on_text,
            events.WordTimed: self.replies.on_word,
            events.ItemOver: self.replies.on_item_over,
            events.ItemCorrected: self.replies.on_item_corrected,
            events.ResponseBegan: self.replies.on_response_began,
            events.ResponseOver: self.replies.on_response_over,
            events.ToolCallReceived: self.tools.on_call,
            events.ToolCallWithdrawn: self.tools.on_withdrawn,
            events.SpeechBegan: self._on_speech_began,
            events.SpeechOver: self._on_speech_over,
            events.AudioCommitted: self._on_committed,
            events.Transcribed: self._on_transcribed,
            events.Interrupted: self._on_interrupted,
            events.SessionReady: self._on_ready,
            events.Resumable: self._on_resumable,
            events.GoingAway: self._on_going_away,
            events.OutOfBandCompleted: self._on_out_of_band,
            events.RateLimitsReported: self._on_rate_limits,
            events.UsageReported: self._on_usage,
            events.ProtocolFault: self._on_fault,
        }

    @property
    def ready(self) -> bool:
        """Whether there is a session that can be used."""
        return self.send_queue.open

    @property
    def _provider(self) -> str:
        return self.protocol.profile.provider if self.protocol is not None else ""

    # Connections --------------------------------------------------------------------------------------------------

    def renew(self, reason: str, seconds: float) -> None:
        """Have the connection replaced: in the first pause, and after a number of seconds at the latest."""
        self.renew_reason = reason
        self.expires_at = min(self.expires_at, anyio.current_time() + seconds)

    def needs_renewal(self, seconds: float) -> bool:
        """Return whether the connection is to be replaced, a number of seconds before it must end."""
        return bool(self.renew_reason) or self.expires_at < anyio.current_time() + seconds

    def on_connecting(self, protocol: Protocol, requested: Settings) -> None:
        """Begin a new connection.

        Args:
            protocol: Its protocol.
            requested: The settings when its address was fetched; some providers fix them with the address.
        """
        self.send_queue.connect(protocol)
        self.profile = protocol.profile
        self.broken = self._session_settings = None
        self._requested = requested
        self.renew_reason, self.expires_at = "", math.inf
        self.tool_calls.connect(answers_meanwhile=protocol.profile.answers_during_tool_calls)

    def open_session(self) -> Iterable[Message]:
        """Return the messages that open the session, with the present settings."""
        protocol = self.protocol
        assert protocol is not None
        messages = list(protocol.open_session(self.settings))
        # Without messages the settings went with the request for the address. They may have changed since.
        self._session_settings = self.settings if messages else self._requested
        return messages

    def configure(self, settings: Settings) -> None:
        """Change the settings: now, or when the session that is being opened is ready."""
        self.settings = settings
        if self.ready:
            self.send_queue.post(self._updates())

    def _updates(self) -> list[Message]:
        """Return the messages that tell the session of changed settings; none if a new connection is needed for it."""
        protocol, known = self.protocol, self._session_settings
        self._session_settings = self.settings
        if protocol is None or known is None or known is self.settings:
            return []
        # The next connection opens with the new settings. It is made in a pause, as a break in the middle of a sentence
        # is worse than old instructions for some seconds.
        if protocol.profile.reconnects_to_update:
            self.renew("the settings have changed", self._renew_seconds)
            return []
        return list(protocol.update(self.settings)) if protocol.profile.supports_updates else []

    def on_disconnected(self, reason: str) -> None:
        """End the connection. The response that was being made has failed; what has come is played to its end."""
        # Asked before `disconnect`, which forgets the protocol, and which audio has had no effect yet.
        takes_requests = self.protocol is None or self.protocol.profile.supports_response_requests
        resends_audio = self.send_queue.has_unacknowledged
        action, request = self.requests.lose()
        self.send_queue.disconnect()
        # No later session reports the end of speech that began in this one.
        if self.input.provider_hears_speech:
            self.input.provider_hears_speech = False
            self.dead_air.on_speech(SpeechStopped())
            self.emit(SpeechStopped())
        if request is not None and request.by_commit:
            if resends_audio:
                self.input.commit()
            else:  # the audio has become words, which the next session gets
                request = Request(Respond())
        again = request if action is AnswerAction.REPEAT else None
        lost = action is AnswerAction.RECOVER
        # A response is requested again if nothing of it was heard and none of its calls is open. Any other would repeat
        # words or actions.
        for response in [each for each in self.responses.by_id.values() if each.active]:
            if not self.playback.has_content(response) and not response.calls and not response.dropped:
                again, lost = again or Request(Respond()), True
            self.replies.end(response, "failed", reason)
        if takes_requests:
            self.requests.repeat(again)
        elif lost:
            self.replies.answer_again()
        for name in sorted(self._out_of_band):
            self.emit(OutOfBand(name=name, text="", reason=reason))
        self._out_of_band.clear()
        self.dead_air.on_sign()  # the user's application is told of it
        self.wake()

    def _on_ready(self, event: events.SessionReady) -> None:
        """Open the session: send it the history that it does not know, and what has waited for it."""
        protocol = self.protocol
        assert protocol is not None
        profile, self.session_id = protocol.profile, event.session_id
        entries = list(self.history)
        # A resumed session knows the conversation up to its handle, and is sent the rest. If that entry is gone (a
        # summary has replaced it), everything is sent: better twice than never.
        last = self._resumable_entry if event.resumed else None
        start = next((at + 1 for at, entry in enumerate(entries) if entry is last), 0)
        useful = [entry for entry in entries[start:] if entry.worth_to(images=profile.supports_images)]
        # What waits to be sent as input is not sent as history as well.
        seeded = [entry for entry in useful if not self.input.is_waiting(entry)]
        self.tool_calls.begin(seeded, resumed=event.resumed)
        seeds = protocol.seed(seeded) if seeded and profile.supports_history_seeding else ()
        self.expires_at = anyio.current_time() + (event.remaining_seconds or profile.max_session_seconds or math.inf)
        self.send_queue.begin([*self._updates(), *seeds])  # settings may have changed since the opening
        self.emit(
            Connected(
                provider=profile.provider,
                session_id=event.session_id,
                reconnected=self._had_session,
                config=event.config,
            )
        )
        self._had_session = True
        # Last, because a response must know the history that was sent above.
        self.replies.send_request()

    def _on_resumable(self, event: events.Resumable) -> None:
        self.resume_handle = event.handle
        self._resumable_entry = self.history.last
        self.tool_calls.save()

    def _on_going_away(self, event: events.GoingAway) -> None:
        self.renew(f"{self._provider} closes the connection", event.remaining_seconds)

    def _on_rate_limits(self, event: events.RateLimitsReported) -> None:
        self.emit(RateLimits(provider=self._provider, remaining=event.remaining, reset_seconds=event.reset_seconds))

    def _on_fault(self, event: events.ProtocolFault) -> None:
        # Our request crossed a response of the provider. That is not an error to report: the request is sent again.
        if event.busy:
            self.requests.on_busy()
            return
        if event.refused:
            self.requests.fail()
            self.replies.send_request()
        provider, message = self._provider, self.hide_secrets(event.message)
        self.emit(Failure(f"{provider}: {message}", processor=provider, fatal=event.fatal))
        if event.broken:
            self.broken = message
        if event.fatal:
            self.fatal = message

    # Events of the provider ---------------------------------------------------------------------------------------

    def receive(self, data: Message) -> None:
        """Act on a message of the provider."""
        protocol = self.protocol
        if protocol is None:
            return
        self.received_at = anyio.current_time()
        for event in protocol.receive(data):
            self.handle(event)
        if replies := list(protocol.take_replies()):
            self.send_queue.post(replies)
        self.progress.set()

    def handle(self, event: events.Event) -> None:
        """Act on an event of the provider. An unknown event is ignored."""
        if (handler := self._handlers.get(type(event))) is not None:
            handler(event)

    def _on_speech_began(self, event: events.SpeechBegan) -> None:
        self.input.provider_hears_speech = True
        started = SpeechStarted(item_id=event.item_id, pts=self.send_queue.pts(event.ms))
        self.dead_air.on_speech(started)
        self.emit(started)
        # The turn goes on, so the answer that was announced for its first part will not come. This comes before the
        # interrupt, which would otherwise keep it expected.
        if event.interrupts:
            self.requests.unexpect()
            self.replies.interrupt("the user spoke", stops_itself=True)

    def _on_speech_over(self, event: events.SpeechOver) -> None:
        self.input.provider_hears_speech = False
        stopped = SpeechStopped(item_id=event.item_id, pts=self.send_queue.pts(event.ms))
        self.dead_air.on_speech(stopped)
        self.emit(stopped)

    def _on_interrupted(self, event: events.Interrupted) -> None:
        # By its id: a late event about an earlier response must not interrupt the present one.
        response = self.responses.by_id.get(event.response_id)
        if response is not None and not response.dropped:
            self.replies.interrupt("the user spoke", stops_itself=True)

    def _on_committed(self, event: events.AudioCommitted) -> None:
        self.history.begin(event.item_id)
        if event.answered:
            self.requests.expect()
            self.dead_air.ask()

    def _on_transcribed(self, event: events.Transcribed) -> None:
        if self.input.is_outdated(event):
            return
        if event.final:
            # The audio is in the history now, as words. A new connection need not hear it again.
            self.send_queue.acknowledge()
        if event.text.strip():
            self._on_words(event)
        self.history.user(event.text, event.item_id)
        self.emit(Transcript(event.text, item_id=event.item_id, final=event.final))

    def _on_words(self, event: events.Transcribed) -> None:
        """Note that the user has said something, if no other event of the provider shows the end of a turn.

        Such a provider may send the words after its answer has begun. So they are a question only a while after that.
        """
        if self.profile is None or self.profile.emits_speech_events:
            return
        self.dead_air.on_sign()  # the user may still be speaking
        quiet_since = self.replies.began_at + self.dead_air.seconds
        is_answered = self.requests.is_due or anyio.current_time() <= quiet_since
        if event.final and not is_answered:
            self.dead_air.ask()

    def _on_usage(self, event: events.UsageReported) -> None:
        self.emit(Usage(response_id=event.response_id, **event.usage))

    def _on_out_of_band(self, event: events.OutOfBandCompleted) -> None:
        self._out_of_band.discard(event.name)
        self.emit(OutOfBand(name=event.name, text=event.text, reason=event.reason))

    # Requests of the application ----------------------------------------------------------------------------------

    def on_played(self, frame: Played) -> None:
        """Take the report of a player."""
        self.dead_air.on_played(frame)
        self.playback.on_played(frame)

    def commit(self) -> None:
        """End the user's turn, and request an answer."""
        self.input.commit()
        self.respond(Request(Respond(), by_commit=True))

    def respond(self, request: Request) -> None:
        """Request a response, now or as soon as possible. Several requests become one."""
        self.dead_air.ask()
        self.requests.want(request)
        self.replies.send_request()

    def say(self, frame: Say) -> None:
        """Make the model speak these words exactly, after the response that is being made, one `Say` after the
        other."""
        self.dead_air.ask()
        self.requests.say(frame)
        self.replies.send_request()

    def ask_out_of_band(self, name: str, instructions: str) -> None:
        """Ask a question that is not part of the conversation."""
        self._out_of_band.add(name)
        self.send_queue.command(lambda protocol: protocol.out_of_band(name, instructions))
