"""Piper: a natural voice that needs no network, with weights of one's own, in some forty languages."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bargein.pipeline.lowlevel import import_extra
from bargein.services.cascade.parts import Samples, TextToSpeech, Word
from bargein.services.providers._shared.local_model import LocalModel

from ._words import Phrase, placed

__all__ = ["Piper"]

UNSPEAKABLE_REPLY = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Blanks, and what is no text. Each becomes a blank, so that all else keeps its place."""


class Piper(LocalModel, TextToSpeech):
    """Speaks with a voice of Piper's, extra `piper`::

        Cascade(..., ..., Piper("voices/en_US-lessac-medium.onnx"))

    `model` is the voice, and `config` its description, `model` with `.json` behind it unless it is given, which says
    the `rate`. Nothing is downloaded: `python -m piper.download_voices en_US-lessac-medium` does that, beforehand.

    `speaker` is one of a voice that has several, by name or number; `stretch` makes it slower than 1, or faster;
    `volume` is a factor. `options` are the others of the library's `SynthesisConfig` (`{"noise_scale": 0.5}`). It
    speaks sentence by sentence, and says of each when its words sound, where a voice tells (Piper's own do). A `Word`
    is one word of the text, or several that run together, with the pause that follows.

    One may serve several sessions; `concurrency` sentences are made at once. Raises `FileNotFoundError` where the voice
    is not there, `ValueError` where its description is broken and for what cannot be, on entering `RuntimeError` where
    it cannot be loaded, and `ModuleNotFoundError` without the library.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        config: str | Path = "",
        speaker: str | int | None = None,
        stretch: float = 1.0,
        volume: float = 1.0,
        concurrency: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(concurrency)
        if not 0.1 <= stretch <= 10:
            raise ValueError(f"Piper(stretch={stretch!r}): expected from 0.1 (fast) to 10 (slow)")
        if not 0 <= volume <= 10:
            raise ValueError(f"Piper(volume={volume!r}): expected a factor from 0 to 10")
        self._library = import_extra("piper", "piper", "Piper")
        self._path, self._config = Path(model), Path(config or f"{model}.json")
        voice = _described(self._path, self._config)
        self.rate = voice.audio.sample_rate
        self._manner = self._library.SynthesisConfig(
            speaker_id=_speaker(speaker, voice),
            length_scale=stretch * voice.inference.length_scale,
            volume=volume,
            **(options or {}),
        )

    async def speak(self, text: str) -> AsyncGenerator[Samples | Word, None]:
        """Speak, a sentence at a time. Raises `RuntimeError` outside the context manager and when the voice fails."""
        voice, text = self._opened(), UNSPEAKABLE_REPLY.sub(" ", text)
        if not any(map(str.isalnum, text)):
            return
        made = self._made(voice, text)
        while (piece := await self._call(lambda: next(made, None))) is not None:
            samples, words = piece
            yield samples
            for word in words:
                yield word

    def _load(self) -> Any:
        """Load the voice, in a thread."""
        path = str(self._path)
        try:
            return self._library.PiperVoice.load(
                path, self._config, include_alignments=True, download_dir=self._path.parent
            )
        except Exception as error:
            raise RuntimeError(f"Piper({path!r}): the voice cannot be loaded: {error}; get it anew") from error

    def _made(self, voice: Any, text: str) -> Iterator[tuple[Samples, list[Word]]]:
        """Each sentence's sound, and when its words sound. Runs in a thread."""
        try:
            phrases = iter(_phrases(voice, text))
            start = 0
            for chunk in voice.synthesize(text, self._manner, include_alignments=True):
                samples = chunk.audio_int16_array.reshape(-1)
                words = next(phrases).words(chunk.phoneme_alignments, start, len(samples), self.rate)
                start += len(samples)
                yield samples, list(words)
        except Exception as error:
            raise RuntimeError(f"Piper failed at {text[:80]!r}: {error}; look at options and the voice") from error


def _phrases(voice: Any, text: str) -> list[Phrase]:
    """The text's words, by the sentences that the voice will make of it."""
    words = [
        (*match.span(), [sound for sentence in voice.phonemize(match.group()) for sound in sentence])
        for match in re.finditer(r"\S+", text)
    ]
    return placed(text, words, [sentence for sentence in voice.phonemize(text) if sentence])


# The description --------------------------------------------------------------------------------------------------


class _Audio(msgspec.Struct):
    sample_rate: int


class _Inference(msgspec.Struct):
    length_scale: float = 1.0


class _Description(msgspec.Struct):
    """What is read here of a voice's description; the library reads more."""

    audio: _Audio
    num_symbols: int
    phoneme_id_map: dict[str, list[int]]
    espeak: dict[str, str]
    num_speakers: int = 1
    speaker_id_map: dict[str, int] = {}
    phoneme_type: str = "espeak"
    inference: _Inference = msgspec.field(default_factory=_Inference)


def _described(path: Path, config: Path) -> _Description:
    """The description of a voice that is there."""
    who = f"Piper({str(path)!r})"
    for each, what in ((path, "voice"), (config, "description of the voice")):
        if not each.is_file():
            raise FileNotFoundError(
                f"{who}: there is no {what} at {str(each)!r}, and nothing is downloaded; give the .onnx file of a "
                "voice with its .onnx.json beside it, such as `python -m piper.download_voices` fetches"
            )
    try:
        voice = msgspec.json.decode(config.read_bytes(), type=_Description)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{who}: {str(config)!r} describes no voice: {error}; get it anew") from None
    if not 4_000 <= voice.audio.sample_rate <= 192_000:
        raise ValueError(f"{who}: {str(config)!r} says {voice.audio.sample_rate} Hz, which no voice has; get it anew")
    if voice.phoneme_type == "pinyin" and not (path.parent / "g2pW" / "g2pw.onnx").is_file():
        raise FileNotFoundError(f"{who}: its Chinese needs {str(path.parent / 'g2pW')!r}, and nothing is downloaded")
    return voice


def _speaker(speaker: str | int | None, voice: _Description) -> int | None:
    """The number of a speaker."""
    if speaker is None:
        return None
    number = voice.speaker_id_map.get(speaker) if isinstance(speaker, str) else speaker
    if number is None or not 0 <= number < voice.num_speakers:
        known = ", ".join(voice.speaker_id_map) or f"0 to {voice.num_speakers - 1}"
        raise ValueError(f"Piper(speaker={speaker!r}): the voice has {known}; choose one of them")
    return number
