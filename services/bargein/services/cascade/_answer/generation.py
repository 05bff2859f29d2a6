"""`Generation`: one response of the model, with the tools that it calls."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import anyio
import msgspec

from bargein.pipeline import Outlet, ResponseStarted, Text, ToolCall, Usage
from bargein.services.brain import DeadAir
from bargein.services.cascade._base import failure_from
from bargein.services.cascade.parts import LanguageModel, Prompt, ToolRequest
from bargein.services.frames import OutOfBand, Respond
from bargein.services.history import Entry

from .heard import HeardTracker
from .thoughts import ThoughtFilter, strip_thoughts
from .tool_calls import CascadeToolCalls

__all__ = ["TOOL_FINISHED", "Generation"]

MAX_ROUNDS = 8
"""Maximum number of requests to the model for one turn. The last request has no tools, so that the model has to
answer."""
TOOL_GRACE_SECONDS = 2.0
"""Maximum wait for tools that an earlier response called, in seconds. The user has asked something else since, and
should not have to wait for them."""
RUNNING_OUTPUT = '"still running; the result will come later"'
"""The result that the model sees for a call whose tool is still running."""

TOOL_FINISHED = (
    "A tool has finished that was still running. Tell the user what matters of its result, if it still does."
)
"""Added to the instructions when the result of a tool comes after the conversation has continued without it."""

Reply = Outlet[ResponseStarted | Text | ToolCall | Usage]


class Generation:
    """Asks the model for an answer, and sends the answer as frames of a response.

    Args:
        part: The language model.
        calls: The tool calls of the conversation.
        heard: Writes the agent's words into the history.
        silent_seconds: Maximum time without any output of the model, in seconds.
        dead_air: Measures how long the user waits in silence.
    """

    def __init__(
        self,
        part: LanguageModel,
        calls: CascadeToolCalls,
        heard: HeardTracker,
        silent_seconds: float,
        dead_air: DeadAir,
    ) -> None:
        self.rounds = 0
        """Number of requests to the model for the present turn."""
        self.unfinished: set[str] = set()
        """Ids of calls that the model saw as still running. It must be asked again when their results come."""
        self._part = part
        self._calls = calls
        self._heard = heard
        self._silent_seconds = silent_seconds
        self._dead_air = dead_air

    async def say(self, reply: Reply, response_id: str, item_id: str, text: str) -> None:
        """Send a known text as part of a response; an empty text sends nothing."""
        if text:
            self._heard.write(text, item_id, response_id)
            await reply.send(Text(text=text, response_id=response_id, item_id=item_id, final=True))
            self._dead_air.on_sign()

    async def answer(
        self,
        reply: Reply,
        response_id: str,
        instructions: str,
        start_call: Callable[[ToolCall], Awaitable[None]],
        *,
        must_answer: bool,
        wait_for_tools: bool = False,
    ) -> bool:
        """Ask the model until it has answered, and run the tools that it calls in between.

        Args:
            reply: The outlet for the frames.
            response_id: Id of the response.
            instructions: The system prompt.
            start_call: Starts a tool call, or leaves it to the application.
            must_answer: Whether an answer without text and calls is an error.
            wait_for_tools: Whether to wait for all tools of earlier responses. By default they have 2 seconds. After
                that the model is told that they are still running.

        Returns:
            Whether the answer is complete. False: the application must first give results of tool calls.

        Raises:
            TimeoutError: The model sent nothing for too long.
            RuntimeError: The model did not answer, or went on calling tools.
        """
        while self.rounds < MAX_ROUNDS:
            # Wait first, because a model that does not see the results calls the same tools again.
            await self._calls.wait_for_own(response_id, math.inf if wait_for_tools else TOOL_GRACE_SECONDS)
            self.rounds += 1
            item_id = f"{response_id}-{self.rounds}"
            calls, wrote = await self._ask(reply, response_id, item_id, instructions)
            if wrote:
                await reply.send(Text(text="", response_id=response_id, item_id=item_id, final=True))
            elif not calls and must_answer and self.rounds == 1:
                raise RuntimeError("it has not answered")
            if not calls:
                return True
            if self.rounds == MAX_ROUNDS:
                break
            for call in calls:
                await start_call(call)
            # The application answers whenever it can. The response must not stay open until then.
            if not all(call.handled for call in calls):
                return False
        raise RuntimeError(f"it has called tools {MAX_ROUNDS} times, and not answered")

    async def answer_out_of_band(self, request: Respond) -> OutOfBand:
        """Answer a request beside the conversation, as text. An error is reported in the result and not raised."""
        text, reason = "", ""
        entries = self._calls.history.for_model(images=self._part.images)
        prompt = Prompt(entries=entries, instructions=request.instructions)
        try:
            with anyio.fail_after(self._silent_seconds):
                async with aclosing(self._part.answer(prompt)) as pieces:  # type: ignore[type-var]
                    raw = "".join([piece async for piece in pieces if isinstance(piece, str)])
                    text = strip_thoughts(raw)
        except Exception as error:
            reason = failure_from(self._part, error).message
        return OutOfBand(name=request.out_of_band, text=text, reason=reason)

    def _entries(self) -> list[Entry]:
        """Return the conversation for the model. Calls that are still running get a result that says so."""
        entries = list[Entry]()
        for entry in self._calls.history:
            if entry.worth_to(images=self._part.images):
                entries.append(entry)
            elif entry.open and self._calls.is_running(entry.call_id):
                self.unfinished.add(entry.call_id)
                # Providers refuse a call without a result. This is a copy, because the history must keep the call open.
                entries.append(msgspec.structs.replace(entry, output=RUNNING_OUTPUT))
        return entries

    async def _ask(
        self, reply: Reply, response_id: str, item_id: str, instructions: str
    ) -> tuple[list[ToolCall], bool]:
        """Ask the model once. Returns its tool calls, and whether it wrote text."""
        calls, wrote, thoughts = list[ToolCall](), False, ThoughtFilter()

        async def write(text: str) -> bool:
            if text:
                self._heard.write(text, item_id, response_id)
                await reply.send(Text(text=text, response_id=response_id, item_id=item_id))
                self._dead_air.on_progress()
            return bool(text)

        tools = self._calls.schemas if self.rounds < MAX_ROUNDS else ()
        prompt = Prompt(entries=self._entries(), instructions=instructions, tools=tools)
        # One scope surrounds the whole stream, because the part may keep its own cancel scopes open between pieces.
        with anyio.CancelScope() as limit:
            async with aclosing(self._part.answer(prompt)) as pieces:  # type: ignore[type-var]  # a generator
                limit.deadline = anyio.current_time() + self._silent_seconds
                async for piece in pieces:
                    # The limit applies to waiting for the model, and not to waiting for room in the processors below.
                    limit.deadline = math.inf
                    if isinstance(piece, ToolRequest):
                        calls.append(self._calls.make_call(piece, response_id))
                    elif isinstance(piece, Usage):
                        await reply.send(msgspec.structs.replace(piece, response_id=response_id))
                    else:
                        wrote = await write(thoughts.feed(piece)) or wrote
                    limit.deadline = anyio.current_time() + self._silent_seconds
        if limit.cancelled_caught:
            raise TimeoutError(f"it has said nothing for {self._silent_seconds:g} s")
        return calls, await write(thoughts.finish()) or wrote
