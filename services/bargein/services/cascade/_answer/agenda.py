"""`Agenda`: the words and answers that the agent has to say next."""

from __future__ import annotations

from collections import deque
from typing import Any

from bargein.pipeline import Outlet
from bargein.services.brain import CONTINUE
from bargein.services.frames import Respond, Say

from .cut_answer import CutAnswer
from .heard import HeardTracker

__all__ = ["TURN", "Agenda"]

TURN = Respond()
"""The request for an answer to a turn of the user. The model must answer it with words or tool calls."""


class Agenda:
    """Queue of the agent's next words: known words first, then one answer, then the rest of an answer that waits for
    tools."""

    def __init__(self) -> None:
        self.sayings: deque[Say] = deque()
        """Words to say, in order."""
        self.request: Respond | None = None
        """The request for the next answer of the model; None if no answer is wanted."""
        self.continuation: tuple[Respond, Outlet[Any]] | None = None
        """An answer that continues when the application has answered its tool calls, and the outlet of its first
        part."""
        self.waits_for_tools = False
        """Whether the next answer waits for all tools, because the user has not asked anything else."""

    def __bool__(self) -> bool:
        return bool(self.sayings) or self.request is not None or self.continuation is not None

    def ask(self, request: Respond, *, waits_for_tools: bool = False) -> None:
        """Request an answer of the model. It replaces a request that waits.

        Args:
            request: The request.
            waits_for_tools: Whether the model must know the results of all tools that run.
        """
        self.request, self.waits_for_tools = request, waits_for_tools

    def say(self, text: str, *, protected: bool = False) -> None:
        """Queue these words; an empty text adds nothing."""
        if text:
            self.sayings.append(Say(text=text, protected=protected))

    def next(self, *, all_answered: bool) -> Respond | Say | None:
        """Remove and return the next thing to say, or None if nothing can be said now.

        Args:
            all_answered: Whether no tool call waits for its result.
        """
        if self.sayings:
            return self.sayings.popleft()
        if self.request is not None:
            request, self.request, self.continuation = self.request, None, None
            return request
        if self.continuation is not None and all_answered:
            (request, before), self.continuation = self.continuation, None
            return None if before.stale else request
        return None

    def drop(self) -> CutAnswer | None:
        """Remove everything, because of an interrupt. Return the answer that would have come first."""
        first: Say | Respond | None = self.sayings[0] if self.sayings else self.request
        if first is None and self.continuation is not None:
            first = self.continuation[0]
        self.sayings.clear()
        self.request = self.continuation = None
        return None if first is None else CutAnswer(first, "")

    def continue_answer(self, cut: CutAnswer, heard: HeardTracker, instructions: str) -> None:
        """Continue an answer that was cut short: say the rest if it is known, or else ask the model again.

        Args:
            cut: The answer that was cut short.
            heard: Knows which of its words were heard.
            instructions: The system prompt.
        """
        text, rest = heard.split(cut.response_id)
        request = cut.request
        if isinstance(request, Respond):
            if text.strip():
                added = f"{request.instructions or instructions}\n\n{CONTINUE}".strip()
                request = Respond(instructions=added, protected=request.protected)
            self.ask(request, waits_for_tools=True)
        else:
            known = request.text if request is not None and not text else ""
            self.say((rest or known).lstrip(), protected=request is not None and request.protected)
