"""English words for numbers."""

from __future__ import annotations

from typing import Final

__all__ = ["cardinal", "decimal", "digits", "ordinal", "year"]

ONES: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS: Final = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES: Final = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
IRREGULAR: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MAX_NUMBER: Final = 10**15
"""A number from here on is read digit by digit."""


def cardinal(number: int) -> str:
    """Return a number in words: `1234` is "one thousand two hundred thirty-four".

    Args:
        number: Any integer.
    """
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number >= MAX_NUMBER:
        return digits(str(number))
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    size, name = next(each for each in SCALES if number >= each[0])
    rest = f" {cardinal(number % size)}" if number % size else ""
    return f"{cardinal(number // size)} {name}{rest}"


def ordinal(number: int) -> str:
    """Return the place of a number in words: `21` is "twenty-first".

    Args:
        number: Zero or more.
    """
    words = cardinal(number)
    at = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[at:]
    return words[:at] + IRREGULAR.get(last, last[:-1] + "ieth" if last.endswith("y") else last + "th")


def year(number: int) -> str:
    """Return a year in words: `1984` is "nineteen eighty-four", `2005` "two thousand five".

    Args:
        number: From 1000 to 2999.
    """
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(number)
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """Return each digit of a text in words; other characters are left out.

    Args:
        text: Such as "555-0123".
    """
    return " ".join(ONES[int(each)] for each in text if "0" <= each <= "9")


def decimal(text: str) -> str:
    """Return a number with a sign, commas and decimals in words: "-1,200.5" is "minus one thousand two hundred point
    five".

    Args:
        text: The number.
    """
    sign = "minus " if text[:1] in ("-", "−") else ""
    whole, _, rest = text.lstrip("-−+").replace(",", "").partition(".")
    words = digits(whole) if len(whole) > 1 and whole[0] == "0" else cardinal(int(whole or 0))
    return f"{sign}{words}" + (f" point {digits(rest)}" if rest else "")
