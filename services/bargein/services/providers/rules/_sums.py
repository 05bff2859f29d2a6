"""Sums as they are spoken or written: "seven times six", "a hundred and five divided by three", "15% of 80"."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["calculate_text", "is_sum"]

_NUMBERS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES: Final = {word: n for n, word in enumerate(_NUMBERS.split())} | {
    word: 10 * n for n, word in enumerate(_TENS.split(), 2)
}
_SCALES: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_SIGNS: Final = (
    (r"(?<=\d),(?=\d{3})|\b(please|equals?)\b|[?!=.,\s]+$", ""), (r"(?<=ty)-(?=[a-z])", " "),
    (r"\bto the power of\b|\^", "**"), (r"\bsquared\b", "** 2"), (r"(%|\bper ?cent) of\b", "/ 100 *"),
    (r"\bhalf of\b", "0.5 *"), (r"\b(divided by|over)\b|÷", "/"), (r"\b(multiplied by|times|x)\b|×", "*"),
    (r"\bplus\b", "+"), (r"\b(minus|take away)\b", "-"), (r"\btoo?\b", "two"), (r"\bfor\b", "four"),
)  # fmt: skip
"""What is replaced, in this order. The last two are what recognisers often write for these numbers."""
_OPERATIONS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.USub: operator.neg,
}  # fmt: skip
MAX_VALUE: Final = 1e15
MAX_CHARACTERS: Final = 200


def calculate_text(text: str) -> float:
    """Return the value of a sum, written or spoken. Raises `ValueError` if it is none, and `ZeroDivisionError`."""
    try:
        value = _evaluate(_parse(text))
    except OverflowError:
        value = None
    if not isinstance(value, float) or not abs(value) <= MAX_VALUE:  # a root of a negative number is complex
        raise ValueError("the result is too large")
    return value


def is_sum(text: str) -> bool:
    """Return whether a text is a sum. A number alone is not."""
    try:
        return any(isinstance(node, ast.BinOp) for node in ast.walk(_parse(text)))
    except ValueError:
        return False


def _parse(text: str) -> ast.expr:
    text = text[:MAX_CHARACTERS].lower()
    for pattern, sign in _SIGNS:
        text = re.sub(pattern, sign, text)
    text = _to_digits(re.findall(r"\d+(?:\.\d+)?|[a-z]+|\*\*|\S", text))
    text = re.sub(r"(\d) point ((?:\d+ )*\d+)", lambda match: f"{match[1]}.{match[2].replace(' ', '')}", text)
    if word := re.search(r"[^\d.+\-*/() ]+", text):
        raise ValueError(f"{word[0]!r} is not a number")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("this is not a sum") from None


def _to_digits(words: list[str]) -> str:
    """Return the words with numbers in digits: "two hundred and five" becomes "205"."""
    result: list[str] = []
    total, rest = -1, 0  # the number in progress: its thousands (-1 for no number), and what comes after them
    for word in [*words, ""]:
        value, scale = _VALUES.get(word, -1), _SCALES.get(word, 0)
        if scale:
            amount = (rest or 1) * scale
            total, rest = (max(total, 0), amount) if scale == 100 else (max(total, 0) + amount, 0)
        elif value > 0 and total + rest > 0 and (rest % 100 == 0 or (rest % 100 > 10 > value and rest % 10 == 0)):
            rest += value
        elif word not in ("a", "and"):
            result += [str(total + rest)] * (total >= 0) + [word] * (value < 0)
            total, rest = (0, value) if value >= 0 else (-1, 0)
    return " ".join(result).strip()


def _evaluate(node: ast.expr) -> Any:
    """Return the value. All numbers are floats, so a huge power is an error at once and not a long calculation."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _OPERATIONS:
            return _OPERATIONS[type(sign)](_evaluate(operand))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATIONS:
            return _OPERATIONS[type(sign)](_evaluate(left), _evaluate(right))
    raise ValueError("this is not a sum")
