"""Remove the thoughts that a reasoning model writes into its answer. They are neither spoken nor remembered."""

from __future__ import annotations

import re

__all__ = ["ThoughtFilter", "strip_thoughts"]

_OPEN = re.compile(r"<think(?:ing)?>", re.I)
_CLOSE = re.compile(r"</think(?:ing)?>", re.I)
_TAGS = ("<think>", "<thinking>", "</think>", "</thinking>")


class ThoughtFilter:
    """Removes `<think>...</think>` and `<thinking>...</thinking>` from a text that comes in pieces.

    A tag may be split between pieces, so the end of a piece is held back if a tag could begin there. A closing tag
    without an opening one is removed too, because some servers remove the opening tag.
    """

    def __init__(self) -> None:
        self._thinking = False
        self._held = ""  # text that may be the beginning of a tag
        self._wrote = False

    def feed(self, piece: str) -> str:
        """Add a piece, and return the text so far that is certainly not part of a tag or a thought."""
        text, said = self._held + piece, list[str]()
        while True:
            if self._thinking:
                found = _CLOSE.search(text)
            else:
                found = min(filter(None, (_OPEN.search(text), _CLOSE.search(text))), key=re.Match.start, default=None)
            if found is None:
                break
            if not self._thinking:
                said.append(text[: found.start()])
            self._thinking = not self._thinking and found[0][1] != "/"
            text = text[found.end() :]
        at = _tag_start(text)
        text, self._held = text[:at], text[at:]
        return self._trim("".join(said) + ("" if self._thinking else text))

    def finish(self) -> str:
        """Return the text that was held back, at the end of the answer."""
        held, self._held = self._held, ""
        return "" if self._thinking else self._trim(held)

    def _trim(self, text: str) -> str:
        """Remove the empty lines between thoughts and answer."""
        if not self._wrote:
            text = text.lstrip()
        self._wrote = self._wrote or bool(text)
        return text


def strip_thoughts(text: str) -> str:
    """Return a complete text without thoughts."""
    thoughts = ThoughtFilter()
    return thoughts.feed(text) + thoughts.finish()


def _tag_start(text: str) -> int:
    """Return where a tag may begin at the end of a text; its length if there is none."""
    at = text.rfind("<")
    end = text[at:].lower() if at >= 0 else ""
    return at if end and any(tag.startswith(end) for tag in _TAGS) else len(text)
