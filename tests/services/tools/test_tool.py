"""A function as a tool: what the model is told, what it may write, what it gets."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal, Optional

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.tools import ArgumentsError, Tool, Toolbox, ToolContext, tool
from bargein.services.tools.tool import encode


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Place(msgspec.Struct):
    """Somewhere."""

    city: str
    street: str = ""


class Tree(msgspec.Struct):
    kids: list[Tree] = []


@dataclasses.dataclass
class Person:
    name: str
    home: Place


@tool
def weather(city: str, days: Annotated[int, msgspec.Meta(description="How many", ge=1, le=7)] = 1) -> str:
    """What the weather
    will be.

    It knows nothing else.

    Args:
        city: Where,
            in English.
        days (int): Not this one.
        nobody: No such parameter.

    Returns:
        city: A sentence.
    """
    return f"{city} {days}"


def test_a_schema_is_read_from_a_function() -> None:
    """Name, first paragraph, types, bounds, defaults, and what is said of each parameter."""
    assert weather.schema == {
        "name": "weather",
        "description": "What the weather will be.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where, in English."},
                "days": {"type": "integer", "minimum": 1, "maximum": 7, "description": "How many", "default": 1},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }


def test_a_tool_is_still_the_function() -> None:
    """Called by hand it does what it did."""
    assert weather("Riga", days=2) == "Riga 2"
    assert isinstance(weather, Tool)


def google(a: int, b: int) -> None:
    """Add.

    Arguments:
        a (int, optional): The first: a number.

            Any one.
        b: The second.

    Note:
        b: Not this.
    """


def numpy(a: int, b: int) -> None:
    """Add.

    Parameters
    ----------
    a : int
        The first: a number.

        Any one.
    b
        The second.

    Returns
    -------
    b : int
        Not this.
    """


def rest(a: int, b: int) -> None:
    """Add.

    :param int a: The first: a number.
        Any one.
    :parameter b: The second.
    :type b: int
    :returns: Nothing.
    """


@pytest.mark.parametrize("function", [google, numpy, rest])
def test_docstrings_in_three_styles(function: Callable[..., None]) -> None:
    """Google's, NumPy's and reST's say the same."""
    made = tool(function)
    told = {name: schema.get("description") for name, schema in made.parameters["properties"].items()}
    assert (made.description, told) == ("Add.", {"a": "The first: a number. Any one.", "b": "The second."})


def test_one_numpy_line_may_name_several() -> None:
    """All get its description."""

    def add(a: int, b: int) -> None:
        """Parameters
        ----------
        a, b : int
            A number.
        """

    made = tool(add)
    assert made.description == ""
    assert [schema["description"] for schema in made.parameters["properties"].values()] == ["A number."] * 2


@given(st.text(alphabet="ab: \n-=()*,\targsArgsParameters:param", max_size=200))
def test_no_docstring_is_too_odd(text: str) -> None:
    """Whatever it says, it makes a tool."""

    def odd(a: int) -> None: ...

    odd.__doc__ = text
    assert isinstance(tool(odd).description, str)


def test_a_tool_without_parameters() -> None:
    """An empty object, and no more."""

    @tool(name="now", description="The time.")
    def whatever() -> str:
        return ""

    empty = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert whatever.schema == {"name": "now", "description": "The time.", "parameters": empty}
    assert whatever.decode("") == whatever.decode(" null ") == whatever.decode("{}") == {}


def test_nested_types_are_written_out() -> None:
    """No references, for providers that know none; a parameter's words go before its class's."""

    @tool
    def meet(who: Person, units: list[Unit], where: Optional[Place] = None, mood: Literal["a", "b"] = "a") -> None:  # noqa: UP045
        """Meet.

        Args:
            who: The one.
        """

    place = {
        "type": "object",
        "description": "Somewhere.",
        "properties": {"city": {"type": "string"}, "street": {"type": "string", "default": ""}},
        "required": ["city"],
    }
    assert meet.parameters["properties"] == {
        "who": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "home": place},
            "required": ["name", "home"],
            "description": "The one.",
        },
        "units": {"type": "array", "items": {"enum": ["c", "f"], "type": "string"}},
        "where": {"anyOf": [place, {"type": "null"}], "default": None},
        "mood": {"enum": ["a", "b"], "type": "string", "default": "a"},
    }
    given = meet.decode('{"who": {"name": "Ann", "home": {"city": "Riga"}}, "units": ["c"]}')
    assert given == {"who": Person("Ann", Place("Riga")), "units": [Unit.CELSIUS]}


def test_what_contains_itself_stays_a_reference() -> None:
    """Its definition is included."""

    @tool
    def plant(tree: Tree) -> None: ...

    assert plant.parameters["properties"] == {"tree": {"$ref": "#/$defs/Tree"}}
    assert plant.parameters["$defs"]["Tree"]["properties"]["kids"]["items"] == {"$ref": "#/$defs/Tree"}
    assert plant.decode('{"tree": {"kids": [{}]}}') == {"tree": Tree([Tree()])}


def test_parameters_may_have_any_name() -> None:
    """Words of the schema's language are names like others."""

    @tool
    def odd(properties: Place, items: int, enum: Place, anyOf: Literal["x"] = "x") -> None: ...  # noqa: N803

    told = odd.parameters["properties"]
    assert list(told) == ["properties", "items", "enum", "anyOf"]
    assert told["properties"]["properties"]["city"] == told["enum"]["properties"]["city"] == {"type": "string"}


def test_a_default_is_the_functions_own() -> None:
    """What the model leaves out is not passed; what has no JSON form is a default all the same; None takes null."""
    marker: Any = object()

    @tool
    def find(text: str, limit: int = None, where: str = marker, by: Place = Place("Riga")) -> None: ...  # type: ignore[assignment]  # noqa: B008, RUF013

    assert find.decode('{"text": "x"}') == {"text": "x"}
    assert find.decode('{"text": "x", "limit": null}') == {"text": "x", "limit": None}
    told = find.parameters["properties"]
    assert "default" not in told["where"]
    assert told["by"]["default"] == {"city": "Riga", "street": ""}


def test_the_context_is_none_of_the_models_business() -> None:
    """Whatever its parameter is called."""

    @tool
    def dig(depth: int, how: ToolContext, also: ToolContext | None = None) -> None: ...

    assert list(dig.parameters["properties"]) == ["depth"]
    assert dig.context == ("how", "also")
    with pytest.raises(ArgumentsError, match="`how`"):
        dig.decode('{"depth": 1, "how": 1}')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"city": "x", "days": "3"}', "weather: `days`: expected `int`, got `str`. It takes an object with `city`, "),
        ('{"city": "x", "days": 0}', "weather: `days`: expected `int` >= 1"),
        ('{"days": 1}', "weather: missing required field `city`"),
        ('{"city": "x", "hour": 1}', "weather: contains unknown field `hour`"),
        ("[]", "weather: `the arguments`: expected `object`, got `array`"),
        ('{"city": ', "weather: the arguments are not valid JSON (Input data was truncated)"),
        ("Riga", "weather: the arguments are not valid JSON (invalid character)"),
        ('{"city": "\ud800"}', "weather: the arguments cannot be read"),
        ('{"city": null}', "weather: `city`: expected `str`, got `null`"),
    ],
)
def test_wrong_arguments_are_explained_to_the_model(arguments: str, said: str) -> None:
    """Which field, and what was expected."""
    with pytest.raises(ArgumentsError) as error:
        weather.decode(arguments)
    assert str(error.value).startswith(said.replace("`the arguments`", "the arguments"))
    assert str(error.value).endswith("It takes an object with `city`, `days` (optional)")


def test_the_place_of_an_error_is_named_to_its_depth() -> None:
    """Through lists and dicts."""

    @tool
    def plan(stops: list[Place], notes: dict[int, str] = {}) -> None: ...  # noqa: B006

    with pytest.raises(ArgumentsError, match=r"plan: `stops\[0\]`: missing required field `city`"):
        plan.decode('{"stops": [{}]}')
    with pytest.raises(ArgumentsError, match=r"plan: a key in notes: expected `int`, got `str`"):
        plan.decode('{"stops": [], "notes": {"x": ""}}')


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["city", "days"]), inner),
)


@given(st.text() | JSON.map(json.dumps))
def test_arguments_fit_or_are_explained(arguments: str) -> None:
    """There is no third way."""
    with suppress(ArgumentsError):
        given = weather.decode(arguments)
        assert isinstance(given["city"], str)
        assert 1 <= given.get("days", 1) <= 7


def missing(city) -> None: ...  # type: ignore[no-untyped-def]
def starred(*cities: str) -> None: ...
def keyworded(**cities: str) -> None: ...
def placed(city: str, /) -> None: ...
def strange(city: Callable[[], int]) -> None: ...
def unknown(city: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def yielding(city: str) -> Any:
    yield city


async def coroutine(city: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (missing, {}, "tool 'missing': parameter 'city' has no annotation; write `city: str`"),
        (starred, {}, r"tool 'starred' takes \*cities.*; name the parameters"),
        (keyworded, {}, r"tool 'keyworded' takes \*\*cities.*; name the parameters"),
        (placed, {}, "tool 'placed': parameter 'city' is positional only"),
        (strange, {}, "tool 'strange': parameter 'city' is annotated with .*Callable.* has no JSON form"),
        (unknown, {}, "tool 'unknown': an annotation names 'Nowhere', which cannot be found. Define it above"),
        (yielding, {}, "tool 'yielding' yields, but a call has one result; return it"),
        (coroutine, {"blocking": True}, "tool 'coroutine' is async, so it cannot be blocking"),
        (weather, {}, "it is a tool already"),
        (3, {}, r"tool\(3\): expected a function"),
        (google, {"timeout_seconds": 0}, "tool 'google': timeout_seconds=0; expected a positive, finite number"),
        (
            google,
            {"timeout_seconds": math.inf},
            "tool 'google': timeout_seconds=inf; expected a positive, finite number",
        ),
        (google, {"name": "add up"}, "a tool named 'add up': expected up to 64"),
        (lambda: 1, {}, "a tool named '<lambda>': expected up to 64"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(function: Any, options: Any, said: str) -> None:
    """With what to write instead."""
    with pytest.raises((TypeError, ValueError), match=said):
        tool(function, **options)


def test_types_of_the_function_around_are_found() -> None:
    """An annotation may name a class that is local."""

    class Local(msgspec.Struct):
        x: int

    @tool
    def use(local: Local) -> None: ...

    assert use.decode('{"local": {"x": 1}}') == {"local": Local(1)}


class Lights:
    """A lamp."""

    def __init__(self) -> None:
        self.on = False

    @tool(timeout_seconds=5)
    def switch(self, on: bool) -> None:
        """Switch the light."""
        self.on = on

    def dim(self, percent: int) -> None:
        """Dim the light."""

    def __call__(self, colour: str) -> None:
        """Colour the light."""


def test_methods_are_tools() -> None:
    """Decorated methods, plain methods, callable objects and partials are tools."""
    lights = Lights()
    box = Toolbox([lights.switch, lights.dim, lights, tool(functools.partial(google, 1), name="more")])
    assert box.names == ("switch", "dim", "Lights", "more")
    assert [each.description for each in box] == ["Switch the light.", "Dim the light.", "Colour the light.", "Add."]
    assert [list(each.parameters["properties"]) for each in box] == [["on"], ["percent"], ["colour"], ["b"]]
    assert lights.switch.timeout_seconds == 5
    lights.switch(True)
    assert lights.on


def test_a_schema_may_be_given() -> None:
    """For functions that are described elsewhere: what comes in the object is passed."""
    schema = {"type": "object", "properties": {"x": {"type": "number"}}}

    def call(context: ToolContext, **arguments: Any) -> Any:
        return arguments

    made = tool(call, name="remote", description="Far.", parameters=schema)
    assert (made.parameters, made.context) == (schema, ("context",))
    assert made.decode('{"x": [1]}') == {"x": [1]}
    with pytest.raises(ArgumentsError, match="remote: the arguments: expected `object`, got `int`"):
        made.decode("1")


def test_a_toolbox_has_each_name_once() -> None:
    """Two tools of one name are refused, and `repr` lists the names."""
    box = Toolbox([weather, google])
    assert (len(box), "weather" in box, box.get("weather"), box.get("x")) == (2, True, weather, None)
    assert [schema["name"] for schema in box.schemas] == ["weather", "google"]
    assert Toolbox(box).names == box.names
    assert (repr(box), repr(weather)) == ("<Toolbox weather, google>", "<Tool weather(city, days)>")
    with pytest.raises(ValueError, match=r"two tools are named 'google'; rename one with tool\(name=...\)"):
        Toolbox([google, google])
    with pytest.raises(TypeError, match=r"write Toolbox\(\[...\]\)"):
        Toolbox(weather)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Lights\.switch is a method of a class; pass the method of an object"):
        Toolbox([Lights.switch])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, "null"),
        ({"a": [1, 2.5]}, '{"a":[1,2.5]}'),
        (Person("Ann", Place("Riga")), '{"name":"Ann","home":{"city":"Riga","street":""}}'),
        (Unit.CELSIUS, '"c"'),
        ("half \ud800", "half ?"),
    ],
)
def test_answers_are_encoded(value: object, text: str) -> None:
    """A string as it is, anything else as JSON."""
    assert encode(value) == text


def test_a_misspelled_option() -> None:
    """The error names the function or class and the nearest option."""
    options: dict[str, Any] = {"time_out": 5}
    with pytest.raises(TypeError, match=r"^tool\(time_out=\.\.\.\): .*did you mean timeout_seconds=\?$"):
        tool(**options)
    with pytest.raises(TypeError, match=r"^Toolbox\(tool=\.\.\.\): .*did you mean tools=\?$"):
        Toolbox(tool=[])  # type: ignore[call-arg]
