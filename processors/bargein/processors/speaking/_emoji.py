"""Remove emoji from streaming text: sequences, skin tones, flags and keycaps."""

from __future__ import annotations

import re

__all__ = ["Emoji"]

_EMOJI = re.compile(
    "[\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u2600-\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001faff]"
)
_IF_PICTURE = re.compile("[0-9#*©®‼⁉™ℹ↔-↙↩↪Ⓜ▪▫▶◀◻-◾⤴⤵〰〽㊗㊙]")  # an emoji only if a variation selector follows
_OF_PICTURE = re.compile("[\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]")


class Emoji:
    """Removes emoji from one item after another. `flush` returns the character that `feed` may hold back."""

    def __init__(self) -> None:
        self._undecided = ""  # the next character decides whether this is an emoji
        self._picture = False  # the last character belonged to an emoji

    def feed(self, text: str) -> str:
        """Return what remains of the held-back character and `text`."""
        out = []
        for char in text:
            if self._undecided:
                self._picture = char in "\ufe0f\u20e3"
                if not self._picture:
                    out.append(self._undecided)
                self._undecided = ""
            if _EMOJI.match(char):
                self._picture = True
            elif not (self._picture and _OF_PICTURE.match(char)):
                self._picture = False
                if _IF_PICTURE.match(char):
                    self._undecided = char
                else:
                    out.append(char)
        return "".join(out)

    def flush(self) -> str:
        """Return the held-back character, and start a new item."""
        text, self._undecided, self._picture = self._undecided, "", False
        return text
