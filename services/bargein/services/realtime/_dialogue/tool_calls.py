"""Tool calls: which of them run, which the next response waits for, and which the provider knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bargein.pipeline import ToolCall
from bargein.services.history import Entry, History
from bargein.services.realtime.events import ToolCallReceived

from .responses import Response

__all__ = ["PendingToolCalls"]


class PendingToolCalls:
    """The tool calls of a conversation that have no answer yet, over all its connections.

    Args:
        history: The conversation. Its open calls were made by another brain.
        responses: The responses of the conversation, by id.
        has_tool: Returns whether a tool of this name runs here. If not, the application answers.
    """

    def __init__(self, history: History, responses: Mapping[str, Response], has_tool: Callable[[str], bool]) -> None:
        self.running: set[str] = set()
        """Ids of the calls whose tools run here."""
        self._answers_meanwhile = False
        self._history = history
        self._responses = responses
        self._has_tool = has_tool
        self._known: set[str] = set()  # the provider's present session knows them
        self._foreign = {entry.call_id for entry in history if entry.open}  # made by another brain, and not reported
        self._parallel: set[str] = set()  # the conversation does not wait for these
        self._resumable: set[str] = set()  # were known when the session could last be taken up

    @property
    def unanswered(self) -> set[str]:
        """Ids of the calls that the next response waits for.

        Not among them: calls that the conversation does not wait for, calls of an interrupted response that the
        application would answer, because it may never do so, and those of one that run here, if the provider allows
        that.
        """
        responses = self._responses.values()
        running = set() if self._answers_meanwhile else self.running
        calls = {call for each in responses for call in each.calls if call in running or not each.dropped}
        return calls - self._parallel

    def is_awaited(self, call_id: str) -> bool:
        """Return whether a response wants the answer to a call."""
        return any(call_id in response.calls for response in self._responses.values())

    def is_foreign(self, call_id: str) -> bool:
        """Return whether another brain made a call, and the provider does not know of it."""
        return call_id in self._foreign

    def is_known(self, call_id: str) -> bool:
        """Return whether the provider's present session knows a call."""
        return call_id in self._known

    # Calls --------------------------------------------------------------------------------------------------------

    def receive(self, event: ToolCallReceived, response: Response) -> ToolCall | None:
        """Register a call that the provider makes.

        Returns:
            The call; None if the provider has made it before, perhaps on another connection. One answer will do.
        """
        known, awaited = self._history.find_call(event.call_id), self.is_awaited(event.call_id)
        repeated = known is not None and known.response_id == event.response_id
        # A call that is repeated and no longer awaited was answered before. To count it again would make the next
        # response wait for ever.
        if awaited or not repeated:
            response.calls.add(event.call_id)
            response.needs_follow_up = True
            self._known.add(event.call_id)
        if awaited or repeated:
            return None
        self._history.call(event.call_id, event.name, event.arguments, event.response_id)
        handled = self._has_tool(event.name)
        if handled:
            self.running.add(event.call_id)
        if not event.waits:
            self._parallel.add(event.call_id)
        return ToolCall(
            call_id=event.call_id,
            name=event.name,
            arguments=event.arguments,
            response_id=event.response_id,
            handled=handled,
        )

    def close(self, call_id: str) -> list[Response]:
        """Note that a call is answered, or never will be. Returns the responses that made it."""
        for calls in (self._parallel, self.running, self._known):
            calls.discard(call_id)
        callers = [response for response in self._responses.values() if call_id in response.calls]
        for response in callers:
            response.calls.discard(call_id)
        return callers

    def report(self, call_id: str) -> None:
        """Note that the provider is told of another brain's call, together with its answer."""
        self._foreign.discard(call_id)

    def forget(self, responses: Iterable[Response]) -> None:
        """Forget the calls of responses that are forgotten."""
        for response in responses:
            self._known -= response.calls
            self._parallel -= response.calls

    # Sessions of the provider -------------------------------------------------------------------------------------

    def save(self) -> None:
        """Note that the provider's session can be taken up in its present state."""
        self._resumable = set(self._known)

    def connect(self, *, answers_meanwhile: bool = False) -> None:
        """Note that a new connection is made: its session does not know the calls.

        Args:
            answers_meanwhile: The provider answers other questions while tools of an interrupted response run.
        """
        self._known.clear()
        self._answers_meanwhile = answers_meanwhile

    def begin(self, reported: Iterable[Entry], *, resumed: bool) -> None:
        """Note that a session is ready.

        Args:
            reported: Entries of the history that the provider got.
            resumed: It is a session of before, in the state of the last `save`.
        """
        if resumed:
            self._known |= self._resumable
        self._foreign -= {entry.call_id for entry in reported}
