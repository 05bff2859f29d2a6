"""Sums as they are spoken or written: "seven times six", "a hundred and five divided by three", "7 * (6 + 1)"."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Final

__all__ = ["calculate_text", "is_sum"]

_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES: Final = {word: n for n, word in enumerate(_ONES.split(" "))} | {
    word: 10 * n for n, word in enumerate(_TENS.split(" "), 2)
}
_SCALES: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_SIGNS: Final = {"plus": "+", "minus": "-", "times": "*", "x": "*", "×": "*", "over": "/", "÷": "/"}
_OPERATIONS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
MAX_VALUE: Final = 1e15
MAX_CHARACTERS: Final = 200


def calculate_text(text: str) -> float:
    """Return the value of a sum, written or spoken.

    Raises:
        ValueError: The text is not a sum, or its value is too large.
        ZeroDivisionError: The sum divides by zero.
    """
    return _evaluate(_parse(text))


def is_sum(text: str) -> bool:
    """Return whether a text is a sum. A number alone is not."""
    try:
        return any(isinstance(node, ast.BinOp) for node in ast.walk(_parse(text)))
    except ValueError:
        return False


def _parse(text: str) -> ast.expr:
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text[:MAX_CHARACTERS].lower())
    text = re.sub(r"\bplease\b|[?!=.,\s]+$", "", text)
    text = text.replace("divided by", "/").replace("multiplied by", "*")
    text = re.sub(r"(?<=ty)-(?=[a-z])", " ", text)  # thirty-four
    text = _to_digits([_SIGNS.get(word, word) for word in re.findall(r"\d+(?:\.\d+)?|[a-z]+|\S", text)])
    if word := re.search(r"[^\d.+\-*/() ]+", text):
        raise ValueError(f"{word[0]!r} is not a number")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("this is not a sum") from None


def _to_digits(words: list[str]) -> str:
    """Return the words with numbers in digits: "two hundred and five" becomes "205"."""
    result: list[str] = []
    total: int | None = None  # the number in progress: its millions and thousands
    rest = 0  # and what comes after them
    for word in [*words, ""]:
        value = _VALUES.get(word)
        if word in _SCALES:
            scale, amount = _SCALES[word], (rest or 1) * _SCALES[word]
            total, rest = (total or 0, amount) if scale == 100 else ((total or 0) + amount, 0)
        elif value is not None and total is not None and (rest % 100 == 0 or (rest % 10 == 0 and value < 10)):
            rest += value
        elif word not in ("a", "and"):
            if total is not None:
                result.append(str(total + rest))
            total, rest = (None, 0) if value is None else (0, value)
            if value is None:
                result.append(word)
    return " ".join(result).strip()


def _evaluate(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            result = float(min(value, 2 * MAX_VALUE))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            result = -_evaluate(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATIONS:
            one, other = _evaluate(left), _evaluate(right)
            if other == 0 and isinstance(sign, ast.Div):
                raise ZeroDivisionError("nothing can be divided by zero")
            result = _OPERATIONS[type(sign)](one, other)
        case _:
            raise ValueError("this is not a sum")
    if abs(result) > MAX_VALUE:
        raise ValueError("it is too large")
    return result
