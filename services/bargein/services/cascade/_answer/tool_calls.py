"""The tool calls of a conversation: which side answers them, and which have no answer yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import anyio

from bargein.pipeline import ToolCall, ToolResult
from bargein.services.cascade.parts import ToolRequest
from bargein.services.frames import Configure
from bargein.services.history import History
from bargein.services.tools import Toolbox, ToolLike, ToolRunner, complete_schema

__all__ = ["CascadeToolCalls"]

MAX_LATE_CALLS = 64
"""Maximum number of the application's calls whose results are still accepted after the conversation has continued."""
NO_ANSWER_OUTPUT = '"nobody answered"'
"""The result that the model sees for a call that the application did not answer in time."""


class CascadeToolCalls:
    """The calls of the brain's own tools, which run here, and of the application's, of which only the schema is known.

    If both have a tool of one name, the application's is used. If there are no tools at all, the application answers
    every call.

    Args:
        tools: The tools that run here.
        history: The conversation to which the calls are added.
    """

    def __init__(self, tools: Iterable[ToolLike] | Toolbox, history: History) -> None:
        self.runner = ToolRunner(tools)
        self.history = history
        self._external: dict[str, dict[str, Any]] = {}  # schemas of the application's tools, by name
        self._count = 0
        self._open: dict[str, bool] = {}  # calls without a result, and whether they run here
        self._response: dict[str, str] = {}  # the response of each open call
        self._late: deque[str] = deque(maxlen=MAX_LATE_CALLS)  # calls whose results are recorded but not waited for
        self._changed = anyio.Event()

    def begin(self, count: int) -> None:
        """Start a session.

        Args:
            count: The highest number of a call that the conversation holds already.
        """
        self._open.clear()
        self._response.clear()
        self._late.clear()
        self._count = count

    @property
    def schemas(self) -> tuple[dict[str, Any], ...]:
        """The schemas of all tools, for the model."""
        own = [schema for schema in self.runner.toolbox.schemas if schema["name"] not in self._external]
        return (*own, *self._external.values())

    @property
    def all_answered(self) -> bool:
        """Whether no call waits for its result."""
        return not self._open

    @property
    def waits_for_application(self) -> bool:
        """Whether a call waits for a result of the application."""
        return not all(self._open.values())

    def configure(self, frame: Configure) -> None:
        """Replace the tools by those of a `Configure`."""
        if frame.tools is not None:
            self.runner.toolbox = Toolbox(frame.tools)
        if frame.schemas is not None:
            self._external = {schema["name"]: complete_schema(schema) for schema in frame.schemas}

    def make_call(self, request: ToolRequest, response_id: str) -> ToolCall:
        """Create the `ToolCall` for a call that the model asks for."""
        self._count += 1
        own = request.name not in self._external and bool(len(self.runner.toolbox) or self._external)
        call_id = request.call_id
        # Some servers number the calls of each answer from the start, so an id may belong to an earlier call.
        if not call_id or self.history.find_call(call_id) is not None:
            call_id = f"call-{self._count}"
        return ToolCall(
            call_id=call_id, name=request.name, arguments=request.arguments, response_id=response_id, handled=own
        )

    def open(self, call: ToolCall) -> None:
        """Record a call, and wait for its result from now on."""
        self.history.call(call.call_id, call.name, call.arguments, call.response_id)
        self._open[call.call_id] = call.handled
        self._response[call.call_id] = call.response_id

    def add_result(self, frame: ToolResult) -> None:
        """Record a result, if its call is known."""
        if frame.call_id in self._open or frame.call_id in self._late:
            self.history.result(frame.call_id, frame.output)
            self.close(frame.call_id)

    def close(self, call_id: str) -> None:
        """Stop waiting for the result of a call."""
        self._response.pop(call_id, None)
        if self._open.pop(call_id, None) is not None:
            self._changed.set()
            self._changed = anyio.Event()

    def stop_waiting_for_application(self) -> None:
        """Stop waiting for the application's results, because the conversation continues. Late results are recorded."""
        external = [call_id for call_id, own in self._open.items() if not own]
        self._late.extend(external)
        for call_id in external:
            self.close(call_id)

    def expire(self, call_id: str) -> bool:
        """End the application's time for a result.

        Returns:
            Whether the call was still waiting for its result.
        """
        waited, entry = call_id in self._open, self.history.find_call(call_id)
        if entry is not None and entry.open:  # even if nothing waits for it, because the model needs some result
            entry.output = NO_ANSWER_OUTPUT
        self.close(call_id)
        return waited

    def is_running(self, call_id: str) -> bool:
        """Return whether a call of the brain's own tools has no result yet."""
        return self._open.get(call_id, False)

    async def wait_for_own(self, response_id: str, max_seconds: float) -> None:
        """Wait until the tools that run here have returned. Each of them has a timeout.

        Args:
            response_id: The response whose calls are waited for without the limit below.
            max_seconds: Maximum wait for calls of earlier responses, in seconds.
        """
        while any(own and self._response[call_id] == response_id for call_id, own in self._open.items()):
            await self._changed.wait()
        with anyio.move_on_after(max_seconds):
            while any(self._open.values()):
                await self._changed.wait()
