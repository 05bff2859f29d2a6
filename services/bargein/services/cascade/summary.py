"""What of a conversation is summarised, and how a language model does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bargein.services.history import Entry

    from .parts import LanguageModel

__all__ = ["by_model", "oldest"]

INSTRUCTIONS = (
    "You summarise conversations for an assistant that goes on with them. Keep names, numbers, wishes, promises and "
    "what is still open. A few plain sentences, and nothing else."
)
REQUEST = "Summarise the conversation until here."
BEFORE = "What was said before: "


def oldest(entries: Sequence[Entry]) -> list[Entry]:
    """About the older half, up to a turn of the user's; earlier summaries with it, but no other `system` entries.

    Empty where there is no such half: a call in it has no answer yet, or it is all one turn.
    """
    answered = next((at for at, entry in enumerate(entries) if entry.open), len(entries))
    ends = [at for at, entry in enumerate(entries[: answered + 1]) if at and entry.role == "user"]
    if not ends:
        return []
    half, read, middle = sum(entry.characters for entry in entries) / 2, 0, 0
    for middle, entry in enumerate(entries):  # noqa: B007  # where half of it has been read
        read += entry.characters
        if read > half:
            break
    middle = min(middle, len(entries) // 2)
    end = min(ends, key=lambda at: abs(at - middle))
    return [entry for entry in entries[:end] if entry.role != "system" or entry.summarises]


def by_model(llm: LanguageModel) -> Callable[[Sequence[Entry]], Awaitable[str]]:
    """Summaries by a language model. It is entered for each, if it is a context manager."""

    async def summarise(entries: Sequence[Entry]) -> str:
        from bargein.services.history import Entry

        from .parts import Prompt

        asked = [entry for entry in entries if entry.worth] + [Entry(role="user", text=REQUEST)]
        part: Any = llm
        async with AsyncExitStack() as stack:
            if hasattr(part, "__aenter__"):
                await stack.enter_async_context(part)
            elif hasattr(part, "__enter__"):
                stack.enter_context(part)
            async with aclosing(part.answer(Prompt(entries=asked, instructions=INSTRUCTIONS))) as pieces:
                text = "".join([piece async for piece in pieces if isinstance(piece, str)])
        return BEFORE + text.strip() if text.strip() else ""

    return summarise
