"""`tool`: turns a function into a tool, with a schema for the model, decoding of arguments and encoding of results."""

from __future__ import annotations

import copy
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import msgspec

from bargein.pipeline import BargeinError
from bargein.pipeline.lowlevel import check_options
from bargein.services.sockets.text import clean

from ._adapters import encode_unknown, validate
from ._schema import Parameters, source_of

__all__ = ["ArgumentsError", "Tool", "ToolError", "ToolLike", "Toolbox", "encode", "tool"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_AT = re.compile(r"(.*) - at (`key` in )?`\$(.*)`$", re.S)
_BYTE = re.compile(r"JSON is malformed: | \(byte \d+\)")


class ArgumentsError(BargeinError, ValueError):
    """A model's arguments do not fit a tool. The message tells the model what is wrong and what is expected."""


class ToolError(BargeinError):
    """An error that a tool raises to tell the model something. The model gets the message unchanged; nothing is
    logged."""


class Tool(Generic[P, R_co]):
    """A function that a model may call. Create one with `tool`. It can still be called like the original function.

    Args:
        function: The function, or an object that can be called.
        name: The name for the model; by default that of the function.
        description: What the tool does, for the model; by default the first paragraph of the docstring.
        timeout_seconds: Maximum time that a call may take, in seconds.
        blocking: Whether the function runs in a thread.
        cancellable: Whether an interrupt cancels it.
        parameters: A JSON schema to use in place of the signature.
        local: The local names at the place where the function was defined, if its annotations use them.

    Raises:
        TypeError: The function cannot be described to a model.
        ValueError: The name or the timeout is not valid.
    """

    @check_options
    def __init__(
        self,
        function: Callable[P, R_co],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_seconds: float = 30.0,
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
        chosen = name if name is not None else getattr(function, "__name__", getattr(source, "__name__", ""))
        if name is None and chosen in ("", "__call__"):
            chosen = type(function).__name__
        if not _NAME.fullmatch(chosen):
            raise ValueError(
                f"a tool named {chosen!r}: expected up to 64 of a-z, A-Z, 0-9, '_' and '-'; rename it by tool(name=...)"
            )
        if not (math.isfinite(timeout_seconds) and timeout_seconds > 0):
            raise ValueError(
                f"tool {chosen!r}: timeout_seconds={timeout_seconds}; expected a positive, finite number of seconds"
            )
        if inspect.isgeneratorfunction(source) or inspect.isasyncgenfunction(source):
            raise TypeError(
                f"tool {chosen!r} yields, but a call has one result; return it, and report progress with "
                "`await context.progress(...)` of a parameter `context: ToolContext`"
            )
        if blocking and inspect.iscoroutinefunction(source):
            raise TypeError(
                f"tool {chosen!r} is async, so it cannot be blocking; leave blocking out, or write a plain def"
            )
        self.function = function
        """The function."""
        self.name = chosen
        """The name for the model."""
        self.timeout_seconds = timeout_seconds
        """Maximum time that a call may take, in seconds."""
        self.blocking = blocking
        """Whether it runs in a thread."""
        self.cancellable = cancellable
        """Whether an interrupt cancels it."""
        self.unbound = _is_method(function)
        """Whether the function is a method without an object. Then use the tool of an object: `object.tool`."""
        read = Parameters.read(
            chosen, cast("Callable[..., Any]", function), skip=self.unbound, local=local or {}, schema=parameters
        )
        self._decoder = msgspec.json.Decoder(read.kind)
        self._adapters = read.adapters
        self.parameters = read.schema
        """The JSON schema of its arguments: an object."""
        self.context = read.context
        """The names of the parameters that get a `ToolContext`."""
        self.description = read.description if description is None else description
        """Description of the tool, for the model."""

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of the tool: `{"name": ..., "description": ..., "parameters": ...}`."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}

    def decode(self, arguments: str) -> dict[str, Any]:
        """Decode the arguments of a call.

        Args:
            arguments: JSON, as the model wrote it. An empty string and `null` mean no arguments.

        Returns:
            The arguments by name, without those that the model left out.

        Raises:
            ArgumentsError: They do not fit; the message is for the model.
        """
        text = arguments.strip()
        if text in ("", "null"):
            text = "{}"
        try:
            decoded = self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise ArgumentsError(f"{self.name}: {_explain(error)}. {self._usage()}") from None
        except msgspec.DecodeError as error:
            raise ArgumentsError(
                f"{self.name}: the arguments are not valid JSON ({_BYTE.sub('', str(error))}). {self._usage()}"
            ) from None
        except (RecursionError, UnicodeError):
            raise ArgumentsError(f"{self.name}: the arguments cannot be read. {self._usage()}") from None
        if isinstance(decoded, dict):
            return decoded
        values = {name: getattr(decoded, name) for name in decoded.__struct_fields__}
        given = {name: value for name, value in values.items() if value is not msgspec.UNSET}
        for name in self._adapters.keys() & given.keys():
            try:
                given[name] = validate(self._adapters[name], name, given[name])
            except ValueError as error:
                raise ArgumentsError(f"{self.name}: {error}. {self._usage()}") from None
        return given

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
        """Call the function.

        Args:
            args: Its arguments by position.
            kwargs: Its arguments by name.
        """
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Tool[..., R_co]:
        """Return the tool bound to an object, for a method that was made a tool in its class."""
        if instance is None or not self.unbound:
            return self
        function: Any = self.function
        bound = copy.copy(self)
        bound.function = function.__get__(instance, owner)
        bound.unbound = False
        return bound

    def __repr__(self) -> str:
        return f"<Tool {self.name}({', '.join(self.parameters.get('properties') or ())})>"


ToolLike = Tool[..., object] | Callable[..., object]
"""A tool, or a function or method that is made one."""


def _is_method(function: Any) -> bool:
    """Return whether a function was defined in a class body and is not bound to an object."""
    if not inspect.isfunction(function):
        return False
    around = function.__qualname__.rpartition(".")[0]
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return bool(around) and not around.endswith("<locals>") and first is not None and first.name in ("self", "cls")


def _explain(error: msgspec.ValidationError) -> str:
    """Return the message of a validation error, starting with the field: `days: expected int, got str`."""
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
    timeout_seconds: float = 30.0,
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
    timeout_seconds: float = 30.0,
    blocking: bool = False,
    cancellable: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R_co]], Tool[P, R_co]]: ...


@check_options
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_seconds: float = 30.0,
    blocking: bool = False,
    cancellable: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    """Make a `Tool` of a function: `@tool`, `@tool(timeout_seconds=5)` or `tool(function)`::

        @tool(timeout_seconds=10)
        async def weather(city: str, days: int = 1) -> dict[str, float]:
            \"\"\"The temperatures of the days to come.

            Args:
                city: Where, in English.
                days: How many, with today.
            \"\"\"

    The model sees the function's name, the first paragraph of its docstring, and its parameters with their types,
    defaults and descriptions. Descriptions come from the docstring (Google, NumPy or reST style), or from
    `Annotated[int, msgspec.Meta(description="How many", ge=1)]`, which also checks bounds. A parameter annotated with
    `ToolContext` is filled in at the call, and the model does not see it. A default of None also allows null.

    Args:
        function: The function, when `tool` is used without options.
        name: The name for the model; by default that of the function.
        description: What the tool does, for the model; by default the first paragraph of the docstring.
        timeout_seconds: Maximum time that a call may take, in seconds. Then it is stopped, and the model gets an error.
        blocking: Whether the function runs in a thread. Use it for plain functions that wait or compute for long;
            other functions run in the event loop.
        cancellable: Whether an interrupt cancels the call; the model then gets no result. By default the call finishes.
        parameters: A JSON schema to use in place of the signature, for a function that takes `**arguments`. Then
            arguments are only checked to be an object.

    Raises:
        TypeError: The function cannot be described to a model.
        ValueError: The name or the timeout is not valid.
    """
    # Annotations may name classes of the enclosing function. Its frame is two up, because `check_options` adds one
    # between.
    local = sys._getframe(2).f_locals

    def make(decorated: Callable[..., Any]) -> Tool[..., object]:
        return Tool(
            decorated,
            name=name,
            description=description,
            timeout_seconds=timeout_seconds,
            blocking=blocking,
            cancellable=cancellable,
            parameters=parameters,
            local=local,
        )

    return make if function is None else make(function)


class Toolbox:
    """The tools of one agent, by name.

    Args:
        tools: Tools, or functions and methods, which are turned into tools.

    Raises:
        ValueError: Two tools have the same name.
        TypeError: Something cannot be a tool.
    """

    @check_options
    def __init__(self, tools: Iterable[ToolLike] = ()) -> None:
        local = sys._getframe(2).f_locals  # of the caller, as in `tool`
        if isinstance(tools, Tool) or callable(tools):
            raise TypeError(f"Toolbox({tools!r:.60}): expected several tools; write Toolbox([...])")
        self._tools: dict[str, Tool[..., object]] = {}
        for each in tools:
            made = each if isinstance(each, Tool) else Tool(each, local=local)
            if made.unbound:
                qualified = getattr(made.function, "__qualname__", made.name)
                raise TypeError(f"Toolbox: {qualified} is a method of a class; pass the method of an object")
            if made.name in self._tools:
                raise ValueError(f"Toolbox: two tools are named {made.name!r}; rename one with tool(name=...)")
            self._tools[made.name] = made

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tools."""
        return tuple(self._tools)

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The schemas of the tools, for a model; see `Tool.schema`."""
        return [each.schema for each in self._tools.values()]

    def get(self, name: str) -> Tool[..., object] | None:
        """Return the tool of a name, or None.

        Args:
            name: Name of the tool.
        """
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool[..., object]]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(self._tools) or 'empty'}>"


def encode(value: object) -> str:
    """Return the result of a tool as text for the model: a string unchanged, anything else as JSON.

    Args:
        value: The value that the tool returned.

    Raises:
        TypeError: The value has no JSON form.
        ValueError: The value contains itself.
    """
    if isinstance(value, str):
        return clean(value)
    try:
        try:
            return msgspec.json.encode(value, enc_hook=encode_unknown).decode()
        except UnicodeEncodeError:  # a text in it has half of a surrogate pair
            plain = msgspec.to_builtins(value, enc_hook=encode_unknown, str_keys=True)
            return clean(json.dumps(plain, ensure_ascii=False))
    except RecursionError as error:
        raise ValueError("it contains itself") from error
