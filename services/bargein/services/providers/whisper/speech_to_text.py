"""WhisperEar: speech-to-text on this machine by a Whisper model, with the weights in a package."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import numpy as np

from bargein.pipeline.lowlevel import Samples, Worker, check_instance, check_options, import_extra
from bargein.services.cascade.parts import SpeechToText
from bargein.services.providers._shared.log_mel import RATE

from ._model import MIN_PIECE_SECONDS, PACKAGED, Model, load_model
from ._queue import BusyError
from ._sound import SoundSoFar
from .statistics import HearingStatistics

__all__ = ["WhisperEar", "is_installed"]

PARTIAL_SOUND_SECONDS = 6.0
"""Longest sound that is transcribed while speech goes on: it fits into the shortest context, so each takes the same
time. The words of a longer utterance come in its pauses."""
PARTIAL_SHARE = 4
"""The pause between two partial transcriptions, as a multiple of the time that the last one took: all of them together
take a fifth of the model's time at most."""


def is_installed(model: str = "tiny.en") -> bool:
    """Return whether the library and the package with the weights are installed.

    Args:
        model: `"tiny.en"` (extra `whisper`) or `"base"` (extra `whisper-base`).
    """
    return importlib.util.find_spec("ctranslate2") is not None and PACKAGED[model].is_installed


class WhisperEar(SpeechToText):
    """Speech-to-text by a Whisper model in CTranslate2's format. Needs the extra `whisper`.

    Example::

        Cascade.offline(stt=WhisperEar(keywords=["Bargein"]))

    The text has capital letters and punctuation, and digits for numbers. Nothing is downloaded: the weights of the
    named models are data files of packages, and are used only if their SHA-256 is the expected one.

    It transcribes the sound 200 ms into a silence, and again at the end of the utterance if speech has gone on. While
    somebody speaks, it also transcribes the first six seconds from time to time, for captions and for a `BargeIn` that
    counts words. Once it has 14 s of sound, the words at a pause stand.

    It is a context manager, and several sessions may share an instance. All instances of a process share one model
    (200 MB for `"tiny.en"`, 300 MB for `"base"`), which hears one utterance at a time, in the order in which they came,
    and stays loaded until the program ends. Entering the instance raises `ModelFileError`, a `RuntimeError`, if the
    files are not the expected ones, and `ValueError` for a language that the model does not know.

    Args:
        model: `"tiny.en"` for English; `"base"` for about a hundred languages, at twice the time (extra
            `whisper-base`); or the folder of a model with `model.bin`, `config.json` and the vocabulary.
        language: A BCP 47 tag, of which the first part is used. Empty to detect the language of each utterance.
        keywords: Names and words that are likely to be said, at most about 60. The model writes them rather than
            others that sound alike.
        partial_seconds: Minimum time between two transcriptions while speech goes on, in seconds; 0 for none. They take
            a fifth of the model's time at most, and never make another call wait.
        threads: Threads of one transcription, 1 or more.
        max_waiting: Maximum number of utterances that wait for the model, over the whole process. A further one fails.

    Raises:
        FileNotFoundError: The folder or one of its files is missing.
        ModuleNotFoundError: The extra is not installed.
        ValueError: An argument is out of range.
    """

    rate = RATE

    @check_options
    def __init__(
        self,
        model: str | Path = "tiny.en",
        *,
        language: str = "en",
        keywords: Sequence[str] = (),
        partial_seconds: float = 1.0,
        threads: int = 1,
        max_waiting: int = 32,
    ) -> None:
        check_instance("WhisperEar", int, threads=threads, max_waiting=max_waiting)
        for name, value, least in (
            ("threads", threads, 1),
            ("max_waiting", max_waiting, 0),
            ("partial_seconds", partial_seconds, 0),
        ):
            if value < least:
                raise ValueError(f"WhisperEar({name}={value:g}): expected {least} or more")
        if isinstance(keywords, str):
            raise ValueError(f"WhisperEar(keywords={keywords!r}): expected a list of words, such as [{keywords!r}]")
        import_extra("ctranslate2", "whisper", "WhisperEar")
        self._name = _check_model(model)
        self.language = language
        self._keywords = [*keywords]
        self._partial_seconds = partial_seconds
        self._threads = threads
        self._max_waiting = max_waiting
        self._users = 0
        self._model: Model | None = None
        self._prompt: list[str] = []
        self._waits = self._wait_peak = 0.0
        self._transcriptions = self._stale = 0

    def statistics(self) -> HearingStatistics:
        """Return the present load, and how long this ear has waited for the model."""
        return HearingStatistics(
            waiting=self._model.queue.waiting if self._model else 0,
            waiting_peak=self._model.queue.waiting_peak if self._model else 0,
            wait_ms=1000 * self._waits,
            wait_ms_peak=1000 * self._wait_peak,
            transcriptions=self._transcriptions,
            stale=self._stale,
        )

    async def __aenter__(self) -> Self:
        self._users += 1
        worker = Worker("bargein WhisperEar")
        try:
            model = await worker.call(partial(load_model, self._name, self._threads))
            self._prompt = model.make_prompt(self.language.split("-", maxsplit=1)[0].lower(), self._keywords)
            self._model = model
        except BaseException:
            self._leave()
            raise
        finally:
            worker.dismiss()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._model = None

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str, None]:
        """Yield the text of one utterance, whole each time it changes.

        Raises `RuntimeError` outside the context manager, and if too many utterances wait or the model fails;
        `ValueError` for other audio than 16-bit mono.
        """
        model = self._model
        if model is None:
            raise RuntimeError("WhisperEar is not open; use it in 'async with', as a cascade does")
        utterance = SoundSoFar()
        before = ""  # the words of the sound that is no longer in `utterance`
        guess: str | None = None  # the words, if nothing was said since they were transcribed
        due = anyio.current_time() + self._partial_seconds
        worker = Worker("bargein WhisperEar")
        try:
            async for samples in sound:
                self._check(samples)
                if utterance.add(samples) and guess is not None:
                    guess = None
                    self._stale += 1
                # What is transcribed too early is worth less than another call's final words: those never wait for it.
                if guess is not None or model.queue.busy:
                    continue
                if utterance.paused:
                    guess = await self._hear(worker, model, utterance)
                    words = _join(before, guess)
                    if utterance.seconds >= MIN_PIECE_SECONDS:
                        # These words stand: to transcribe all of a long utterance in each of its pauses is too much.
                        before, guess = words, None
                        utterance.forget()
                    if words:
                        yield words
                elif self._is_partial_due(utterance, due):
                    began = anyio.current_time()
                    words = _join(before, await self._hear(worker, model, utterance))
                    ended = anyio.current_time()
                    due = ended + max(self._partial_seconds, PARTIAL_SHARE * (ended - began))
                    if words:
                        yield words
            rest = guess if guess is not None else await self._hear(worker, model, utterance)
        finally:
            worker.dismiss()
        if rest:
            yield _join(before, rest)

    def _is_partial_due(self, utterance: SoundSoFar, due: float) -> bool:
        return (
            self._partial_seconds > 0
            and anyio.current_time() >= due
            and utterance.loud  # a pause is near otherwise, and what is transcribed there counts
            and utterance.seconds <= PARTIAL_SOUND_SECONDS
        )

    def _check(self, samples: Samples) -> None:
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise ValueError(
                f"WhisperEar got an array of {samples.dtype} with shape {samples.shape}; "
                f"expected int16 of shape (n,), mono at {self.rate} Hz"
            )

    async def _hear(self, worker: Worker, model: Model, utterance: SoundSoFar) -> str:
        if not utterance.spoken:
            return ""
        samples = np.concatenate(utterance.pieces)
        try:
            ticket = model.queue.join(self._max_waiting)
        except BusyError as error:
            raise RuntimeError(
                f"WhisperEar(max_waiting={self._max_waiting}): {error}; take fewer calls in this process"
            ) from None
        try:
            if not model.queue.is_first(ticket):
                began = anyio.current_time()
                await worker.call(partial(model.queue.wait, ticket))
                waited = anyio.current_time() - began
                self._waits, self._wait_peak = self._waits + waited, max(self._wait_peak, waited)
            self._transcriptions += 1
            return await worker.call(partial(model.transcribe, samples, self._prompt))
        except Exception as error:
            raise RuntimeError(f"WhisperEar failed while it listened: {error}") from error
        finally:
            model.queue.leave(ticket)


def _check_model(model: str | Path) -> str:
    """Return the name of a packaged model, or the path of a folder that has the files of one.

    Raises:
        FileNotFoundError: There is neither.
        ModuleNotFoundError: The package of a named model is not installed.
    """
    if not isinstance(model, str | Path):
        raise TypeError(f"WhisperEar(model={model!r:.40}): expected a name or a path, not {type(model).__name__}")
    if model in PACKAGED:
        PACKAGED[str(model)].require("WhisperEar")
        return str(model)
    folder = Path(model)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"WhisperEar(model={str(model)!r}): there is no such folder, and nothing is downloaded; expected "
            f"{', '.join(map(repr, PACKAGED))}, or the folder of a model in CTranslate2's format"
        )
    lacking = [name for name in ("model.bin", "config.json", "vocabulary.*") if not any(folder.glob(name))]
    if lacking:
        raise FileNotFoundError(
            f"WhisperEar(model={str(model)!r}): the folder lacks {' and '.join(lacking)}; copy all files of the model"
        )
    return str(folder.resolve())


def _join(*texts: str) -> str:
    return " ".join(filter(None, texts))
