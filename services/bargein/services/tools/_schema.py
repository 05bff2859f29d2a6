"""From a function's signature to what decodes its arguments, and to the JSON schema that describes them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Union

import msgspec

from ._docstring import read_docstring
from .context import ToolContext

__all__ = ["Parameters", "complete_schema", "source_of"]

_MAPS = ("properties", "patternProperties", "$defs")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_ONES = ("items", "additionalProperties", "not")


class Parameters(msgspec.Struct, frozen=True):
    """What a function takes, as far as a model is concerned."""

    schema: dict[str, Any]
    """A JSON schema that stands by itself."""
    kind: Any
    """What the arguments are decoded to: a Struct, in which what was left out is UNSET, or a dict."""
    context: tuple[str, ...]
    """Parameters that are given a `ToolContext`."""
    description: str
    """The docstring's first paragraph."""

    @classmethod
    def read(
        cls,
        owner: str,
        function: Callable[..., Any],
        *,
        skip: bool,
        local: Mapping[str, Any],
        schema: Mapping[str, Any] | None,
    ) -> Parameters:
        """Read a function; `skip` leaves out its first parameter, and `local` has the names around it.

        With a `schema` its parameters are only looked through for the context.

        Raises `TypeError` for what no model can be told, with what to write instead.
        """
        source = source_of(function)
        description, told = read_docstring(getattr(source, "__doc__", None) or _doc_of_class(function))
        hints = _hints(owner, source, local)
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        defaults: dict[str, Any] = {}
        context: list[str] = []
        for parameter in list(_signature(owner, function).parameters.values())[skip:]:
            name = parameter.name
            hint = hints.get(name)
            if hint is ToolContext or ToolContext in typing.get_args(hint):
                context.append(name)
                continue
            if schema is not None:
                continue
            hint = _checked(owner, parameter, hints)
            if parameter.default is None:
                hint = Union[hint, None]  # noqa: UP007 - a hint may be anything, and `|` needs a type
            _describe(owner, name, hint)
            if parameter.default is parameter.empty:
                fields.append((name, hint))
            else:  # the default stays the function's own business: what is left out is not passed
                fields.append((name, Union[hint, msgspec.UnsetType], msgspec.UNSET))  # noqa: UP007
                defaults[name] = parameter.default
        if schema is not None:
            return cls(dict(schema), dict[str, Any], tuple(context), description)
        try:
            kind = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
            msgspec.json.Decoder(kind)
            described = _standing_alone(msgspec.json.schema(kind), told, defaults)
        except (TypeError, ValueError) as error:
            raise TypeError(f"tool {owner!r}: its parameters cannot be described to a model: {error}") from error
        return cls(described, kind, tuple(context), description)


def source_of(function: Callable[..., Any]) -> Any:
    """The function that was written: what a partial, a bound method, or an object with `__call__` stands for."""
    while True:
        if hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif not inspect.isroutine(function) and not isinstance(function, type):
            function = type(function).__call__
        else:
            return function


def _doc_of_class(function: Any) -> str | None:
    return None if isinstance(function, partial | type) or inspect.isroutine(function) else type(function).__doc__


def _signature(owner: str, function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"tool {owner!r}: its signature cannot be read ({error}); wrap it in a def of your own"
        ) from None


def _hints(owner: str, source: Any, local: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(source, localns=dict(local), include_extras=True)
    except NameError as error:
        raise TypeError(
            f"tool {owner!r}: an annotation names {error.name!r}, which cannot be found. "
            "Define it above the tool, and import it at run time, not only under TYPE_CHECKING"
        ) from None
    except Exception as error:
        raise TypeError(f"tool {owner!r}: its annotations cannot be read: {error}") from error


def _checked(owner: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """The annotation of a parameter that can be passed by name."""
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise TypeError(
            f"tool {owner!r} takes {parameter}, and a model cannot be told what that is; name its parameters, "
            "or give their JSON schema: tool(parameters=...)"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise TypeError(f"tool {owner!r}: parameter {name!r} is positional only, but a model names its arguments")
    if name not in hints:
        raise TypeError(f"tool {owner!r}: parameter {name!r} has no annotation; write `{name}: str`, or what it is")
    return hints[name]


def _describe(owner: str, name: str, hint: Any) -> None:
    """Raise unless msgspec can describe and decode what a parameter is."""
    try:
        msgspec.json.schema(hint)
        msgspec.json.Decoder(hint)
    except (TypeError, ValueError, RuntimeError, NameError) as error:
        said = str(error).strip().splitlines()[-1]
        raise TypeError(
            f"tool {owner!r}: parameter {name!r} is annotated with {hint!r}, which has no JSON form ({said}); take "
            "str, int, float, bool, a Literal, an Enum, a list or dict of them, a Struct or a dataclass"
        ) from error


def _standing_alone(described: dict[str, Any], told: Mapping[str, str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the arguments without references, but to what contains itself."""
    defs: dict[str, Any] = described.get("$defs", {})
    top = dict(defs.pop(_name(described) or "", described))
    top.pop("title", None)
    properties = {}
    for name, schema in top.get("properties", {}).items():
        properties[name] = described_one = dict(schema)
        if name in told:
            described_one.setdefault("description", told[name])
        if name in defaults:
            try:
                default = msgspec.json.decode(msgspec.json.encode(defaults[name]))
            except (TypeError, ValueError, RecursionError):
                continue  # the function knows it, the model need not
            described_one.setdefault("default", default)
    top["properties"] = properties
    endless = {name for name in defs if name in _reached(defs, name)}
    schema = _inlined(top, defs, endless)
    if endless:
        schema["$defs"] = {name: _inlined(defs[name], defs, endless) for name in sorted(endless)}
    return {"type": "object", "properties": {}, "required": [], **schema, "additionalProperties": False}


def _name(schema: Mapping[str, Any]) -> str | None:
    """Which definition a schema refers to."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return None
    return reference.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    for key in _MAPS:
        yield from schema.get(key, {}).values()
    for key in _LISTS:
        yield from schema.get(key, ())
    for key in _ONES:
        if isinstance(schema.get(key), dict):
            yield schema[key]


def _reached(defs: Mapping[str, Any], start: str) -> set[str]:
    """All definitions that one refers to, directly or not."""
    found: set[str] = set()
    waiting = [defs[start]]
    while waiting:
        schema = waiting.pop()
        waiting += _parts(schema)
        name = _name(schema)
        if name is not None and name not in found:
            found.add(name)
            waiting.append(defs[name])
    return found


def _inlined(schema: Any, defs: Mapping[str, Any], endless: set[str]) -> Any:
    if not isinstance(schema, dict):
        return schema
    name = _name(schema)
    if name is not None and name not in endless:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        known = {key: value for key, value in defs[name].items() if key != "title"}
        return _inlined({**known, **beside}, defs, endless)
    made = dict(schema)
    if "enum" in made and "type" not in made:  # some providers ask for it
        kinds = {type(value) for value in made["enum"]}
        if kinds in ({str}, {int}):
            made["type"] = "string" if kinds == {str} else "integer"
    for key in _MAPS:
        if key in made:
            made[key] = {each: _inlined(value, defs, endless) for each, value in made[key].items()}
    for key in _LISTS:
        if key in made:
            made[key] = [_inlined(value, defs, endless) for value in made[key]]
    for key in _ONES:
        if key in made:
            made[key] = _inlined(made[key], defs, endless)
    return made


def complete_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an application's tool with the parts that it may leave out.

    Args:
        schema: `name`, and optionally `description` and `parameters`, a JSON schema.
    """
    parameters = schema.get("parameters") or {"type": "object", "properties": {}}
    return {"name": schema["name"], "description": schema.get("description") or "", "parameters": parameters}
