"""Cut a streaming reply into pieces that a voice can speak."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

import msgspec

from bargein.pipeline import LIVE, End, Interrupt, Processor, ResponseEnded, Text, ToolCall
from bargein.pipeline.lowlevel import check_options

from ._emoji import Emoji
from ._markup import Markup
from ._splitter import Splitter

__all__ = ["Sentences"]

KINDS = ("markup", "code", "emoji")


class Sentences(Processor):
    """Turns the `Text` frames of a reply into whole sentences, which text-to-speech needs.

    The pieces do not depend on how the reply is cut into frames, and joined they are the reply. A sentence is complete
    when the next one begins, so a piece keeps its trailing space. A line break also ends a piece. The last piece of an
    item is marked `final`; it is empty if everything was passed on before. An item without any speakable character
    yields no piece.

    The first piece decides how soon the user hears something, so it may be short: a single word such as `Hi!`, or the
    first clause. Later, a sentence of one word is joined with the next one.

    An interrupt drops the text that is held back. A tool call releases it (`Let me see.`), because the tool may take
    long.

    Args:
        first_words: Minimum number of words after which the first piece may end with a clause. In scripts without
            spaces two characters count as a word.
        max_characters: Maximum length of a piece in characters. A longer sentence is cut after its last clause, else
            after its last word, else between two characters.
        skip: What to leave out: `"markup"` (Markdown, HTML and SSML; links keep their text, images their description),
            `"code"` (fenced blocks), `"emoji"`.

    Raises:
        ValueError: A limit is not a positive int, or `skip` contains another name.
    """

    @check_options
    def __init__(
        self,
        *,
        first_words: int = 4,
        max_characters: int = 200,
        skip: Collection[Literal["markup", "code", "emoji"]] = (),
    ) -> None:
        for name, value in {"first_words": first_words, "max_characters": max_characters}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"Sentences({name}={value!r}): expected a positive int")
        if isinstance(skip, str) or any(each not in KINDS for each in skip):
            raise ValueError(f"Sentences(skip={skip!r}): expected a collection of 'markup', 'code' and 'emoji'")
        self.first_words = first_words
        self.max_characters = max_characters
        self.skip = frozenset(skip)
        # Markup is removed before the text is split. Marks inside a sentence would otherwise decide where it ends.
        self._splitter = Splitter(max_characters, first_words)
        self._filters: list[Markup | Emoji] = [Markup(self.skip)] if self.skip & {"markup", "code"} else []
        if "emoji" in self.skip:
            self._filters.append(Emoji())
        self._item: Text | None = None  # the newest frame of the current item
        self._pts = 0
        self._begun: tuple[str, int] | None = None  # response and epoch of the last piece that was passed on
        self._open: Text | None = None  # the last piece, until its item has ended

    def process(
        self, frame: Text | ToolCall | Interrupt | ResponseEnded | End
    ) -> Iterator[Text | ToolCall | ResponseEnded]:
        """Yield the pieces that the frame completes; at an end, the rest."""
        item = self._item
        if isinstance(frame, Text):
            if item is not None and _key(item) != _key(frame):
                # The old item was interrupted, and the interrupt took another way. What is held back of it must not be
                # spoken.
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
                # A tool call may stand in the middle of an item, so its text is released without being marked as final.
                yield from self._close(item, final=not isinstance(frame, ToolCall))
            if isinstance(frame, ResponseEnded):
                self._begun = None
            if not isinstance(frame, ToolCall) and (isinstance(frame, End) or self._is_open(frame.response_id)):
                yield from self._end()
            if not isinstance(frame, End):
                yield frame

    def _text(self, frame: Text) -> Iterator[Text]:
        if self._item is None:
            # An answer that continues after a tool call has been heard already, so its first piece need not be short.
            self._splitter.begin(opening=not frame.response_id or self._begun != (frame.response_id, frame.epoch))
        self._item = frame
        # A piece has the time of the text with which it begins.
        if self._splitter.empty:
            self._pts = frame.pts
        for piece in self._splitter.feed(self._filter(frame.text)):
            yield self._piece(frame, piece)
        if frame.final:
            yield from self._close(frame, final=True)
            if self._open is not None and _key(self._open) == _key(frame):
                yield from self._end()

    def _is_open(self, response: str) -> bool:
        return self._open is not None and self._open.response_id == response

    def _end(self) -> Iterator[Text]:
        """Yield an empty final piece, because the last one was passed on before the item's end was known."""
        last, self._open = self._open, None
        if last is not None:
            yield msgspec.structs.replace(last, text="", final=True)

    def _close(self, frame: Text, *, final: bool) -> Iterator[Text]:
        """Yield what is held back."""
        for piece in self._splitter.feed(self._filter(flush=True)):
            yield self._piece(frame, piece)
        if rest := self._splitter.flush():
            yield self._piece(frame, rest, final=final)
        self._forget()

    def _filter(self, text: str = "", *, flush: bool = False) -> str:
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
        # For its effect: markup that was open does not reach into the next item.
        self._filter(flush=True)


def _key(frame: Text) -> tuple[str, str, int]:
    return frame.response_id, frame.item_id, frame.epoch
