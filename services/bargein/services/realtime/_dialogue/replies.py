"""The provider's answers: requested, begun, sent to the graph, interrupted and ended."""

from __future__ import annotations

import math
from typing import Final, Literal

import anyio

from bargein.pipeline import Failure, Interrupt, ResponseStarted, Usage
from bargein.services.brain import CONTINUE
from bargein.services.frames import Respond, Say
from bargein.services.realtime import events
from bargein.services.realtime.protocol import Protocol

from .requests import AnswerAction, Request
from .responses import Response
from .state import DialogueState

__all__ = ["RETRY_SECONDS", "Replies"]

RETRY_SECONDS: Final = (1.0, 4.0)
"""How long after a failure a response is requested again, in seconds: after the first failure, after the second. Most
failures are rate limits or overloads of the provider, which pass within seconds. A caller does not wait longer."""


class Replies:
    """What becomes of responses and of the requests for them.

    Args:
        state: The state of the dialogue.
    """

    def __init__(self, state: DialogueState) -> None:
        self._state = state
        self._requests = state.requests
        self._responses = state.responses
        self._send_queue = state.send_queue
        self._failures = 0  # responses in a row that have failed
        self.began_at = -math.inf
        """When the latest response began; before all time if it was interrupted."""

    # Requests -----------------------------------------------------------------------------------------------------

    def send_request(self) -> None:
        """Send the next request, if one waits and can be sent now."""
        protocol = self._state.ready_protocol
        if protocol is None or not self._requests.is_waiting:
            return
        calls_open = bool(self._state.tool_calls.unanswered)
        # The provider answers by itself, and the time in which it may be silent begins now.
        if self._requests.expect_instead(protocol.profile, calls_open=calls_open):
            self._state.received_at = anyio.current_time()
            return
        active = None if self._requests.active is None else self._responses.by_id.get(self._requests.active)
        stale = active is not None and active.dropped
        request = self._requests.take(protocol.profile, calls_open=calls_open, active_is_stale=stale)
        if request is None:
            return
        self._post(request, protocol)

    def send(self, request: Request) -> None:
        """Send a request now, although others wait for results of tools."""
        if (protocol := self._state.ready_protocol) is not None:
            self._requests.send(request)
            self._post(request, protocol)

    def _post(self, request: Request, protocol: Protocol) -> None:
        if isinstance(request.frame, Say):
            self._send_queue.post(protocol.say(request.frame.text, protected=request.frame.protected))
            self._requests.name(protocol.request_id)
        elif not (request.by_commit and protocol.profile.responds_to_commit):
            self._send_queue.post(protocol.respond(request.frame.instructions))
            self._requests.name(protocol.request_id)
        self._state.received_at = anyio.current_time()

    # Beginning ----------------------------------------------------------------------------------------------------

    def on_response_began(self, event: events.ResponseBegan) -> None:
        """Begin a response."""
        if event.response_id not in self._responses.by_id:  # its first piece may have come before
            self.begin(event.response_id, event.request_id)

    def begin(self, response_id: str, request_id: str | None = None) -> Response:
        """Begin a response. It is stamped with the present epoch, and never again."""
        action, protected = self._requests.begin(response_id, request_id)
        self._state.input.may_be_answered = False
        self.began_at = anyio.current_time()
        self._state.retry_at = math.inf
        self._state.dead_air.on_progress()
        # A response shows that the audio has had its effect.
        self._send_queue.acknowledge()
        # The only place where a response gets its epoch. A piece that comes late finds this outlet, and not the present
        # epoch.
        outlet = None if action is AnswerAction.CANCEL else self._state.out.reply()
        response = Response(response_id, outlet, self._send_queue.connection)
        self._state.tool_calls.forget(self._responses.add(response))
        if action is AnswerAction.CANCEL:
            self._cancel(response)
        else:
            self._state.emit(ResponseStarted(response_id=response_id, protected=protected))
        return response

    def _find(self, response_id: str) -> Response | None:
        """Return the response of a piece, if more of it is wanted. The piece may come before `ResponseBegan`."""
        response = self._responses.by_id.get(response_id) or self.begin(response_id)
        return response if response.is_wanted else None

    # Pieces -------------------------------------------------------------------------------------------------------

    def on_audio(self, event: events.AudioPiece) -> None:
        """Send more of a reply's audio to the graph; end the reply if too much of it waits there."""
        response, protocol = self._find(event.response_id), self._state.protocol
        if protocol is None:
            return
        # Counted for a dropped response as well: the provider is silent for that time, too, and this is not a fault.
        rate = protocol.profile.output_rate
        self._state.audio_ends_at = max(self._state.audio_ends_at, anyio.current_time()) + len(event.pcm) / 2 / rate
        if response is None:
            return
        self._responses.add_audio(response, event, rate)
        self._state.dead_air.on_sign(500 * len(event.pcm) / rate)
        # Nothing below takes the audio, or the provider never stops. The bound keeps the memory of such a session
        # finite.
        if self._state.output.waiting_ms > 1000 * self._state.buffer_seconds:
            self._cancel(response)
            reason = f"more than {self._state.buffer_seconds:g} s of its audio waited to be played"
            self.end(response, "failed", reason)

    def on_text(self, event: events.TextPiece) -> None:
        """Send more of a reply's text to the graph."""
        if (response := self._find(event.response_id)) is not None:
            self._responses.add_text(response, event)
            if not self._state.speaks:
                self._state.dead_air.on_sign()

    def on_word(self, event: events.WordTimed) -> None:
        """Send the time of a word to the graph."""
        if (response := self._find(event.response_id)) is not None:
            self._responses.add_timing(response, event)

    def on_item_over(self, event: events.ItemOver) -> None:
        """End the text of an item."""
        response = self._responses.by_id.get(event.response_id)
        if response is not None and response.is_wanted:
            self._responses.end_item(response, event)

    def on_item_corrected(self, event: events.ItemCorrected) -> None:
        """Correct the text of an item in the history."""
        self._state.history.correct(event.text, event.item_id, event.response_id)

    # The end ------------------------------------------------------------------------------------------------------

    def on_response_over(self, event: events.ResponseOver) -> None:
        """End a response, and send the request that waits for its end."""
        response = self._responses.by_id.get(event.response_id)
        if response is None or not response.active:
            if response is not None:
                self._requests.unexpect()
            elif event.outcome != "completed" and self._requests.active is None:
                self._requests.fail()  # it was over before it began
            self.send_request()  # a response that was given up here is now over at the provider, too
            return
        if event.usage:
            self._state.emit(Usage(response_id=event.response_id, **event.usage))
        wanted, reason = not response.dropped, self._state.hide_secrets(event.reason)
        self.end(response, event.outcome, reason)
        if event.outcome != "failed":
            self._failures = 0
        elif wanted:
            self._on_failed(response, reason)
        self._close_question(response, event.outcome)
        # The provider heard the user before anything here did, so the graph must stop as well.
        if event.outcome == "interrupted" and wanted:
            self.interrupt("the provider stopped its response")
        self.send_request()

    def _close_question(self, response: Response, outcome: str) -> None:
        """Note that the user has an answer, unless the response only was a part of one."""
        is_last = not (self._requests.is_busy or self._state.tool_calls.unanswered)
        if outcome == "completed" and is_last and response.has_output:
            self._state.dead_air.close()

    def give_up(self, response: Response, outcome: Literal["completed", "failed"]) -> None:
        """End a response whose end did not come, and send what waits for it."""
        self._cancel(response)
        self.end(response, outcome, "its end did not come")
        self._close_question(response, outcome)
        self.send_request()

    def end(self, response: Response, outcome: Literal["completed", "interrupted", "failed"], reason: str = "") -> None:
        """End a response.

        Args:
            response: The response.
            outcome: How it ended at the provider.
            reason: Why, if it is not complete.
        """
        response.active = False
        self._state.audio_ends_at = 0.0
        self._requests.end(response.response_id)
        self._state.dead_air.on_progress()
        if response.outlet is None:
            return
        self._responses.end(response, outcome, reason, self._state.out)
        if outcome == "failed" and not response.dropped:
            self._state.playback.on_failure(response)
        self.follow_up(response)

    def _on_failed(self, response: Response, reason: str) -> None:
        """Report that a response has failed, and request it again later if nothing of it was heard."""
        profile = self._state.profile
        assert profile is not None
        message = f"{profile.provider}: the response failed{f': {reason}' if reason else ''}"
        self._state.emit(Failure(message, processor=profile.provider))
        self._failures += 1
        if self._failures > len(RETRY_SECONDS):
            self._state.dead_air.close()
        if self._failures > len(RETRY_SECONDS) or not profile.supports_response_requests:
            return
        if (
            not self._state.playback.has_content(response)
            and not response.needs_follow_up
            and not self._requests.is_busy
        ):
            self._state.retry_at = anyio.current_time() + RETRY_SECONDS[self._failures - 1]
            self._state.deadlines_changed.set()

    def retry(self) -> None:
        """Request a response again that has failed, unless the conversation has gone on."""
        self._state.retry_at = math.inf
        self._state.dead_air.on_progress()
        if not self._requests.is_busy and not self._state.input.speaking:
            self._requests.want(Request(Respond()))
            self.send_request()

    def _cancel(self, response: Response) -> None:
        """Ask the provider to stop a response."""
        response.cancelled = True
        protocol = self._state.ready_protocol
        if protocol is not None and protocol.profile.supports_cancel:
            self._send_queue.post(protocol.cancel(response.response_id))

    def follow_up(self, response: Response, *, calls_known: bool = True) -> None:
        """Request another response once a response is over and all its calls are answered, unless the user went on.

        Some providers go on by themselves, if they know the calls.
        """
        if response.active or response.calls or not response.needs_follow_up:
            return
        # Cleared first, so that two results that come together request one response.
        response.needs_follow_up = False
        protocol = self._state.protocol
        continues = calls_known and protocol is not None and protocol.profile.responds_to_tool_results
        if not response.dropped and not self._requests.wants_response and not continues:
            profile = self._state.profile
            if self._send_queue.open or profile is None or profile.supports_response_requests:
                self._requests.want(Request(Respond()))
            else:
                self.answer_again()
        self.send_request()

    def ask_again(self) -> None:
        """Ask again for an answer that was cut short, has failed or was empty; for the rest of it if some was heard."""
        profile = self._state.profile
        useful = (each for each in reversed(list(self._state.history)) if each.role != "call" and each.worth)
        last = next(useful, None)
        if profile is not None and profile.supports_response_requests:
            cut = last is not None and last.role == "assistant"
            instructions = f"{self._state.settings.instructions}\n\n{CONTINUE}".strip() if cut else ""
            self._requests.want(Request(Respond(instructions=instructions)))
        elif last is not None and last.role == "user" and last.text:
            self.answer_again()
        elif profile is not None and profile.supports_text_input:
            self._requests.want(Request(Respond()))
            self._send_queue.command(lambda protocol: protocol.text(CONTINUE))
        self.send_request()

    def answer_again(self) -> None:
        """Request a lost answer again from a provider that answers only input: send the user's last text again."""
        useful = (each for each in reversed(list(self._state.history)) if each.role != "call" and each.worth)
        last = next(useful, None)
        if self._state.profile is None or not self._state.profile.supports_text_input:
            return
        if last is None or last.role != "user" or not last.text:
            return
        self._requests.want(Request(Respond()))
        if not self._state.input.is_waiting(last):
            self._state.input.send_entry(last)

    # Interruption -------------------------------------------------------------------------------------------------

    def interrupt(self, reason: str, *, stops_itself: bool = False) -> None:
        """Interrupt the agent because the provider says so. One cause is one interrupt: others for it do nothing."""
        # The engine decides whether this is a new cause. If a detector has reported the same speech already, the epoch
        # stays, and so must everything here.
        before = self._state.out.epoch
        self._state.out.offer(Interrupt(reason=reason))
        if self._state.out.epoch != before:
            self.on_interrupt(stops_itself=stops_itself, by_speech=True)

    def on_interrupt(self, *, stops_itself: bool = False, by_speech: bool = False) -> None:
        """Stop what was being said, because the epoch has advanced, and find out what was heard of it.

        Args:
            stops_itself: The provider has stopped its response already.
            by_speech: The provider says that the user has spoken. What the agent was saying is not withdrawn.
        """
        self._state.dead_air.on_interrupt(by_speech=by_speech)
        self.began_at = -math.inf
        self._requests.interrupt()
        self._state.retry_at = math.inf
        # All of them: one response may still be made while another is still being heard.
        for response in self._responses.by_id.values():
            if not response.dropped or response.outlet is None:
                continue
            if response.active and not stops_itself and not response.cancelled:
                self._cancel(response)
            self._state.playback.on_interrupt(response)
        self._state.output.expire()
        self._state.wake()
