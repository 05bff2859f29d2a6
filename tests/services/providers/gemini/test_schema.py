"""Tools in Gemini's words."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from enum import Enum
from typing import Any, Literal

import msgspec
import pytest

from bargein.services.providers.gemini._schema import function_declaration
from bargein.services.tools import Tool, tool


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


def test_types_are_in_capitals() -> None:
    """Inside of lists, objects and choices, too; what may be null is nullable."""

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


def test_several_kinds() -> None:
    """Are choices."""

    def put(value: int | str) -> None:
        """Put."""

    assert declared(put)["parameters"]["properties"]["value"] == {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}


def test_what_has_no_word_is_given_as_it_stands() -> None:
    """What contains itself, choices of numbers, dictionaries."""

    def tree(root: Node) -> None:
        """A tree."""

    def numbered(which: Literal[1, 2]) -> None:
        """Numbered."""

    def counted(counts: dict[str, int]) -> None:
        """Counted."""

    for function in (tree, numbered, counted):
        made = declared(function)
        assert "parameters" not in made
        assert made["parametersJsonSchema"] == tool(function).schema["parameters"]


def test_no_arguments() -> None:
    """An object without properties is refused, so there are no parameters."""

    def now() -> str:
        """The time."""
        return ""

    assert declared(now) == {"name": "now", "description": "The time."}


@tool
def ordinary(
    day: dt.date, order: uuid.UUID, amount: decimal.Decimal, length: dt.timedelta, moment: dt.datetime, count: int
) -> str:
    """Take ordinary types of Python."""
    return ""


def test_formats_that_the_api_refuses_are_described() -> None:
    """It takes two formats of strings, and closes the session for others; the model learns of them in words."""
    properties = function_declaration(ordinary.schema)["parameters"]["properties"]
    assert {name: each["type"] for name, each in properties.items()} == {
        **dict.fromkeys(("day", "order", "amount", "length", "moment"), "STRING"),
        "count": "INTEGER",
    }
    assert properties["day"] == {"type": "STRING", "description": "Format: date"}
    kept = {"type": "string", "format": "date-time", "description": "When."}
    translated = function_declaration({"name": "f", "parameters": {"properties": {"at": kept}, "type": "object"}})
    assert translated["parameters"]["properties"]["at"] == {**kept, "type": "STRING"}


@tool
def anything(value: Any) -> str:
    """Take anything."""
    return ""


@tool
def tags(values: list) -> str:  # type: ignore[type-arg]
    """Take a list."""
    return ""


@tool
def data(values: dict) -> str:  # type: ignore[type-arg]
    """Take a dictionary."""
    return ""


@pytest.mark.parametrize("given", [anything, tags, data], ids=lambda each: each.name)
def test_a_schema_of_unknown_type_is_given_as_it_stands(given: Tool[..., Any]) -> None:
    """The subset has no schema without a type, no array without items and no object without properties."""
    declaration = function_declaration(given.schema)
    assert "parameters" not in declaration
    assert declaration["parametersJsonSchema"] == given.schema["parameters"]
