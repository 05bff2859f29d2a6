"""Turn a function's signature into a JSON schema, and into the type that decodes its arguments."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Union

import msgspec

from ._adapters import describe_strings, pydantic_adapter
from ._docstring import read_docstring
from ._simplify import simplify
from .context import ToolContext

__all__ = ["Parameters", "complete_schema", "source_of"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names of properties that Anthropic accepts. Other providers accept more."""
_MAPS = ("properties", "patternProperties", "$defs")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_ONES = ("items", "additionalProperties", "not")


class Parameters(msgspec.Struct, frozen=True):
    """The parameters of a function that a model fills in."""

    schema: dict[str, Any]
    """A self-contained JSON schema, without references to other documents."""
    kind: Any
    """The type to which arguments are decoded: a Struct whose missing fields are UNSET, or a dict."""
    context: tuple[str, ...]
    """The names of the parameters that get a `ToolContext`."""
    description: str
    """The first paragraph of the docstring."""
    adapters: dict[str, Any] = {}
    """The parameters that pydantic describes, each with its `TypeAdapter`."""

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
        """Read a function.

        Args:
            owner: The name of the tool, for errors.
            function: The function.
            skip: Whether to leave out the first parameter, the `self` of a method.
            local: The local names where the function was defined; its annotations may use them.
            schema: A JSON schema to use in place of the signature. Then only the parameters for a `ToolContext` are
                read.

        Raises:
            TypeError: A parameter cannot be described to a model; the message says what to write instead.
        """
        source = source_of(function)
        description, descriptions = read_docstring(getattr(source, "__doc__", None) or _doc_of_class(function))
        hints = _hints(owner, source, local)
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        defaults: dict[str, Any] = {}
        context: list[str] = []
        adapters: dict[str, Any] = {}
        for parameter in list(_signature(owner, function).parameters.values())[skip:]:
            name = parameter.name
            hint = hints.get(name)
            if hint is ToolContext or ToolContext in typing.get_args(hint):
                context.append(name)
                continue
            if schema is not None:
                continue
            hint = _annotation_of(owner, parameter, hints)
            if parameter.default is None:
                hint = Union[hint, None]  # noqa: UP007 - a hint may be anything, and `|` needs a type
            if (adapter := _adapter_of(owner, name, hint)) is not None:
                adapters[name], hint = adapter, Any
            else:
                hint = describe_strings(hint)
                _check_annotation(owner, name, hint)
            if parameter.default is parameter.empty:
                fields.append((name, hint))
            else:  # an argument that the model leaves out is not passed, so the function's default applies
                fields.append((name, Union[hint, msgspec.UnsetType], msgspec.UNSET))  # noqa: UP007
                defaults[name] = parameter.default
        if schema is not None:
            return cls(dict(schema), dict[str, Any], tuple(context), description)
        try:
            kind = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
            msgspec.json.Decoder(kind)
            described = _self_contained(_with_adapters(msgspec.json.schema(kind), adapters), descriptions, defaults)
        except (TypeError, ValueError) as error:
            raise TypeError(f"tool {owner!r}: its parameters cannot be described to a model: {error}") from error
        _check_names(owner, described)
        return cls(described, kind, tuple(context), description, adapters)


def source_of(function: Callable[..., Any]) -> Any:
    """Return the original function inside wrappers, partials, bound methods and objects with `__call__`."""
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
        raise TypeError(f"tool {owner!r}: its signature cannot be read ({error}); wrap it in your own def") from None


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


def _annotation_of(owner: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """Return the annotation of a parameter. Raise `TypeError` if it has none or cannot be passed by name."""
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise TypeError(
            f"tool {owner!r} takes {parameter}, which cannot be described to a model; name the parameters, "
            "or give a JSON schema: tool(parameters=...)"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise TypeError(f"tool {owner!r}: parameter {name!r} is positional only, but a model passes arguments by name")
    if name not in hints:
        raise TypeError(f"tool {owner!r}: parameter {name!r} has no annotation; write `{name}: str`, or another type")
    return hints[name]


def _adapter_of(owner: str, name: str, hint: Any) -> Any:
    """Return the adapter of pydantic for the type of a parameter, or None. Raise `TypeError` if pydantic refuses it."""
    try:
        adapter = pydantic_adapter(hint)
        if adapter is not None:
            adapter.json_schema()
    except Exception as error:  # pydantic raises several classes without a common base
        reason = str(error).strip().splitlines()[0]
        raise TypeError(f"tool {owner!r}: pydantic cannot describe parameter {name!r}: {reason}") from error
    return adapter


def _check_names(owner: str, schema: Mapping[str, Any]) -> None:
    """Raise `TypeError` for a parameter or a field whose name a provider refuses."""
    for name in schema.get("properties", ()):
        if not _NAME.fullmatch(name):
            raise TypeError(
                f"tool {owner!r}: not every model takes the name {name!r} of a parameter or field; use up to 64 of "
                "a-z, A-Z, 0-9, '_', '-' and '.'"
            )
    for part in _parts(schema):
        _check_names(owner, part)


def _check_annotation(owner: str, name: str, hint: Any) -> None:
    """Raise `TypeError` unless msgspec can describe and decode the type of a parameter."""
    try:
        msgspec.json.schema(hint)
        msgspec.json.Decoder(hint)
    except (TypeError, ValueError, RuntimeError, NameError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise TypeError(
            f"tool {owner!r}: parameter {name!r} is annotated with {hint!r}, which has no JSON form ({reason}); use "
            "str, int, float, bool, a Literal, an Enum, a list or dict of them, a Struct or a dataclass"
        ) from error


def _self_contained(
    described: dict[str, Any], descriptions: Mapping[str, str], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the schema of the arguments, with definitions written out. Only recursive types remain references."""
    defs: dict[str, Any] = described.get("$defs", {})
    top = dict(defs.pop(_name(described) or "", described))
    top.pop("title", None)
    properties = {}
    for name, schema in top.get("properties", {}).items():
        properties[name] = field = dict(schema)
        if name in descriptions:
            field.setdefault("description", descriptions[name])
        if name in defaults:
            try:
                default = msgspec.json.decode(msgspec.json.encode(defaults[name]))
            except (TypeError, ValueError, RecursionError):
                continue  # a default without a JSON form is left out of the schema
            field.setdefault("default", default)
    top["properties"] = properties
    recursive = {name for name in defs if name in _reached(defs, name)}
    schema = _inlined(top, defs, recursive)
    if recursive:
        schema["$defs"] = {name: _inlined(defs[name], defs, recursive) for name in sorted(recursive)}
    return {"type": "object", "properties": {}, "required": [], **schema, "additionalProperties": False}


def _with_adapters(described: dict[str, Any], adapters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the arguments, with pydantic's schemas for the parameters that it describes."""
    defs: dict[str, Any] = described.setdefault("$defs", {})
    top = defs.get(_name(described) or "", described)
    for name, adapter in adapters.items():
        schema = adapter.json_schema()
        defs |= schema.pop("$defs", {})
        top["properties"][name] = schema
    return described


def _name(schema: Mapping[str, Any]) -> str | None:
    """Return the name of the definition that a schema refers to, or None."""
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
    """Return all definitions that a definition refers to, directly or indirectly."""
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


def _inlined(schema: Any, defs: Mapping[str, Any], recursive: set[str]) -> Any:
    if not isinstance(schema, dict):
        return schema
    name = _name(schema)
    if name is not None and name not in recursive:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        known = {key: value for key, value in defs[name].items() if key != "title"}
        return _inlined({**known, **beside}, defs, recursive)
    result = simplify(schema)
    for key in _MAPS:
        if key in result:
            result[key] = {each: _inlined(value, defs, recursive) for each, value in result[key].items()}
    for key in _LISTS:
        if key in result:
            result[key] = [_inlined(value, defs, recursive) for value in result[key]]
    for key in _ONES:
        if key in result:
            result[key] = _inlined(result[key], defs, recursive)
    return result


def complete_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the schema of an application's tool with the optional keys.

    Args:
        schema: A dictionary with `name`, and optionally `description` and `parameters`, a JSON schema.
    """
    parameters = schema.get("parameters") or {"type": "object", "properties": {}}
    return {"name": schema["name"], "description": schema.get("description") or "", "parameters": parameters}
