"""`WrittenWords`: converts the words that a voice reports back to the words of the written text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .parts import Word

__all__ = ["WrittenWords"]


class WrittenWords:
    """Converts the times of spoken words into times of written words, such as of "nine dollars" into those of "$9".

    Args:
        pieces: The pieces of the text, each as it is written and as it is spoken.
    """

    def __init__(self, pieces: Sequence[tuple[str, str]]) -> None:
        self.said = "".join(said for _, said in pieces)
        """The text for the voice."""
        self._written = "".join(written for written, _ in pieces)
        self._pieces = pieces
        self._at = 0  # the end of the last word in `said`
        self._open: tuple[int, int, Word] | None = None  # a written word that may continue, with its start and end

    def add(self, word: Word) -> Iterator[Word]:
        """Add a word of the voice. Yield the written words that are complete now.

        Args:
            word: The spoken word, as it is in `said`.
        """
        at = self.said.find(word.text, self._at)
        if at < 0 or not word.text:
            yield from self.end()
            yield word
            return
        self._at = at + len(word.text)
        start, end, whole = self._place(at, self._at)
        if self._open is not None and start < self._open[1]:  # the same piece continues
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
        """Yield the last word, at the end of the text."""
        if self._open is not None:
            yield self._open[2]
            self._open = None

    def _place(self, start: int, end: int) -> tuple[int, int, bool]:
        """Return the start and end of spoken text in the written text, and whether its last piece is spoken as
        written."""
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
