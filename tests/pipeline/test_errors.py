"""Errors: one family, and each fits where Python's own would."""

from __future__ import annotations

import pytest

from bargein.pipeline import (
    BargeinError,
    ContractError,
    EmitLimitError,
    FrameError,
    LinkError,
    SessionError,
    StuckError,
)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ContractError, TypeError),
        (EmitLimitError, RuntimeError),
        (FrameError, ValueError),
        (LinkError, ValueError),
        (SessionError, RuntimeError),
        (StuckError, SessionError),
    ],
)
def test_each_is_of_the_family(kind: type[Exception], builtin: type[Exception]) -> None:
    """One `except BargeinError` catches all; the built-in class catches its own."""
    assert issubclass(kind, BargeinError)
    assert issubclass(kind, builtin)


def test_stuck_names_the_culprits() -> None:
    """A stuck error names the processors in an attribute, and not only in its message."""
    assert StuckError("'a' did not stop", ["a"]).processors == ("a",)
