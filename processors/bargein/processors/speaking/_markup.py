"""Remove markup and code blocks from streaming text.

Text is held back while the following characters decide what it is: at most `MAX_HELD` characters, and never beyond the
line.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection
from typing import Final

__all__ = ["Markup"]

MAX_HELD: Final = 400
"""Maximum number of characters held back. Anything longer is treated as text."""

_RULE = re.compile(r"[ \t]*([-*_=])(?:[ \t]*\1){2,}[ \t]*|[ \t]*[|:-](?=[^-]*-)(?=[^|]*\|)[ \t|:-]*")
_FENCE = re.compile(r"[ \t]*(`{3,}[^`\n]*|~{3,}[^\n]*)")
_LEAD = re.compile(r"(?:[ \t]*(?:>|[-*+•](?=\s)|#{1,6}(?=\s))[ \t]*)+")
_ATTRIBUTE = r"""\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>=]+)"""
_TAG = re.compile(rf"<!--.*-->|</?[A-Za-z][\w:.-]*(?:{_ATTRIBUTE})*\s*/?>|<([a-z]+:[^\s<>]*|[\w.+-]+@[^\s<>]*)>")
_TAG_BEGUN = re.compile(
    rf"""<(?:!(?:-(?:-.*)?)?|/?(?:[A-Za-z][\w:.-]*(?:{_ATTRIBUTE})*"""
    r"""(?:\s*/?|\s+[\w:.-]+\s*(?:=\s*(?:"[^"]*|'[^']*|[^\s"'<>=]*))?))?|[a-z]+:[^\s<>]*|[\w.+-]+(?:@[^\s<>]*)?)"""
)
_TEXT = r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)"
_LINK = re.compile(_TEXT + r"\](?:\((?:[^()]|\([^()]*\))*\)|\[[^\[\]]*\])")
_LINK_BEGUN = re.compile(_TEXT + r"(?:\[[^\[\]]*|\](?:\((?:[^()]|\([^()]*\))*(?:\([^()]*)?|\[[^\[\]]*)?)?")
_ESCAPED = frozenset(string.punctuation)
_BLOCKS = frozenset(
    re.findall(r"\S+", "br p div li ul ol tr table hr h1 h2 h3 h4 h5 h6 blockquote pre section paragraph s sentence")
)
"""Tags that end a line."""
_TAGS = _BLOCKS | frozenset(
    re.findall(
        r"\S+",
        "a b i u em strong small big sub sup span font code kbd samp var mark del ins q cite abbr td th thead tbody "
        "img html body head title audio video details summary center speak voice prosody break emphasis phoneme say-as "
        "w token lang mark desc lexicon lookup metadata amazon:effect mstts:express-as think thinking",
    )
)
"""HTML and SSML tags that models write. Anything else, such as `Vec<int>`, is text."""


class Markup:
    """Removes "markup", "code" or both from one item after another. `flush` returns what `feed` held back."""

    _held: str
    _fence: str
    _starting: bool

    def __init__(self, skip: Collection[str]) -> None:
        self._markup, self._code = "markup" in skip, "code" in skip
        self._leading = ">#-*+•_=|: \t`~" if self._markup else " \t`~"
        self._begin()

    def feed(self, text: str) -> str:
        """Return what remains of the held-back text and `text`."""
        if self._markup or self._code:
            # Character by character, so that the result does not depend on how the text was cut into deltas.
            for char in text:
                self._add(char)
            text = "".join(self._out)
            self._out.clear()
        return text

    def flush(self) -> str:
        """Return what remains of the held-back text, and start a new item."""
        held = self._held
        if self._fence:
            if not self._code and not self._closes(held):
                self._out.append(held)
        elif self._starting and not (_FENCE.fullmatch(held) or (self._markup and _RULE.fullmatch(held))):
            self._decide()
        if not self._fence and not self._starting and (held := self._held):
            self._held = ""
            if held[0] in "*_`~":
                self._run(held, "\n")
            else:
                self._give(held)
        text = "".join(self._out)
        self._begin()
        return text

    def _begin(self) -> None:
        self._held = ""  # undecided text
        self._fence = ""  # marks that opened the current code block
        self._starting = True  # only marks since the line began
        self._line()
        self._before = "\n"  # the last character passed on
        self._out: list[str] = []

    def _line(self) -> None:
        # Marks of emphasis never reach beyond a line. So a star that is never closed costs one line at most.
        self._ticks = ""  # marks that opened the current inline code
        self._open = dict.fromkeys("*_~", 0)  # open marks of emphasis
        self._row = False  # inside a table row

    def _give(self, text: str) -> None:
        self._out.append(text)
        self._before = text[-1]

    def _add(self, char: str) -> None:
        if self._fence:
            self._in_fence(char)
        elif self._starting:
            self._at_start(char)
        elif self._held:
            self._undecided(char)
        elif char == "\n":
            self._give(char)
            self._starting = True
            self._line()
        elif not self._markup or (self._ticks and char != "`"):
            self._give(char)
        elif char in "*_`~[!<\\":
            self._held = char
        elif not (char == "|" and self._row):
            self._give(char)

    def _in_fence(self, char: str) -> None:
        line = self._held + char
        if char == "\n" or len(line) >= MAX_HELD:
            self._held = ""
            if self._closes(line):
                self._fence = ""
            elif not self._code:
                self._give(line)
        elif not self._code or not line.strip(" \t`~"):
            self._held = line
        else:
            self._held = "x"  # the line has content, so it cannot close the block

    def _closes(self, line: str) -> bool:
        return line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0])

    def _at_start(self, char: str) -> None:
        line = self._held + char
        if char == "\n" and (fence := _FENCE.fullmatch(self._held)):
            marks = fence[1]
            self._fence = marks[: len(marks) - len(marks.lstrip(marks[0]))]
            self._held = ""
        elif char == "\n" and self._markup and _RULE.fullmatch(self._held):
            self._held = ""
        elif len(line) < MAX_HELD and (_FENCE.fullmatch(line) or not line.strip(self._leading)):
            self._held = line
        else:
            self._decide()
            self._add(char)

    def _decide(self) -> None:
        """Drop the marks of headings, lists and quotes: the line is neither a fence nor a rule."""
        lead, self._held, self._starting = self._held, "", False
        if self._markup:
            if found := _LEAD.match(lead):
                lead = lead[found.end() :]
            self._row = lead.lstrip().startswith("|")
        for each in lead:
            self._add(each)

    def _undecided(self, char: str) -> None:
        held, self._held = self._held, ""
        first, grown = held[0], held + char
        # No link or tag is that long, and the voice waits for the text.
        if len(grown) > MAX_HELD:
            self._give(held)
            self._add(char)
        elif first in "*_`~":
            if char == first:
                self._held = grown
            else:
                self._run(held, char)
                self._add(char)
        elif first == "\\":
            if char in _ESCAPED:
                self._give(char)
            else:
                self._give(held)
                self._add(char)
        elif first == "<" and (found := _TAG.fullmatch(grown)):
            self._tag(grown, found[1])
        elif first != "<" and (found := _LINK.fullmatch(grown)):
            for each in found[1] or "":
                self._add(each)
        elif char != "\n" and (_TAG_BEGUN if first == "<" else _LINK_BEGUN).fullmatch(grown):
            self._held = grown
        elif held in ("[ ]", "[x]", "[X]") and char == " ":
            pass  # a check box
        else:
            self._give(first)
            for each in grown[1:]:
                self._add(each)

    def _tag(self, tag: str, address: str | None) -> None:
        """Drop a tag. A block tag leaves a line break, an autolink its address."""
        # Unknown names stay: `List<int>` is text, and so is what a model invents.
        name = re.split(r"[\s/>]", tag.lstrip("</"), maxsplit=1)[0].lower()
        if address:
            for each in address:
                self._add(each)
        elif name in _BLOCKS and self._before != "\n":
            self._add("\n")
        elif name not in _TAGS and not tag.startswith("<!--"):
            self._give(tag)

    def _run(self, run: str, after: str) -> None:
        """Drop marks of emphasis, and pass on marks that are text."""
        mark, before = run[0], self._before
        if mark == "`":
            if not self._ticks:
                self._ticks = run
            elif self._ticks == run:
                self._ticks = ""
            else:
                self._give(run)
            return
        inside = before.isalnum() and after.isalnum()
        ascii_inside = inside and (before + after).isascii()  # scripts without spaces allow emphasis inside a word
        if (mark == "~" and len(run) != 2) or (mark == "_" and inside):
            self._give(run)
        elif self._open[mark] and not before.isspace():
            self._open[mark] = max(0, self._open[mark] - len(run))
        elif not after.isspace() and not ascii_inside:
            self._open[mark] += len(run)
        else:
            self._give(run)
