"""A tool's JSON schema in Gemini's form: a subset of OpenAPI's schemas, with types in capitals. No I/O."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["function_declaration"]

SAME: Final = (
    "description",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "required",
)
"""Keywords that mean the same in both forms."""
FORMATS: Final = {
    "string": frozenset({"enum", "date-time"}),
    "integer": frozenset({"int32", "int64"}),
    "number": frozenset({"float", "double"}),
}
"""The formats of each type that the API takes; it closes the session for others. Other formats go into the description.

Sources: the API's `Schema`, and google-gemini/gemini-cli#3178.
"""
IGNORED: Final = {"title", "default", "additionalProperties", "examples"}
"""Keywords that are left out, because the model does not need them."""
TRANSLATED: Final = {"type", "format", "properties", "items", "anyOf"}
"""Keywords that are translated."""


class _NotInSubsetError(Exception):
    """The schema has a keyword or a value that the subset lacks."""


def function_declaration(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the declaration of a tool.

    A schema that the subset cannot express is passed on as JSON schema (`parametersJsonSchema`). Newer models take
    that.
    """
    declaration: dict[str, Any] = {"name": tool["name"], "description": tool.get("description") or ""}
    schema = tool.get("parameters") or {}
    if not schema.get("properties"):
        return declaration  # the API refuses an object without properties
    try:
        declaration["parameters"] = _translate(schema)
    except _NotInSubsetError:
        declaration["parametersJsonSchema"] = schema
    return declaration


def _translate(schema: dict[str, Any]) -> dict[str, Any]:
    """Translate one schema.

    Raises `_NotInSubsetError` for references, constants, tuples and dictionaries, and for a value, a list or an object
    of unknown type: the API refuses a schema without a type, an array without items and an object without properties.
    """
    if schema.keys() - TRANSLATED - IGNORED - set(SAME) or isinstance(schema.get("additionalProperties"), dict):
        raise _NotInSubsetError
    if not all(isinstance(each, str) for each in schema.get("enum", ())):
        raise _NotInSubsetError  # an enum of the subset holds strings only
    result: dict[str, Any] = {key: schema[key] for key in SAME if key in schema} | _format(schema)
    choices = schema.get("anyOf", ())
    types = schema.get("type", ())
    if isinstance(types, list | tuple):
        choices = [*choices, *({"type": each} for each in types)]
    else:
        result["type"] = types.upper()
    non_null = [each for each in choices if each.get("type") != "null"]
    if len(non_null) < len(choices):
        result["nullable"] = True
    if len(non_null) == 1:
        result = {**_translate(non_null[0]), **result}
    elif non_null:
        result["anyOf"] = [_translate(each) for each in non_null]
    if isinstance(schema.get("items"), dict):
        result["items"] = _translate(schema["items"])
    if properties := schema.get("properties"):
        result["properties"] = {name: _translate(each) for name, each in properties.items()}
    if not result.get("required", True):
        del result["required"]
    kind = result.get("type", "")
    if not (kind or "anyOf" in result) or (kind, True) in (
        ("ARRAY", "items" not in result),
        ("OBJECT", "properties" not in result),
    ):
        raise _NotInSubsetError
    return result


def _format(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the format of a schema, if the API takes it, or else the description with the format in it."""
    name = schema.get("format")
    if name is None:
        return {}
    kinds = schema.get("type", ())
    if name in FORMATS.get(kinds if isinstance(kinds, str) else "", ()):
        return {"format": name}
    described = schema.get("description")
    return {"description": f"{described} (format: {name})" if described else f"Format: {name}"}
