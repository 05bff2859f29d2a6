"""The model: loaded once for the process, for all calls."""

from __future__ import annotations

import atexit
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bargein.pipeline.lowlevel import Samples, import_extra
from bargein.services.providers._shared.log_mel import HOP, RATE, log_mel, to_float

from ..models import WHISPER_BASE, WHISPER_TINY_EN, PackagedModel
from ._queue import CallQueue
from ._text import read_tokens, to_tokens

__all__ = ["MIN_PIECE_SECONDS", "PACKAGED", "Model", "load_model"]

PACKAGED: Final[Mapping[str, PackagedModel]] = {"tiny.en": WHISPER_TINY_EN, "base": WHISPER_BASE}
"""Models that come in packages, by their names."""
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
TOKENS_A_SECOND: Final = 6
"""Maximum length of a text. Quick speakers need about five, with the marks of time. A decoder that repeats itself ends
here, so that its time is bounded too."""
MAX_KEYWORD_TOKENS: Final = 200
"""The model reads at most 224 tokens before those that it writes."""


class Model:
    """A loaded model. It hears one sound at a time, in the thread of its caller.

    Args:
        library: The module `ctranslate2`.
        name: A name of `PACKAGED`, or the folder of a model.
        threads: Threads of one transcription.
    """

    def __init__(self, library: Any, name: str, threads: int) -> None:
        self.name = name
        self.queue = CallQueue()
        self._library = library
        options = {"device": "cpu", "compute_type": "int8", "inter_threads": 1, "intra_threads": threads}
        if name in PACKAGED:
            files = PACKAGED[name].read("WhisperEar")
            self._whisper = library.models.Whisper(name, files=files, **options)
            self._vocabulary = _read_vocabulary("vocabulary.txt", files["vocabulary.txt"])
        else:
            path = next(Path(name).glob("vocabulary.*"))
            self._vocabulary = _read_vocabulary(path.name, path.read_bytes())
            try:
                self._whisper = library.models.Whisper(name, **options)
            except Exception as error:
                raise RuntimeError(
                    f"WhisperEar(model={name!r}): the model cannot be loaded: {error}; convert it again with "
                    "ct2-transformers-converter"
                ) from error

    def make_prompt(self, language: str, keywords: Sequence[str]) -> list[str]:
        """Return the tokens before the text; the language is left out if it is to be detected.

        Args:
            language: An ISO 639 code; empty to detect it.
            keywords: Words that are likely to be said.

        Raises:
            ValueError: The model does not know the language, or there are too many keywords.
        """
        many = self._whisper.is_multilingual
        if not many and language not in ("", "en"):
            raise ValueError(
                f"WhisperEar(language={language!r}): the model {self.name} is for English only; use model='base' or "
                "the folder of a model for many languages"
            )
        if many and language and f"<|{language}|>" not in self._vocabulary:
            raise ValueError(f"WhisperEar(language={language!r}): the model {self.name} does not know this language")
        hint = to_tokens(" " + ", ".join(keywords), self._vocabulary) if keywords else []
        if len(hint) > MAX_KEYWORD_TOKENS:
            raise ValueError(
                f"WhisperEar(keywords=...): they are {len(hint)} tokens long; expected {MAX_KEYWORD_TOKENS} or less, "
                "which is about 60 words"
            )
        names = [f"<|{language}|>", "<|transcribe|>"] if many and language else []
        return [*(["<|startofprev|>", *hint] if hint else []), "<|startoftranscript|>", *names]

    def transcribe(self, samples: Samples, prompt: Sequence[str]) -> str:
        """Return the words of a sound.

        Args:
            samples: `int16`, mono, 16,000 Hz.
            prompt: What `make_prompt` returned.
        """
        return " ".join(filter(None, (self._hear(piece, [*prompt]) for piece in _pieces(samples))))

    def _hear(self, samples: Samples, prompt: list[str]) -> str:
        whisper = self._whisper  # `close` must not take it from a call that runs
        seconds = len(samples) / RATE
        context = max(MIN_CONTEXT_SECONDS, np.ceil(2 * (seconds + AFTER_SECONDS)) / 2)
        features = log_mel(to_float(samples), int(context * RATE) // HOP * HOP, whisper.n_mels)
        encoded = whisper.encode(self._library.StorageView.from_array(features[None]), to_cpu=False)
        if whisper.is_multilingual and prompt[-1] == "<|startoftranscript|>":
            (languages,) = whisper.detect_language(encoded)
            prompt += [languages[0][0], "<|transcribe|>"]
        length = 10 + int(TOKENS_A_SECOND * seconds)
        (found,) = whisper.generate(
            encoded,
            [prompt],
            beam_size=1,
            # CTranslate2 (4.8) writes half of this at most, and the prompt counts.
            max_length=max(2 * length, len(prompt) + length),
            return_scores=True,
            return_no_speech_prob=True,
        )
        if found.no_speech_prob > NO_SPEECH and found.scores[0] < MIN_SCORE:
            return ""
        return read_tokens(found.sequences[0], seconds)

    def close(self) -> None:
        """Let go of the weights. A call that runs keeps them until it has ended."""
        self._whisper = None


_models: dict[tuple[str, int], Model] = {}
_loading = threading.Lock()


def _close_models() -> None:
    """Close all models: CTranslate2 aborts the process if one is destroyed after the interpreter has ended."""
    for model in _models.values():
        model.close()
    _models.clear()


atexit.register(_close_models)


def load_model(name: str, threads: int) -> Model:
    """Return the model of this process; the first call loads it, in about half a second. Call it in a thread.

    Args:
        name: A name of `PACKAGED`, or the folder of a model.
        threads: Threads of one transcription. There is one model for each number that is asked for.

    Raises:
        ModelFileError: A file of the package is missing, or is not the one that is expected.
        ModuleNotFoundError: The extra is not installed.
        RuntimeError: The library cannot load the model.
    """
    library = import_extra("ctranslate2", "whisper", "WhisperEar")
    with _loading:
        if (name, threads) not in _models:
            _models[name, threads] = Model(library, name, threads)
        return _models[name, threads]


def _read_vocabulary(name: str, content: bytes) -> frozenset[str]:
    return frozenset(json.loads(content) if name.endswith(".json") else content.decode().split("\n"))


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
