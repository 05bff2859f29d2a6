"""FasterWhisper: speech-to-text on this machine with your own Whisper model, in a hundred languages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np

from bargein.pipeline.lowlevel import Samples, check_options, import_extra
from bargein.services.cascade.parts import SpeechToText

from ._shared.local_model import LocalModel

__all__ = ["FasterWhisper"]

FILES: Final = ("model.bin", "config.json", "tokenizer.json")
"""Files that a model's folder must have. Without the last, the library would download another model's."""


class FasterWhisper(LocalModel, SpeechToText):
    """Speech-to-text with a Whisper model in CTranslate2's format. Needs the extra `faster-whisper`.

    Example::

        Cascade(FasterWhisper("models/whisper-small"), ..., ...)

    Nothing is downloaded. `faster_whisper.download_model("small", "models/whisper-small")` downloads a model once and
    beforehand; `ct2-transformers-converter` converts your own model. One instance can serve several sessions. Entering
    it raises `RuntimeError` if the model cannot be loaded, and `ValueError` for a language that the model does not
    know.

    Args:
        model: The folder with `model.bin`, `config.json`, `tokenizer.json` and the vocabulary.
        language: A BCP 47 tag, of which the first part is used. Empty to detect the language of each utterance, which
            takes about as long as the transcription.
        partial_seconds: How often the utterance so far is transcribed while it is spoken, in seconds; 0 for not at all.
            The pause between two partial transcriptions is at least as long as the last one took.
        device: The device to compute on, as the library names it.
        compute_type: The number format to compute with, as the library names it.
        threads: Threads of one transcription; 0 for the library's default.
        concurrency: How many transcriptions run at once.
        extra: Other arguments of the library's `WhisperModel.transcribe`, merged over all of the above:
            `{"hotwords": "Bargein"}`.

    Raises:
        FileNotFoundError: The folder or one of its files is missing.
        ModuleNotFoundError: The library is not installed.
        ValueError: An argument has no possible value.
    """

    rate = 16_000

    @check_options
    def __init__(
        self,
        model: str | Path,
        *,
        language: str = "",
        partial_seconds: float = 1.0,
        device: str = "auto",
        compute_type: str = "default",
        threads: int = 0,
        concurrency: int = 1,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if partial_seconds < 0:
            raise ValueError(f"FasterWhisper(partial_seconds={partial_seconds:g}): expected 0 or more")
        super().__init__(concurrency)
        self._library = import_extra("faster_whisper", "faster-whisper", "FasterWhisper")
        self._folder = _check_folder(Path(model))
        self.language = language
        self._partial_seconds = partial_seconds
        self._device = {"device": device, "compute_type": compute_type, "cpu_threads": threads}
        self._arguments: dict[str, Any] = {
            "language": language.split("-", maxsplit=1)[0].lower() or None,
            "beam_size": 1,
            "temperature": 0.0,  # without this the library transcribes up to five more times, while the caller waits
            "condition_on_previous_text": False,
            "without_timestamps": True,
            **(extra or {}),
        }

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str, None]:
        """Yield the text of one utterance, whole each time it changes.

        Raises `RuntimeError` outside the context manager and when the model fails, and `ValueError` for other audio
        than 16-bit mono.
        """
        model = self._get_model()
        pieces: list[Samples] = []
        text, due = "", anyio.current_time() + self._partial_seconds
        async for samples in sound:
            if samples.dtype != np.int16 or samples.ndim != 1:
                raise ValueError(
                    f"FasterWhisper got an array of {samples.dtype} with shape {samples.shape}; "
                    f"expected int16 of shape (n,), mono at {self.rate} Hz"
                )
            pieces.append(samples)
            began = anyio.current_time()
            if self._partial_seconds and began >= due:
                partial_text = await self._call(partial(self._transcribe, model, pieces.copy()))
                ended = anyio.current_time()
                due = ended + max(self._partial_seconds, ended - began)
                if partial_text and partial_text != text:
                    text = partial_text
                    yield text
        if (final_text := await self._call(partial(self._transcribe, model, pieces))) != text:
            yield final_text

    def _load(self) -> Any:
        """Return the loaded model. Runs in a thread."""
        path = str(self._folder)
        try:
            model = self._library.WhisperModel(
                path, num_workers=self._concurrency, local_files_only=True, **self._device
            )
        except Exception as error:
            raise RuntimeError(
                f"FasterWhisper({path!r}): the model cannot be loaded with {self._device}: {error}; "
                "download it again, or convert it again"
            ) from error
        language, known = self._arguments["language"], model.supported_languages
        if language and language not in known:
            choices = ", ".join(sorted(known))
            raise ValueError(
                f"FasterWhisper(language={self.language!r}): the model knows {choices}; choose one of them"
            )
        return model

    def _transcribe(self, model: Any, pieces: list[Samples]) -> str:
        """Return the words of some audio. Runs in a thread."""
        if not sum(map(len, pieces)):
            return ""
        sound = np.concatenate(pieces).astype(np.float32) / 32768
        try:
            segments, _ = model.transcribe(sound, **self._arguments)
            return " ".join("".join(segment.text for segment in segments).split())
        except Exception as error:
            raise RuntimeError(
                f"FasterWhisper failed while it listened with {self._arguments}: {error}; look at extra and the model"
            ) from error


def _check_folder(folder: Path) -> Path:
    """Return the folder if it has the files of a model. Raises `FileNotFoundError`."""
    owner = f"FasterWhisper({str(folder)!r})"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{owner}: there is no such folder, and nothing is downloaded; give the folder of a model in CTranslate2's "
            "format, such as faster_whisper.download_model('small', folder) makes"
        )
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise FileNotFoundError(
            f"{owner}: it lacks {' and '.join(missing)}, and nothing is downloaded; copy all files of the model, or "
            "convert it with ct2-transformers-converter --copy_files tokenizer.json"
        )
    return folder
