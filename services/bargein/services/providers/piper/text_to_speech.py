"""Piper: a natural voice on this machine with your own model, in some forty languages."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bargein.pipeline.lowlevel import Samples, check_options, import_extra
from bargein.services.cascade.parts import TextToSpeech, Word
from bargein.services.providers._shared.local_model import LocalModel

from ._alignment import Phrase, align_words

__all__ = ["Piper"]

NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Blanks, control characters and single surrogates. Each is replaced by a blank, so that positions stay right."""


class Piper(LocalModel, TextToSpeech):
    """A voice of Piper, which speaks sentence by sentence. Needs the extra `piper`.

    Example::

        Cascade(..., ..., Piper("voices/en_US-lessac-medium.onnx"))

    Nothing is downloaded; `python -m piper.download_voices en_US-lessac-medium` downloads a voice beforehand. Piper's
    own voices report the length of each phoneme, from which the time of each `Word` is found: one word of the text, or
    several that run together, with the pause that follows. One instance can serve several sessions. Entering it raises
    `RuntimeError` if the voice cannot be loaded.

    Args:
        model: The `.onnx` file of the voice.
        config: The description of the voice; by default the model's path with `.json` behind it.
        speaker: The speaker of a voice with several, by name or number; None for the first.
        stretch: How slow it speaks: 1 is normal, 0.1 the fastest, 10 the slowest.
        volume: A factor from 0 to 10.
        concurrency: How many sentences are made at once.
        extra: Other fields of the library's `SynthesisConfig`: `{"noise_scale": 0.5}`.

    Raises:
        FileNotFoundError: A file of the voice is missing.
        ModuleNotFoundError: The library is not installed.
        ValueError: The description cannot be read, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str | Path,
        *,
        config: str | Path = "",
        speaker: str | int | None = None,
        stretch: float = 1.0,
        volume: float = 1.0,
        concurrency: int = 1,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(concurrency)
        if not 0.1 <= stretch <= 10:
            raise ValueError(f"Piper(stretch={stretch!r}): expected from 0.1 (fast) to 10 (slow)")
        if not 0 <= volume <= 10:
            raise ValueError(f"Piper(volume={volume!r}): expected a factor from 0 to 10")
        self._library = import_extra("piper", "piper", "Piper")
        self._path, self._config = Path(model), Path(config or f"{model}.json")
        voice = _read_description(self._path, self._config)
        self.rate = voice.audio.sample_rate
        self._synthesis = self._library.SynthesisConfig(
            speaker_id=_speaker_number(speaker, voice),
            length_scale=stretch * voice.inference.length_scale,
            volume=volume,
            **(extra or {}),
        )

    async def speak(self, text: str) -> AsyncGenerator[Samples | Word, None]:
        """Yield the audio of a text and its words, a sentence at a time.

        Raises `RuntimeError` outside the context manager and when the voice fails.
        """
        voice, text = self._get_model(), NO_TEXT.sub(" ", text)
        if not any(map(str.isalnum, text)):
            return
        sentences = self._synthesise(voice, text)
        while (sentence := await self._call(lambda: next(sentences, None))) is not None:
            samples, words = sentence
            yield samples
            for word in words:
                yield word

    def _load(self) -> Any:
        """Return the loaded voice. Runs in a thread."""
        path = str(self._path)
        try:
            return self._library.PiperVoice.load(
                path, self._config, include_alignments=True, download_dir=self._path.parent
            )
        except Exception as error:
            raise RuntimeError(f"Piper({path!r}): the voice cannot be loaded: {error}; download it again") from error

    def _synthesise(self, voice: Any, text: str) -> Iterator[tuple[Samples, list[Word]]]:
        """Yield the audio and the words of each sentence. Runs in a thread."""
        try:
            phrases = iter(_phrases(voice, text))
            start = 0
            for chunk in voice.synthesize(text, self._synthesis, include_alignments=True):
                samples = chunk.audio_int16_array.reshape(-1)
                words = next(phrases).words(chunk.phoneme_alignments, start, len(samples), self.rate)
                start += len(samples)
                yield samples, list(words)
        except Exception as error:
            raise RuntimeError(
                f"Piper failed at a text of {len(text)} characters: {error}; look at extra and the voice"
            ) from error


def _phrases(voice: Any, text: str) -> list[Phrase]:
    """Return the words of a text, by the sentences into which the voice will split it."""
    words = [
        (*match.span(), [sound for sentence in voice.phonemize(match.group()) for sound in sentence])
        for match in re.finditer(r"\S+", text)
    ]
    return align_words(text, words, [sentence for sentence in voice.phonemize(text) if sentence])


# The description --------------------------------------------------------------------------------------------------


class _Audio(msgspec.Struct):
    sample_rate: int


class _Inference(msgspec.Struct):
    length_scale: float = 1.0


class _Description(msgspec.Struct):
    """The fields of a voice's description that are read here. The library reads more."""

    audio: _Audio
    num_symbols: int
    phoneme_id_map: dict[str, list[int]]
    espeak: dict[str, str]
    num_speakers: int = 1
    speaker_id_map: dict[str, int] = {}
    phoneme_type: str = "espeak"
    inference: _Inference = msgspec.field(default_factory=_Inference)


def _read_description(path: Path, config: Path) -> _Description:
    """Return the description of a voice. Raises `FileNotFoundError` and `ValueError`."""
    owner = f"Piper({str(path)!r})"
    for each, what in ((path, "voice"), (config, "description of the voice")):
        if not each.is_file():
            raise FileNotFoundError(
                f"{owner}: there is no {what} at {str(each)!r}, and nothing is downloaded; give the .onnx file of a "
                "voice with its .onnx.json beside it, such as `python -m piper.download_voices` fetches"
            )
    try:
        voice = msgspec.json.decode(config.read_bytes(), type=_Description)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{owner}: {str(config)!r} describes no voice: {error}; download it again") from None
    if not 4_000 <= voice.audio.sample_rate <= 192_000:
        rate = voice.audio.sample_rate
        raise ValueError(f"{owner}: {str(config)!r} says {rate} Hz, which no voice has; download it again")
    if voice.phoneme_type == "pinyin" and not (path.parent / "g2pW" / "g2pw.onnx").is_file():
        raise FileNotFoundError(f"{owner}: its Chinese needs {str(path.parent / 'g2pW')!r}, and nothing is downloaded")
    return voice


def _speaker_number(speaker: str | int | None, voice: _Description) -> int | None:
    if speaker is None:
        return None
    number = voice.speaker_id_map.get(speaker) if isinstance(speaker, str) else speaker
    if number is None or not 0 <= number < voice.num_speakers:
        known = ", ".join(voice.speaker_id_map) or f"0 to {voice.num_speakers - 1}"
        raise ValueError(f"Piper(speaker={speaker!r}): the voice has {known}; choose one of them")
    return number
