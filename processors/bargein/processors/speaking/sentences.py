"""Cutting a streaming reply into pieces that a voice can speak, the first of them as early as is safe."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

import msgspec
from bargein.pipeline import LIVE, End, Interrupt, Processor, ResponseEnded, Text, ToolCall

from ._emoji import Emoji
from ._markup import Markup
from ._splitter import Splitter

__all__ = ["Sentences"]

KINDS = ("markup", "code", "emoji")


class Sentences(Processor):
    """Take a reply as it is written, give it in sentences: for a text-to-speech voice, which needs whole ones.

    The pieces are the same however the text is cut, and joined they are the text. A sentence ends when the next one
    begins, so that each piece has its trailing space and none is punctuation only; of an item without a speakable
    character nothing is given. Lines end pieces too. The last piece of an item is `final`, an empty one if the rest had
    been given before; an item that another one follows before it has ended is given as it is.

    The first piece of a response sets the time until sound is heard: it may be a single word (`Hi!`), and from
    `first_words` words on it ends with its first clause (two characters count as a word where words have no spaces).
    Afterwards a sentence of one word is given together with the next. One of more than `max_chars` characters is cut
    behind its last clause, else behind its last word, else anywhere between two characters.

    `skip` names what is left out: "markup" (Markdown, HTML and SSML tags; links leave their text, images their
    description), "code" (fenced blocks), "emoji". An interrupt drops what is held; a tool call, which takes its time,
    lets it go (`Let me see.`).

    `pts` of a piece is that of the frame in which it began, or of the one that completed the piece before.

    Raises `ValueError` for limits that are not positive and for other names in `skip`.
    """

    def __init__(
        self,
        *,
        first_words: int = 4,
        max_chars: int = 200,
        skip: Collection[Literal["markup", "code", "emoji"]] = (),
    ) -> None:
        for name, value in {"first_words": first_words, "max_chars": max_chars}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"Sentences({name}={value!r}): expected a positive int")
        if isinstance(skip, str) or any(each not in KINDS for each in skip):
            raise ValueError(f"Sentences(skip={skip!r}): expected a collection of 'markup', 'code' and 'emoji'")
        self.first_words = first_words
        self.max_chars = max_chars
        self.skip = frozenset(skip)
        self._splitter = Splitter(max_chars, first_words)
        self._filters: list[Markup | Emoji] = [Markup(self.skip)] if self.skip & {"markup", "code"} else []
        if "emoji" in self.skip:
            self._filters.append(Emoji())
        self._item: Text | None = None  # the newest frame of the present item
        self._pts = 0
        self._begun: tuple[str, int] | None = None  # response and epoch of the last piece
        self._open: Text | None = None  # the last piece, as long as its item has not ended

    def process(
        self, frame: Text | ToolCall | Interrupt | ResponseEnded | End
    ) -> Iterator[Text | ToolCall | ResponseEnded]:
        """Give the pieces that the frame completes; at an end, the rest."""
        item = self._item
        if isinstance(frame, Text):
            if item is not None and _key(item) != _key(frame):
                if item.epoch < frame.epoch != LIVE:
                    self._forget()
                else:
                    yield from self._close(item, final=False)
            yield from self._text(frame)
        elif isinstance(frame, Interrupt):
            if item is not None and item.epoch < frame.epoch:
                self._forget()
            if self._open is not None and self._open.epoch < frame.epoch:
                self._open = None
        else:
            if item is not None and (isinstance(frame, End) or item.response_id == frame.response_id):
                yield from self._close(item, final=not isinstance(frame, ToolCall))
            if isinstance(frame, ResponseEnded):
                self._begun = None
            if not isinstance(frame, ToolCall) and (isinstance(frame, End) or self._is_open(frame.response_id)):
                yield from self._end()
            if not isinstance(frame, End):
                yield frame

    def _text(self, frame: Text) -> Iterator[Text]:
        if self._item is None:
            self._splitter.begin(opening=not frame.response_id or self._begun != (frame.response_id, frame.epoch))
        self._item = frame
        if self._splitter.empty:
            self._pts = frame.pts
        for piece in self._splitter.feed(self._filtered(frame.text)):
            yield self._piece(frame, piece)
        if frame.final:
            yield from self._close(frame, final=True)
            if self._open is not None and _key(self._open) == _key(frame):
                yield from self._end()

    def _is_open(self, response: str) -> bool:
        return self._open is not None and self._open.response_id == response

    def _end(self) -> Iterator[Text]:
        """The last piece of an item was given before it was known to be the last."""
        last, self._open = self._open, None
        if last is not None:
            yield msgspec.structs.replace(last, text="", final=True)

    def _close(self, frame: Text, *, final: bool) -> Iterator[Text]:
        """Give what is held. After a cut there always is something, so the last piece can say that it is the last."""
        for piece in self._splitter.feed(self._filtered(flush=True)):
            yield self._piece(frame, piece)
        if rest := self._splitter.flush():
            yield self._piece(frame, rest, final=final)
        self._forget()

    def _filtered(self, text: str = "", *, flush: bool = False) -> str:
        for each in self._filters:
            text = each.feed(text) + (each.flush() if flush else "")
        return text

    def _piece(self, frame: Text, text: str, *, final: bool = False) -> Text:
        self._begun = (frame.response_id, frame.epoch)
        piece = msgspec.structs.replace(frame, text=text, pts=self._pts, final=final)
        self._pts = frame.pts
        self._open = None if final else piece
        return piece

    def _forget(self) -> None:
        self._item = None
        self._splitter.begin(opening=True)
        self._filtered(flush=True)


def _key(frame: Text) -> tuple[str, str, int]:
    return frame.response_id, frame.item_id, frame.epoch
