"""How English texts are said: patterns of what is written, each with a function that returns its words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ._english_numbers import cardinal, decimal, digits, ordinal, year

__all__ = ["RULES", "Rule"]

MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTH: Final = r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"  # noqa: E501
_NUMBER: Final = r"[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_SCALE: Final = r"(?:\s?(?P<scale>thousand|million|billion|trillion|[kKMB]\b|bn\b))?"
SCALES: Final = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion"}
MONEY: Final = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "pence"), "¥": ("yen", "")}
UNITS: Final = {
    "km": "kilometer",
    "m": "meter",
    "cm": "centimeter",
    "mm": "millimeter",
    "mi": "mile",
    "ft": "foot",
    "kg": "kilogram",
    "g": "gram",
    "mg": "milligram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "l": "liter",
    "L": "liter",
    "ml": "milliliter",
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "min": "minute",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "kB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "Hz": "hertz",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "GHz": "gigahertz",
    "W": "watt",
    "kW": "kilowatt",
    "V": "volt",
    "km/h": "kilometer per hour",
    "mph": "mile per hour",
}
ABBREVIATIONS: Final = {
    "Dr.": "Doctor",
    "Mr.": "Mister",
    "Mrs.": "Missus",
    "Ms.": "Miz",
    "Prof.": "Professor",
    "Jr.": "Junior",
    "Sr.": "Senior",
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "et cetera",
    "vs.": "versus",
    "vs": "versus",
    "approx.": "approximately",
    "Ave.": "Avenue",
    "Blvd.": "Boulevard",
    "Rd.": "Road",
    "Apt.": "Apartment",
    "a.m.": "A M",
    "p.m.": "P M",
    "&": "and",
    "w/": "with",
}
SIGNS: Final = {".": "dot", "-": "dash", "_": "underscore", "+": "plus", "/": "slash", "@": "at", "?": "question mark"}
SIGNS_OF_ADDRESSES: Final = SIGNS | {"=": "equals", "&": "and", "#": "hash", ":": "colon", "%": "percent", "~": "tilde"}
HALVES: Final = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def _plural(name: str, one: bool) -> str:
    first, *rest = name.split(" ", 1)
    if not one and first not in ("hertz", "kilohertz", "megahertz", "gigahertz", "yen", "pence"):
        first = {"foot": "feet"}.get(first, first + "s")
    return " ".join((first, *rest))


def _address(text: str) -> str:
    """Return an address with its signs and digits in words."""
    parts = re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", text)
    return " ".join(digits(each) if each.isdigit() else SIGNS_OF_ADDRESSES.get(each, each) for each in parts)


def _url(match: re.Match[str]) -> str:
    return _address(re.sub(r"^https?://|/$", "", match[0]))


def _month_name(text: str) -> str:
    return next(each for each in MONTHS if each.startswith(text[:3]))


def _date(month: str, day: str, number: str | None) -> str:
    return f"{month} {ordinal(int(day))}" + (f", {year(int(number))}" if number else "")


def _numeric_date(match: re.Match[str]) -> str | None:
    number, month, day = match["y"], int(match["m"]), int(match["d"])
    if not (1 <= month <= 12 and 1 <= day <= 31 and 1000 <= int(number) < 3000):
        return None
    return _date(MONTHS[month - 1], match["d"], number)


def _month_day(match: re.Match[str]) -> str | None:
    return _date(_month_name(match["month"]), match["d"], match["y"]) if 1 <= int(match["d"]) <= 31 else None


def _day_month(match: re.Match[str]) -> str | None:
    if not 1 <= int(match["d"]) <= 31:
        return None
    the = match["the"] or "the "
    return f"{the}{ordinal(int(match['d']))} of {_month_name(match['month'])}" + (
        f" {year(int(match['y']))}" if match["y"] else ""
    )


def _time(match: re.Match[str]) -> str | None:
    hour, minute = int(match["h"]), int(match["min"] or 0)
    if hour > 24 or minute > 59:
        return None
    half = f" {match['half'][0].upper()} M" if match["half"] else ""
    if not minute:
        return cardinal(hour) + (half or " o'clock" if 0 < hour < 13 else " hundred")
    return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}{half}"


def _phone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(digits(each) for each in re.findall(r"\d+", match[0]))


def _money(match: re.Match[str]) -> str:
    name, small = MONEY[match["sign"]]
    amount, scale = match["n"], match["scale"]
    if scale:
        return f"{decimal(amount)} {SCALES.get(scale.lower(), scale)} {_plural(name, False)}"
    whole, _, rest = amount.replace(",", "").partition(".")
    if len(rest) != 2 or not small:
        return f"{decimal(amount)} {_plural(name, whole == '1' and not rest)}"
    parts = [f"{cardinal(int(whole))} {_plural(name, int(whole) == 1)}"] if int(whole) or not int(rest) else []
    if int(rest):
        parts.append(f"{cardinal(int(rest))} {_plural(small, int(rest) == 1)}")
    return " and ".join(parts)


def _unit(match: re.Match[str]) -> str:
    return f"{decimal(match['n'])} {_plural(UNITS[match['unit']], match['n'] in ('1', '-1'))}"


def _degrees(match: re.Match[str]) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit"}.get(match["scale"] or "", "")
    return f"{decimal(match['n'])} {_plural('degree', match['n'] in ('1', '-1'))}{scale}"


def _fraction(match: re.Match[str]) -> str | None:
    above, below = int(match["a"]), int(match["b"])
    if not 0 < above < below <= 20:
        return None
    one, many = HALVES.get(below, (ordinal(below), ordinal(below) + "s"))
    return f"{cardinal(above)} {one if above == 1 else many}"


def _range(match: re.Match[str]) -> str:
    return f"{_plain(match['a'])} to {_plain(match['b'])}"


def _plain(text: str) -> str:
    """Return a number in words; one of four digits from 1100 to 2099 is a year."""
    if text.isdigit() and len(text) == 4 and 1100 <= int(text) < 2100:
        return year(int(text))
    return decimal(text)


def _saint(match: re.Match[str]) -> str:
    return "Saint" if match["next"] else "Street"


Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]]
_units = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_abbreviations = "|".join(sorted(map(re.escape, ABBREVIATIONS), key=len, reverse=True))

RULES: Final[tuple[Rule, ...]] = tuple(
    (re.compile(pattern), function)
    for pattern, function in (
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", lambda match: _address(match[0])),
        (r"(?:https?://|www\.)[^\s,;!)\"”]*[\w/]", _url),
        (r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|dev|ai|edu|gov|uk|de)\b(?:/[\w./-]*\w)?", _url),
        (r"\b(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})\b", _numeric_date),
        (r"\b(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})\b", _numeric_date),
        (rf"\b{_MONTH} (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?![:.]\d)(?:,? (?P<y>\d{{4}})\b)?", _month_day),
        (rf"\b(?P<the>the )?(?P<d>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}(?: (?P<y>\d{{4}})\b)?", _day_month),
        (r"\b(?P<h>\d{1,2}):(?P<min>\d{2})(?:\s?(?P<half>[AaPp]\.?[Mm]\b\.?))?(?![\d:])", _time),
        (r"\b(?P<h>\d{1,2})(?P<min>)\s?(?P<half>[AaPp]\.?[Mm]\b\.?)", _time),
        (r"(?:\+\d{1,3}[ -])?(?:\(\d{3}\) ?|\b\d{3}[-. ])\d{3}[-. ]\d{4}\b", _phone),
        (r"\+\d{1,3}(?:[ -]\d{2,5}){2,5}\b|\b\d{3}-\d{4}\b", _phone),
        (rf"(?P<sign>[$€£¥])(?P<n>{_NUMBER}){_SCALE}", _money),
        (rf"(?P<n>{_NUMBER})\s?%", lambda match: f"{decimal(match['n'])} percent"),
        (rf"(?P<n>{_NUMBER})\s?°\s?(?P<scale>[CF]\b)?", _degrees),
        (rf"(?<![\w.])(?P<n>{_NUMBER})\s?(?P<unit>{_units})(?![\w/'’])", _unit),
        (r"\b(?P<n>\d+)(?:st|nd|rd|th)\b", lambda match: ordinal(int(match["n"]))),
        (r"(?<![\w.,/-])(?P<a>\d{1,4}) ?[-–] ?(?P<b>\d{1,4})(?![\w/-]|[.,]\d)", _range),
        (r"(?<![\w./])(?P<a>\d{1,2})/(?P<b>\d{1,2})(?![\w/])", _fraction),
        (r"(?:\bNo\. ?|#)(?P<n>\d+)\b", lambda match: f"number {decimal(match['n'])}"),
        (r"\bSt\.(?= ?(?P<next>[A-Z])?)", _saint),
        (rf"(?<![\w.])(?:{_abbreviations})(?!\w)", lambda match: ABBREVIATIONS[match[0]]),
        (rf"(?<![\w.,-]){_NUMBER}(?!\w|[.,-]?\d)", lambda match: _plain(match[0])),
    )
)
"""The first rule whose pattern is found at a place decides. One that returns None leaves it to the next."""
