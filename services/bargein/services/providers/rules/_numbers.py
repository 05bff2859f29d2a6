"""Numbers and sums as they are spoken: "seven times six", "a hundred and five", "ten percent of two hundred"."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Final

__all__ = ["calculated", "is_sum", "number_of", "numeral", "seconds_of", "spoken_seconds"]

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS: Final[dict[str, int]] = {word: n for n, word in enumerate(_ONES)} | {
    word: 10 * n for n, word in enumerate(_TENS, 2)
}
WORDS.update({"fourty": 40, "oh": 0, "nil": 0})
SCALES: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "sec": 1, "min": 60}
LARGEST: Final = 1e15
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[a-z]+|\*\*|[-+*/^()%×÷]")
_COURTESY = re.compile(r"^(?:for|to|of|in)\b|\b(?:please|now|then|for me|thanks|thank you|equals?(?: to)?)$|[?!.,=]+$")
_PHRASES: Final = (
    ("to the power of", "^"),
    ("multiplied by", "*"),
    ("divided by", "/"),
    ("square root of", "root"),
    ("percent of", "% *"),
    ("per cent of", "% *"),
    ("% of", "% *"),
    ("half of", "0.5 *"),
    ("squared", "^ 2"),
    ("cubed", "^ 3"),
)
_SYMBOLS: Final = {
    "plus": "+", "and": "+", "add": "+", "minus": "-", "less": "-", "times": "*", "x": "*", "over": "/", "by": "/",
    "×": "*", "÷": "/", "**": "^", "percent": "%", "negative": "-",
}  # fmt: skip
_DO: Final[dict[str, Callable[[float, float], float]]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


class _Sum:
    """A sum's tokens, read from left to right. Raises `ValueError` where they are none."""

    def __init__(self, text: str) -> None:
        text = _bare(text)
        text = f" {text.lower().replace('-', ' - ') if re.search('[0-9]', text) else text.lower().replace('-', ' ')} "
        for phrase, sign in _PHRASES:
            text = text.replace(f" {phrase} ", f" {sign} ")
        self.tokens = _TOKEN.findall(text)
        self.at = 0
        self.depth = 0
        self.done = 0  # how much there was to work out

    def peek(self) -> str:
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        return _SYMBOLS.get(token, token)

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        self.done += token in ("+", "-", "*", "/", "^", "%", "root")
        return token

    def sum(self) -> float:
        value = self.product()
        while self.peek() in ("+", "-"):
            value = _bounded(_DO[self.take()](value, self.product()))
        return value

    def product(self) -> float:
        value = self.power()
        while self.peek() in ("*", "/"):
            sign, other = self.take(), self.power()
            if sign == "/" and other == 0:
                raise ZeroDivisionError("nothing can be divided by zero")
            value = _bounded(value * other if sign == "*" else value / other)
        return value

    def power(self) -> float:
        base = self.value()
        while self.peek() == "%":
            self.take()
            base /= 100
        if self.peek() != "^":
            return base
        self.take()
        exponent = self.power()
        if base < 0 and exponent != int(exponent):
            raise ValueError("it has no real answer")
        if base == 0 and exponent < 0:
            raise ZeroDivisionError("nothing can be divided by zero")
        if base and abs(exponent) * math.log10(abs(base) + 1) > 30:
            raise ValueError("it is too large")
        return _bounded(float(base**exponent))

    def value(self) -> float:
        self.depth += 1
        if self.depth > 100:
            raise ValueError("it is too long")
        token = self.peek()
        if token == "-":
            self.take()
            return -self.value()
        if token == "root":
            self.take()
            inner = self.value()
            if inner < 0:
                raise ValueError("it has no real answer")
            return math.sqrt(inner)
        if token == "(":
            self.take()
            inner = self.sum()
            if self.take() != ")":
                raise ValueError("a bracket is open")
            return inner
        return self.number()

    def number(self) -> float:
        return _bounded(self.read())

    def read(self) -> float:
        """`42`, `1,000.5`, `two hundred and five`, `three point one four`, `half`."""
        token = self.take()
        if token in ("the", "a", "an") and self.peek() in (*SCALES, "half", "root", *WORDS):
            if self.peek() in SCALES:
                return self.words(1.0)
            return self.value()
        if token == "half":
            return 0.5
        if token[:1].isdigit():
            value = float(re.sub(r",(?=\d{3}\b)", "", token).replace(",", "."))
            return self.words(value) if self.peek() in SCALES else value
        if token not in WORDS:
            raise ValueError(f"{token!r} is no number" if token else "something is missing")
        return self.words(float(WORDS[token]))

    def words(self, now: float) -> float:
        """The words of a number that go on from `now`."""
        total = 0.0
        while True:
            token = self.tokens[self.at] if self.at < len(self.tokens) else ""
            after = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else ""
            if token in WORDS and 20 <= now % 100 <= 90 and now % 10 == 0 and WORDS[token] < 10:
                now += WORDS[token]  # thirty four
            elif token in WORDS and now and now % 100 == 0:
                now += WORDS[token]  # two hundred four
            elif token == "and" and after in WORDS and (now and now % 100 == 0):
                now += WORDS[after]  # two hundred and four
                self.at += 1
            elif token == "hundred":
                now *= 100
            elif token in SCALES:
                total, now = total + now * SCALES[token], 0.0
                if after == "and":
                    self.at += 1
                nxt = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else ""
                if nxt in WORDS:
                    now = float(WORDS[nxt])
                    self.at += 1
            elif token == "point" and (after in WORDS or after.isdigit()):
                self.at += 1
                return total + now + self.decimals()
            else:
                return total + now
            self.at += 1

    def decimals(self) -> float:
        digits = ""
        while (token := self.tokens[self.at] if self.at < len(self.tokens) else "") in WORDS or token.isdigit():
            digits += token if token.isdigit() else str(WORDS[token])
            self.at += 1
        return float(f"0.{digits[:12]}")


def calculated(text: str) -> float:
    """What a sum comes to. Raises `ValueError` for what is none, and `ZeroDivisionError`."""
    sum_ = _Sum(text[:500])
    value = sum_.sum()
    if sum_.at < len(sum_.tokens):
        raise ValueError(f"{sum_.tokens[sum_.at]!r} is no part of a sum")
    return value


def is_sum(text: str) -> bool:
    """Whether there is something to work out; a number alone is none."""
    sum_ = _Sum(text[:500])
    try:
        sum_.sum()
    except ZeroDivisionError:
        return True
    except ValueError:
        return False
    return sum_.done > 0 and sum_.at >= len(sum_.tokens)


def _bare(text: str) -> str:
    """Without the words around."""
    while (bare := _COURTESY.sub("", text.strip().lower())) != text:
        text = bare
    return text


def _bounded(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError("it is too large")
    return value


def number_of(text: str) -> float | None:
    """The one number that a text is; None where it is none."""
    try:
        return calculated(text)
    except (ValueError, ZeroDivisionError):
        return None


def numeral(value: float) -> str:
    """A number as a sentence has it: no `.0`, at most four decimals."""
    shown = f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < LARGEST else f"{value:.4g}"
    return "0" if shown == "-0" else shown


def seconds_of(text: str) -> float | None:
    """A duration as it is spoken, in seconds: "five minutes", "an hour and a half", "ninety"; None where it is none."""
    total, rest = 0.0, _bare(text).replace("-", " ")
    rest = re.sub(r"\b(?:an? )?half an? (hour|minute)", r"0.5 \1", rest)
    rest = re.sub(r"\b(hour|minute)s? and a half", r"\1 and 0.5 \1", rest)
    pieces = re.split(rf"\b({'|'.join(UNITS)})s?\b", rest)
    for amount, unit in zip(pieces[::2], pieces[1::2], strict=False):
        words = re.sub(r"^\s*(?:and|,)\s*", "", amount).strip()
        value = 1.0 if words in ("a", "an", "one") else number_of(words)
        if value is None:
            return None
        total += value * UNITS[unit]
    left = pieces[-1].strip(" .,")
    if left:
        return number_of(left) if len(pieces) == 1 else None
    return total or None


def spoken_seconds(seconds: float) -> str:
    """A duration for a sentence: `1 hour and 5 minutes`."""
    whole, parts = round(seconds), []
    for unit, size in (("hour", 3600), ("minute", 60), ("second", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {unit}{'s' * (count != 1)}")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts or ["0 seconds"])
