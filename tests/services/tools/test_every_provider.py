"""Whatever signature a tool has, every provider takes its schema, and values come in as the function wants them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import keyword
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union
from uuid import UUID

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict  # that of typing is refused by pydantic on Python 3.11

from bargein.services.tools import Tool, tool
from bargein.services.tools.tool import encode
from tests.environment import EXTENDED, amount

from .grammars import GRAMMARS, faults


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Tree(msgspec.Struct):
    """A struct that contains itself."""

    name: str
    kids: list[Tree] = []


@dataclasses.dataclass
class Link:
    """A dataclass that contains itself."""

    value: int
    next: Link | None = None


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


class Point(NamedTuple):
    x: int
    label: str = ""


class Row(TypedDict, total=False):
    key: str
    value: int


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    born: dt.date | None = None
    weight: Decimal = Decimal(4)
    kittens: list[Cat] = []


class Dog(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    kind: Literal["dog"]
    name: str = pydantic.Field(alias="dog-name", min_length=1, pattern="^[a-z]+$")


@pydantic.dataclasses.dataclass
class Pair:
    left: int
    right: set[str]


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]

LEAVES: list[Any] = [
    str, int, float, bool, bytes, list, dict, set, tuple, Any, dt.date, dt.datetime, dt.time, dt.timedelta, Decimal,
    UUID, Color, Size, Literal["a", "b"], Literal[1, 2], Literal["a", 1, None], Literal[True], Tree, Link,
    Circle | Square, Point, Row, Cat, Dog, Pet, Pair, int | str, int | float, list[int] | str, pydantic.HttpUrl,
    tuple[int, str], tuple[int, ...], Annotated[str, "in words"],
    Annotated[int, msgspec.Meta(gt=0, le=9, description="few")],
    Annotated[str, msgspec.Meta(pattern="^a", min_length=1, max_length=9)],
    Annotated[float, msgspec.Meta(multiple_of=0.5)], Annotated[int, pydantic.Field(ge=1, description="some")],
    Annotated[dt.datetime, msgspec.Meta(tz=True)], frozenset[str], dict[str, int], dict[int, str], dict[str, Any],
    list[dict[str, Any]], list[Any],
]  # fmt: skip


def _struct(fields: list[Any]) -> Any:
    return msgspec.defstruct("Made", [(f"field{at}", each) for at, each in enumerate(fields)])


def _typed_dict(fields: list[Any]) -> Any:
    return TypedDict("Made", {f"field{at}": each for at, each in enumerate(fields)}, total=False)  # type: ignore[operator]


def _typed_dict_of(name: str) -> Any:
    return TypedDict("Made", {name: int})  # type: ignore[operator]


def _model(fields: list[Any]) -> Any:
    """Return a model; a text in place of a model that pydantic refuses, such as one with a struct in it."""
    try:
        made: Any = pydantic.create_model  # its overloads do not know fields by names that are made
        return made("Made", **{f"field{at}": (each, ...) for at, each in enumerate(fields)})
    except pydantic.errors.PydanticSchemaGenerationError:
        return str


def _dataclass(fields: list[Any]) -> Any:
    return dataclasses.make_dataclass("Made", [(f"field{at}", each) for at, each in enumerate(fields)])


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return annotations that contain others."""
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        inner.map(lambda each: list[each]),  # type: ignore[valid-type]
        inner.map(lambda each: dict[str, each]),  # type: ignore[valid-type]
        inner.map(lambda each: tuple[each, int]),  # type: ignore[valid-type]
        inner.map(lambda each: Optional[each]),  # noqa: UP045  # `|` needs types, and these may be anything
        # Not with each other: msgspec 0.23 refuses most such unions, and having refused some it may read freed memory.
        st.tuples(inner, st.sampled_from([int, str, bool])).map(lambda each: Union[each]),  # noqa: UP007
        several.map(_struct),
        several.map(_typed_dict),
        several.map(_model),
        several.map(_dataclass),
    )


hints: st.SearchStrategy[Any] = st.recursive(st.sampled_from(LEAVES), _around, max_leaves=6)
names = st.from_regex(r"[a-z][a-zA-Z0-9_]{0,9}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))


def make(parameters: dict[str, Any], optional: int = 0) -> Tool[..., Any] | None:
    """Return a tool with these parameters, the last ones of which have defaults; None where `tool` refuses it."""
    code = ", ".join(f"{name}=None" if at < optional else name for at, name in enumerate(parameters))
    space: dict[str, Any] = {}
    exec(f"def made(*, {code}): ..." if code else "def made(): ...", space)
    space["made"].__annotations__ = dict(parameters)
    space["made"].__doc__ = "Made.\n\nArgs:\n" + "".join(f"    {name}: The {name}.\n" for name in parameters)
    try:
        made: Tool[..., Any] = tool(space["made"])
    except TypeError as error:
        if not str(error).startswith("tool 'made': "):
            raise
        return None
    return made


def refusals(made: Tool[..., Any]) -> dict[str, list[str]]:
    """Return what each provider would refuse of a tool."""
    found = {provider: faults(grammar, made.schema) for provider, grammar in GRAMMARS.items()}
    return {provider: each for provider, each in found.items() if each}


@pytest.mark.parametrize("annotation", LEAVES, ids=str)
def test_every_type_is_taken_by_every_provider(annotation: Any) -> None:
    made = make({"value": annotation})
    assert made is not None
    assert not refusals(made)


@settings(
    max_examples=amount(25, 300), derandomize=not EXTENDED, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.dictionaries(names, hints, max_size=4), st.integers(0, 4))
def test_any_signature_that_is_accepted_is_taken_by_every_provider(parameters: dict[str, Any], optional: int) -> None:
    made = make(parameters, optional)
    if made is None:
        return
    assert not refusals(made), parameters


VALUES: list[tuple[Any, Any]] = [
    (dt.date, dt.date(2024, 2, 29)),
    (dt.datetime, dt.datetime(2024, 2, 29, 12, 30)),
    (dt.time, dt.time(12, 30)),
    (dt.timedelta, dt.timedelta(minutes=5)),
    (Decimal, Decimal("1.50")),
    (UUID, UUID(int=7)),
    (bytes, b"\x00\xff"),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (list, [1, "a", None]),
    (dict, {"a": [1]}),
    (dict[int, str], {1: "a"}),
    (Any, {"a": 1}),
    (Color, Color.RED),
    (Size, Size.LARGE),
    (Literal["a", 1, None], None),
    (Literal["a", 1, None], 1),
    (int | str, "a"),
    (dt.date | None, None),
    (Tree, Tree("a", [Tree("b", [Tree("c", [Tree("d", [Tree("e")])])])])),
    (Link, Link(1, Link(2))),
    (Circle | Square, Square(2.0)),
    (Point, Point(1, "a")),
    (Row, {"key": "a"}),
    (Cat, Cat(kind="cat", born=dt.date(2020, 1, 1), kittens=[Cat(kind="cat")])),
    (Pet, Dog(kind="dog", **{"dog-name": "rex"})),
    (Pair, Pair(1, {"a"})),
    (list[Cat], [Cat(kind="cat")]),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=str)
def test_what_the_schema_allows_comes_in_as_the_function_wants_it(annotation: Any, value: Any) -> None:
    """The JSON form of a value fits the schema, and is decoded to the value."""
    made = make({"value": annotation})
    assert made is not None
    given = json.loads(encode({"value": value}))
    jsonschema.validate(given, made.parameters, jsonschema.Draft202012Validator)
    assert made.decode(json.dumps(given)) == {"value": value}


@pytest.mark.parametrize("name", ["größe", "a" * 65])
def test_a_name_that_a_provider_refuses_is_refused_at_once(name: str) -> None:
    assert make({name: int}) is None
    assert make({"value": _typed_dict_of(name)}) is None
