"""Tools with the types of other libraries: pydantic and NumPy."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import pytest

from bargein.services.tools import ArgumentsError, tool
from bargein.services.tools.tool import encode

pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")


class Address(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    street: str = pydantic.Field(description="with the number")
    zip: int


class Shop(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    address: Address
    parent: Shop | None = None


def test_a_model_as_a_parameter() -> None:
    """Its fields and descriptions are in the schema, and the function gets a model."""

    @tool
    def ship(to: Address, note: str = "") -> str:
        """Ship it.

        Args:
            to: Where.
        """
        return f"{to.street}, {to.zip}"

    field = ship.parameters["properties"]["to"]
    assert field["properties"]["street"]["description"] == "with the number"
    assert field["description"] == "Where."
    assert ship.parameters["required"] == ["to"]
    arguments = ship.decode('{"to": {"street": "Main 1", "zip": "123"}}')
    assert ship(**arguments) == "Main 1, 123"


def test_a_model_in_other_types() -> None:
    """Optional, in a list, and one that contains itself."""

    @tool
    def build(shops: list[Shop], at: Address | None = None) -> int:
        """Build."""
        return len(shops)

    text = json.dumps(build.parameters)
    assert "with the number" in text
    assert "#/$defs/Shop" in text
    assert "Shop" in build.parameters["$defs"]
    (shop,) = build.decode('{"shops": [{"address": {"street": "a", "zip": 1}}], "at": null}')["shops"]
    assert shop.address == Address(street="a", zip=1)


def test_what_does_not_fit_is_told_to_the_model() -> None:
    @tool
    def ship(to: Address) -> str:
        """Ship it."""
        return to.street

    with pytest.raises(ArgumentsError, match=r"ship: `to\.zip`: .*valid integer.*It takes an object with `to`"):
        ship.decode('{"to": {"street": "Main 1", "zip": "x"}}')
    with pytest.raises(ArgumentsError, match=r"ship: .*to"):
        ship.decode("{}")


def test_fields_in_annotated() -> None:
    """Descriptions and bounds of pydantic's, and plain strings."""

    @tool
    def find(
        city: Annotated[str, pydantic.Field(description="Its name.")],
        count: Annotated[int, pydantic.Field(ge=1)] = 1,
        country: Annotated[str, "Where it is."] = "",
    ) -> str:
        """Find."""
        return city * count

    properties = find.parameters["properties"]
    assert properties["city"]["description"] == "Its name."
    assert (properties["count"]["minimum"], properties["count"]["default"]) == (1, 1)
    assert properties["country"]["description"] == "Where it is."
    with pytest.raises(ArgumentsError, match=r"`count`: .*greater than or equal to 1"):
        find.decode('{"city": "Rome", "count": 0}')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Address(street="a", zip=1), {"street": "a", "zip": 1}),
        ([Address(street="a", zip=1)], [{"street": "a", "zip": 1}]),
        (np.float64(1.5), 1.5),
        ({"n": np.int64(3), "yes": np.bool_(True)}, {"n": 3, "yes": True}),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({(1, 2): 3, None: 4, True: 5, np.int64(6): 7}, {"(1, 2)": 3, "": 4, "True": 5, "6": 7}),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Path("/a"), "/a"),
        ({"half": "\ud800"}, {"half": "?"}),
    ],
)
def test_results(value: Any, expected: Any) -> None:
    assert json.loads(encode(value)) == expected


def test_what_has_no_json_form_is_named() -> None:
    with pytest.raises((TypeError, NotImplementedError), match="complex"):
        encode({"z": 1j})
