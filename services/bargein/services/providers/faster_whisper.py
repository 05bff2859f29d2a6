"""FasterWhisper: an ear that needs no network, with a Whisper model of one's own, in a hundred languages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np

from bargein.pipeline.lowlevel import import_extra
from bargein.services.cascade.parts import Samples, SpeechToText

from ._shared.local_model import LocalModel

__all__ = ["FasterWhisper"]

FILES: Final = ("model.bin", "config.json", "tokenizer.json")
"""What a folder must have. Without the last, the library would download another's."""


class FasterWhisper(LocalModel, SpeechToText):
    """Hears with a Whisper model in CTranslate2's format, extra `faster-whisper`::

        Cascade(FasterWhisper("models/whisper-small"), ..., ...)

    `model` is a folder with `model.bin`, `config.json`, `tokenizer.json` and the vocabulary. Nothing is downloaded:
    `faster_whisper.download_model("small", "models/whisper-small")` does that, once and beforehand, and
    `ct2-transformers-converter` converts one of your own.

    `language` is a BCP 47 tag, of which the first part is used; empty, the model finds out for each utterance, which
    takes it as long again. `partial_seconds` after the last time, all of an utterance so far is heard anew, so that its
    words are known while it is spoken; 0 spares that. It rests for as long as that took, at least. `device`,
    `compute_type` and `threads` (0: the library's default) say what it computes with, as the library names them, and
    `options` are any others of its `WhisperModel.transcribe`, merged over ours (`{"hotwords": "Bargein"}`).

    One may serve several sessions; `concurrency` calls are answered at once. Raises `FileNotFoundError` where the
    model is not there, on entering `RuntimeError` where it cannot be loaded and `ValueError` for a language that it
    does not know, and `ModuleNotFoundError` without the library.
    """

    rate = 16_000

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
        options: dict[str, Any] | None = None,
    ) -> None:
        if partial_seconds < 0:
            raise ValueError(f"FasterWhisper(partial_seconds={partial_seconds:g}): expected 0 or more")
        super().__init__(concurrency)
        self._library = import_extra("faster_whisper", "faster-whisper", "FasterWhisper")
        self._folder = _checked(Path(model))
        self.language = language
        self._partial_seconds = partial_seconds
        self._device = {"device": device, "compute_type": compute_type, "cpu_threads": threads}
        self._options: dict[str, Any] = {
            "language": language.split("-", maxsplit=1)[0].lower() or None,
            "beam_size": 1,
            "temperature": 0.0,  # its way out of a loop is to listen five more times, and somebody waits
            "condition_on_previous_text": False,
            "without_timestamps": True,
            **(options or {}),
        }

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str, None]:
        """Hear one utterance. Raises `RuntimeError` outside the context manager and when the model fails."""
        model = self._opened()
        pieces: list[Samples] = []
        said, due = "", anyio.current_time() + self._partial_seconds
        async for samples in sound:
            if samples.dtype != np.int16 or samples.ndim != 1:
                raise ValueError(
                    f"FasterWhisper got an array of {samples.dtype} with shape {samples.shape}; "
                    f"expected int16 of shape (n,), mono at {self.rate} Hz"
                )
            pieces.append(samples)
            began = anyio.current_time()
            if self._partial_seconds and began >= due:
                heard = await self._call(partial(self._hear, model, pieces.copy()))
                ended = anyio.current_time()
                due = ended + max(self._partial_seconds, ended - began)
                if heard and heard != said:
                    said = heard
                    yield said
        if (heard := await self._call(partial(self._hear, model, pieces))) != said:
            yield heard

    def _load(self) -> Any:
        """Load the model, in its thread."""
        path = str(self._folder)
        try:
            model = self._library.WhisperModel(
                path, num_workers=self._concurrency, local_files_only=True, **self._device
            )
        except Exception as error:
            raise RuntimeError(
                f"FasterWhisper({path!r}): the model cannot be loaded with {self._device}: {error}; get it anew, or "
                "convert it anew"
            ) from error
        language, known = self._options["language"], model.supported_languages
        if language and language not in known:
            named = ", ".join(sorted(known))
            raise ValueError(f"FasterWhisper(language={self.language!r}): the model knows {named}; choose one of them")
        return model

    def _hear(self, model: Any, pieces: list[Samples]) -> str:
        """The words of a sound, in a thread."""
        if not sum(map(len, pieces)):
            return ""
        sound = np.concatenate(pieces).astype(np.float32) / 32768
        try:
            segments, _ = model.transcribe(sound, **self._options)
            return " ".join("".join(segment.text for segment in segments).split())
        except Exception as error:
            raise RuntimeError(
                f"FasterWhisper failed while it listened with {self._options}: {error}; look at options and the model"
            ) from error


def _checked(folder: Path) -> Path:
    """The folder, if it has what a model needs. Raises `FileNotFoundError`."""
    who = f"FasterWhisper({str(folder)!r})"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{who}: there is no such folder, and nothing is downloaded; give the folder of a model in CTranslate2's "
            "format, such as faster_whisper.download_model('small', folder) makes"
        )
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise FileNotFoundError(
            f"{who}: it lacks {' and '.join(missing)}, and nothing is downloaded; copy all files of the model, or "
            "convert it with ct2-transformers-converter --copy_files tokenizer.json"
        )
    return folder
