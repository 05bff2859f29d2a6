"""Tool calls between the provider, the tools that run here, and the application."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from bargein.pipeline import ToolCall, ToolResult
from bargein.services.frames import ToolFinished
from bargein.services.realtime import events

from .replies import Replies
from .state import DialogueState

__all__ = ["ToolExchange"]


class ToolExchange:
    """Passes tool calls to the tools or the application, and the answers to the provider.

    Args:
        state: The state of the dialogue.
        replies: What requests the next response when all calls are answered.
        run_tool: Starts the tool of a call, which ends with `on_result` or `on_cancelled`.
        cancel_tool: Cancels the tool of a call; returns whether it was running.
    """

    def __init__(
        self,
        state: DialogueState,
        replies: Replies,
        run_tool: Callable[[ToolCall], object],
        cancel_tool: Callable[[str], bool],
    ) -> None:
        self._state = state
        self._calls = state.tool_calls
        self._replies = replies
        self._run_tool = run_tool
        self._cancel_tool = cancel_tool

    def on_call(self, event: events.ToolCallReceived) -> None:
        """Send a call to the graph, and run its tool if it runs here."""
        # Some providers send a call before the beginning of its response.
        response = self._state.responses.by_id.get(event.response_id) or self._replies.begin(event.response_id)
        if response.outlet is None:
            return  # the response was cancelled before it began
        call = self._calls.receive(event, response)
        if call is not None:
            self._state.emit(call)
            if call.handled:
                self._run_tool(call)

    def on_result(self, frame: ToolResult) -> None:
        """Write down the answer to a call, and tell the provider before its next response."""
        call_id, protocol = frame.call_id, self._state.ready_protocol
        # Into the history first: a session that begins later learns the result from there.
        entry = self._state.history.result(call_id, frame.output)
        if entry is None or not (self._calls.is_awaited(call_id) or self._calls.is_foreign(call_id)):
            return
        known = self._calls.is_known(call_id)
        self._state.dead_air.on_progress()
        if protocol is not None:
            self._state.received_at = anyio.current_time()
            if known:
                self._state.send_queue.post(protocol.tool_result(call_id, frame.output))
            else:  # made on another connection, or by another brain: the provider is told of the call, too
                self._calls.report(call_id)
                self._state.send_queue.post(protocol.seed([entry]))
        self._close(call_id, known=known)

    def on_cancelled(self, call_id: str) -> None:
        """End a call whose tool was cancelled by an interrupt, without an answer."""
        protocol = self._state.ready_protocol
        if protocol is not None and call_id in self._calls.running and self._calls.is_known(call_id):
            self._state.send_queue.post(protocol.cancel_tool_call(call_id))
        self._close(call_id)

    def on_withdrawn(self, event: events.ToolCallWithdrawn) -> None:
        """End a call that the provider withdraws: cancel its tool, or tell the application. It is never answered."""
        entry, awaited = self._state.history.find_call(event.call_id), self._calls.is_awaited(event.call_id)
        # A tool that runs here reports its own end. The application is only told by this frame that no answer is
        # wanted.
        if not self._cancel_tool(event.call_id) and awaited and entry is not None:
            self._state.emit(ToolFinished(call_id=event.call_id, name=entry.name, cancelled=True))
        self._close(event.call_id)

    def _close(self, call_id: str, *, known: bool = True) -> None:
        for response in self._calls.close(call_id):
            self._replies.follow_up(response, calls_known=known)
        # A session that is about to close waits for the last call.
        self._state.wake()
