"""The tools that the built-in rules call. Any language model can use them."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bargein.services.tools.tool import Tool, ToolError, tool

from ._sums import calculate_text

__all__ = ["TOOLS", "calculate", "current_date", "current_time", "weather"]

CITIES: Final[dict[str, tuple[str, str, int]]] = {
    "Amsterdam": ("Europe/Amsterdam", "windy", 14), "Berlin": ("Europe/Berlin", "cloudy", 17),
    "Cairo": ("Africa/Cairo", "hot", 34), "Lisbon": ("Europe/Lisbon", "sunny", 24),
    "London": ("Europe/London", "rainy", 14), "New York": ("America/New_York", "cloudy", 16),
    "Oslo": ("Europe/Oslo", "snowy", -2), "Paris": ("Europe/Paris", "sunny", 21),
    "Rome": ("Europe/Rome", "sunny", 26), "San Francisco": ("America/Los_Angeles", "foggy", 16),
    "Sydney": ("Australia/Sydney", "sunny", 23), "Tokyo": ("Asia/Tokyo", "cloudy", 19),
}  # fmt: skip
"""Time zone, weather and degrees Celsius of each city. The weather is a fixed table, not a forecast."""


def _find_city(name: str) -> str:
    """Return the city with this name or a similar one, as a recogniser may have misheard it. Raises `ToolError`."""
    names = {each.lower(): each for each in CITIES}
    similar = difflib.get_close_matches(" ".join(name.lower().split()), names, n=1, cutoff=0.7)
    if not similar:
        raise ToolError(f"I do not know {name.strip()[:40] or 'that city'}; my table has {len(CITIES)} cities")
    return names[similar[0]]


def _now(city: str | None) -> tuple[datetime, str]:
    """Return the time here or in a city, and the place in words. Raises `ToolError`."""
    if city is None or not city.strip():
        return datetime.now().astimezone(), "here"
    name = _find_city(city)
    try:
        return datetime.now(ZoneInfo(CITIES[name][0])), f"in {name}"
    except ZoneInfoNotFoundError:
        raise ToolError(f"I cannot tell the time in {name}: this machine has no table of time zones") from None


@tool
def current_time(city: str | None = None) -> dict[str, Any]:
    """Return the time of day, here or in a city.

    Args:
        city: The city's English name; None for the time here.
    """
    now, place = _now(city)
    return {"time": f"{now:%H:%M}", "place": place}


@tool
def current_date(city: str | None = None) -> dict[str, Any]:
    """Return the weekday and the date of today, here or in a city.

    Args:
        city: The city's English name; None for the date here.
    """
    now, place = _now(city)
    return {"date": f"{now:%A}, {now.day} {now:%B %Y}", "place": place}


@tool
def weather(city: str) -> dict[str, Any]:
    """Return the weather in a city, from a small fixed table: good for trying things out, not a forecast.

    Args:
        city: The city's English name.
    """
    name = _find_city(city)
    _, sky, degrees = CITIES[name]
    return {"city": name, "sky": sky, "degrees": degrees, "source": "a fixed table, not a forecast"}


@tool
def calculate(expression: str) -> dict[str, Any]:
    """Calculate a sum, written or spoken.

    Args:
        expression: A sum such as `7 * (6 + 1)` or `seven times six`.
    """
    try:
        value = round(calculate_text(expression), 4)
    except ZeroDivisionError:
        raise ToolError("I cannot work that out: nothing can be divided by zero") from None
    except ValueError as error:
        raise ToolError(f"I cannot work that out: {error}") from None
    return {"expression": expression, "value": value if value % 1 else int(value)}


TOOLS: Final[list[Tool[..., object]]] = [current_time, current_date, weather, calculate]
"""The tools that `SMALL_TALK` calls. Give them to the agent that uses the rules, or to any other."""
