"""Pending tool calls: made once, waited for while they are wanted, and known where they were made."""

from __future__ import annotations

from typing import Any

from bargein.services.history import History
from bargein.services.realtime._dialogue.responses import Response
from bargein.services.realtime._dialogue.tool_calls import PendingToolCalls
from bargein.services.realtime.events import ToolCallReceived


class Outlet:
    """As much of an outlet as a response looks at."""

    def __init__(self, *, stale: bool = False) -> None:
        self.epoch, self.stale = 0, stale


def make(*names: str) -> tuple[PendingToolCalls, dict[str, Response]]:
    outlet: Any = Outlet()
    responses = {name: Response(name, outlet, 1) for name in names}
    return PendingToolCalls(History(), responses, lambda name: name == "ours"), responses


def call(name: str = "ours", *, response: str = "r", waits: bool = True) -> ToolCallReceived:
    return ToolCallReceived(response_id=response, call_id=f"call-{name}", name=name, arguments="{}", waits=waits)


def test_repeated_call_is_one_call() -> None:
    """A call that is repeated is not another one, and it is waited for."""
    calls, responses = make("r")
    first = calls.receive(call(), responses["r"])
    assert first is not None
    assert first.handled
    assert calls.receive(call(), responses["r"]) is None
    assert calls.unanswered == {"call-ours"}
    assert calls.running == {"call-ours"}
    assert calls.close("call-ours") == [responses["r"]]
    assert not calls.unanswered
    assert not calls.running
    assert not calls.is_known("call-ours")


def test_parallel_call_is_not_waited_for() -> None:
    """Its answer is wanted all the same."""
    calls, responses = make("r")
    calls.receive(call(waits=False), responses["r"])
    assert not calls.unanswered
    assert calls.is_awaited("call-ours")


def test_interrupted_response_waits_for_own_tools_only() -> None:
    """Answers of the application need not come any more."""
    calls, responses = make("r")
    calls.receive(call("ours"), responses["r"])
    calls.receive(call("theirs"), responses["r"])
    assert calls.unanswered == {"call-ours", "call-theirs"}
    responses["r"].outlet = None
    assert calls.unanswered == {"call-ours"}
    calls.connect(answers_meanwhile=True)
    assert not calls.unanswered, "this provider answers other questions meanwhile"
    assert calls.is_awaited("call-ours"), "and is told the result all the same"


def test_resumed_session_knows_its_calls() -> None:
    """A new session knows none. Calls after the handle was issued are not known either."""
    calls, responses = make("r")
    calls.receive(call("ours"), responses["r"])
    calls.save()
    calls.receive(call("theirs"), responses["r"])
    calls.connect()
    assert not calls.is_known("call-ours")
    calls.begin([], resumed=True)
    assert calls.is_known("call-ours")
    assert not calls.is_known("call-theirs")


def test_call_of_another_brain_is_foreign_until_sent() -> None:
    """The provider learns of the call from the history, or together with its answer."""
    history = History()
    history.call("a", "theirs", "{}", "other")
    history.call("b", "theirs", "{}", "other")
    calls = PendingToolCalls(history, {}, lambda name: True)
    assert calls.is_foreign("a")
    calls.report("a")
    assert not calls.is_foreign("a")
    calls.begin([entry for entry in history if entry.call_id == "b"], resumed=False)
    assert not calls.is_foreign("b")
