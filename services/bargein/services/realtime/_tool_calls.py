"""Calls of tools: who works on them, what the next response waits for, and which of them the provider knows."""

from __future__ import annotations

from collections.abc import Callable

from bargein.pipeline import ToolCall
from bargein.services.history import Entry, History

from ._responses import Response
from .protocol import ToolCallReceived

__all__ = ["PendingToolCalls"]


class PendingToolCalls:
    """The calls of one conversation that are not over, over however many connections."""

    def __init__(self, history: History, responses: dict[str, Response], has_tool: Callable[[str], bool]) -> None:
        self.running: set[str] = set()
        """Tools of ours work on these."""
        self._history = history
        self._responses = responses
        self._has_tool = has_tool
        self._here: set[str] = set()  # were made in this session of the provider's
        self._foreign = {entry.call_id for entry in history if entry.open}  # of another brain, not yet answered
        self._beside: set[str] = set()  # the conversation does not wait for these
        self._kept: set[str] = set()  # were known when the provider's session could last be taken up again

    @property
    def unanswered(self) -> set[str]:
        """What the next response must wait for; not the calls of an interrupted one that we do not run."""
        responses = self._responses.values()
        calls = {call for each in responses for call in each.calls if call in self.running or not each.dropped}
        return calls - self._beside

    def awaited(self, call: str) -> bool:
        """Some response wants its answer."""
        return any(call in response.calls for response in self._responses.values())

    def foreign(self, call: str) -> bool:
        """Another brain made it, and nobody here was told of it."""
        return call in self._foreign

    def known(self, call: str) -> bool:
        """The provider's present session knows it."""
        return call in self._here

    def made(self, event: ToolCallReceived, response: Response) -> ToolCall | None:
        """The provider makes a call; None for one that it has made before."""
        known, awaited = self._history.find_call(event.call_id), self.awaited(event.call_id)
        again = known is not None and known.response_id == event.response_id
        if awaited or not again:  # asked again, perhaps on another connection: one answer will do
            response.calls.add(event.call_id)
            response.called = True
            self._here.add(event.call_id)
        if awaited or again:
            return None
        self._history.call(event.call_id, event.name, event.arguments, event.response_id)
        handled = self._has_tool(event.name)
        if handled:
            self.running.add(event.call_id)
        if not event.waits:
            self._beside.add(event.call_id)
        return ToolCall(
            call_id=event.call_id,
            name=event.name,
            arguments=event.arguments,
            response_id=event.response_id,
            handled=handled,
        )

    def over(self, call: str) -> list[Response]:
        """It is answered, or never will be. Gives the responses that made it."""
        for calls in (self._beside, self.running, self._here):
            calls.discard(call)
        made = [response for response in self._responses.values() if call in response.calls]
        for response in made:
            response.calls.discard(call)
        return made

    def forget(self, response: Response) -> None:
        """A response is forgotten, and with it its calls."""
        self._here -= response.calls
        self._beside -= response.calls

    def keep(self) -> None:
        """From now on the provider's session can be taken up again as it is."""
        self._kept = set(self._here)

    def connect(self) -> None:
        """Another session knows none of them."""
        self._here.clear()

    def begin(self, told: list[Entry], *, resumed: bool) -> None:
        """It has begun, and been told of these entries; or an earlier one has been taken up."""
        if resumed:
            self._here |= self._kept
        self._foreign -= {entry.call_id for entry in told}

    def tell(self, call: str) -> None:
        """The provider is told of it now, together with its answer."""
        self._foreign.discard(call)
