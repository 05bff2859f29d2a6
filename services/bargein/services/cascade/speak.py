"""`Speak`: gives pieces of text to a text-to-speech part, and sends their sound and the times of the words."""

from __future__ import annotations

import math
from contextlib import aclosing

import anyio
import msgspec

from bargein.pipeline import Audio, AudioFormat, Failure, Interrupt, Outlet, ResponseEnded, Text
from bargein.pipeline.lowlevel import check_instance, check_options, check_positive, ns
from bargein.processors import Heard, Timing
from bargein.processors.speaking.alignment import Alignment
from bargein.processors.speaking.speakable import spoken_pieces

from ._base import PartProcessor, check_part, failure_from
from ._written import WrittenWords
from .parts import TextToSpeech, UnspeakableError, Word

__all__ = ["UNSPEAKABLE_REPLY", "Speak"]

UNSPEAKABLE_REPLY = "Sorry, I cannot say that."
"""Text that is spoken in place of an item that the voice cannot say."""
Given = Text | ResponseEnded | Audio | Timing | Heard | Failure


class Speak(PartProcessor[TextToSpeech]):
    """Passes on each piece of a reply's text, followed by its sound.

    Put it below `Sentences` and above `Spoken`. It also sends a `Timing` for each word, or one for the whole piece if
    the voice does not report words. From these `Spoken` computes exactly which words were heard. The first piece is
    heard while the rest is still being written. An interrupt cancels the voice.

    If the voice raises, is silent for too long, or has no sound for a piece with words (`UnspeakableError`), it sends a
    `Failure`. The rest of the piece is marked by a `Timing` with `spoken=False`, so that it does not count as heard.

    Args:
        tts: The text-to-speech part.
        unspeakable_reply: Text that is spoken in place of an item of which nothing could be said.
        silent_seconds: Maximum time without sound from the voice, in seconds. After that the voice counts as failed.
        locale: BCP 47 tag of the language in which numbers, dates and the like are said as people say them (see
            `speakable`). Heard words are still reported as they are written. Default: empty, so the voice gets the
            text as it is.

    Raises:
        TypeError: `tts` is not a text-to-speech part.
        ValueError: `silent_seconds` is not positive.
    """

    name = "speak"
    capacity = 256

    @check_options
    def __init__(
        self,
        tts: TextToSpeech,
        *,
        unspeakable_reply: str = UNSPEAKABLE_REPLY,
        silent_seconds: float = 15.0,
        locale: str = "",
    ) -> None:
        check_positive("Speak", infinite=True, silent_seconds=silent_seconds)
        self.part = check_part(tts, TextToSpeech, "speak", "Speak(tts)")
        self.unspeakable_reply = unspeakable_reply
        self.silent_seconds = silent_seconds
        check_instance("Speak", str, locale=locale)
        self.locale = locale
        self.audio_out = AudioFormat(tts.rate, 1)
        self._key = ("", "")  # response and item
        self._samples = 0  # samples that were spoken of the current item
        self._unspoken = ""  # text of the current item that could not be said
        self._ms_per_character = Alignment.MS_PER_WEIGHT

    async def process(self, frame: Text | ResponseEnded | Interrupt, out: Outlet[Given]) -> None:
        """Speak one piece."""
        # The engine cancels the voice. This only resets the count of samples.
        if isinstance(frame, Interrupt):
            self._begin_item("", "")
            return
        # The text goes before its sound, so that `Spoken` can match the sound with it.
        await out.send(frame)
        if isinstance(frame, Text):
            if self._key != (frame.response_id, frame.item_id):
                self._begin_item(frame.response_id, frame.item_id)
            await self._try_to_speak(frame, out)
            if frame.final and self._unspoken and not self._samples:
                await self._speak_instead(frame, out)

    async def _speak_instead(self, frame: Text, out: Outlet[Given]) -> None:
        """Report that nothing of the item was heard, and speak `unspeakable_reply`."""
        response_id, item_id = self._key
        await out.send(Heard(response_id=response_id, item_id=item_id, text="", remaining=self._unspoken, done=True))
        # This is another item, because its sound must not count as the sound of the words that were not said.
        self._begin_item(response_id, f"{item_id}-unsaid")
        instead = msgspec.structs.replace(frame, text=self.unspeakable_reply, item_id=f"{item_id}-unsaid")
        await out.send(instead)
        await self._try_to_speak(instead, out)

    def _begin_item(self, response_id: str, item_id: str) -> None:
        self._key, self._samples, self._unspoken = (response_id, item_id), 0, ""

    async def _try_to_speak(self, frame: Text, out: Outlet[Given]) -> None:
        """Speak a piece, and report if that fails."""
        if not frame.text.strip():
            return
        before, words = self._samples, list[Word]()
        try:
            await self._speak(frame, words, out)
            if self._samples == before and any(map(str.isalnum, frame.text)):
                raise UnspeakableError(f"it has no sound for a text of {len(frame.text.strip())} characters")
        except Exception as error:
            await self._mark_unspoken(frame, words, before, out)
            await out.send(failure_from(self.part, error))

    async def _mark_unspoken(self, frame: Text, words: list[Word], before: int, out: Outlet[Given]) -> None:
        """Report which part of a piece was not said when the voice failed."""
        start_ms, end_ms = 1000 * before / self.part.rate, 1000 * self._samples / self.part.rate
        said = _count_spoken(frame.text, words, end_ms - start_ms, self._ms_per_character)
        self._unspoken += frame.text[said:]
        for text, spoken in ((frame.text[:said], True), (frame.text[said:], False)):
            if text.strip() and not (spoken and words):  # the words of the voice have their own times
                begin_ms = start_ms if spoken else end_ms
                await out.send(
                    Timing(
                        text=text,
                        start_ms=begin_ms,
                        end_ms=end_ms,
                        spoken=spoken,
                        response_id=frame.response_id,
                        item_id=frame.item_id,
                    )
                )

    async def _speak(self, frame: Text, words: list[Word], out: Outlet[Given]) -> None:
        """Speak a piece. The words that the voice reports are added to `words`."""
        rate, start, timed = self.part.rate, self._samples, 0
        response_id, item_id = frame.response_id, frame.item_id
        start_ms = 1000 * start / rate
        written = WrittenWords(list(spoken_pieces(frame.text, self.locale)))
        # One scope surrounds the whole sound, because the part may keep its own cancel scopes open between pieces.
        with anyio.CancelScope() as limit:
            async with aclosing(self.part.speak(written.said)) as sound:  # type: ignore[type-var]  # a generator
                limit.deadline = anyio.current_time() + self.silent_seconds
                async for piece in sound:
                    limit.deadline = math.inf
                    if isinstance(piece, Word):
                        words.extend(written.add(piece))
                    elif len(piece):
                        pts = ns(self._samples, rate)
                        self._samples += len(piece)
                        await out.send(
                            Audio(samples=piece, rate=rate, pts=pts, response_id=response_id, item_id=item_id)
                        )
                    # A word is reported together with its sound and not before, because the voice may still fail.
                    while timed < len(words) and words[timed].end_ms <= 1000 * (self._samples - start) / rate:
                        await out.send(_timing(frame, words[timed], start_ms))
                        timed += 1
                    limit.deadline = anyio.current_time() + self.silent_seconds
        if limit.cancelled_caught:
            raise TimeoutError(f"it has sent no sound for {self.silent_seconds:g} s")
        words.extend(written.end())
        for word in words[timed:]:
            await out.send(_timing(frame, word, start_ms))
        end_ms = 1000 * self._samples / rate
        # The pace of this voice is used to estimate what was said if it fails in a later piece.
        if self._samples > start:
            self._ms_per_character = (end_ms - start_ms) / len(frame.text)
        if not words and self._samples > start:
            await out.send(
                Timing(text=frame.text, start_ms=start_ms, end_ms=end_ms, response_id=response_id, item_id=item_id)
            )


def _timing(frame: Text, word: Word, start_ms: float) -> Timing:
    """Return the time of a word of a piece, from the beginning of the item."""
    return Timing(
        text=word.text,
        start_ms=start_ms + word.start_ms,
        end_ms=start_ms + word.end_ms,
        response_id=frame.response_id,
        item_id=frame.item_id,
    )


def _count_spoken(text: str, words: list[Word], ms: float, ms_per_character: float) -> int:
    """Return the number of characters of a text that were said when the voice failed.

    Args:
        text: The text.
        words: The words that the voice has reported. If it reports none, its pace decides.
        ms: Length of the sound so far, in milliseconds.
        ms_per_character: The pace of the voice, in milliseconds for each character.
    """
    if words:
        end = 0
        for word in words:
            at = text.find(word.text, end)
            if word.end_ms > ms:
                break
            if at >= 0:  # a voice may spell a word in its own way
                end = at + len(word.text)
        while end < len(text) and not (text[end].isspace() or text[end].isalnum()):
            end += 1  # the punctuation behind the word
        return end
    count = int(ms / ms_per_character)
    return len(text) if count >= len(text) else text.rfind(" ", 0, count + 1) + 1
