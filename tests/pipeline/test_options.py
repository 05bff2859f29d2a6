"""A misspelled option is reported with the name of the class and the nearest option."""

from __future__ import annotations

from typing import TypedDict, Unpack

import pytest

from bargein.pipeline import Pass, Pipeline
from bargein.pipeline.lowlevel import check_options


class Base(TypedDict, total=False):
    instructions: str


class More(Base, total=False):
    voice: str


class Model:
    @check_options
    def __init__(self, model: str = "m", *, url: str = "", **options: Unpack[More]) -> None:
        self.given = (model, url, options)


class Plain:
    @check_options
    def __init__(self, first: int, *, decibels: float = 0.0) -> None:
        self.given = (first, decibels)


@check_options
def serve(*, port: int = 0) -> int:
    return port


def test_options_that_exist_are_taken() -> None:
    assert Model("x", url="u", voice="v", instructions="i").given == ("x", "u", {"voice": "v", "instructions": "i"})
    assert Model(model="x").given == ("x", "", {})
    assert Plain(first=1, decibels=3).given == (1, 3)
    assert serve(port=1) == 1


@pytest.mark.parametrize(
    ("option", "nearest"),
    [("modle", "model"), ("instruction", "instructions"), ("vioce", "voice"), ("base_url", "url")],
)
def test_a_typo_names_the_class_and_the_nearest_option(option: str, nearest: str) -> None:
    with pytest.raises(TypeError, match=rf"^Model\({option}=\.\.\.\): .*did you mean {nearest}=\?$"):
        Model(**{option: 1})  # type: ignore[arg-type]


def test_the_options_of_a_session_and_of_a_processor_are_checked() -> None:
    graph = Pipeline(Pass())
    with pytest.raises(TypeError, match=r"^session\(cancel_secnds=\.\.\.\): .*did you mean cancel_seconds=\?$"):
        graph.session(cancel_secnds=1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^options\(max_restart=\.\.\.\): .*did you mean max_restarts=\?$"):
        Pass().options(max_restart=1)  # type: ignore[call-arg]


def test_without_a_near_name_all_options_are_listed() -> None:
    with pytest.raises(TypeError, match=r"^Plain\(xyzzy=\.\.\.\): .*the options are decibels, first$"):
        Plain(1, xyzzy=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^serve\(prot=\.\.\.\): .*did you mean port=\?$"):
        serve(prot=1)  # type: ignore[call-arg]
