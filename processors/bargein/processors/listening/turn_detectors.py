"""Turn detectors: what is known of the user's turn in, the silence that should end it out."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from bargein.pipeline import Audio
from bargein.pipeline.lowlevel import CheckedFields, check_not_negative, check_options, check_positive
from bargein.processors.words import words

__all__ = ["AdaptiveSilence", "TextTurnDetector", "TurnDetector", "TurnEvidence", "decide_silence"]


class TurnEvidence(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """What is known of the user's turn while the user is silent."""

    text: str = ""
    """The words so far, of all transcripts of the turn."""
    audio: Audio | None = None
    """The sound of the turn so far, mono, with its pauses and the silence at its end. It has the latest `audio_seconds`
    of the detector at most. None for detectors that need none."""
    pauses_ms: tuple[float, ...] = ()
    """The longest pause in each of the latest eight turns, in milliseconds, 0 for none; the oldest turn first. A pause
    is a silence after which the user went on, also if the agent had begun to answer."""


@runtime_checkable
class TurnDetector(Protocol):
    """The interface between `Turns` and a detector of the end of a turn. Implement it for your own detector.

    A detector that is a context manager, asynchronous or not, is entered and left with the session.
    """

    @property
    def audio_seconds(self) -> float:
        """How much of the turn's sound the detector needs, in seconds; 0 for none.

        A detector that needs sound is asked 200 ms into each pause, with the words that are known by then. Another one
        is asked when speech has stopped, and again whenever the words change after that.
        """

    async def silence_ms(self, evidence: TurnEvidence) -> float | None:
        """Return the silence in milliseconds that ends the turn, counted from the end of speech; None for no opinion.

        It runs beside the session. It must not block the event loop, and is cancelled when it is asked again.

        Args:
            evidence: What is known of the turn.
        """


def decide_silence(plain_ms: float, answers: Sequence[float | None]) -> float:
    """Return the silence in milliseconds that ends a turn. All detectors together are one table:

    | Detectors | The turn ends after |
    |---|---|
    | there are none | the plain silence |
    | none has an opinion, or all are late or failed | the plain silence |
    | one has answered | its silence, longer or shorter than the plain one |
    | several have answered | the longest of these |

    Args:
        plain_ms: The plain silence in milliseconds.
        answers: What the detectors have answered, in milliseconds. None for no opinion, and for one that failed.
    """
    return max((each for each in answers if each is not None), default=plain_ms)


CLOSED = re.compile(r"[?!。！？؟][\"'”’)\]]*$")
"""The end of a question or an exclamation. A full stop tells less: recognisers put one after everything."""
STOPPED = re.compile(r"(?<!\.)\.[\"'”’)\]]*$")
OPEN = re.compile(r"(?:[,;:、，…-]|–|—|\.\.)$")
"""The end of a text that goes on."""
ENGLISH_OPEN_WORDS = frozenset(
    (
        *("a", "an", "the", "my", "your", "our", "their"),
        *("and", "or", "nor", "but", "because", "although", "unless", "whereas", "if"),
        *("um", "uh", "er", "erm", "hmm"),
    )
)
"""Words that end no English sentence, with or without a full stop."""
ENGLISH_LINKS = frozenset(
    (
        *("of", "to", "for", "from", "with", "at", "by", "in", "into", "on", "about", "between", "without"),
        *("is", "are", "was", "were", "am", "i'm", "it's", "that's"),
        *("then", "than", "so", "as", "when", "where", "while", "which", "who", "what"),
    )
)
"""Words that seldom end an English sentence. A full stop after them counts: "What is it for."."""
ENGLISH_OPEN_PHRASES = (
    "my number is",
    "my phone number is",
    "the number is",
    "my name is",
    "my address is",
    "the address is",
    "my email is",
    "my email address is",
    "my date of birth is",
    "my order number is",
    "i would like",
    "i'd like",
    "i would like to",
    "i'd like to",
    "i want to",
    "i need to",
    "can you",
    "could you",
    "would you",
    "let me think",
    "let me see",
)
"""Beginnings after which something must follow."""


class TextTurnDetector:
    """Gives the user more time where the words are unfinished. For `Turns(detectors=[TextTurnDetector()])`.

    The first row that fits decides:

    | The words end with | Answer |
    |---|---|
    | nothing: there are none | no opinion |
    | a question mark or an exclamation mark | no opinion |
    | a comma, a colon, a dash or an ellipsis | unfinished |
    | a word of `open_words`, such as "and", "the", "um" | unfinished |
    | a phrase of `open_phrases`, such as "my number is" | unfinished |
    | a word of `links`, such as "to", "with", without a full stop | unfinished |
    | anything else | no opinion |

    The words of the default lists are English. Punctuation counts in every language, if the recogniser writes it.

    Args:
        unfinished_ms: Silence in milliseconds that ends an unfinished turn.
        open_words: Words that end no sentence.
        open_phrases: Phrases that end no sentence.
        links: Words that end a sentence only where a full stop follows.

    Raises:
        ValueError: `unfinished_ms` is negative or not a number.
    """

    audio_seconds = 0.0

    @check_options
    def __init__(
        self,
        *,
        unfinished_ms: float = 1500.0,
        open_words: Collection[str] = ENGLISH_OPEN_WORDS,
        open_phrases: Collection[str] = ENGLISH_OPEN_PHRASES,
        links: Collection[str] = ENGLISH_LINKS,
    ) -> None:
        check_not_negative("TextTurnDetector", unfinished_ms=unfinished_ms)
        self.unfinished_ms = unfinished_ms
        self._open = {tuple(words(each)) for each in (*open_words, *open_phrases)} - {()}
        self._links = {tuple(words(each)) for each in links} - {()}

    async def silence_ms(self, evidence: TurnEvidence) -> float | None:
        """Return `unfinished_ms` for words that are unfinished, and None for others.

        Args:
            evidence: The turn. Only its text counts.
        """
        return self.unfinished_ms if self.is_unfinished(evidence.text) else None

    def is_unfinished(self, text: str) -> bool:
        """Return whether more words should follow a text.

        Args:
            text: The words so far.
        """
        text = text.strip()
        if not text or CLOSED.search(text):
            return False
        if OPEN.search(text):
            return True
        said = tuple(words(text))
        return _ends_with(said, self._open) or (not STOPPED.search(text) and _ends_with(said, self._links))


def _ends_with(said: tuple[str, ...], endings: Collection[tuple[str, ...]]) -> bool:
    return any(said[-len(each) :] == each for each in endings)


class AdaptiveSilence:
    """Learns how long the user pauses. For `Turns(detectors=[AdaptiveSilence()])`.

    It answers `factor` times the second longest pause of the latest eight turns, within its bounds. A single long
    pause changes nothing. A user who no longer pauses is answered sooner again. It has no opinion before the third
    turn.

    A pause is noticed if it is longer than the `stop_ms` of the `Vad`. So for a silence below the 500 ms of the default
    `Vad`, use `Vad(stop_ms=200)` and a lower `min_ms`.

    Args:
        min_ms: The shortest silence that it answers, in milliseconds.
        max_ms: The longest silence that it answers, in milliseconds.
        factor: Silence in relation to the pause, 1 or more.

    Raises:
        ValueError: A bound is out of its range, or `min_ms` is above `max_ms`.
    """

    audio_seconds = 0.0

    @check_options
    def __init__(self, *, min_ms: float = 500.0, max_ms: float = 1500.0, factor: float = 1.2) -> None:
        check_positive("AdaptiveSilence", min_ms=min_ms, max_ms=max_ms)
        if min_ms > max_ms:
            raise ValueError(f"AdaptiveSilence(min_ms={min_ms}, max_ms={max_ms}): expected min_ms up to max_ms")
        if not 1 <= factor < math.inf:
            raise ValueError(f"AdaptiveSilence(factor={factor}): expected 1 or more, such as 1.2")
        self.min_ms = min_ms
        self.max_ms = max_ms
        self.factor = factor

    async def silence_ms(self, evidence: TurnEvidence) -> float | None:
        """Return the silence that fits the user's pauses, and None before the third turn.

        Args:
            evidence: The turn. Only the pauses count.
        """
        if len(evidence.pauses_ms) < 2:
            return None
        return min(max(self.factor * sorted(evidence.pauses_ms)[-2], self.min_ms), self.max_ms)
