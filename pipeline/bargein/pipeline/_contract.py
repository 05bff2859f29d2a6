"""The contract of a processor, read from its annotations: its kind, the frames that it takes and the frames that it
sends."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ._fields import CheckedFields
from ._inbox import Inbox
from ._outlet import Outlet
from .errors import ContractError
from .frames import Delivery, Frame

__all__ = ["Contract", "Kinds", "ProcessorKind", "names", "read_contract"]

Kinds = frozenset[type[Frame]]
"""A set of frame classes."""

_ITERABLES = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator, list, tuple)


class ProcessorKind(enum.Enum):
    """The three kinds of processors. Each adds one power."""

    SYNC = "sync"
    """A generator: `process(frame)`. It has no task and no queue."""
    ASYNC = "async"
    """It awaits: `async process(frame, out)`. One frame at a time, in its own task."""
    LOOP = "loop"
    """It owns its loop: `async run(inbox, out)`."""


class Contract(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The frame classes that a processor takes and sends."""

    kind: ProcessorKind
    """The kind of the processor."""
    takes: Kinds
    """Frame classes that are delivered to it. All others bypass it."""
    gives: Kinds
    """Frame classes that it may emit. Empty for a sink, whose return value is ignored."""
    ports: tuple[str, ...] = ()
    """For a loop: which of `inbox` and `out` its parameters are, in order."""

    def accepts(self, kind: type[Frame]) -> bool:
        """Return whether frames of this class are delivered to it. `Frame` stands for all data: stream and events.

        Args:
            kind: A frame class.
        """
        # `Frame` never means an interrupt, a report or the end: a pass-through would swallow them.
        if kind.delivery in (Delivery.STREAM, Delivery.EVENT):
            return any(issubclass(kind, taken) for taken in self.takes)
        return any(issubclass(kind, taken) for taken in self.takes if taken is not Frame)

    def promises(self, kind: type[Frame]) -> bool:
        """Return whether it may emit frames of this class.

        Args:
            kind: A frame class.
        """
        return any(issubclass(kind, promised) for promised in self.gives)

    @property
    def data(self) -> Kinds:
        """The classes that it takes which flow downstream in order."""
        return frozenset(kind for kind in self.takes if kind.delivery in (Delivery.STREAM, Delivery.EVENT))

    @property
    def source(self) -> bool:
        """Whether data begins here: it is a loop that takes no data."""
        return self.kind is ProcessorKind.LOOP and not self.data


def names(kinds: collections.abc.Iterable[type[Frame]]) -> str:
    """Return frame classes in words: `Audio, Text or Transcript`."""
    listed = sorted(kind.__name__ for kind in kinds)
    if not listed:
        return "nothing"
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"


def read_contract(
    owner: str, process: Any, run: Any, local: Mapping[str, Any] | None = None, *, bound: bool = True
) -> Contract | None:
    """Return the contract that a class or function declares, or None if there is neither `process` nor `run`.

    Args:
        owner: Name of the class or function, for error messages.
        process: Its `process` method, or the function itself.
        run: Its `run` method.
        local: The names around the class statement.
        bound: Whether the first parameter is `self`. Default True.

    Raises:
        ContractError: Annotations are missing or wrong.
        NameError: An annotation names something that does not exist yet.
    """
    # Which of the two would run is a question that only a reader of the engine could answer.
    if process is not None and run is not None:
        raise ContractError(f"{owner} defines both process() and run(); a processor has one of them")
    if run is not None:
        return _read_loop(owner, run, local)
    return None if process is None else _read_step(owner, process, local, bound)


def _hints(owner: str, function: Callable[..., Any], local: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        # Evaluated when the class is made, with the names around it, so that a mistake shows at its line and not when a
        # graph runs.
        return typing.get_type_hints(function, localns=dict(local) if local else None)
    # Not an error yet: a class that is defined further down may be meant. The caller tries again when the processor is
    # used.
    except NameError:
        raise
    except Exception as error:
        raise ContractError(f"{owner}: the annotations cannot be read: {error}") from error


def _parameters(function: Callable[..., Any], bound: bool) -> list[str]:
    parameters = list(inspect.signature(function).parameters)
    return parameters[1:] if bound else parameters


def _read_step(owner: str, function: Any, local: Mapping[str, Any] | None, bound: bool) -> Contract:
    where = f"{owner}.process" if bound else owner
    parameters = _parameters(function, bound)
    is_async = inspect.iscoroutinefunction(function)
    # Asked before the parameters are counted, because an async generator is the usual first attempt and deserves its
    # own answer.
    if inspect.isasyncgenfunction(function):
        raise ContractError(
            f"{where} is an async generator, which nothing could interrupt between its yields. "
            "Write `async def process(self, frame: X, out: Outlet[Y]) -> None` and `await out.send(...)`"
        )
    expected = ["frame", "out"] if is_async else ["frame"]
    if len(parameters) != len(expected):
        shape = (
            "async def process(self, frame: X, out: Outlet[Y]) -> None" if is_async else "def process(self, frame: X)"
        )
        raise ContractError(f"{where} takes ({', '.join(parameters) or 'nothing'}); expected `{shape}`")
    hints = _hints(where, function, local)
    for parameter in parameters:
        if parameter not in hints:
            raise ContractError(f"{where}: parameter {parameter!r} has no annotation; {_EXAMPLES[is_async]}")
    takes = _kinds(where, f"parameter {parameters[0]!r}", hints[parameters[0]])
    if is_async:
        gives = _port(where, parameters[1], hints[parameters[1]], Outlet)
        return Contract(kind=ProcessorKind.ASYNC, takes=takes, gives=gives)
    if "return" not in hints:
        raise ContractError(f"{where} has no return annotation; {_EXAMPLES[False]}")
    return Contract(kind=ProcessorKind.SYNC, takes=takes, gives=_yields(where, hints["return"]))


_EXAMPLES = {
    False: "write `def process(self, frame: Audio) -> Iterator[Audio]`, or `-> None` for a sink",
    True: "write `async def process(self, frame: Transcript, out: Outlet[Text]) -> None`",
}


def _read_loop(owner: str, function: Any, local: Mapping[str, Any] | None) -> Contract:
    where = f"{owner}.run"
    if not inspect.iscoroutinefunction(function):
        raise ContractError(f"{where} is not a coroutine; write `async def run(self, inbox, out)`")
    takes: Kinds = frozenset()
    gives: Kinds = frozenset()
    ports: list[str] = []
    hints = _hints(where, function, local)
    for parameter in _parameters(function, bound=True):
        if parameter not in hints:
            raise ContractError(f"{where}: parameter {parameter!r} has no annotation; {_LOOP_EXAMPLE}")
        hint = hints[parameter]
        origin = typing.get_origin(hint) or hint
        if origin is Inbox and "inbox" not in ports:
            takes = _port(where, parameter, hint, Inbox)
            ports.append("inbox")
        elif origin is Outlet and "out" not in ports:
            gives = _port(where, parameter, hint, Outlet)
            ports.append("out")
        else:
            raise ContractError(f"{where}: parameter {parameter!r} is annotated with {hint!r}; {_LOOP_EXAMPLE}")
    if not ports:
        raise ContractError(f"{where} takes nothing; {_LOOP_EXAMPLE}")
    return Contract(kind=ProcessorKind.LOOP, takes=takes, gives=gives, ports=tuple(ports))


_LOOP_EXAMPLE = "write `async def run(self, inbox: Inbox[Audio], out: Outlet[Text]) -> None` (either may be left out)"


def _port(where: str, parameter: str, hint: Any, port: type) -> Kinds:
    if typing.get_origin(hint) is not port or len(typing.get_args(hint)) != 1:
        raise ContractError(
            f"{where}: parameter {parameter!r} is annotated with {hint!r}; expected {port.__name__}[SomeFrame | Other]"
        )
    return _kinds(where, f"parameter {parameter!r}", typing.get_args(hint)[0])


def _yields(where: str, hint: Any) -> Kinds:
    if hint is type(None):
        return frozenset()
    if typing.get_origin(hint) in _ITERABLES:
        return _kinds(where, "the return value", typing.get_args(hint)[0])
    raise ContractError(
        f"{where} returns {hint!r}; expected Iterator[SomeFrame | Other], or None when it sends nothing"
    )


def _kinds(where: str, what: str, hint: Any) -> Kinds:
    """Return the frame classes that a hint names: one, a union of them, or `Never` for none."""
    if hint in (typing.Never, typing.NoReturn):
        return frozenset()
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return frozenset().union(*(_kinds(where, what, part) for part in typing.get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Frame):
        return frozenset((hint,))
    raise ContractError(f"{where}: {what} is annotated with {hint!r}, which is not a Frame class or a union of them")
