"""Rewrite JSON schemas with keywords that all providers accept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["MAX_DEPTH", "simplify", "without_references"]

MAX_DEPTH: Final = 3
"""Number of times that a recursive type is written out, for a provider that does not support references."""
_DROPPED: Final = {"discriminator"}
"""Keywords of OpenAPI that are removed. Their references would be invalid, because definitions are written out."""
_JSON_TYPES: Final[dict[type, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def simplify(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Rewrite one schema, without its inner schemas, with keywords that all providers accept.

    * An array has `items`, which OpenAI requires. The items of a tuple may be of any of its types.
    * An enumeration has a type. If its values are of several types, it is a choice of enumerations.
    * `oneOf` is `anyOf`, and `const` is an enumeration of one value.

    Checks do not get weaker, because arguments are decoded by the types of the function.

    Args:
        schema: The schema.
    """
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "oneOf" in result:
        result["anyOf"] = result.pop("oneOf")
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "enum" in result and "type" not in result:
        kinds = {_type_of(value): None for value in result["enum"]}
        if len(kinds) == 1:
            result["type"] = next(iter(kinds))
        else:
            values = result.pop("enum")
            result["anyOf"] = [_enumeration(kind, values) for kind in kinds]
    if result.get("type") == "null":
        result.pop("enum", None)
    if result.get("type") == "array" and not isinstance(result.get("items"), dict):
        parts = result.pop("prefixItems", ())
        result["items"] = _any_of(parts)
        if parts:
            least = result.get("minItems", len(parts))
            words = f"{'exactly' if least == len(parts) else f'{least} to'} {len(parts)} values, in this order"
            result["description"] = f"{result['description']} ({words})" if "description" in result else words
    return result


def _enumeration(kind: str, values: Iterable[Any]) -> dict[str, Any]:
    return {"type": kind, "enum": [value for value in values if _type_of(value) == kind]}


def _type_of(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "array" if isinstance(value, list) else "object")


def _any_of(schemas: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the schema of a value that fits one of several."""
    different: list[Mapping[str, Any]] = []
    for each in schemas:
        if each not in different:
            different.append(each)
    if len(different) == 1:
        return dict(different[0])
    return {"anyOf": different} if different else {}


def without_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Write out all references of a schema, for a provider that does not support them.

    A recursive type is written out `MAX_DEPTH` times. Below that, only its JSON type (such as `object`) is stated.

    Args:
        schema: The schema of a tool's arguments.
    """
    written = {key: value for key, value in schema.items() if key != "$defs"}
    definitions = schema.get("$defs") or {}
    return {key: _expand(value, definitions, ()) for key, value in written.items()}


def _expand(schema: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_expand(each, definitions, inside) for each in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
        known = definitions.get(name, {})
        if inside.count(name) >= MAX_DEPTH:
            return {key: known[key] for key in ("type", "description") if key in known}
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _expand({**known, **beside}, definitions, (*inside, name))
    return {key: _expand(value, definitions, inside) for key, value in schema.items()}
