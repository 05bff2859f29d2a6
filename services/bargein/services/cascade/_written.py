"""Words as a voice reports them, back to the words as they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .parts import Word

__all__ = ["WrittenWords"]


class WrittenWords:
    """Turns the times of what is said into times of what is written: "nine dollars" into "$9".

    Args:
        pieces: Each piece of the text as it is written and as it is said.
    """

    def __init__(self, pieces: Sequence[tuple[str, str]]) -> None:
        self.said = "".join(said for _, said in pieces)
        """What the voice is given."""
        self._written = "".join(written for written, _ in pieces)
        self._pieces = pieces
        self._at = 0  # the end of the last word in what is said
        self._open: tuple[int, int, Word] | None = None  # a word whose piece may go on, and its place as written

    def add(self, word: Word) -> Iterator[Word]:
        """Yield the written words that are complete with another word of the voice.

        Args:
            word: The word, as it is in what is said.
        """
        at = self.said.find(word.text, self._at)
        if at < 0 or not word.text:
            yield from self.end()
            yield word
            return
        self._at = at + len(word.text)
        start, end, whole = self._place(at, self._at)
        if self._open is not None and start < self._open[1]:  # the same piece goes on
            start, start_ms = self._open[0], self._open[2].start_ms
        else:
            yield from self.end()
            start_ms = word.start_ms
        made = Word(text=self._written[start:end].strip(), start_ms=start_ms, end_ms=word.end_ms)
        if whole:
            self._open = None
            yield made
        else:
            self._open = (start, end, made)

    def end(self) -> Iterator[Word]:
        """Yield the last word, when no more come."""
        if self._open is not None:
            yield self._open[2]
            self._open = None

    def _place(self, start: int, end: int) -> tuple[int, int, bool]:
        """Return where what is said stands as written, and whether it ends in a piece that is said as written."""
        found: list[int] = []
        whole = True
        said_at = written_at = 0
        for written, said in self._pieces:
            first, last = max(start - said_at, 0), min(end - said_at, len(said))
            if first < last:
                whole = written == said
                found += [written_at + first, written_at + last] if whole else [written_at, written_at + len(written)]
            said_at, written_at = said_at + len(said), written_at + len(written)
        return found[0], found[-1], whole
