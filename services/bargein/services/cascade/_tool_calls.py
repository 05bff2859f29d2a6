"""The calls of a conversation: who answers them, and which have not been answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import anyio

from bargein.pipeline import ToolCall, ToolResult
from bargein.services.frames import Configure
from bargein.services.history import History
from bargein.services.tools import Tool, Toolbox, ToolRunner
from bargein.services.tools._schema import completed

from .parts import ToolRequest

__all__ = ["CALLED_OFF", "CascadeToolCalls"]

LATE = 64
"""So many of the application's calls may be answered later."""
NOBODY = '"nobody answered"'
"""What the model is told of a call that the application has not answered in time."""
CALLED_OFF = '"called off: the user went on"'
"""What it is told of a call that an interrupt has ended."""


class CascadeToolCalls:
    """Tools of ours, which run here, and of the application's, of which there is a schema. Those have precedence.

    Where there are no tools at all, the application answers whatever is called.
    """

    def __init__(self, tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox, history: History) -> None:
        self.runner = ToolRunner(tools)
        self.history = history
        """Where they are written down."""
        self._theirs: dict[str, dict[str, Any]] = {}
        self._count = 0
        self._open: dict[str, bool] = {}  # calls without an answer, and whether it is ours to give
        self._late: deque[str] = deque(maxlen=LATE)  # whose answers are history, and nobody waits for
        self._news = anyio.Event()

    def begin(self, count: int) -> None:
        """A session begins; so many calls have been numbered in the conversation before."""
        self._open.clear()
        self._late.clear()
        self._count = count

    @property
    def schemas(self) -> tuple[dict[str, Any], ...]:
        """What the model is told of the tools."""
        ours = [each for each in self.runner.toolbox.schemas if each["name"] not in self._theirs]
        return (*ours, *self._theirs.values())

    @property
    def all_answered(self) -> bool:
        """No answer is awaited."""
        return not self._open

    @property
    def theirs(self) -> bool:
        """The application's answers are awaited."""
        return not all(self._open.values())

    def configure(self, frame: Configure) -> None:
        """Other tools."""
        if frame.tools is not None:
            self.runner.toolbox = Toolbox(frame.tools)
        if frame.schemas is not None:
            self._theirs = {each["name"]: completed(each) for each in frame.schemas}

    def made(self, call: ToolRequest, response: str) -> ToolCall:
        """The model wants this to be called."""
        self._count += 1
        ours = call.name not in self._theirs and bool(len(self.runner.toolbox) or self._theirs)
        name = call.call
        if not name or self.history.called(name) is not None:  # there are servers that count anew in every answer
            name = f"call-{self._count}"
        return ToolCall(call_id=name, name=call.name, arguments=call.arguments, response_id=response, handled=ours)

    def open(self, call: ToolCall) -> None:
        """It is called, and somebody will answer."""
        self.history.call(call.call_id, call.name, call.arguments, call.response_id)
        self._open[call.call_id] = call.handled

    def result(self, frame: ToolResult) -> None:
        """It was answered."""
        if frame.call_id in self._open or frame.call_id in self._late:
            self.history.result(frame.call_id, frame.output)
            self.over(frame.call_id)

    def over(self, call: str) -> None:
        """It needs no answer any more."""
        if self._open.pop(call, None) is not None:
            self._news.set()
            self._news = anyio.Event()

    def let_go(self) -> None:
        """Somebody has gone on: the application's answers are not waited for, but kept when they come."""
        theirs = [call for call, ours in self._open.items() if not ours]
        self._late.extend(theirs)
        for call in theirs:
            self.over(call)

    def give_up(self, call: str) -> bool:
        """The application has had its time; returns whether somebody has waited for it in vain."""
        late, entry = call in self._open, self.history.called(call)
        if entry is not None and entry.open:  # what nobody waits for any more may still come
            entry.output = NOBODY
        self.over(call)
        return late

    async def settled(self) -> None:
        """Wait for the answers that are ours to give: each tool has its timeout."""
        while any(self._open.values()):
            await self._news.wait()
