"""Numbers, sums and durations as they are spoken: "seven times six", "a hundred and five", "an hour and a half"."""

from __future__ import annotations

import ast
import itertools
import math
import operator
import re
from collections.abc import Callable
from typing import Final

__all__ = ["calculate_text", "format_number", "format_seconds", "is_sum", "parse_number", "parse_seconds"]

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
WORDS: Final = {word: n for n, word in enumerate(re.findall(r"\w+", _ONES))} | {
    word: 10 * n for n, word in enumerate(re.findall(r"\w+", _TENS), 2)
}
SCALES: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
UNITS: Final = {"hour": 3600, "minute": 60, "second": 1}
MAX_VALUE: Final = 1e15
MAX_CHARACTERS: Final = 200
_COURTESY = re.compile(
    r"^(?:for|to|of|in|the)\b|\b(?:please|now|then|for me|thanks|thank you|equals?(?: to)?)$|[?!.,=]+$"
)
_OPERATORS: Final = (
    (r"\bto the power of\b|\^", " ** "),
    (r"\bsquared\b", " ** 2 "),
    (r"\bmultiplied by\b|\btimes\b|×|(?<=\d)\s*x\s*(?=\d)", " * "),
    (r"\bdivided by\b|\bover\b|÷", " / "),
    (r"(?:\bper ?cent|%) of\b", " / 100 * "),
    (r"\bhalf of\b", " 0.5 * "),
    (r"\bplus\b", " + "),
    (r"\bminus\b", " - "),
)
_OPERATIONS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def calculate_text(text: str) -> float:
    """Return the value of a sum, written or spoken. Raises `ValueError` and `ZeroDivisionError` with a reason."""
    return _evaluate(_parse(text))


def is_sum(text: str) -> bool:
    """Return whether a text is a sum. A number alone is not."""
    try:
        tree = _parse(text)
        _evaluate(tree)
    except ZeroDivisionError:
        return True
    except ValueError:
        return False
    return any(isinstance(node, ast.BinOp) for node in ast.walk(tree))


def parse_number(text: str) -> float | None:
    """Return the number that a text is; None if it is not one."""
    try:
        return calculate_text(text)
    except (ValueError, ZeroDivisionError):
        return None


def _parse(text: str) -> ast.expr:
    text = _strip_courtesy(text[:MAX_CHARACTERS])
    for pattern, symbol in _OPERATORS:
        text = re.sub(pattern, symbol, text)
    text = _to_digits(text)
    if word := re.search(r"[^\d.+\-*/() ]+", text):
        raise ValueError(f"{word[0]!r} is not a number")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("this is not a sum") from None


def _evaluate(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return _check(float(value) if value < MAX_VALUE else math.inf)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATIONS:
            one, other = _evaluate(left), _evaluate(right)
            if (other == 0 and isinstance(sign, ast.Div)) or (one == 0 and other < 0 and isinstance(sign, ast.Pow)):
                raise ZeroDivisionError("nothing can be divided by zero")
            if isinstance(sign, ast.Pow) and abs(other) * math.log10(abs(one) + 1) > math.log10(MAX_VALUE):
                raise ValueError("it is too large")
            result = _OPERATIONS[type(sign)](one, other)
            if isinstance(result, complex):
                raise ValueError("it has no real answer")
            return _check(result)
    raise ValueError("this is not a sum")


def _check(value: float) -> float:
    if abs(value) > MAX_VALUE:
        raise ValueError("it is too large")
    return value


def _strip_courtesy(text: str) -> str:
    """Return the text in lower case, without polite words and punctuation around it."""
    while (stripped := _COURTESY.sub("", text.strip().lower())) != text:
        text = stripped
    return text


def _to_digits(text: str) -> str:
    """Return the text with its numbers in digits: "two hundred and five" becomes "205"."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text.lower()))
    words = [*re.findall(r"\d+(?:\.\d+)?|[a-z]+|\*\*|\S", text), ""]
    result: list[str] = []
    number: list[int | str] = []  # the number in progress: its millions and thousands, its rest, its decimals
    for word, after in itertools.pairwise(words):
        value = WORDS.get(word)
        if number and number[2] and value is not None and value < 10:
            number[2] = f"{number[2]}{value}"
        elif word in SCALES:
            total, rest, _ = number or (0, 1, "")
            scaled = (int(rest) or 1) * SCALES[word]
            number = [int(total), scaled, ""] if word == "hundred" else [int(total) + scaled, 0, ""]
        elif number and value and (int(number[1]) % 100 == 0 or (int(number[1]) % 10 == 0 and value < 10)):
            number[1] = int(number[1]) + value
        elif number and word == "and" and int(number[1]) % 100 == 0 and after in WORDS:
            continue
        elif number and word == "point" and WORDS.get(after, 10) < 10:
            number[2] = "."
        else:
            result += _digits(number)
            number = [] if value is None else [0, value, ""]
            if value is None and not (word in ("a", "an") and after in SCALES):
                result.append(word)
    return " ".join([*result, *_digits(number)])


def _digits(number: list[int | str]) -> list[str]:
    return [f"{int(number[0]) + int(number[1])}{number[2]}"] if number else []


def parse_seconds(text: str) -> float | None:
    """Return a spoken duration in seconds, such as "five minutes" or "an hour and a half"; None if it is not one."""
    text = re.sub(r"\b(?:an? )?half an? (hour|minute)", r"0.5 \1", _strip_courtesy(text[:MAX_CHARACTERS]))
    text = re.sub(r"\b(hour|minute)s? and a half", r"\1 and 0.5 \1", text)
    text = _to_digits(re.sub(r"\ban? (?=hour|minute|second)", "1 ", text))
    pattern = rf"(\d+(?:\.\d+)?) ?({'|'.join(UNITS)})s?"
    parts = re.findall(pattern, text)
    if not parts:
        return parse_number(text)
    if re.sub(r"\band\b|[\s,]", "", re.sub(pattern, "", text)):
        return None
    return sum(float(amount) * UNITS[unit] for amount, unit in parts) or None


def format_number(value: float) -> str:
    """Return a number for a sentence: without `.0`, with at most four decimals."""
    text = f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < MAX_VALUE else f"{value:.4g}"
    return "0" if text == "-0" else text


def format_seconds(seconds: float) -> str:
    """Return a duration for a sentence: `1 hour and 5 minutes`."""
    rest, parts = round(seconds), []
    for unit, size in UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}{'s' * (count != 1)}")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts or ["0 seconds"])
