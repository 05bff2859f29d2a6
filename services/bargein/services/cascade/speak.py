"""Speaking: pieces of text to a text-to-speech part, sound and the times of its words out."""

from __future__ import annotations

import math
from contextlib import aclosing

import anyio
import msgspec

from bargein.pipeline import Audio, AudioFormat, Failure, Interrupt, Outlet, ResponseEnded, Text
from bargein.processors import Heard, Timing

from ._base import Holds, checked, failure_of, positive
from .parts import TextToSpeech, UnspeakableError, Word

__all__ = ["UNSPEAKABLE_REPLY", "Speak"]

SECOND = 1_000_000_000
UNSPEAKABLE_REPLY = "Sorry, I cannot say that."
"""What is said in place of what the voice cannot say."""
Given = Text | ResponseEnded | Audio | Timing | Heard | Failure


class Speak(Holds):
    """Give each piece of a reply's text, and then its sound.

    Stands below `Sentences` and above `Spoken`: a `Timing` for each word, or for the whole piece where the voice does
    not say, lets that tell exactly what was heard. The first piece is heard while the rest is being written. An
    interrupt cancels the voice. What the part raises is a `Failure`, and the piece stays unspoken; so is it where the
    part has no sound for a piece with words (`UnspeakableError`), or is silent for `silent_seconds`. An item of which
    nothing could be said was not heard, and `unsayable` is said in its place.
    """

    name = "speak"
    capacity = 256

    def __init__(self, tts: TextToSpeech, *, unsayable: str = UNSPEAKABLE_REPLY, silent_seconds: float = 15.0) -> None:
        positive(silent_seconds=silent_seconds)
        self.part = checked(tts, TextToSpeech, "speak")
        self.unsayable = unsayable
        self.silent_seconds = silent_seconds
        self.audio_out = AudioFormat(tts.rate, 1)
        self._key = ("", "")
        self._samples = 0  # of the present item
        self._unsaid = ""  # what could not be said of it

    async def process(self, frame: Text | ResponseEnded | Interrupt, out: Outlet[Given]) -> None:
        """Speak one piece."""
        if isinstance(frame, Interrupt):
            self._begin("", "")
            return
        await out.send(frame)
        if isinstance(frame, Text):
            if self._key != (frame.response_id, frame.item_id):
                self._begin(frame.response_id, frame.item_id)
            await self._try(frame, out)
            if frame.final and self._unsaid and not self._samples:
                response, item = self._key
                await out.send(Heard(response_id=response, item_id=item, text="", remaining=self._unsaid, done=True))
                self._begin(response, f"{item}-unsaid")
                instead = msgspec.structs.replace(frame, text=self.unsayable, item_id=f"{item}-unsaid")
                await out.send(instead)
                await self._try(instead, out)

    def _begin(self, response: str, item: str) -> None:
        self._key, self._samples, self._unsaid = (response, item), 0, ""

    async def _try(self, frame: Text, out: Outlet[Given]) -> None:
        """Say it, if there is anything to say, and tell if that did not work."""
        if not frame.text.strip():
            return
        before = self._samples
        try:
            await self._say(frame, out)
            if self._samples == before and any(map(str.isalnum, frame.text)):
                raise UnspeakableError(f"it has no sound for {frame.text.strip()[:80]!r}")
        except Exception as error:
            self._unsaid += frame.text
            await out.send(failure_of(self.part, error))

    async def _say(self, frame: Text, out: Outlet[Given]) -> None:
        rate, start, words = self.part.rate, self._samples, 0
        response, item = frame.response_id, frame.item_id
        offset = 1000 * start / rate
        with anyio.CancelScope() as patience:  # one around all: the part may hold scopes from piece to piece
            async with aclosing(self.part.speak(frame.text)) as sound:
                patience.deadline = anyio.current_time() + self.silent_seconds
                async for piece in sound:
                    patience.deadline = math.inf
                    if isinstance(piece, Word):
                        words += 1
                        begin, end = offset + piece.start_ms, offset + piece.end_ms
                        timing = Timing(text=piece.text, start_ms=begin, end_ms=end, response_id=response, item_id=item)
                        await out.send(timing)
                    elif len(piece):
                        pts = self._samples * SECOND // rate
                        self._samples += len(piece)
                        await out.send(Audio(samples=piece, rate=rate, pts=pts, response_id=response, item_id=item))
                    patience.deadline = anyio.current_time() + self.silent_seconds
        if patience.cancelled_caught:
            raise TimeoutError(f"it has given no sound for {self.silent_seconds:g} s")
        if not words and self._samples > start:
            end = 1000 * self._samples / rate
            await out.send(Timing(text=frame.text, start_ms=offset, end_ms=end, response_id=response, item_id=item))
