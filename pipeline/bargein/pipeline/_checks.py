"""Small checks that many constructors share."""

from __future__ import annotations

import math

__all__ = ["check_not_negative", "check_positive", "unwrap_exception"]

_UNITS = {"seconds": "seconds", "ms": "milliseconds"}
"""Units by the last part of an argument's name."""


def check_positive(owner: str, /, *, infinite: bool = False, **values: float | None) -> None:
    """Raise `ValueError` unless all values are positive numbers.

    Args:
        owner: The class or function whose arguments they are; the error message begins with it.
        infinite: Whether `math.inf` is allowed, for no limit.
        values: The arguments by name. None passes: it means that there is no such limit.

    Raises:
        ValueError: A value is zero, negative, NaN, or infinite although `infinite` is False.
    """
    for name, value in values.items():
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
        ValueError: A value is negative, NaN or infinite.
    """
    for name, value in values.items():
        if not 0 <= value < math.inf:
            unit = _UNITS.get(name.rpartition("_")[2], "a number")
            raise ValueError(f"{owner}({name}={value}): expected {unit}, 0 or more")


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
