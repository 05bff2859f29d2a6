"""The tokens of a Whisper model, as text, and a text as tokens."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from functools import cache

__all__ = ["read_tokens", "to_tokens", "without_repetition"]

TIME = re.compile(r"<\|(\d+\.\d\d)\|>")
SPECIAL = re.compile(r"<\|[^|]*\|>")
NOT_SPOKEN = re.compile(r"\[[^\]]*\]|\([^)]*\)|♪")
"""Notes such as `[BLANK_AUDIO]` and `(music)`, which the model writes for sounds that are not words."""


def read_tokens(tokens: Sequence[str], seconds: float) -> str:
    """Return the text of a model's tokens.

    The model hears silence after the sound. There it sometimes invents a segment, or repeats one; the times of the
    segments show which, and those are left out.

    Args:
        tokens: Tokens of the model's vocabulary, among them times such as `<|1.20|>` around each segment.
        seconds: Length of the sound without the silence after it.
    """
    segments: list[str] = []
    piece: list[str] = []
    start = 0.0
    for token in tokens:
        if time := TIME.fullmatch(token):
            at = float(time[1])
            if piece:
                _add_segment(segments, piece, start, seconds)
                piece = []
                if at >= seconds - 0.15:
                    break
            start = at
        elif not SPECIAL.fullmatch(token):
            piece.append(token)
    if piece and (start < seconds - 0.1 or not segments):
        segments.append(_decode(piece))
    text = " ".join(NOT_SPOKEN.sub(" ", "".join(segments)).split())
    return without_repetition(text) if any(map(str.isalnum, text)) else ""


def _add_segment(segments: list[str], piece: list[str], start: float, seconds: float) -> None:
    text = _decode(piece)
    if text in segments and start >= seconds - 0.6:
        return
    if start < seconds + 0.3:
        segments.append(text)


def without_repetition(text: str) -> str:
    """Return a text that consists of one repeated phrase, of three words or more, with the phrase once.

    A decoder with a short context is sometimes caught in such a loop.
    """
    words = text.split()
    keys = [re.sub(r"[^a-z0-9']", "", each.lower()) for each in words]
    for length in range(3, len(words) // 2 + 1):
        if all(key == keys[at % length] for at, key in enumerate(keys)):
            return " ".join(words[:length])
    return text


def to_tokens(text: str, vocabulary: Container[str]) -> list[str]:
    """Return a text as tokens, each the longest that fits.

    The model's own tokeniser merges pairs in a learned order, and sometimes finds other tokens of the same letters. For
    a hint before the text that is good enough, and it needs no further library.

    Args:
        text: The text; a leading space belongs to the first word.
        vocabulary: All tokens.
    """
    characters = {byte: character for character, byte in _bytes_of_characters().items()}
    rest = "".join(characters[byte] for byte in text.encode())
    tokens = []
    while rest:
        length = next((each for each in range(min(len(rest), 24), 1, -1) if rest[:each] in vocabulary), 1)
        tokens.append(rest[:length])
        rest = rest[length:]
    return tokens


def _decode(tokens: Sequence[str]) -> str:
    table = _bytes_of_characters()
    return bytes(table[each] for token in tokens for each in token if each in table).decode("utf-8", "replace")


@cache
def _bytes_of_characters() -> dict[str, int]:
    """Return the byte for which each character of a vocabulary stands.

    GPT-2's tokens are bytes, written as printable characters: those of Latin-1 that are printable stand for themselves,
    and the other bytes for the characters from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [each for each in range(256) if each not in printable]
    return {chr(each): each for each in printable} | {chr(256 + at): each for at, each in enumerate(others)}
