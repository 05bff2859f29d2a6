"""A part inside its processor."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from bargein.pipeline import Failure, Processor

__all__ = ["Holds", "checked", "failure_of", "positive"]


class Holds(Processor):
    """A processor that holds a part: if that is a context manager, it is entered and left with the processor."""

    part: Any

    def statistics(self) -> Any:
        """What the part counts itself: what its `statistics()` gives, if it has that."""
        count = getattr(self.part, "statistics", None)
        return None if count is None else count()

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        if hasattr(self.part, "__aenter__"):
            await self._stack.enter_async_context(self.part)
        elif hasattr(self.part, "__enter__"):
            self._stack.enter_context(self.part)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def checked(part: Any, kind: type[Any], method: str) -> Any:
    """The part, if it is one: an object that has the method. Raises `TypeError` if it is not."""
    if isinstance(part, type):
        raise TypeError(f"{part.__name__} is a class; expected an object, {part.__name__}(), for the {kind.__name__}")
    if not callable(getattr(part, method, None)):
        raise TypeError(f"a {type(part).__name__} has no {method}(); expected a {kind.__name__}")
    return part


def positive(**seconds: float) -> None:
    """Raises `ValueError` for durations that cannot be."""
    for name, value in seconds.items():
        if not value > 0:
            raise ValueError(f"{name}={value}: expected a positive number of seconds, or math.inf for no limit")


def failure_of(part: object, error: Exception) -> Failure:
    """What a part raised, for who watches."""
    name = type(part).__name__
    return Failure(message=f"{name}: {error or type(error).__name__}", processor=name, error=error)
