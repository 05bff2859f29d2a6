"""Summaries of a conversation, written by a language model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing

from bargein.services.history import Entry, Summarise

from ._answer.thoughts import strip_thoughts
from ._base import check_part, enter_part
from .parts import LanguageModel, Prompt

__all__ = ["summarise_with"]

INSTRUCTIONS = (
    "You summarise conversations for an assistant that continues them. Keep names, numbers, wishes, promises and "
    "what is still open. A few plain sentences, and nothing else."
)
REQUEST = "Summarise the conversation until here."
PREFIX = "What was said before: "


def summarise_with(llm: LanguageModel) -> Summarise:
    """Return a function that summarises a conversation with a language model::

        history = History(summarise=summarise_with(ChatCompletions("gpt-4.1-mini")))

    Args:
        llm: The model. If it is a context manager, it is entered for each summary.

    Returns:
        A function for `History(summarise=...)`.

    Raises:
        TypeError: `llm` is not a language model.
    """
    model: LanguageModel = check_part(llm, LanguageModel, "answer", "summarise_with(llm)")

    async def summarise(entries: Sequence[Entry]) -> str:
        request = [entry for entry in entries if entry.worth] + [Entry(role="user", text=REQUEST)]
        async with AsyncExitStack() as stack:
            await enter_part(model, stack)
            stream = model.answer(Prompt(entries=request, instructions=INSTRUCTIONS))
            pieces = await stack.enter_async_context(aclosing(stream))  # type: ignore[type-var]  # a generator
            text = strip_thoughts("".join([piece async for piece in pieces if isinstance(piece, str)]))
        return PREFIX + text.strip() if text.strip() else ""

    return summarise
