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
IGNORED: Final = {"title", "default", "additionalProperties", "examples"}
"""Keywords that are left out, because the model does not need them."""
TRANSLATED: Final = {"type", "properties", "items", "anyOf", "format"}
"""Keywords that are translated."""

FORMATS: Final = {"string": {"date-time"}, "integer": {"int32", "int64"}, "number": {"float", "double"}}
"""The formats of the subset, by type. The API refuses a declaration with any other."""
FORMAT_WORDS: Final = {
    "date": "a date as YYYY-MM-DD",
    "time": "a time as HH:MM:SS",
    "duration": "an ISO 8601 duration, such as PT5M",
    "decimal": "a decimal number",
    "uuid": "a UUID",
}
"""What is added to the description in place of a format that the subset lacks."""

JSON_KEYWORDS: Final = {
    "$defs", "$ref", "type", "format", "title", "description", "enum", "items", "prefixItems", "minItems", "maxItems",
    "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required",
}  # fmt: skip
"""The keywords of JSON schema that the API documents. Source: https://ai.google.dev/gemini-api/docs/structured-output"""


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
        declaration["parametersJsonSchema"] = _json_schema(schema)
    return declaration


def _json_schema(schema: Any) -> Any:
    """Return a JSON schema with the keywords that the API documents."""
    if not isinstance(schema, dict):
        return [_json_schema(each) for each in schema] if isinstance(schema, list) else schema
    result = {key: value for key, value in schema.items() if key in JSON_KEYWORDS}
    for key in ("properties", "$defs"):
        if key in result:
            result[key] = {name: _json_schema(each) for name, each in result[key].items()}
    for key in ("items", "prefixItems", "anyOf", "oneOf", "additionalProperties"):
        if key in result:
            result[key] = _json_schema(result[key])
    return result


def _translate(schema: dict[str, Any]) -> dict[str, Any]:
    """Translate one schema. Raises `_NotInSubsetError` for what the subset lacks.

    It lacks references, constants, tuples and typed dictionaries. Every value needs a type, an array its items, and an
    object its properties.
    """
    if schema.keys() - TRANSLATED - IGNORED - set(SAME) or isinstance(schema.get("additionalProperties"), dict):
        raise _NotInSubsetError
    if not all(isinstance(each, str) for each in schema.get("enum", ())):
        raise _NotInSubsetError  # an enum of the subset holds strings only
    result: dict[str, Any] = {key: schema[key] for key in SAME if key in schema}
    choices = schema.get("anyOf", ())
    types = schema.get("type", ())
    if isinstance(types, list | tuple):
        choices = [*choices, *({"type": each} for each in types)]
    else:
        result["type"] = types.upper()
    if "format" in schema:
        if isinstance(types, str) and schema["format"] in FORMATS.get(types, ()):
            result["format"] = schema["format"]
        else:
            words = FORMAT_WORDS.get(schema["format"], f"format: {schema['format']}")
            result["description"] = f"{result['description']} ({words})" if "description" in result else words
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
    kind = result.get("type")
    if (kind == "ARRAY" and "items" not in result) or (kind == "OBJECT" and "properties" not in result):
        raise _NotInSubsetError
    if kind is None and "anyOf" not in result:
        raise _NotInSubsetError
    if not result.get("required", True):
        del result["required"]
    return result
