"""Hibari: a natural English voice on this machine, with its weights in a package."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, Mapping
from functools import partial

from bargein.pipeline.lowlevel import Samples, check_options, check_positive
from bargein.services.cascade.parts import TextToSpeech, Word
from bargein.services.providers._shared.local_model import LocalModel
from bargein.services.providers.models import HIBARI

from ._model import VoiceModel, load_voice
from ._reader import PHONEMES
from ._sound import RATE

__all__ = ["Hibari", "is_installed"]


def is_installed() -> bool:
    """Return whether the extra `hibari` is installed: the library, and the package with the voice."""
    return importlib.util.find_spec("onnxruntime") is not None and HIBARI.is_installed


class Hibari(LocalModel, TextToSpeech):
    """A natural American English voice, 24 kHz. Needs the extra `hibari`.

    Example::

        Cascade.offline(tts=Hibari(pronunciations={"Bargein": "barge in", "Nguyen": "/wˈɪn/"}))

    The time of each `Word` is exact: the voice says how long each phoneme is. A long sentence comes in parts, so its
    first sound is there as soon as that of a short one. Digits and signs are read one by one; `Speakable`, which a
    cascade has above its voice, makes words of numbers, dates and the like.

    Nothing is downloaded: the weights are in the package `hibari-tts`, of which only data files are read, and only if
    their SHA-256 is the expected one. All instances of a process share one model, which stays loaded until the program
    ends. Entering an instance raises `RuntimeError` if the files are not the expected ones.

    Args:
        speed: How fast it speaks: 1 is normal, 0.5 the slowest, 2 the fastest.
        pronunciations: How words of one's own sound, by the word: other words to read instead, or phonemes between
            slashes, in the voice's alphabet (IPA, with `A I O W Y` for the vowels of day, my, go, now and boy). Case
            does not matter.
        concurrency: How many sentences of this instance are made at once.

    Raises:
        ModuleNotFoundError: The extra is not installed.
        ValueError: An argument is out of range.
    """

    rate = RATE

    @check_options
    def __init__(
        self, *, speed: float = 1.0, pronunciations: Mapping[str, str] | None = None, concurrency: int = 1
    ) -> None:
        super().__init__(concurrency)
        check_positive("Hibari", speed=speed)
        if not 0.5 <= speed <= 2:
            raise ValueError(f"Hibari(speed={speed!r}): expected from 0.5 (slow) to 2 (fast)")
        if not is_installed():
            raise ModuleNotFoundError(
                "Hibari needs onnxruntime and hibari-tts, which are not both installed; pip install 'bargein[hibari]'",
                name="hibari-tts",
            )
        self.speed = speed
        self.pronunciations = dict(pronunciations or {})
        for word, sound in self.pronunciations.items():
            _check_pronunciation(word, sound)

    async def speak(self, text: str) -> AsyncGenerator[Samples | Word, None]:
        """Yield the audio of a text and its words, a part at a time.

        Raises `RuntimeError` outside the context manager and when the voice fails.
        """
        voice: VoiceModel = self._get_model()
        start_ms, seed = 0.0, 0
        try:
            parts = voice.reader(self.pronunciations).read(text)
            while (part := await self._call(partial(next, parts, None))) is not None:
                samples, words = await self._call(partial(voice.speak, part, self.speed, seed))
                yield samples
                for word in words:
                    yield Word(text=word.text, start_ms=start_ms + word.start_ms, end_ms=start_ms + word.end_ms)
                start_ms, seed = start_ms + 1000 * len(samples) / RATE, seed + 1
        except (ValueError, IndexError, KeyError) as error:
            raise RuntimeError(f"Hibari failed at a text of {len(text)} characters: {error}") from error

    def _load(self) -> VoiceModel:
        """Return the loaded voice. Runs in a thread."""
        return load_voice()


def _check_pronunciation(word: str, sound: str) -> None:
    """Raise `ValueError` if a pronunciation cannot be spoken."""
    owner = f"Hibari(pronunciations={{{word!r}: {sound!r}}})"
    if not word.replace("'", "").isalpha():
        raise ValueError(f"{owner}: expected a single word of letters, to be found in the text")
    if not sound.startswith("/"):
        if not any(map(str.isalpha, sound)):
            raise ValueError(f"{owner}: expected words to read instead, or phonemes between slashes")
    elif len(sound) < 3 or not sound.endswith("/") or (unknown := sorted(set(sound[1:-1]) - PHONEMES)):
        wrong = f"{''.join(unknown)!r} is not among" if len(sound) > 2 and sound.endswith("/") else "expected"
        raise ValueError(f"{owner}: {wrong} the phonemes {''.join(sorted(PHONEMES)).strip()} between slashes")
