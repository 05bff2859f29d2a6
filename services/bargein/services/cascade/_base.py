"""`PartProcessor`: the base of the three processors of a cascade, each of which holds one part."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from types import TracebackType
from typing import Generic, Self, TypeVar

from bargein.pipeline import Failure, Processor
from bargein.services.history import History

__all__ = ["PartProcessor", "check_part", "enter_part", "failure_from", "highest_number"]


T = TypeVar("T")


class PartProcessor(Processor, Generic[T]):
    """A processor that holds a part. A part that is a context manager is entered and left with the processor."""

    part: T

    def statistics(self) -> object:
        """Return the part's statistics: the result of its `statistics()`, or None if it has no such method."""
        count = getattr(self.part, "statistics", None)
        return None if count is None else count()

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        await enter_part(self.part, self._stack)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


async def enter_part(part: object, stack: AsyncExitStack) -> None:
    """Enter a part if it is a context manager, asynchronous or not. The stack exits it."""
    # For a part that offers both, the asynchronous way is preferred, because it does not block the event loop.
    if isinstance(part, AbstractAsyncContextManager):
        await stack.enter_async_context(part)
    elif isinstance(part, AbstractContextManager):
        stack.enter_context(part)


def check_part(part: T, kind: type, method: str, argument: str) -> T:
    """Return a part if it has the method that its kind needs.

    Args:
        part: The part.
        kind: The class that describes such parts.
        method: The method that it needs.
        argument: The argument that it was passed as, such as `Cascade(stt)`; the error begins with it.

    Raises:
        TypeError: It is a class, or an object without that method.
    """
    if isinstance(part, type):
        raise TypeError(f"{argument}: {part.__name__} is a class; expected an object, {part.__name__}()")
    if not callable(getattr(part, method, None)):
        raise TypeError(f"{argument}: a {type(part).__name__} has no {method}(); expected a {kind.__name__}")
    return part


def failure_from(part: object, error: Exception) -> Failure:
    """Return the `Failure` that reports an exception of a part."""
    name = type(part).__name__
    return Failure(message=f"{name}: {error or type(error).__name__}", processor=name, error=error)


def highest_number(history: History, kind: str) -> int:
    """Return the highest number in the ids of a kind, such as `turn-3`, in a conversation; 0 if there is none."""
    ids = (each for entry in history for each in (entry.item_id, entry.response_id, entry.call_id))
    return max((int(found[1]) for each in ids if (found := re.fullmatch(rf"{kind}-(\d+)", each))), default=0)
