"""A wrong field of an option class or of a frame is reported with the class and the nearest field."""

from __future__ import annotations

import copy

import msgspec
import pytest

from bargein.pipeline import Frame, Text, UserText
from bargein.pipeline.lowlevel import CheckedFields
from bargein.services.transports import SessionLimits


class Options(msgspec.Struct, metaclass=CheckedFields, frozen=True):
    name: str
    share: float = 0.5
    sizes: list[int] = []


class More(Options, frozen=True, kw_only=True):
    key: str
    limit: int | None = 3


def test_a_right_construction_gives_what_msgspec_gives() -> None:
    assert Options("a", 0.25) == Options(name="a", share=0.25)
    more = More("a", key="k", limit=None)
    assert (more.name, more.share, more.sizes, more.key, more.limit) == ("a", 0.5, [], "k", None)
    assert Options("a").sizes is not Options("a").sizes
    assert copy.copy(more) == msgspec.structs.replace(more, share=0.5) == more
    assert msgspec.json.decode(msgspec.json.encode(more), type=More) == more


@pytest.mark.parametrize(
    ("kind", "values", "fields", "message"),
    [
        (Options, "a", {"shar": 0.25}, "Options(shar=0.25): there is no such field; did you mean share=?"),
        (Options, "a", {"k": None}, "Options(k=None): there is no such field; the options are name, share, sizes"),
        (More, "a", {"kye": "secret"}, "More(kye=...): there is no such field; did you mean key=?"),
        (Options, "", {}, "Options() lacks its name; write Options(name=...)"),
        (More, "a", {}, "More() lacks its key; write More(key=...)"),
        (Options, "abcd", {}, "Options takes name, share, sizes by position, not 4 values; write Options(field=...)"),
        (
            SessionLimits,
            "a",
            {},
            "SessionLimits takes nothing by position, not 1 values; write SessionLimits(field=...)",
        ),
        (UserText, "a", {"item": "x"}, "UserText(item=...): there is no such field; did you mean item_id=?"),
    ],
)
def test_a_wrong_construction_names_the_class_and_the_field(
    kind: type[msgspec.Struct], values: str, fields: dict[str, object], message: str
) -> None:
    """Numbers are shown. Texts are not, since they may be keys or the user's words."""
    with pytest.raises(TypeError) as raised:
        kind(*values, **fields)
    assert str(raised.value) == message


def test_a_frame_of_media_rate_and_a_frame_class_of_the_user_are_checked() -> None:
    class Emotion(Frame, frozen=True):
        label: str

    with pytest.raises(TypeError, match=r"^Text\(txt=\.\.\.\): .*did you mean text=\?$"):
        Text(txt="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Emotion\(lable=\.\.\.\): .*did you mean label=\?$"):
        Emotion(lable="x")  # type: ignore[call-arg]


def test_a_field_that_is_given_twice_is_named() -> None:
    with pytest.raises(TypeError, match=r"^Options\(\) has its name twice: by position and by name$"):
        Options("a", name="a")  # type: ignore[misc]


def test_an_error_of_the_class_itself_is_not_replaced() -> None:
    class Odd(Options, frozen=True):
        def __post_init__(self) -> None:
            raise TypeError("an odd name")

    with pytest.raises(TypeError, match=r"^an odd name$"):
        Odd("a")
