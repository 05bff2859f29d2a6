"""Leaving out emoji: sequences, skin tones, flags and keycaps, character by character."""

from __future__ import annotations

import re

__all__ = ["Emoji"]

_EMOJI = re.compile(
    "[\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u2600-\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001faff]"
)
_IF_PICTURE = re.compile("[0-9#*©®‼⁉™ℹ↔-↙↩↪Ⓜ▪▫▶◀◻-◾⤴⤵〰〽㊗㊙]")  # emoji only if the next character says so
_OF_PICTURE = re.compile("[\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]")


class Emoji:
    """A filter for one item after another: `feed` it, and `flush` it for the character that it may hold back."""

    def __init__(self) -> None:
        self._perhaps = ""  # what the next character may make an emoji
        self._picture = False  # the last character was of one

    def feed(self, text: str) -> str:
        """What is left of `text`, and of what was held back."""
        out = []
        for char in text:
            if self._perhaps:
                self._picture = char in "\ufe0f\u20e3"
                if not self._picture:
                    out.append(self._perhaps)
                self._perhaps = ""
            if _EMOJI.match(char):
                self._picture = True
            elif not (self._picture and _OF_PICTURE.match(char)):
                self._picture = False
                if _IF_PICTURE.match(char):
                    self._perhaps = char
                else:
                    out.append(char)
        return "".join(out)

    def flush(self) -> str:
        """What was held back, and begin anew."""
        text, self._perhaps, self._picture = self._perhaps, "", False
        return text
