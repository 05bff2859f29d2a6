"""The errors. Each kind has its own class, and a message that says what to do."""

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
    """The base class of the errors that Bargein raises."""


class FrameError(BargeinError, ValueError):
    """A frame was built from a value that it cannot hold: a wrong type, shape, rate or format, or none at all."""


class ContractError(BargeinError, TypeError):
    """The annotations of a processor cannot be read, or it emitted a frame that they do not promise."""


class LinkError(BargeinError, ValueError):
    """A graph cannot work. Raised before anything runs. The message names both ends and what to put between them."""


class LinkWarning(UserWarning):
    """A graph works, but probably not as meant."""


class SessionError(BargeinError, RuntimeError):
    """A session was used in a state that does not allow it, or an option of it is out of range."""


class EmitLimitError(BargeinError, RuntimeError):
    """One frame caused more frames than can be meant."""


class StuckError(SessionError):
    """Processors did not stop, or did not drain, within the bound.

    Args:
        message: What happened and what to do.
        processors: The names of the processors.
    """

    def __init__(self, message: str, processors: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.processors: tuple[str, ...] = tuple(processors)
        """The names of the processors."""
