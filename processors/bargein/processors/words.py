"""Split text into words for counting and comparing, without case and punctuation."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["UNSPACED", "words"]

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Japanese, Chinese
    "\U00020000-\U0003ffff"
)
"""Scripts without spaces between words, as a regular expression class. There each character counts as a word."""

_WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[\w'’])+")


def words(text: str) -> list[str]:
    """Return the words of a text: `"Well, don't!"` returns `["well", "don't"]`.

    Args:
        text: The text, in any script.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return [word for match in _WORD.findall(folded) if (word := match.strip("'_"))]
