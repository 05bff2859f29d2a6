"""Thinking: the user's turns to a language model, its answers out, tools run on the way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Literal

import anyio
import msgspec

from bargein.pipeline import (
    Failure,
    Frame,
    Image,
    Inbox,
    Interrupt,
    Outlet,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    Video,
)
from bargein.processors import AgentActivity, Heard, SampleFps, Turn
from bargein.services.errors import UnsupportedError
from bargein.services.frames import (
    Configure,
    OutOfBand,
    Remember,
    Respond,
    Say,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from bargein.services.history import History, HistoryStatistics
from bargein.services.history.picture import picture_of
from bargein.services.tools import Tool, Toolbox, ToolRunner

from ._base import Holds, checked, failure_of, positive
from ._tool_calls import CALLED_OFF, CascadeToolCalls
from .parts import LanguageModel, Prompt, ToolRequest

__all__ = ["ERROR_REPLY", "NO_SPEECH_REPLY", "Answer"]

ERROR_REPLY = "Sorry, something went wrong. Could you say that again?"
"""What is said where the model fails."""
NO_SPEECH_REPLY = "Sorry, I did not hear you."
"""What is said where the user has spoken, and no words are known."""
TURN = Respond()
"""A turn of the user's is to be answered: with words, or calls at least."""

ROUNDS = 8
"""How often for one turn tools may be called, before the model is made to answer."""
OPEN = 64
"""Of how many items it is awaited what was heard."""
LOOK_S = 1.0
"""How often it is looked, after the end, whether an interrupt came before the last response began: nobody says so."""
UNANSWERED_S = 60.0
"""How long the application may take to answer a call, while the user says nothing."""
Taken = Turn | Respond | Say | Configure | Remember | Image | Video | ToolResult | Heard | AgentActivity | Interrupt
Given = (
    Turn
    | Image
    | Video
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
    | OutOfBand
)


class Answer(Holds):
    """Answer each `Turn` of the user's.

    The conversation is the `history`, which keeps of the agent's words those that were heard (`Heard`, from a `Spoken`
    below), and what the user shows: each `Image`, and of a `Video` at most `fps` pictures a second, all encoded. A
    model that cannot look at them is not shown them; that is a `Failure`. Each answer is a response: `ResponseStarted`,
    `Text` as it is written, calls of tools, `ResponseEnded`. A turn that comes `meanwhile` is answered next, together
    with all that came until then (`"queue"`), or ends the present answer and is answered at once (`"interrupt"`). An
    interrupt ends the answer, and lets tools finish that are not `cancellable`: their results reach the model before
    its next response.

    CascadeToolCalls are left to the application (`ToolResult`) if there are no `tools`, or if it has given the tool's schema
    (`Configure`). Then the response ends with them, and another one follows when all have been answered, or after a
    minute; a user who goes on before that is answered without. What is asked `apart` is answered beside all that, with
    an `OutOfBand`.

    A turn whose words turn out to be others is answered anew, if nothing of the answer has been heard; one without
    words, with `unheard`. Where the model fails, has nothing to say to a turn, or is silent for `silent_seconds`, that
    is a `Failure`, and `apology` is said in its place, so that no call goes dead.
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
        apology: str = ERROR_REPLY,
        unheard: str = NO_SPEECH_REPLY,
        fps: float = 1.0,
        silent_seconds: float = 60.0,
    ) -> None:
        if meanwhile not in ("queue", "interrupt"):
            raise ValueError(f"Answer(meanwhile={meanwhile!r}): expected 'queue' or 'interrupt'")
        positive(silent_seconds=silent_seconds)
        self.part = checked(llm, LanguageModel, "answer")
        self.instructions = instructions
        self.meanwhile = meanwhile
        self.apology = apology
        self.unheard = unheard
        self.silent_seconds = silent_seconds
        self._made_with = instructions
        self._sampled = SampleFps(fps)
        self._blind = False  # it was told that the model cannot look
        self._calls = CascadeToolCalls(tools, History() if history is None else history)
        self._count = 0
        self._earlier = 0  # turns of earlier sessions with this conversation
        self._asked: Respond | None = None  # to be answered next
        self._then: tuple[Respond, Outlet[Given]] | None = None  # to be gone on with, when all calls are answered
        self._say: list[Say] = []
        self._current = ""  # the response that is being made
        self._begun = False  # its task has
        self._reply: Outlet[Given] | None = None
        self._of = 0  # the latest turn that it answers
        self._turn = 0
        self._wordless = 0  # the latest turn of which no words are known yet
        self._rounds = 0  # how often the model was asked for the present turn
        self._heard: set[str] = set()  # responses of which something was heard
        self._open: dict[tuple[str, str], str] = {}  # what was heard so far of items that are not done
        self._told = self._doubtful = False  # somebody says what was heard
        self._group: anyio.abc.TaskGroup | None = None
        self._beside: anyio.abc.TaskGroup | None = None

    @property
    def history(self) -> History:
        """The conversation, as it was heard."""
        return self._calls.history

    @history.setter
    def history(self, history: History) -> None:
        self._calls.history = history

    @property
    def runner(self) -> ToolRunner:
        """What runs the tools."""
        return self._calls.runner

    @runner.setter
    def runner(self, runner: ToolRunner) -> None:
        self._calls.runner = runner

    def statistics(self) -> HistoryStatistics:
        """The conversation's."""
        return self.history.statistics()

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Answer until the end, and finish the last answer."""
        self._count = _latest(self.history, "response")  # a conversation may have been begun by another
        self._earlier = _latest(self.history, "turn")
        self._calls.begin(_latest(self.history, "call"))
        async with anyio.create_task_group() as group, anyio.create_task_group() as beside:
            self._group, self._beside, self._idle = group, beside, anyio.Event()
            try:
                async for frame in inbox:
                    await self._take(frame, out)
                    if self.history.crowded:
                        beside.start_soon(self.history.condense)
                if self._calls.theirs:
                    self._then = None  # nobody will answer any more
                # each of these ends: models and tools have limits
                while self._current or self._asked or self._say or self._then:
                    self._idle = anyio.Event()
                    with anyio.move_on_after(LOOK_S):
                        await self._idle.wait()
                    self._next(out)
                beside.cancel_scope.cancel()
            finally:
                self._group = self._beside = None  # a response that is cancelled with it starts nothing any more

    async def _take(self, frame: Frame, out: Outlet[Given]) -> None:
        if isinstance(frame, Turn):
            await out.send(frame)  # for whoever watches
            await self._hear(frame, out)
        elif isinstance(frame, Image | Video):
            await self._see(frame, out)
        elif isinstance(frame, Respond):
            if not frame.out_of_band:
                self._asked = frame
            elif self._beside is not None:
                self._beside.start_soon(self._aside, frame, out)
        elif isinstance(frame, Say):
            self._say.append(frame)
        elif isinstance(frame, Configure):
            if frame.instructions is not None:
                self.instructions = frame.instructions or self._made_with
            self._calls.configure(frame)
        elif isinstance(frame, Remember):
            self.history.remember(frame.role, frame.text, frame.item_id, call=frame.call_id, name=frame.name)
        elif isinstance(frame, ToolResult):
            self._calls.result(frame)
        elif isinstance(frame, AgentActivity):
            self._told = True  # there is a Spoken below, which will say what is heard
            if self._doubtful:
                self._forget()
        elif isinstance(frame, Heard):
            if frame.text:
                self._heard.add(frame.response_id)
            key = (frame.response_id, frame.item_id)
            if frame.done:
                self._open.pop(key, None)
                self.history.heard(frame.text, frame.item_id, frame.response_id)
            elif key in self._open:
                self._open[key] = frame.text
        elif isinstance(frame, Interrupt):
            self._forget()
            self._asked = self._then = None  # the present answer is being cancelled; what comes next waits for its end
            self._say.clear()
            self._calls.let_go()
            for call in self.runner.interrupt():
                self._calls.result(ToolResult(call_id=call, output=CALLED_OFF))
        self._next(out)

    def _forget(self) -> None:
        """Of what is interrupted nothing more will be heard; what is still on its way, nobody else knows of."""
        for (response, item), heard in list(self._open.items()):
            if self._told or response == self._current:
                del self._open[response, item]
                self.history.heard(heard, item, response)
        self._doubtful = bool(self._open)  # is it read, or will somebody yet say that it is listened to?

    async def _hear(self, frame: Turn, out: Outlet[Given]) -> None:
        self.history.user(frame.text, f"turn-{self._earlier + frame.turn}")
        self._turn = max(self._turn, frame.turn)
        first = not frame.revision or frame.turn == self._wordless
        self._wordless = 0 if frame.text.strip() or frame.final else frame.turn
        if self._wordless:
            return  # they are on their way
        if first:
            if self._current and self.meanwhile == "interrupt":
                await out.send(Interrupt(reason="the user went on"))
                self._forget()
            if frame.text.strip():
                self._asked = TURN
            else:
                self._say.append(Say(text=self.unheard))
        elif frame.turn == self._of and self._current and self._current not in self._heard:
            await out.send(Interrupt(reason="the user's words turned out to be others"))
            self._forget()
            self._asked = TURN

    async def _see(self, frame: Image | Video, out: Outlet[Given]) -> None:
        """Keep what the user shows."""
        if frame.response_id:
            await out.send(frame)  # the agent's own
            return
        picture = picture_of(frame, type(self.part).__name__)
        moving = isinstance(frame, Video)
        if not self.part.images:
            if not (moving and self._blind):  # of a video once is enough
                who = type(self.part).__name__
                out.offer(failure_of(self.part, UnsupportedError.of(who, "supports_images", type(frame).__name__)))
            self._blind = self._blind or moving
        elif not isinstance(frame, Video) or any(self._sampled.process(frame)):
            self.history.show(picture)

    def _next(self, out: Outlet[Given]) -> None:
        """Begin the next answer, if there is one to give and none is being given."""
        if self._current and not self._begun and self._reply is not None and self._reply.stale:
            self._current = ""  # an interrupt came before its task began, which never will
        if self._current:
            return
        if self._say:
            self._begin(out, self._say.pop(0))
        elif self._asked is not None:
            asked, self._asked, self._then, self._rounds = self._asked, None, None, 0
            self._calls.let_go()
            self._begin(out, asked)
        elif self._then is not None and self._calls.all_answered:
            (asked, before), self._then = self._then, None
            if not before.stale:
                self._begin(out, asked)
            self._idle.set()

    def _begin(self, out: Outlet[Given], asked: Respond | Say) -> None:
        self._count += 1
        self._current, self._of = f"response-{self._count}", self._turn
        self._heard.intersection_update({self._current})
        self._begun = False
        self._reply = out.respond(self._respond, self._current, asked, out)

    # One response -------------------------------------------------------------------------------------------------

    async def _respond(self, reply: Outlet[Given], name: str, asked: Respond | Say, out: Outlet[Given]) -> None:
        self._begun = True
        ended: ResponseEnded | None = None
        then: tuple[Respond, Outlet[Given]] | None = None
        try:
            await reply.send(ResponseStarted(response_id=name, protected=asked.protected))
            if isinstance(asked, Say):
                await self._write(reply, name, f"{name}-1", asked.text)
            elif not await self._answer(reply, name, asked, out):
                then = asked, reply
            ended = ResponseEnded(response_id=name)
        except Exception as error:
            out.offer(failure_of(self.part, error))
            await self._write(reply, name, f"{name}-apology", self.apology)
            ended = ResponseEnded(response_id=name, outcome="failed", reason=str(error))
        finally:
            if ended is None:  # interrupted, while it is cancelled: there is no time to wait
                out.offer(ResponseEnded(response_id=name, outcome="interrupted"))
                self._finished(name, out)
        try:
            await out.send(ended)
            if then is not None and not reply.stale:
                self._then = then
        finally:  # an interrupt may come even now
            self._finished(name, out)

    def _finished(self, name: str, out: Outlet[Given]) -> None:
        if self._current == name:
            self._current = ""
            self._next(out)
        self._idle.set()

    async def _write(self, reply: Outlet[Given], name: str, item: str, text: str) -> None:
        if text:
            self._wrote(text, item, name)
            await reply.send(Text(text=text, response_id=name, item_id=item, final=True))

    def _wrote(self, text: str, item: str, response: str) -> None:
        self.history.assistant(text, item, response)
        self._open.setdefault((response, item), "")
        while len(self._open) > OPEN:
            del self._open[next(iter(self._open))]

    async def _answer(self, reply: Outlet[Given], name: str, asked: Respond, out: Outlet[Given]) -> bool:
        """Write, and run tools; returns whether all has been said, or the application must answer first."""
        instructions = asked.instructions or self.instructions
        while self._rounds < ROUNDS:
            await self._calls.settled()
            self._rounds += 1
            item, wrote, calls = f"{name}-{self._rounds}", False, list[ToolCall]()
            tools = self._calls.schemas if self._rounds < ROUNDS else ()
            entries = self.history.for_model(images=self.part.images)
            prompt = Prompt(entries=entries, instructions=instructions, tools=tools)
            with anyio.CancelScope() as patience:  # one around all: the part may hold scopes from piece to piece
                async with aclosing(self.part.answer(prompt)) as pieces:
                    patience.deadline = anyio.current_time() + self.silent_seconds
                    async for piece in pieces:
                        patience.deadline = math.inf
                        if isinstance(piece, ToolRequest):
                            calls.append(self._calls.made(piece, name))
                        elif isinstance(piece, Usage):
                            await reply.send(msgspec.structs.replace(piece, response_id=name))
                        elif piece:
                            wrote = True
                            self._wrote(piece, item, name)
                            await reply.send(Text(text=piece, response_id=name, item_id=item))
                        patience.deadline = anyio.current_time() + self.silent_seconds
            if patience.cancelled_caught:
                raise TimeoutError(f"it has said nothing for {self.silent_seconds:g} s")
            if wrote:
                await reply.send(Text(text="", response_id=name, item_id=item, final=True))
            elif not calls and asked is TURN and self._rounds == 1:
                raise RuntimeError("it has not answered")
            if not calls:
                return True
            if self._rounds == ROUNDS:
                break
            for call in calls:
                await self._call(call, reply, out)
            if not all(call.handled for call in calls):
                return False
        raise RuntimeError(f"it has called tools {ROUNDS} times, and not answered")

    async def _aside(self, asked: Respond, out: Outlet[Given]) -> None:
        """Answer apart from the conversation, beside it, in text."""
        text, reason = "", ""
        prompt = Prompt(entries=self.history.for_model(images=self.part.images), instructions=asked.instructions)
        try:
            with anyio.fail_after(self.silent_seconds):
                async with aclosing(self.part.answer(prompt)) as pieces:
                    text = "".join([piece async for piece in pieces if isinstance(piece, str)])
        except Exception as error:
            reason = failure_of(self.part, error).message
        await out.send(OutOfBand(name=asked.out_of_band, text=text, reason=reason))

    # Tools --------------------------------------------------------------------------------------------------------

    async def _call(self, call: ToolCall, reply: Outlet[Given], out: Outlet[Given]) -> None:
        """Run a tool where an interrupt does not reach it, or leave it to the application, for some time."""
        self._calls.open(call)
        try:
            await reply.send(call)
        finally:  # even if an interrupt comes right now: somebody waits for the answer
            group = self._group if call.handled else self._beside
            if group is not None:
                group.start_soon(self._run_tool if call.handled else self._wait_for, call, reply, out)

    async def _run_tool(self, call: ToolCall, reply: Outlet[Any], out: Outlet[Given]) -> None:
        result = await self.runner.run(call, reply.send)
        self._calls.result(result or ToolResult(call_id=call.call_id, output=CALLED_OFF))
        self._next(out)

    async def _wait_for(self, call: ToolCall, reply: Outlet[Any], out: Outlet[Given]) -> None:
        await anyio.sleep(UNANSWERED_S)
        if self._calls.give_up(call.call_id):
            self._next(out)


def _latest(history: History, kind: str) -> int:
    """The highest number that names of a kind have in a conversation: `turn-3`."""
    names = (name for entry in history for name in (entry.item_id, entry.response_id, entry.call_id))
    return max((int(found[1]) for name in names if (found := re.fullmatch(rf"{kind}-(\d+)", name))), default=0)
