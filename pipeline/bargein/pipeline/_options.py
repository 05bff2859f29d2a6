"""Errors for misspelled options that name the class and the nearest option."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast, get_args

__all__ = ["check_options", "nearest"]

F = TypeVar("F", bound=Callable[..., Any])


def check_options(function: F) -> F:
    """Decorate a constructor or function so that an unknown keyword argument is reported with the nearest one.

    Python's own error names `__init__` and not the class, and proposes no other name before Python 3.13. A constructor
    that takes `**options: Unpack[SomeTypedDict]` accepts every name at run time, so without this decorator a misspelled
    option would be lost.

    Example::

        class Gain(Processor):
            @check_options
            def __init__(self, *, decibels: float = 0.0) -> None: ...

        Gain(decibel=3)  # TypeError: Gain(decibel=...): there is no such option; did you mean decibels=?

    Args:
        function: The constructor (`__init__`) or function. Options of a `TypedDict` are found by the annotation of its
            `**` parameter; where that annotation is not `Unpack[...]` of a `TypedDict`, every name is accepted.

    Returns:
        The same function, which raises `TypeError` for an option that it does not have.
    """
    is_constructor = function.__name__ == "__init__"

    @functools.cache
    def names() -> frozenset[str] | None:
        return _option_names(function)

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        if options and (known := names()) is not None:
            for name in options:
                if name not in known:
                    owner = type(args[0]).__name__ if is_constructor else function.__name__
                    raise TypeError(f"{owner}({name}=...): there is no such option; {nearest(name, known)}")
        return function(*args, **options)

    return cast(F, checked)


def nearest(name: str, known: Collection[str]) -> str:
    """Return a hint for a misspelled name: the nearest known name, or all of them."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {found[0]}=?" if found else f"the options are {', '.join(sorted(known))}"


def _option_names(function: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names that a function takes by keyword; None where it takes any."""
    names: set[str] = set()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            annotation = parameter.annotation
            if isinstance(annotation, str):  # `from __future__ import annotations`
                # Only this annotation is evaluated: the others may name what is imported for type checkers alone.
                annotation = eval(annotation, getattr(inspect.unwrap(function), "__globals__", {}))
            options = next(iter(get_args(annotation)), None)
            if options is None or not hasattr(options, "__required_keys__"):  # not a TypedDict
                return None
            names |= options.__required_keys__ | options.__optional_keys__
        elif parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.add(parameter.name)
    return frozenset(names - {"self"})
