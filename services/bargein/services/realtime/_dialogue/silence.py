"""What a dialogue does when the user has waited in silence for too long."""

from __future__ import annotations

import math

import anyio

from bargein.pipeline import Failure
from bargein.services.brain import MAX_TRIES
from bargein.services.frames import Respond, Say

from .replies import Replies
from .requests import AnswerState, Request
from .state import DialogueState

__all__ = ["SAY_EXACTLY", "SilenceBreaker"]

SAY_EXACTLY = 'Say exactly the following, word for word, and nothing else: "{}"'
"""Instructions that stand for a `Say`, for models that cannot be made to say given words."""


class SilenceBreaker:
    """Breaks a silence of the agent while a question of the user is open.

    | What is under way | What happens |
    |---|---|
    | nothing: an answer was cut short, failed or was empty | the answer is asked for again, up to three times |
    | nothing that is known: the provider takes no requests | a `Failure` the first time, then the same |
    | a response whose words are complete and whose end did not come | it is over; what waits behind it is requested |
    | a tool | `wait_reply` is said, if the provider can answer meanwhile |
    | a response, or a request for one, without a sign of it | a `Failure` reports the silence |
    | a connection is being restored, or a request repeated | nothing: that has been reported |

    Args:
        state: The state of the dialogue.
        replies: What requests and ends responses.
        wait_reply: What is said while a tool runs. Empty: nothing.
    """

    def __init__(self, state: DialogueState, replies: Replies, wait_reply: str) -> None:
        self._state = state
        self._replies = replies
        self._wait_reply = wait_reply

    @property
    def deadline(self) -> float:
        """When `check` has something to do; infinite for never."""
        return self._state.dead_air.deadline

    def check(self) -> None:
        """Act if the silence has lasted for too long."""
        state, dead_air = self._state, self._state.dead_air
        if anyio.current_time() < dead_air.deadline:
            return
        requests = state.requests
        active = None if requests.active is None else state.responses.by_id.get(requests.active)
        if state.ready_protocol is None or state.retry_at < math.inf:
            dead_air.announce()
        elif active is not None and (requests.is_waiting or active.is_complete):
            self._replies.give_up(active, "completed" if active.is_complete else "failed")
        elif state.tool_calls.unanswered:
            dead_air.announce()
            self._tell_to_wait()
        elif active is not None or requests.is_waiting or self._is_requested:
            self._report_silence()
            dead_air.announce()
        elif not dead_air.tries and not dead_air.was_cut and not self._takes_requests:
            self._report_silence()
            dead_air.retry()
        elif dead_air.retry():
            self._replies.ask_again()
        else:
            self._report(f"it was asked {MAX_TRIES + 1} times, and has not answered")

    @property
    def _is_requested(self) -> bool:
        """Whether a response is due that cannot be requested, or has been."""
        due = self._state.requests.state
        expected = due is AnswerState.EXPECTED and not self._takes_requests
        return due in (AnswerState.REQUESTED, AnswerState.REVOKED) or expected

    @property
    def _takes_requests(self) -> bool:
        return self._state.profile is not None and self._state.profile.supports_response_requests

    def _tell_to_wait(self) -> None:
        """Say something while a tool runs, where that is known to work."""
        profile = self._state.profile
        if not self._wait_reply or self._state.requests.is_due or profile is None:
            return
        if profile.answers_during_tool_calls and profile.supports_verbatim_speech:
            self._replies.send(Request(Say(self._wait_reply)))
        elif profile.answers_during_tool_calls:
            self._replies.send(Request(Respond(instructions=SAY_EXACTLY.format(self._wait_reply))))

    def _report_silence(self) -> None:
        self._report(f"it has sent nothing of its answer for {self._state.dead_air.silent_seconds:.1f} s")

    def _report(self, what: str) -> None:
        provider = self._state.profile.provider if self._state.profile is not None else ""
        self._state.emit(Failure(f"{provider}: {what}", processor=provider))
