"""The tools that the built-in rules call."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bargein.services.tools.tool import Tool, ToolError, tool

from ._numbers import calculate_text, format_number

__all__ = ["TOOLS", "calculate", "current_time", "set_timer", "weather"]

PLACES: Final[dict[str, tuple[str, str, int]]] = {
    "Amsterdam": ("Europe/Amsterdam", "windy", 14),
    "Athens": ("Europe/Athens", "sunny", 28),
    "Berlin": ("Europe/Berlin", "cloudy", 17),
    "Cairo": ("Africa/Cairo", "hot", 34),
    "Chicago": ("America/Chicago", "windy", 12),
    "Delhi": ("Asia/Kolkata", "hazy", 33),
    "Dublin": ("Europe/Dublin", "rainy", 13),
    "Hamburg": ("Europe/Berlin", "rainy", 15),
    "Helsinki": ("Europe/Helsinki", "cold", 4),
    "Lisbon": ("Europe/Lisbon", "sunny", 24),
    "London": ("Europe/London", "rainy", 14),
    "Los Angeles": ("America/Los_Angeles", "sunny", 25),
    "Madrid": ("Europe/Madrid", "sunny", 27),
    "New York": ("America/New_York", "cloudy", 16),
    "Oslo": ("Europe/Oslo", "snowy", -2),
    "Paris": ("Europe/Paris", "sunny", 21),
    "Rome": ("Europe/Rome", "sunny", 26),
    "San Francisco": ("America/Los_Angeles", "foggy", 16),
    "Sydney": ("Australia/Sydney", "sunny", 23),
    "Tokyo": ("Asia/Tokyo", "cloudy", 19),
    "Vienna": ("Europe/Vienna", "cloudy", 18),
    "Zurich": ("Europe/Zurich", "cloudy", 16),
}
"""Time zone, weather and degrees Celsius of each place. The weather is a fixed table, not a forecast."""
MAX_TIMER_SECONDS: Final = 24 * 3600
_NAMES: Final = {name.lower(): name for name in PLACES}


def _find_place(name: str) -> str:
    """Return the place with this name or a similar one, as a recogniser may have misheard it. Raises `ToolError`."""
    similar = difflib.get_close_matches(" ".join(name.lower().split()), _NAMES, n=1, cutoff=0.7)
    if not similar:
        raise ToolError(f"I do not know {name.strip()[:40] or 'that place'}; my table has {len(PLACES)} cities")
    return _NAMES[similar[0]]


@tool
def current_time(city: str | None = None) -> dict[str, Any]:
    """Return the time of day, here or in a city.

    Args:
        city: The city's English name; None for the time here.
    """
    if city is None or not city.strip():
        return {"time": datetime.now().astimezone().strftime("%H:%M"), "city": None}
    place = _find_place(city)
    try:
        zone = ZoneInfo(PLACES[place][0])
    except ZoneInfoNotFoundError:
        raise ToolError(f"I cannot tell the time in {place}: this machine has no table of time zones") from None
    return {"time": datetime.now(zone).strftime("%H:%M"), "city": place}


@tool
def weather(city: str) -> dict[str, Any]:
    """Return the weather in a city, from a small fixed table: good for trying things out, no forecast.

    Args:
        city: The city's English name.
    """
    place = _find_place(city)
    _, sky, degrees = PLACES[place]
    return {"city": place, "sky": sky, "degrees": degrees, "source": "a fixed table, no forecast"}


@tool
def calculate(expression: str) -> dict[str, Any]:
    """Calculate a sum, written or spoken.

    Args:
        expression: A sum such as `7 * (6 + 1)` or `seven times six`.
    """
    try:
        value = calculate_text(expression)
    except (ValueError, ZeroDivisionError) as error:
        raise ToolError(f"I cannot work that out: {error}") from None
    return {"expression": expression, "result": float(format_number(value)) if value % 1 else int(value)}


@tool
def set_timer(seconds: float) -> dict[str, Any]:
    """Return when a timer that starts now is over. It does not ring.

    Args:
        seconds: The duration in seconds, up to a day.
    """
    if not 0 < seconds <= MAX_TIMER_SECONDS:
        raise ToolError("a timer may take up to a day")
    until = datetime.now(UTC).astimezone() + timedelta(seconds=seconds)
    return {"seconds": seconds, "until": until.strftime("%H:%M:%S")}


TOOLS: Final[list[Tool[..., Any]]] = [current_time, weather, calculate, set_timer]
"""The tools that `SMALL_TALK` calls. Give them to the agent that uses the rules."""
