"""Thinking: the user's turns to a language model, its answers out, tools run on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Literal

import anyio
import msgspec
from bargein.pipeline import (
    Failure,
    Frame,
    Inbox,
    Interrupt,
    Outlet,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from bargein.processors import AgentActivity, Heard, Turn

from ..frames import Configure, Respond, Say, ToolFinished, ToolProgress, ToolStarted
from ..history import History, HistoryStatistics
from ..tools import Tool, Toolbox, ToolRunner
from ._part import Holds, failure_of
from .parts import Call, LanguageModel, Prompt

__all__ = ["Answer"]

ROUNDS = 8
"""How often in one response tools may be called, before the model is made to answer."""
OPEN = 64
"""Of how many items it is awaited what was heard."""
UNANSWERED_S = 60.0
"""How long the application may take to answer a call."""
Given = (
    Turn
    | ResponseStarted
    | Text
    | ToolCall
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Usage
    | ResponseEnded
    | Interrupt
    | Failure
)


class Answer(Holds):
    """Answer each `Turn` of the user's.

    The conversation is the `history`, which keeps of the agent's words those that were heard (`Heard`, from a `Spoken`
    below). Each answer is a response: `ResponseStarted`, `Text` as it is written, calls of tools, `ResponseEnded`. A
    turn that comes `meanwhile` is answered next, together with all that came until then (`"queue"`), or ends the
    present answer and is answered at once (`"interrupt"`). An interrupt ends the answer, and lets tools finish that are
    not `cancellable`: their results reach the model before its next response. `ToolCall`s are left to the application
    (`ToolResult`) if there are no `tools`.

    A turn whose words turn out to be others is answered anew, if nothing of the answer has been heard. Where the model
    fails, that is a `Failure`, and `apology` is said in its place, so that no call goes dead.
    """

    name = "answer"

    def __init__(
        self,
        llm: LanguageModel,
        *,
        instructions: str = "",
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox = (),
        history: History | None = None,
        meanwhile: Literal["queue", "interrupt"] = "queue",
        apology: str = "Sorry, something went wrong. Could you say that again?",
    ) -> None:
        if meanwhile not in ("queue", "interrupt"):
            raise ValueError(f"Answer(meanwhile={meanwhile!r}): expected 'queue' or 'interrupt'")
        self.part = llm
        self.instructions = instructions
        self.meanwhile = meanwhile
        self.runner = ToolRunner(tools)
        """What runs the tools."""
        self.history = History() if history is None else history
        """The conversation, as it was heard."""
        self.apology = apology
        self._count = 0
        self._calls = 0
        self._asked: Respond | None = None  # to be answered next
        self._say: list[Say] = []
        self._current = ""  # the response that is being made
        self._of = 0  # the latest turn that it answers
        self._turn = 0
        self._heard: set[str] = set()  # responses of which something was heard
        self._open: dict[tuple[str, str], str] = {}  # what was heard so far of items that are not done
        self._told = self._doubtful = False  # somebody says what was heard
        self._pending: dict[str, anyio.Event] = {}  # calls without an answer
        self._group: anyio.abc.TaskGroup | None = None

    def statistics(self) -> HistoryStatistics:
        """The conversation's."""
        return self.history.statistics()

    async def run(
        self,
        inbox: Inbox[Turn | Respond | Say | Configure | ToolResult | Heard | AgentActivity | Interrupt],
        out: Outlet[Given],
    ) -> None:
        """Answer until the end, and finish the last answer."""
        async with anyio.create_task_group() as group, anyio.create_task_group() as beside:
            self._group, self._idle = group, anyio.Event()
            async for frame in inbox:
                await self._take(frame, out)
                if self.history.crowded:
                    beside.start_soon(self.history.condense)
            while self._current or self._asked or self._say:  # each answer ends: models and tools have their limits
                self._idle = anyio.Event()
                await self._idle.wait()
            beside.cancel_scope.cancel()

    async def _take(self, frame: Frame, out: Outlet[Given]) -> None:
        if isinstance(frame, Turn):
            await out.send(frame)  # for whoever watches
            await self._hear(frame, out)
        elif isinstance(frame, Respond):
            self._asked = frame
        elif isinstance(frame, Say):
            self._say.append(frame)
        elif isinstance(frame, Configure):
            if frame.instructions is not None:
                self.instructions = frame.instructions
            if frame.tools is not None:
                self.runner.toolbox = Toolbox(frame.tools)
        elif isinstance(frame, ToolResult):
            self._result(frame)
        elif isinstance(frame, AgentActivity):
            self._told = True  # there is a Spoken below, which will say what is heard
            if self._doubtful:
                self._forget()
        elif isinstance(frame, Heard):
            if frame.text:
                self._heard.add(frame.response)
            key = (frame.response, frame.item)
            if frame.done:
                self._open.pop(key, None)
                self.history.heard(frame.text, frame.item, frame.response)
            elif key in self._open:
                self._open[key] = frame.text
        elif isinstance(frame, Interrupt):
            self._forget()
            self._asked = None  # the present answer is being cancelled; what comes next waits for its end
            self._say.clear()
            for call in self.runner.interrupt():
                self._over(call)
        self._next(out)

    def _forget(self) -> None:
        """Of what is interrupted nothing more will be heard; what is still on its way, nobody else knows of."""
        for (response, item), heard in list(self._open.items()):
            if self._told or response == self._current:
                del self._open[response, item]
                self.history.heard(heard, item, response)
        self._doubtful = bool(self._open)  # is it read, or will somebody yet say that it is listened to?

    async def _hear(self, frame: Turn, out: Outlet[Given]) -> None:
        self.history.user(frame.text, f"turn-{frame.turn}")
        self._turn = max(self._turn, frame.turn)
        if not frame.revision:
            if self._current and self.meanwhile == "interrupt":
                await out.send(Interrupt(reason="the user went on"))
                self._forget()
            self._asked = Respond()
        elif frame.turn == self._of and self._current and self._current not in self._heard:
            await out.send(Interrupt(reason="the user's words turned out to be others"))
            self._forget()
            self._asked = Respond()

    def _next(self, out: Outlet[Given]) -> None:
        """Begin the next answer, if there is one to give and none is being given."""
        if self._current:
            return
        if self._say:
            self._begin(out, self._say.pop(0))
        elif self._asked is not None:
            asked, self._asked = self._asked, None
            self._begin(out, asked)

    def _begin(self, out: Outlet[Given], asked: Respond | Say) -> None:
        self._count += 1
        self._current, self._of = f"response-{self._count}", self._turn
        self._heard.intersection_update({self._current})
        out.respond(self._respond, self._current, asked, out)

    # One response -------------------------------------------------------------------------------------------------

    async def _respond(self, reply: Outlet[Given], name: str, asked: Respond | Say, out: Outlet[Given]) -> None:
        await reply.send(ResponseStarted(response=name, protected=asked.protected))
        ended: ResponseEnded | None = None
        try:
            if isinstance(asked, Say):
                await self._write(reply, name, f"{name}-1", asked.text)
            else:
                await self._answer(reply, name, asked.instructions or self.instructions)
            ended = ResponseEnded(response=name)
        except Exception as error:
            out.offer(failure_of(self.part, error))
            await self._write(reply, name, f"{name}-apology", self.apology)
            ended = ResponseEnded(response=name, outcome="failed", reason=str(error))
        finally:
            if ended is None:  # interrupted, while it is cancelled: there is no time to wait
                out.offer(ResponseEnded(response=name, outcome="interrupted"))
                self._finished(name, out)
        await out.send(ended)
        self._finished(name, out)

    def _finished(self, name: str, out: Outlet[Given]) -> None:
        if self._current == name:
            self._current = ""
            self._next(out)
        self._idle.set()

    async def _write(self, reply: Outlet[Given], name: str, item: str, text: str) -> None:
        if text:
            self._wrote(text, item, name)
            await reply.send(Text(text=text, response=name, item=item, final=True))

    def _wrote(self, text: str, item: str, response: str) -> None:
        self.history.assistant(text, item, response)
        self._open.setdefault((response, item), "")
        while len(self._open) > OPEN:
            del self._open[next(iter(self._open))]

    async def _answer(self, reply: Outlet[Given], name: str, instructions: str) -> None:
        for round_ in range(1, ROUNDS + 1):
            await self._settled()
            item, wrote, calls = f"{name}-{round_}", False, list[ToolCall]()
            tools = self.runner.toolbox.schemas if round_ < ROUNDS else ()
            prompt = Prompt(entries=self.history.remembered, instructions=instructions, tools=tuple(tools))
            async with aclosing(self.part.answer(prompt)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Call):
                        calls.append(self._called(piece, name))
                    elif isinstance(piece, Usage):
                        await reply.send(msgspec.structs.replace(piece, response=name))
                    elif piece:
                        wrote = True
                        self._wrote(piece, item, name)
                        await reply.send(Text(text=piece, response=name, item=item))
            if wrote:
                await reply.send(Text(text="", response=name, item=item, final=True))
            if not calls:
                return
            for call in calls:
                await self._start(call, reply)

    # Tools --------------------------------------------------------------------------------------------------------

    def _called(self, call: Call, response: str) -> ToolCall:
        self._calls += 1
        name = call.call or f"call-{self._calls}"
        return ToolCall(call=name, name=call.name, arguments=call.arguments, response=response)

    async def _start(self, call: ToolCall, reply: Outlet[Given]) -> None:
        """Run a tool where an interrupt does not reach it, or leave it to the application."""
        self.history.call(call.call, call.name, call.arguments, call.response)
        self._pending[call.call] = anyio.Event()
        await reply.send(call)
        if len(self.runner.toolbox) and self._group is not None:
            self._group.start_soon(self._run_tool, call, reply)

    async def _run_tool(self, call: ToolCall, reply: Outlet[Any]) -> None:
        result = await self.runner.run(call, reply.send)
        if result is not None:
            self._result(result)
        self._over(call.call)

    def _result(self, frame: ToolResult) -> None:
        if frame.call in self._pending:
            self.history.result(frame.call, frame.output)
            self._over(frame.call)

    def _over(self, call: str) -> None:
        if (event := self._pending.pop(call, None)) is not None:
            event.set()

    async def _settled(self) -> None:
        """Wait for the results of all calls; one that the application does not answer is given up."""
        deadline = anyio.current_time() + (UNANSWERED_S if not len(self.runner.toolbox) else math.inf)
        while self._pending:
            call, event = next(iter(self._pending.items()))
            with anyio.move_on_after(deadline - anyio.current_time()):
                await event.wait()
                continue
            self.history.result(call, '"nobody answered"')
            self._over(call)
