"""The checks that constructors share."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bargein.pipeline.lowlevel import check_instance, check_not_negative, check_positive, unwrap_exception


@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, math.inf, -math.inf])
def test_values_that_are_not_positive(value: float) -> None:
    with pytest.raises(ValueError, match=r"Part\(wait_seconds=.*\): expected a positive number of seconds"):
        check_positive("Part", wait_seconds=value)


def test_positive_values_pass() -> None:
    check_positive("Part", count=1, wait_ms=0.001, limit=None)
    check_positive("Part", infinite=True, wait_seconds=math.inf)


def test_the_unit_and_the_way_out_are_named() -> None:
    with pytest.raises(ValueError, match=r"Part\(fade_ms=0\): expected a positive number of milliseconds, or math.inf"):
        check_positive("Part", infinite=True, fade_ms=0)


def test_a_group_of_one_is_unwrapped() -> None:
    inner = OSError("no route")
    assert unwrap_exception(inner) is inner
    assert unwrap_exception(ExceptionGroup("outer", [ExceptionGroup("inner", [inner])])) is inner


def test_a_group_of_several_stays() -> None:
    several = ExceptionGroup("both", [OSError("one"), OSError("two")])
    assert unwrap_exception(ExceptionGroup("outer", [several])) is several


def test_zero_is_not_negative() -> None:
    check_not_negative("Part", fade_ms=0, count=3)
    with pytest.raises(ValueError, match=r"Part\(fade_ms=-1\): expected milliseconds, 0 or more"):
        check_not_negative("Part", fade_ms=-1)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"Part\(count=.*\): expected a number, 0 or more"):
            check_not_negative("Part", count=value)


@pytest.mark.parametrize("check", [check_positive, check_not_negative])
def test_a_setting_of_the_environment_is_a_string(check: Callable[..., None]) -> None:
    with pytest.raises(TypeError, match=r"Part\(wait_ms='500'\): expected a number, not str"):
        check("Part", wait_ms="500")


def test_an_instance_of_another_class_is_refused() -> None:
    check_instance("Part", dict, extra={}, other=None)
    with pytest.raises(TypeError, match=r"Part\(extra=...\): got list; write extra=dict\(...\)"):
        check_instance("Part", dict, extra=["the user's words"])
