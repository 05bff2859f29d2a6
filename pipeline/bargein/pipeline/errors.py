"""What can go wrong, each with a class of its own and a message that says what to do instead."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BargeinError",
    "ContractError",
    "EmitLimitError",
    "FrameError",
    "LinkError",
    "LinkWarning",
    "SessionError",
    "StuckError",
]


class BargeinError(Exception):
    """The base of every error that Bargein raises on its own account."""


class FrameError(BargeinError, ValueError):
    """A frame was built from something it cannot hold: a wrong dtype, shape, rate or format."""


class ContractError(BargeinError, TypeError):
    """A processor's annotations cannot be read, or it emitted what they do not promise."""


class LinkError(BargeinError, ValueError):
    """A graph that cannot work. Raised before anything runs; names both ends and what to put between them."""


class LinkWarning(UserWarning):
    """A graph that works, but probably not as meant."""


class SessionError(BargeinError, RuntimeError):
    """A session was used in a state in which it cannot do what was asked."""


class EmitLimitError(BargeinError, RuntimeError):
    """One frame made a processor emit so many that they can only be a mistake."""


class StuckError(SessionError):
    """Processors did not stop, or did not drain, within the bound."""

    def __init__(self, message: str, processors: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.processors: tuple[str, ...] = tuple(processors)
        """The names of the culprits."""
