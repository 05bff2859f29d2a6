"""Small checks that many constructors share."""

from __future__ import annotations

import math
from numbers import Real

__all__ = ["check_instance", "check_not_negative", "check_positive", "unwrap_exception"]

_UNITS = {"seconds": "seconds", "ms": "milliseconds"}
"""Units by the last part of an argument's name."""


def check_positive(owner: str, /, *, infinite: bool = False, **values: float | None) -> None:
    """Raise `ValueError` unless all values are positive numbers.

    Args:
        owner: The class or function whose arguments they are; the error message begins with it.
        infinite: Whether `math.inf` is allowed, for no limit.
        values: The arguments by name. None passes: it means that there is no such limit.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is zero, negative, NaN, or infinite although `infinite` is False.
    """
    for name, value in values.items():
        _check_number(owner, name, value)
        if value is not None and not (value > 0 and (infinite or value < math.inf)):
            unit = _UNITS.get(name.rpartition("_")[2])
            of_unit = f" of {unit}" if unit else ""
            limit = ", or math.inf for no limit" if infinite else ""
            raise ValueError(f"{owner}({name}={value}): expected a positive number{of_unit}{limit}")


def check_not_negative(owner: str, /, **values: float) -> None:
    """Raise `ValueError` unless all values are finite numbers, zero or more.

    Args:
        owner: The class or function whose arguments they are; the error message begins with it.
        values: The arguments by name.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is negative, NaN or infinite.
    """
    for name, value in values.items():
        _check_number(owner, name, value)
        if not 0 <= value < math.inf:
            unit = _UNITS.get(name.rpartition("_")[2], "a number")
            raise ValueError(f"{owner}({name}={value}): expected {unit}, 0 or more")


def check_instance(owner: str, kind: type, /, **values: object) -> None:
    """Raise `TypeError` unless all values are instances of a class.

    For arguments that are used long after the call, where Python's own error would not lead to the wrong argument.

    Args:
        owner: The class or function whose arguments they are; the error message begins with it.
        kind: The class.
        values: The arguments by name. None passes: it means the default.

    Raises:
        TypeError: A value is something else. The text names its type and not the value, which may hold a user's words.
    """
    for name, value in values.items():
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{owner}({name}=...): got {type(value).__name__}; write {name}={kind.__name__}(...)")


def _check_number(owner: str, name: str, value: object) -> None:
    # Settings of the environment are strings, and a comparison with one would not name the argument.
    if value is not None and not isinstance(value, Real):
        raise TypeError(f"{owner}({name}={value!r:.40}): expected a number, not {type(value).__name__}")


def unwrap_exception(error: BaseException) -> BaseException:
    """Return the exception inside groups that hold only one.

    A task group wraps what its tasks raise in an exception group. That something uses a task group is an
    implementation detail, so the caller should see the exception itself.

    Args:
        error: An exception or a group, at any depth.

    Returns:
        The innermost exception; a group that holds several is returned as it is.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
