"""A plain function as a tool: what the model is told of it, its arguments decoded, its answer encoded."""

from __future__ import annotations

import copy
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import msgspec

from bargein.pipeline import BargeinError
from bargein.services.sockets.text import clean

from ._schema import Parameters, source_of

__all__ = ["ArgumentsError", "Tool", "ToolError", "Toolbox", "encode", "tool"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_AT = re.compile(r"(.*) - at (`key` in )?`\$(.*)`$", re.S)
_BYTE = re.compile(r"JSON is malformed: | \(byte \d+\)")


class ArgumentsError(BargeinError, ValueError):
    """A model's arguments do not fit a tool. The message is for the model: what is wrong, and what is expected."""


class ToolError(BargeinError):
    """Raised by a tool to say something to the model: the message is given on as it stands, and nothing is logged."""


class Tool(Generic[P, R_co]):
    """A function that a model may call. It stays callable as the function that it was. Made by `tool`; see there.

    `local` has the names of the function around, where annotations may name its classes.
    """

    def __init__(
        self,
        function: Callable[P, R_co],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float = 30.0,
        blocking: bool = False,
        cancellable: bool = False,
        parameters: Mapping[str, Any] | None = None,
        local: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(function, Tool):
            raise TypeError(f"tool({function!r}): it is a tool already")
        if not callable(function):
            raise TypeError(f"tool({function!r:.60}): expected a function, or an object that can be called")
        source = source_of(function)
        told = name if name is not None else getattr(function, "__name__", getattr(source, "__name__", ""))
        if name is None and told in ("", "__call__"):
            told = type(function).__name__
        if not _NAME.fullmatch(told):
            raise ValueError(
                f"a tool named {told!r}: expected up to 64 of a-z, A-Z, 0-9, '_' and '-'; rename it by tool(name=...)"
            )
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(
                f"tool {told!r}: timeout={timeout}; expected a positive number of seconds, a large one for a long job"
            )
        if inspect.isgeneratorfunction(source) or inspect.isasyncgenfunction(source):
            raise TypeError(
                f"tool {told!r} yields, but a call has one answer; return it, and say how far it is with "
                "`await context.progress(...)` of a parameter `context: ToolContext`"
            )
        if blocking and inspect.iscoroutinefunction(source):
            raise TypeError(
                f"tool {told!r} is async, so it cannot be blocking; leave blocking out, or write a plain def"
            )
        self.function = function
        """The function itself."""
        self.name = told
        """What the model calls it."""
        self.timeout = timeout
        """For how many seconds it may run."""
        self.blocking = blocking
        """It runs in a worker thread."""
        self.cancellable = cancellable
        """An interrupt calls it off."""
        self.unbound = _is_method(function)
        """It was made of a method in a class body: the tool is that of an object."""
        read = Parameters.read(
            told, cast("Callable[..., Any]", function), skip=self.unbound, local=local or {}, schema=parameters
        )
        self._decoder = msgspec.json.Decoder(read.kind)
        self.parameters = read.schema
        """The JSON schema of its arguments: an object."""
        self.context = read.context
        """The names of the parameters that are given a `ToolContext`."""
        self.description = read.description if description is None else description
        """What the model is told that it does."""

    @property
    def schema(self) -> dict[str, Any]:
        """`{"name": ..., "description": ..., "parameters": ...}`, for a provider to wrap in its own words."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}

    def decode(self, arguments: str) -> dict[str, Any]:
        """The arguments of a call, by name, from the model's JSON; what it left out is left out.

        An empty string and `null` are no arguments. Raises `ArgumentsError`, with a message for the model.
        """
        text = arguments.strip()
        if text in ("", "null"):
            text = "{}"
        try:
            decoded = self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise ArgumentsError(f"{self.name}: {_said(error)}. {self._usage()}") from None
        except msgspec.DecodeError as error:
            raise ArgumentsError(
                f"{self.name}: the arguments are not valid JSON ({_BYTE.sub('', str(error))}). {self._usage()}"
            ) from None
        except (RecursionError, UnicodeError):
            raise ArgumentsError(f"{self.name}: the arguments are no text that can be read. {self._usage()}") from None
        if isinstance(decoded, dict):
            return decoded
        values = {name: getattr(decoded, name) for name in decoded.__struct_fields__}
        return {name: value for name, value in values.items() if value is not msgspec.UNSET}

    def _usage(self) -> str:
        properties = self.parameters.get("properties") or {}
        required = self.parameters.get("required") or ()
        takes = ", ".join(f"`{name}`" if name in required else f"`{name}` (optional)" for name in properties)
        if takes:
            return f"It takes an object with {takes}"
        return (
            "It takes no arguments: {}" if self.parameters.get("additionalProperties") is False else "Write an object"
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Tool[..., Any]:
        """The tool of an object, where a method was made one in its class."""
        if instance is None or not self.unbound:
            return self
        function: Any = self.function
        bound = copy.copy(self)
        bound.function = function.__get__(instance, owner)
        bound.unbound = False
        return bound

    def __repr__(self) -> str:
        return f"<Tool {self.name}({', '.join(self.parameters.get('properties') or ())})>"


def _is_method(function: Any) -> bool:
    """Whether it was written in a class body and has a `self` that nobody has given it yet."""
    if not inspect.isfunction(function):
        return False
    around = function.__qualname__.rpartition(".")[0]
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return bool(around) and not around.endswith("<locals>") and first is not None and first.name in ("self", "cls")


def _said(error: msgspec.ValidationError) -> str:
    """msgspec's words, the field first: `days: expected int, got str`."""
    words, where = str(error), ""
    if match := _AT.match(words):
        words, where = match[1], match[3].lstrip(".")
        if match[2]:
            where = f"a key in {where}" if where else "a key"
    elif words.startswith("Expected"):
        where = "the arguments"
    words = words.removeprefix("Object ")
    words = words[:1].lower() + words[1:]
    return f"`{where}`: {words}" if where and " " not in where else f"{where}: {words}" if where else words


@overload
def tool(
    function: Callable[P, R_co],
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = 30.0,
    blocking: bool = False,
    cancellable: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> Tool[P, R_co]: ...


@overload
def tool(
    function: None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = 30.0,
    blocking: bool = False,
    cancellable: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R_co]], Tool[P, R_co]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = 30.0,
    blocking: bool = False,
    cancellable: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    """Make a `Tool` of a function: `@tool`, `@tool(timeout=5)` or `tool(function)`::

        @tool(timeout=10)
        async def weather(city: str, days: int = 1) -> dict[str, float]:
            \"\"\"The temperatures of the days to come.

            Args:
                city: Where, in English.
                days: How many, with today.
            \"\"\"

    The model is told the function's name, the first paragraph of its docstring, its parameters with their types and
    defaults, and what the docstring says of each (Google, NumPy or reST style), unless it is told by
    `Annotated[int, msgspec.Meta(description="How many", ge=1)]`, which also bounds it. A parameter annotated with
    `ToolContext` is none of the model's business: it is given at the call. A default of None also takes null.

    * `timeout`: seconds after which it is stopped, and the model told so.
    * `blocking`: a plain function that waits or computes for long runs in a thread; the others run in the event loop.
    * `cancellable`: an interrupt calls it off, and the model gets no answer. By default what was begun is finished.
    * `parameters`: a JSON schema in place of the signature's, for a function that takes `**arguments` described
      elsewhere; that they are an object is all that is checked.

    Raises `TypeError` for what a model cannot be told, and `ValueError` for a name or a timeout that cannot be.
    """
    local = sys._getframe(1).f_locals  # annotations may name classes of the function around

    def make(made_of: Callable[..., Any]) -> Tool[..., Any]:
        return Tool(
            made_of,
            name=name,
            description=description,
            timeout=timeout,
            blocking=blocking,
            cancellable=cancellable,
            parameters=parameters,
            local=local,
        )

    return make if function is None else make(function)


class Toolbox:
    """The tools of one agent, by name. Functions and methods are made tools.

    Raises `ValueError` when two have the same name, and `TypeError` for what cannot be a tool.
    """

    def __init__(self, tools: Iterable[Tool[..., Any] | Callable[..., Any]] = ()) -> None:
        local = sys._getframe(1).f_locals
        if isinstance(tools, Tool) or callable(tools):
            raise TypeError(f"Toolbox({tools!r:.60}): expected several tools; write Toolbox([...])")
        self._tools: dict[str, Tool[..., Any]] = {}
        for each in tools:
            made = each if isinstance(each, Tool) else Tool(each, local=local)
            if made.unbound:
                qualified = getattr(made.function, "__qualname__", made.name)
                raise TypeError(f"Toolbox: {qualified} is the method of a class; give that of an object")
            if made.name in self._tools:
                raise ValueError(f"Toolbox: two tools are named {made.name!r}; tool(name=...) gives one another name")
            self._tools[made.name] = made

    @property
    def names(self) -> tuple[str, ...]:
        """What the tools are called."""
        return tuple(self._tools)

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """What a model is told of each: see `Tool.schema`."""
        return [each.schema for each in self._tools.values()]

    def get(self, name: str) -> Tool[..., Any] | None:
        """The tool of that name, or None."""
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool[..., Any]]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(self._tools) or 'empty'}>"


def encode(value: object) -> str:
    """What a tool returned, for the model: a string as it is, anything else as JSON, so None as `null`.

    Raises `TypeError` or `ValueError` for what has no JSON form.
    """
    try:
        return clean(value if isinstance(value, str) else msgspec.json.encode(value).decode())
    except RecursionError as error:
        raise ValueError("it contains itself") from error
