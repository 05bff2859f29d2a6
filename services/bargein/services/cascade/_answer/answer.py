"""`Answer`: gives the user's turns to a language model, runs the tools that it calls, and sends its answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import anyio

from bargein.pipeline import (
    Failure,
    Frame,
    Image,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolResult,
    Transcript,
    Video,
)
from bargein.pipeline.lowlevel import check_instance, check_options, check_positive
from bargein.processors import AgentActivity, Heard, Turn
from bargein.services.brain import DEAD_AIR_SECONDS, WAIT_REPLY, DeadAir, Greeting, greeting_frame
from bargein.services.cascade._base import PartProcessor, check_part, failure_from, highest_number
from bargein.services.cascade.parts import LanguageModel
from bargein.services.frames import Configure, Remember, Respond, Say
from bargein.services.history import History, HistoryStatistics
from bargein.services.tools import CANCELLED_OUTPUT, Toolbox, ToolLike, ToolRunner

from .agenda import TURN, Agenda
from .contract import AnswerInput, AnswerOutput
from .cut_answer import CutAnswer, CutAnswerWatch
from .generation import TOOL_FINISHED, Generation
from .heard import HeardTracker
from .pictures import PictureIntake
from .silence import CascadeSilence
from .tool_calls import CascadeToolCalls

__all__ = ["ERROR_REPLY", "NO_SPEECH_REPLY", "Answer"]

ERROR_REPLY = "Sorry, something went wrong. Could you say that again?"
"""Text that is spoken when the model fails."""
NO_SPEECH_REPLY = "Sorry, I did not hear you."
"""Text that is spoken when the user spoke and no words were recognised."""

CHECK_SECONDS = 1.0
"""Interval in seconds at which the end of a session checks whether an interrupt came before the last response began. No
event reports that."""
APPLICATION_SECONDS = 60.0
"""Maximum time in seconds for the application's answer to a tool call, while the user says nothing."""


class Answer(PartProcessor[LanguageModel]):
    """Answers each `Turn` of the user with a language model.

    Each answer is a response: `ResponseStarted`, `Text` as it is written, tool calls, `ResponseEnded`. An interrupt
    ends the response. Tools that are not `cancellable` finish, and the model gets their results before its next
    response. If the user's speech interrupts but turns out to have no words (a cough, a door), the answer continues. If
    the words of a turn change afterwards, and nothing of the answer was heard, the turn is answered again.

    The conversation is the `history`. Of the agent's words it keeps those that were heard (`Heard`, from a `Spoken`
    below). It also keeps the user's pictures, encoded. A picture for a model that cannot look at it leads to a
    `Failure`.

    If there are no `tools`, or the application has given a tool's schema (`Configure`), the application answers the
    tool call with a `ToolResult`. The response then ends with the call, and another response follows when all calls are
    answered, or after a minute. If the user asks something else before that, the next answer does not wait for the
    results.

    A `Respond` with a name (`out_of_band`) is answered beside the conversation, with an `OutOfBand`.

    Args:
        llm: The language model.
        instructions: The system prompt. `Configure` replaces it.
        tools: Functions that the model may call, or a `Toolbox`.
        history: The conversation to continue; a new one by default.
        meanwhile: How to treat a turn that comes during an answer. `"queue"`: it is answered next, together with
            all further turns until then. `"interrupt"`: it ends the answer, and is answered at once.
        error_reply: Text that is spoken if the model fails, or has no answer to a turn. Empty: nothing.
        no_speech_reply: Text that is spoken to a turn without words.
        greeting: The agent's first words, unless the conversation has begun already: the words, or a `Say` or
            `Respond`.
        fps: Maximum number of pictures a second that are kept of a `Video`.
        silent_seconds: Maximum time without any output of the model, in seconds. After that the model counts as failed.
        wait_reply: Text that is spoken while the model or a tool keeps the user waiting. Empty: nothing.
        dead_air_seconds: Maximum silence while the user waits for an answer, in seconds. Before it is over,
            `wait_reply` is spoken, or an answer that was cut short is continued. `math.inf`: no limit.

    Raises:
        TypeError: `llm` is not a language model.
        ValueError: An option is out of range.
    """

    name = "answer"

    @check_options
    def __init__(
        self,
        llm: LanguageModel,
        *,
        instructions: str = "",
        tools: Iterable[ToolLike] | Toolbox = (),
        history: History | None = None,
        meanwhile: Literal["queue", "interrupt"] = "queue",
        error_reply: str = ERROR_REPLY,
        no_speech_reply: str = NO_SPEECH_REPLY,
        greeting: Greeting | None = None,
        fps: float = 1.0,
        silent_seconds: float = 60.0,
        wait_reply: str = WAIT_REPLY,
        dead_air_seconds: float = DEAD_AIR_SECONDS,
    ) -> None:
        if meanwhile not in ("queue", "interrupt"):
            raise ValueError(f"Answer(meanwhile={meanwhile!r}): expected 'queue' or 'interrupt'")
        check_positive("Answer", infinite=True, silent_seconds=silent_seconds, dead_air_seconds=dead_air_seconds)
        check_instance("Answer", History, history=history)
        self.part = check_part(llm, LanguageModel, "answer", "Answer(llm)")
        self.greeting = greeting_frame("Answer", greeting)
        self.instructions = instructions
        self.meanwhile = meanwhile
        self.error_reply = error_reply
        self.no_speech_reply = no_speech_reply
        self._first_instructions = instructions
        self._pictures = PictureIntake(self.part, fps)
        self._calls = CascadeToolCalls(tools, History() if history is None else history)
        self._heard = HeardTracker(self._calls.history)
        self._dead_air = DeadAir(dead_air_seconds)
        self._generation = Generation(self.part, self._calls, self._heard, silent_seconds, self._dead_air)
        self._count = 0  # of responses
        self._earlier_turns = 0  # the number of the last turn of earlier sessions with this conversation
        self._agenda = Agenda()
        self._current = ""  # the response that is being made
        self._current_request: Respond | Say = TURN
        self._cut_watch = CutAnswerWatch()
        self._silence = CascadeSilence(self._dead_air, self._agenda, self._cut_watch, wait_reply)
        self._last_cut: CutAnswer | None = None  # a response that was cancelled before its interrupt arrived here
        self._cut_response = ""  # the response that the latest interrupt that arrived here has ended
        self._task_started = False
        self._reply: Outlet[AnswerOutput] | None = None
        self._answered_turn = self._latest_turn = 0  # the newest turn that the response answers, and the newest of all
        self._wordless_turn = 0  # the latest turn whose words are not known yet
        self._tool_group: anyio.abc.TaskGroup | None = None  # its tasks are waited for at the end
        self._side_group: anyio.abc.TaskGroup | None = None  # its tasks are cancelled at the end

    @property
    def history(self) -> History:
        """The conversation. Of the agent's words it keeps those that were heard."""
        return self._calls.history

    @history.setter
    def history(self, history: History) -> None:
        self._calls.history = self._heard.history = history

    @property
    def runner(self) -> ToolRunner:
        """The runner of the tools."""
        return self._calls.runner

    @runner.setter
    def runner(self, runner: ToolRunner) -> None:
        self._calls.runner = runner

    @property
    def toolbox(self) -> Toolbox:
        """The tools that run here, without those that the application answers."""
        return self.runner.toolbox

    @property
    def ready(self) -> bool:
        """Always true: the parts of a cascade connect by themselves, when they are needed."""
        return True

    def statistics(self) -> HistoryStatistics:
        """Return the statistics of the conversation."""
        return self.history.statistics()

    def adapters(self) -> tuple[Processor, ...]:
        """Return a processor that encodes pictures, if the model looks at pictures."""
        return self._pictures.adapters()

    async def run(self, inbox: Inbox[AnswerInput], out: Outlet[AnswerOutput]) -> None:
        """Answer until the end, and finish the last answer."""
        self._count = highest_number(self.history, "response")  # earlier sessions may have used some numbers
        self._earlier_turns = highest_number(self.history, "turn")
        self._calls.begin(highest_number(self.history, "call"))
        async with anyio.create_task_group() as tool_group, anyio.create_task_group() as side_group:
            self._tool_group, self._side_group, self._idle = tool_group, side_group, anyio.Event()
            side_group.start_soon(self._watch_silence, out)
            try:
                if self.greeting is not None and not self.history.has_begun:
                    await self._take(self.greeting, out)
                    self._start_next(out)
                async for frame in inbox:
                    await self._take(frame, out)
                    self._start_next(out)
                    if self.history.crowded:
                        side_group.start_soon(self.history.condense)
                if self._calls.waits_for_application:
                    self._agenda.continuation = None  # no more frames come, so no results either
                # This loop ends: models and tools have time limits.
                while self._current or self._agenda:
                    self._idle = anyio.Event()
                    with anyio.move_on_after(CHECK_SECONDS):
                        await self._idle.wait()
                    self._start_next(out)
                side_group.cancel_scope.cancel()
            finally:
                self._tool_group = self._side_group = None  # a response that is cancelled now starts nothing more

    # What comes in ------------------------------------------------------------------------------------------------

    async def _take(self, frame: Frame, out: Outlet[AnswerOutput]) -> None:
        if isinstance(frame, Turn):
            await out.send(frame)  # other processors below may show it
            await self._on_turn(frame, out)
        elif isinstance(frame, SpeechStarted | SpeechStopped | Transcript):
            await out.send(frame)
            self._on_speech(frame)
        elif isinstance(frame, Image | Video):
            if frame.response_id:
                await out.send(frame)  # the agent's own
            elif (failure := self._pictures.keep(frame, self.history)) is not None:
                out.offer(failure)
        elif isinstance(frame, Respond | Say):
            self._on_request(frame, out)
        elif isinstance(frame, Configure):
            if frame.instructions is not None:
                self.instructions = frame.instructions or self._first_instructions
            self._calls.configure(frame)
        elif isinstance(frame, Remember):
            self.history.remember(frame.role, frame.text, frame.item_id, call_id=frame.call_id, name=frame.name)
        elif isinstance(frame, ToolResult):
            self._calls.add_result(frame)
            self._dead_air.on_progress()
        elif isinstance(frame, AgentActivity):
            self._dead_air.on_activity(frame)
            self._heard.on_activity(self._current)
        elif isinstance(frame, Played):
            self._dead_air.on_played(frame)
        elif isinstance(frame, Heard):
            self._heard.on_heard(frame)
        elif isinstance(frame, Interrupt):
            self._on_interrupt()

    def _on_speech(self, frame: SpeechStarted | SpeechStopped | Transcript) -> None:
        if isinstance(frame, Transcript):
            cut = self._cut_watch.on_transcript(frame)
            if frame.speaker == "user" and frame.final:
                self._silence.on_words(frame)
            if cut is not None:
                self._dead_air.ask()
                self._agenda.continue_answer(cut, self._heard, self.instructions)
            return
        self._dead_air.on_speech(frame)
        if isinstance(frame, SpeechStarted):
            self._cut_watch.on_speech_started(frame)
        else:
            self._silence.on_speech_stopped()

    def _on_request(self, frame: Respond | Say, out: Outlet[AnswerOutput]) -> None:
        if isinstance(frame, Respond) and frame.out_of_band:
            if self._side_group is not None:
                self._side_group.start_soon(self._answer_out_of_band, frame, out)
            return
        self._cut_watch.clear()
        self._dead_air.ask()
        if isinstance(frame, Respond):
            self._agenda.ask(frame)
        else:
            self._agenda.sayings.append(frame)

    def _on_interrupt(self) -> None:
        self._dead_air.on_interrupt()
        cut = self._take_cut_answer()
        if cut is not None:
            self._cut_watch.on_interrupt(cut)
        # The current answer is being cancelled, and what comes next waits for its end.
        self._heard.settle(self._current if cut is None else cut.response_id)
        self._calls.stop_waiting_for_application()
        for call_id in self.runner.interrupt():
            self._calls.add_result(ToolResult(call_id=call_id, output=CANCELLED_OUTPUT))

    def _take_cut_answer(self) -> CutAnswer | None:
        """Clear the agenda, and return the answer that an interrupt ends, or None."""
        (last, self._last_cut), first = (self._last_cut, None), self._agenda.drop()
        if last is not None:
            return last
        if self._current:
            self._cut_response = self._current
            return CutAnswer(self._current_request, self._current)
        return first or (CutAnswer(None, self._heard.playing) if self._heard.playing else None)

    async def _on_turn(self, frame: Turn, out: Outlet[AnswerOutput]) -> None:
        self.history.user(frame.text, f"turn-{self._earlier_turns + frame.turn}")
        self._latest_turn = max(self._latest_turn, frame.turn)
        first = not frame.revision or frame.turn == self._wordless_turn
        self._wordless_turn = 0 if frame.text.strip() or frame.final else frame.turn
        if self._wordless_turn:
            self._dead_air.ask()
            return  # its words are still to come
        self._cut_watch.clear()
        self._agenda.waits_for_tools = False
        if first:
            self._dead_air.ask()
            if self._current and self.meanwhile == "interrupt":
                await self._interrupt(out, "the user went on")
            if frame.text.strip():
                self._agenda.ask(TURN)
            else:
                self._agenda.say(self.no_speech_reply)
        elif frame.turn == self._answered_turn and self._current and not self._heard.was_heard(self._current):
            self._dead_air.ask()
            await self._interrupt(out, "the words of the turn changed")
            self._agenda.ask(TURN)

    async def _interrupt(self, out: Outlet[AnswerOutput], reason: str) -> None:
        """End the current response, because the user said something else."""
        self._cut_response = self._current
        await out.send(Interrupt(reason=reason))
        self._heard.settle(self._current)

    # Silence ------------------------------------------------------------------------------------------------------

    async def _watch_silence(self, out: Outlet[AnswerOutput]) -> None:
        """Say something before the user has waited in silence for too long."""
        while True:
            await self._silence.wait()
            if self._current and self._reply is not None:
                await self._silence.tell_to_wait(self._reply, self._current, self._generation)
            elif not self._silence.check():
                self._continue_or_apologise(out)
            self._start_next(out)

    def _continue_or_apologise(self, out: Outlet[AnswerOutput]) -> None:
        """Continue or apologise when no response is in progress although the user waits: it was interrupted or lost."""
        if not self._dead_air.retry():
            out.offer(Failure("the user waits, and no answer has come", processor=type(self.part).__name__))
            self._agenda.say(self.error_reply)
        elif (cut := self._cut_watch.take()) is not None:
            self._agenda.continue_answer(cut, self._heard, self.instructions)
        elif self._wordless_turn:
            self._wordless_turn = 0
            self._agenda.say(self.no_speech_reply)
        else:
            self._agenda.ask(TURN)

    # One response -------------------------------------------------------------------------------------------------

    def _start_next(self, out: Outlet[AnswerOutput]) -> None:
        """Start the next response, if one is waiting and none is running."""
        if self._current and not self._task_started and self._reply is not None and self._reply.stale:
            self._current = ""  # an interrupt came before its task started, so the task never runs
        if self._current:
            return
        agenda = self._agenda
        if agenda.request is not None and not agenda.sayings:  # not the rest of an answer
            self._generation.rounds = 0
            self._calls.stop_waiting_for_application()
        if (request := agenda.next(all_answered=self._calls.all_answered)) is not None:
            self._start(out, request)
        self._idle.set()

    def _start(self, out: Outlet[AnswerOutput], request: Respond | Say) -> None:
        self._count += 1
        self._current_request = request
        self._current, self._answered_turn = f"response-{self._count}", self._latest_turn
        self._heard.begin_response(self._current)
        self._task_started = False
        self._reply = out.respond(self._respond, self._current, request, out)

    async def _respond(
        self, reply: Outlet[AnswerOutput], response_id: str, request: Respond | Say, out: Outlet[AnswerOutput]
    ) -> None:
        self._task_started = True
        ended: ResponseEnded | None = None
        continuation: tuple[Respond, Outlet[AnswerOutput]] | None = None
        try:
            await reply.send(ResponseStarted(response_id=response_id, protected=request.protected))
            if isinstance(request, Say):
                await self._generation.say(reply, response_id, f"{response_id}-1", request.text)
            elif not await self._answer(reply, response_id, request, out):
                continuation = request, reply
            ended = ResponseEnded(response_id=response_id)
        except Exception as error:
            out.offer(failure_from(self.part, error))
            await self._generation.say(reply, response_id, f"{response_id}-apology", self.error_reply)
            ended = ResponseEnded(response_id=response_id, outcome="failed", reason=str(error))
        finally:
            if ended is None:  # interrupted: the task is being cancelled, so this must not await
                if response_id != self._cut_response:
                    self._last_cut = CutAnswer(request, response_id)
                out.offer(ResponseEnded(response_id=response_id, outcome="interrupted"))
                self._finish(response_id, out)
        try:
            await out.send(ended)
            if continuation is not None and not reply.stale:
                self._agenda.continuation = continuation
                self._dead_air.on_progress()
            elif not self._agenda:
                self._dead_air.close()
        finally:  # even if an interrupt comes now
            self._finish(response_id, out)

    async def _answer(
        self, reply: Outlet[AnswerOutput], response_id: str, request: Respond, out: Outlet[AnswerOutput]
    ) -> bool:
        async def start_call(call: ToolCall) -> None:
            await self._start_call(call, reply, out)

        instructions = request.instructions or self.instructions
        return await self._generation.answer(
            reply,
            response_id,
            instructions,
            start_call,
            must_answer=request is TURN,
            wait_for_tools=self._agenda.waits_for_tools,
        )

    def _finish(self, response_id: str, out: Outlet[AnswerOutput]) -> None:
        if self._current == response_id:
            self._current = ""
            self._start_next(out)
        self._idle.set()

    async def _answer_out_of_band(self, request: Respond, out: Outlet[AnswerOutput]) -> None:
        await out.send(await self._generation.answer_out_of_band(request))

    # Tools --------------------------------------------------------------------------------------------------------

    async def _start_call(self, call: ToolCall, reply: Outlet[AnswerOutput], out: Outlet[AnswerOutput]) -> None:
        """Run a tool where an interrupt does not cancel it, or give the application time to answer the call."""
        self._calls.open(call)
        try:
            await reply.send(call)
        finally:  # even if an interrupt comes now, because the history must get a result
            if call.handled and self._tool_group is not None:
                self._tool_group.start_soon(self._run_tool, call, reply, out)
            elif not call.handled and self._side_group is not None:
                self._side_group.start_soon(self._expire_call, call, out)

    async def _run_tool(self, call: ToolCall, reply: Outlet[Any], out: Outlet[AnswerOutput]) -> None:
        result = await self.runner.run(call, reply.send)
        self._calls.add_result(result or ToolResult(call_id=call.call_id, output=CANCELLED_OUTPUT))
        self._dead_air.on_progress()
        if call.call_id in self._generation.unfinished:
            self._generation.unfinished.discard(call.call_id)
            if self._agenda.request is None and result is not None:
                self._agenda.ask(Respond(instructions=f"{self.instructions}\n\n{TOOL_FINISHED}".strip()))
        self._start_next(out)

    async def _expire_call(self, call: ToolCall, out: Outlet[AnswerOutput]) -> None:
        await anyio.sleep(APPLICATION_SECONDS)
        if self._calls.expire(call.call_id):
            self._start_next(out)
