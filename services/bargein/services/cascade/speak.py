"""Speaking: pieces of text to a text-to-speech part, sound and the times of its words out."""

from __future__ import annotations

from contextlib import aclosing

from bargein.pipeline import Audio, AudioFormat, Failure, Interrupt, Outlet, ResponseEnded, Text
from bargein.processors import Timing

from ._part import Holds, failure_of
from .parts import TextToSpeech, Word

__all__ = ["Speak"]

SECOND = 1_000_000_000


class Speak(Holds):
    """Give each piece of a reply's text, and then its sound.

    Stands below `Sentences` and above `Spoken`: a `Timing` for each word, or for the whole piece where the voice does
    not say, lets that tell exactly what was heard. The first piece is heard while the rest is being written. An
    interrupt cancels the voice. What the part raises is a `Failure`, and the piece stays unspoken.
    """

    name = "speak"
    capacity = 256

    def __init__(self, tts: TextToSpeech) -> None:
        self.part = tts
        self.audio_out = AudioFormat(tts.rate, 1)
        self._key = ("", "")
        self._samples = 0  # of the present item

    async def process(
        self,
        frame: Text | ResponseEnded | Interrupt,
        out: Outlet[Text | ResponseEnded | Audio | Timing | Failure],
    ) -> None:
        """Speak one piece."""
        if isinstance(frame, Interrupt):
            self._key = ("", "")
            return
        await out.send(frame)
        if isinstance(frame, Text) and frame.text.strip():
            if self._key != (frame.response, frame.item):
                self._key, self._samples = (frame.response, frame.item), 0
            try:
                await self._say(frame, out)
            except Exception as error:
                await out.send(failure_of(self.part, error))

    async def _say(self, frame: Text, out: Outlet[Audio | Timing]) -> None:
        rate, start, words = self.part.rate, self._samples, 0
        response, item = frame.response, frame.item
        offset = 1000 * start / rate
        async with aclosing(self.part.speak(frame.text)) as sound:
            async for piece in sound:
                if isinstance(piece, Word):
                    words += 1
                    begin, end = offset + piece.start_ms, offset + piece.end_ms
                    await out.send(Timing(text=piece.text, start_ms=begin, end_ms=end, response=response, item=item))
                elif len(piece):
                    pts = self._samples * SECOND // rate
                    self._samples += len(piece)
                    await out.send(Audio(samples=piece, rate=rate, pts=pts, response=response, item=item))
        if not words and self._samples > start:
            end = 1000 * self._samples / rate
            await out.send(Timing(text=frame.text, start_ms=offset, end_ms=end, response=response, item=item))
