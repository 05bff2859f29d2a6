"""Tool schemas in Gemini's subset."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec

from bargein.services.providers.gemini._schema import function_declaration
from bargein.services.tools import tool

WithZone = Annotated[dt.datetime, msgspec.Meta(tz=True)]


class Size(msgspec.Struct):
    width: int
    height: int | None = None


class Node(msgspec.Struct):
    below: list[Node] = []


class Kind(Enum):
    SMALL = "small"
    LARGE = "large"


def declared(function: Any) -> dict[str, Any]:
    return function_declaration(tool(function).schema)


def test_types_are_upper_case() -> None:
    """Also inside of lists, objects and choices. A type that may be null is nullable."""

    def order(count: int, size: Size, kinds: list[Kind], how: Literal["a", "b"] = "a", note: str | None = None) -> None:
        """Order.

        Args:
            count: How many.
        """

    parameters = declared(order)["parameters"]
    assert parameters["type"] == "OBJECT"
    assert parameters["required"] == ["count", "size", "kinds"]
    properties = parameters["properties"]
    assert properties["count"] == {"type": "INTEGER", "description": "How many."}
    assert properties["size"]["properties"]["height"] == {"type": "INTEGER", "nullable": True}
    assert properties["kinds"] == {"type": "ARRAY", "items": {"type": "STRING", "enum": ["large", "small"]}}
    assert properties["how"] == {"type": "STRING", "enum": ["a", "b"]}
    assert properties["note"] == {"type": "STRING", "nullable": True}


def test_several_types() -> None:
    """Several types become choices."""

    def put(value: int | str) -> None:
        """Put."""

    assert declared(put)["parameters"]["properties"]["value"] == {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}


def test_unsupported_schemas_are_passed_as_json_schema() -> None:
    """Recursive schemas, choices of numbers, and dictionaries are passed unchanged."""

    def tree(root: Node) -> None:
        """A tree."""

    def numbered(which: Literal[1, 2]) -> None:
        """Numbered."""

    def counted(counts: dict[str, int]) -> None:
        """Counted."""

    for function in (tree, numbered, counted):
        made = declared(function)
        assert "parameters" not in made
        assert made["parametersJsonSchema"] == documented(tool(function).schema["parameters"])


def documented(schema: Any) -> Any:
    """Return a schema without defaults, which the API does not document."""
    if isinstance(schema, dict):
        return {key: documented(each) for key, each in schema.items() if key != "default"}
    return schema


def test_no_arguments() -> None:
    """An object without properties is refused by the API, so there are no parameters."""

    def now() -> str:
        """The time."""
        return ""

    assert declared(now) == {"name": "now", "description": "The time."}


def test_unsupported_formats_become_descriptions() -> None:
    """The API refuses any format of a string but `date-time`."""

    def book(day: dt.date, at: WithZone, order: uuid.UUID, price: Decimal, wait: dt.timedelta | None = None) -> None:
        """Book.

        Args:
            day: When.
        """

    properties = declared(book)["parameters"]["properties"]
    assert properties["day"] == {"type": "STRING", "description": "When. (a date as YYYY-MM-DD)"}
    assert properties["at"] == {"type": "STRING", "format": "date-time"}
    assert properties["order"] == {"type": "STRING", "description": "a UUID"}
    assert properties["price"] == {"type": "STRING", "description": "a decimal number"}
    assert properties["wait"] == {
        "type": "STRING",
        "description": "an ISO 8601 duration, such as PT5M",
        "nullable": True,
    }


def test_untyped_values_are_passed_as_json_schema() -> None:
    def tag(tags: list) -> None:  # type: ignore[type-arg]
        """Tag."""

    def save(data: dict[str, Any]) -> None:
        """Save."""

    def note(value: Any) -> None:
        """Note."""

    def deep(rows: list[dict[str, Any]]) -> None:
        """Deep."""

    for function in (tag, save, note, deep):
        made = declared(function)
        assert "parameters" not in made, made
        assert made["parametersJsonSchema"] == tool(function).schema["parameters"]
