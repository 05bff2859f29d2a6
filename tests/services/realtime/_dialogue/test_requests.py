"""The state machine of due answers: each entry of its table, and the rules for sending requests."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from bargein.services.frames import Respond, Say
from bargein.services.realtime import Profile
from bargein.services.realtime._dialogue.requests import (
    MAX_SAYINGS,
    TABLE,
    AnswerAction,
    AnswerEvent,
    AnswerState,
    Request,
    Requests,
)

S, E, A = AnswerState, AnswerEvent, AnswerAction
DESIGN = pathlib.Path(__file__).parents[4] / "docs/design.md"
PROFILE = Profile(provider="Test", input_rate=16_000, output_rate=16_000, supports_cancel=True)
NO_REQUESTS = Profile(provider="Test", input_rate=16_000, output_rate=16_000, supports_response_requests=False)
NO_CANCEL = Profile(provider="Test", input_rate=16_000, output_rate=16_000)
ANSWERS_COMMIT = Profile(
    provider="Test", input_rate=16_000, output_rate=16_000, supports_cancel=True, responds_to_commit=True
)
ASKED = Request(Respond("Answer."))


def take(requests: Requests, profile: Profile = PROFILE, *, calls_open: bool = False, stale: bool = False) -> object:
    return requests.take(profile, calls_open=calls_open, active_is_stale=stale)


def sent(request_id: str | None = "q1") -> Requests:
    """Return requests of which one was sent."""
    requests = Requests()
    requests.want(ASKED)
    assert take(requests) == ASKED
    requests.name(request_id)
    return requests


def in_state(state: AnswerState) -> Requests:
    """Return requests in a state, reached as in a conversation."""
    if state is S.NONE:
        return Requests()
    if state is S.EXPECTED:
        requests = Requests()
        requests.expect()
        return requests
    requests = sent()
    if state is S.REVOKED:
        requests.interrupt()
    return requests


def send(requests: Requests) -> None:
    requests.want(Request(Respond("Another.")))
    requests._step(E.SENT)  # `take` sends nothing while a request waits for its response


def busy_with_another(requests: Requests) -> None:
    requests.active = "r0"
    requests.on_busy()


EVENTS: dict[AnswerEvent, Callable[[Requests], object]] = {
    E.SENT: send,
    E.EXPECT: lambda requests: requests.expect(),
    E.UNEXPECT: lambda requests: requests.unexpect(),
    E.BEGAN: lambda requests: requests.begin("r1", "q1"),
    E.OTHER_BEGAN: lambda requests: requests.begin("r1", ""),
    E.FAILED: lambda requests: requests.fail(),
    E.BUSY: lambda requests: requests.on_busy(),
    E.BUSY_ACTIVE: busy_with_another,
    E.INTERRUPTED: lambda requests: requests.interrupt(),
    E.LOST: lambda requests: requests.lose(),
}

ROWS: list[tuple[AnswerEvent, AnswerState, AnswerState, AnswerAction]] = [
    # event, state -> next state, action
    (E.SENT, S.NONE, S.REQUESTED, A.NOTHING),
    (E.SENT, S.EXPECTED, S.REQUESTED, A.NOTHING),
    (E.SENT, S.REQUESTED, S.REQUESTED, A.NOTHING),
    (E.SENT, S.REVOKED, S.REQUESTED, A.NOTHING),
    (E.EXPECT, S.NONE, S.EXPECTED, A.NOTHING),
    (E.EXPECT, S.EXPECTED, S.EXPECTED, A.NOTHING),
    (E.EXPECT, S.REQUESTED, S.REQUESTED, A.NOTHING),
    (E.EXPECT, S.REVOKED, S.REVOKED, A.NOTHING),
    (E.UNEXPECT, S.NONE, S.NONE, A.NOTHING),
    (E.UNEXPECT, S.EXPECTED, S.NONE, A.NOTHING),
    (E.UNEXPECT, S.REQUESTED, S.REQUESTED, A.NOTHING),
    (E.UNEXPECT, S.REVOKED, S.REVOKED, A.NOTHING),
    (E.BEGAN, S.NONE, S.NONE, A.START),
    (E.BEGAN, S.EXPECTED, S.NONE, A.START),
    (E.BEGAN, S.REQUESTED, S.NONE, A.START),
    (E.BEGAN, S.REVOKED, S.NONE, A.CANCEL),
    (E.OTHER_BEGAN, S.NONE, S.NONE, A.START),
    (E.OTHER_BEGAN, S.EXPECTED, S.NONE, A.START),
    (E.OTHER_BEGAN, S.REQUESTED, S.REQUESTED, A.START),
    (E.OTHER_BEGAN, S.REVOKED, S.REVOKED, A.START),
    (E.FAILED, S.NONE, S.NONE, A.NOTHING),
    (E.FAILED, S.EXPECTED, S.EXPECTED, A.NOTHING),
    (E.FAILED, S.REQUESTED, S.NONE, A.NOTHING),
    (E.FAILED, S.REVOKED, S.NONE, A.NOTHING),
    (E.BUSY, S.NONE, S.EXPECTED, A.REPEAT),
    (E.BUSY, S.EXPECTED, S.EXPECTED, A.REPEAT),
    (E.BUSY, S.REQUESTED, S.EXPECTED, A.REPEAT),
    (E.BUSY, S.REVOKED, S.EXPECTED, A.NOTHING),
    (E.BUSY_ACTIVE, S.NONE, S.NONE, A.REPEAT),
    (E.BUSY_ACTIVE, S.EXPECTED, S.NONE, A.REPEAT),
    (E.BUSY_ACTIVE, S.REQUESTED, S.NONE, A.REPEAT),
    (E.BUSY_ACTIVE, S.REVOKED, S.NONE, A.NOTHING),
    (E.INTERRUPTED, S.NONE, S.NONE, A.NOTHING),
    (E.INTERRUPTED, S.EXPECTED, S.EXPECTED, A.NOTHING),
    (E.INTERRUPTED, S.REQUESTED, S.REVOKED, A.NOTHING),
    (E.INTERRUPTED, S.REVOKED, S.REVOKED, A.NOTHING),
    (E.LOST, S.NONE, S.NONE, A.NOTHING),
    (E.LOST, S.EXPECTED, S.NONE, A.RECOVER),
    (E.LOST, S.REQUESTED, S.NONE, A.REPEAT),
    (E.LOST, S.REVOKED, S.NONE, A.REPEAT),
]


def test_the_table_is_complete() -> None:
    """Each event has an entry for each state, and this module tests them all."""
    assert set(TABLE) == {(state, event) for state in S for event in E}
    assert {(state, event) for event, state, _, _ in ROWS} == set(TABLE)


@pytest.mark.parametrize(("event", "state", "after", "action"), ROWS, ids=lambda each: each.name)
def test_table_row(event: AnswerEvent, state: AnswerState, after: AnswerState, action: AnswerAction) -> None:
    """An event in a state leads to the next state and returns the action, through the methods that a dialogue calls."""
    requests = in_state(state)
    result = EVENTS[event](requests)
    assert TABLE[state, event] == (after, action)
    assert requests.state is after
    if event in (E.BEGAN, E.OTHER_BEGAN):
        assert result == (action, False)
        assert requests.active == "r1"
    elif event is E.LOST:
        assert result == (action, ASKED if action is A.REPEAT else None)
    elif event in (E.BUSY, E.BUSY_ACTIVE):
        assert requests.wants_response == (action is A.REPEAT)


def test_the_document_shows_the_table() -> None:
    """The design document has the table as it is."""
    lines = ["| event | " + " | ".join(state.name for state in S) + " |", "| --- |" + " --- |" * len(S)]
    for event in E:
        cells = []
        for state in S:
            after, action = TABLE[state, event]
            cells.append(after.name + ("" if action is A.NOTHING else f", {action.name.lower()}"))
        lines.append(f"| {event.name} | " + " | ".join(cells) + " |")
    assert "\n".join(lines) in DESIGN.read_text()


def test_one_request_at_a_time() -> None:
    """Several requests become one, and the next is sent when the response to the last one is over."""
    requests = Requests()
    requests.want(Request(Respond("one")))
    requests.want(Request(Respond("two")))
    assert take(requests) == Request(Respond("two"))
    assert take(requests) is None
    requests.want(ASKED)
    assert take(requests) is None
    assert requests.begin("r1", None) == (A.START, False)
    assert take(requests) is None
    requests.end("another")
    assert take(requests) is None
    requests.end("r1")
    assert take(requests) == ASKED


def test_say_frames_come_first_and_in_order() -> None:
    """Each `Say` is its own request, and an interrupt drops those that wait."""
    requests = Requests()
    requests.want(ASKED)
    requests.say(Say("one", protected=True))
    requests.say(Say("two"))
    assert take(requests) == Request(Say("one", protected=True))
    assert requests.begin("r1", None) == (A.START, True)
    requests.end("r1")
    assert take(requests) == Request(Say("two"))
    requests.repeat(Request(Say("two")))
    requests.fail()
    assert take(requests) == Request(Say("two"))
    requests.say(Say("three"))
    requests.interrupt()
    assert not requests.is_waiting
    assert requests.is_busy, "the response to the request that was sent is still to come, and be cancelled"


def test_waiting_say_frames_are_bounded() -> None:
    """If too many `Say` frames wait, the oldest are dropped."""
    requests = Requests()
    for number in range(MAX_SAYINGS + 1):
        requests.say(Say(str(number)))
    assert take(requests) == Request(Say("1"))


def test_open_calls_are_waited_for() -> None:
    """The next response has to know the results of tools."""
    requests = Requests()
    requests.want(ASKED)
    assert take(requests, calls_open=True) is None
    assert take(requests) == ASKED


def test_stale_response_that_cannot_be_cancelled() -> None:
    """The next request does not wait for its end."""
    requests = Requests()
    requests.begin("r1", None)
    requests.want(ASKED)
    assert take(requests, NO_CANCEL) is None
    assert take(requests, PROFILE, stale=True) is None
    assert take(requests, NO_CANCEL, stale=True) == ASKED


def test_commit_that_is_answered_without_a_request() -> None:
    """It does not wait for the active response, because the provider decides when it answers."""
    requests = Requests()
    requests.begin("r1", None)
    commit = Request(Respond(), by_commit=True)
    requests.want(commit)
    assert take(requests, PROFILE) is None
    assert take(requests, ANSWERS_COMMIT) == commit


def test_expectation_without_requests() -> None:
    """The provider is expected to answer, and only exact words are requested of it."""
    requests = Requests()
    assert not requests.expect_instead(NO_REQUESTS, calls_open=False)
    requests.want(ASKED)
    assert not requests.expect_instead(PROFILE, calls_open=False)
    assert requests.expect_instead(NO_REQUESTS, calls_open=False)
    assert requests.state is S.EXPECTED
    assert not requests.is_waiting
    requests.say(Say("Hello."))
    assert not requests.expect_instead(NO_REQUESTS, calls_open=False)


@pytest.mark.parametrize(("active", "calls_open"), [(None, True), ("r1", False)])
def test_no_expectation_of_a_busy_provider(active: str | None, calls_open: bool) -> None:
    """It is making a response, or waits for tools: the answer that follows announces itself."""
    requests = in_state(S.EXPECTED)
    requests.active = active
    requests.want(ASKED)
    assert requests.expect_instead(NO_REQUESTS, calls_open=calls_open)
    assert requests.state is S.NONE


def test_newer_request_replaces_a_repeated_one() -> None:
    """A request that was refused is sent again only if no other response is wanted."""
    requests = sent()
    requests.want(Request(Respond("newer")))
    requests.on_busy()
    requests.begin("r0", "")
    requests.end("r0")
    assert take(requests) == Request(Respond("newer"))
