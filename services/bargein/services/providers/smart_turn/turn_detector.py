"""SmartTurn: a turn detector that hears whether the user has finished, by a small model on this machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from bargein.pipeline.lowlevel import Samples, Worker, check_options, check_positive, import_extra
from bargein.processors import TurnEvidence
from bargein.services.providers.models import ModelFile, ModelFileError

from ._features import SECONDS, smart_turn_features

__all__ = ["SmartTurn", "is_installed"]

PACKAGE: Final = "pipecat-ai"
VERSION: Final = "1.14.0"
"""The package whose wheel holds the model (BSD-2-Clause). Its file is read as data; its code is never imported."""
FILE: Final = ModelFile(
    sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
    parts=((PACKAGE, "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"),),
)
HOW: Final = (
    f"pip install --no-deps {PACKAGE}=={VERSION}, which brings the file without further packages, "
    "or give its path: SmartTurn('smart-turn-v3.2-cpu.onnx')"
)

Model = Callable[[Samples, int], float]
_models: dict[str, Model] = {}
_loading = threading.Lock()


def is_installed() -> bool:
    """Return whether `SmartTurn()` can work: its library and the package with the model are installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    try:
        importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


class SmartTurn:
    """A brake for `Turns`: waits longer where the user does not sound finished. Needs the extra `smart-turn`.

    Example::

        Turns(silence_ms=500, detectors=[SmartTurn()])

    It hears the latest eight seconds of the turn, 200 ms into a pause, by the model Smart Turn v3.2. Where the
    probability that the user has finished is below `threshold`, it answers `unfinished_ms`, and else it has no
    opinion. It never shortens a silence: of 40 short pauses of real people, the model took three quarters for ends.
    As a brake it saved 6 of 28 cut-ins in longer speech, and cost 21 ms in the mean where people had finished. It was
    useless for synthesised voices.

    The model is one file of 8.7 MB, which the extra does not install. Nothing is downloaded, and the file is only
    loaded if its SHA-256 is the expected one. A call takes about 80 ms in a thread. All instances of a process share
    one model.

    Entering it raises `RuntimeError` if the file cannot be read or is another one.

    Args:
        path: The file `smart-turn-v3.2-cpu.onnx`; by default that of the installed package `pipecat-ai`, whose code is
            not imported.
        threshold: Probability below which the user has not finished, above 0 and below 1.
        unfinished_ms: Silence in milliseconds that ends an unfinished turn.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed, or without `path` the package with the model.
        ValueError: An argument is out of its range.
    """

    audio_seconds = float(SECONDS)

    @check_options
    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, threshold: float = 0.3, unfinished_ms: float = 1500.0
    ) -> None:
        check_positive("SmartTurn", unfinished_ms=unfinished_ms)
        if not 0 < threshold < 1:
            raise ValueError(f"SmartTurn(threshold={threshold}): expected a probability between 0 and 1, such as 0.3")
        import_extra("onnxruntime", "smart-turn", "SmartTurn")
        if path is None and not is_installed():
            raise ModuleNotFoundError(f"SmartTurn needs a file of {PACKAGE}, which is not installed; {HOW}")
        self.path = None if path is None else Path(path)
        self.threshold = threshold
        self.unfinished_ms = unfinished_ms
        self._model: Model | None = None
        self._worker: Worker | None = None
        self._users = 0

    async def __aenter__(self) -> Self:
        worker = self._worker or Worker("bargein SmartTurn")
        try:
            model = await worker.call(partial(_load, self.path))
        except BaseException:
            if worker is not self._worker:
                worker.dismiss()
            raise
        self._users += 1
        if self._worker is None:
            self._model, self._worker = model, worker
        elif worker is not self._worker:
            worker.dismiss()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._users -= 1
        if not self._users and self._worker is not None:
            self._worker.dismiss()
            self._worker = self._model = None

    async def silence_ms(self, evidence: TurnEvidence) -> float | None:
        """Return `unfinished_ms` where the user does not sound finished, and None elsewhere.

        Args:
            evidence: The turn. Only its sound counts.

        Raises:
            RuntimeError: The detector is not open.
        """
        if self._model is None or self._worker is None:
            raise RuntimeError("SmartTurn is not open; use it in Turns(detectors=[...]) or in 'async with'")
        if evidence.audio is None:
            return None
        sound = evidence.audio
        probability = await self._worker.call(partial(self._model, sound.samples, sound.rate))
        return self.unfinished_ms if probability < self.threshold else None


def _load(path: Path | None) -> Model:
    """Return the model of this process; the first call loads it. Call it in a thread."""
    library = import_extra("onnxruntime", "smart-turn", "SmartTurn")
    with _loading:
        if "model" not in _models:
            options = library.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = library.InferenceSession(_read(path), options, providers=["CPUExecutionProvider"])
            _models["model"] = partial(_probability, session)
        elif path is not None:
            _read(path)  # a wrong file is an error, also if the right one is loaded already
        return _models["model"]


def _read(path: Path | None) -> bytes:
    """Return the model's file, or raise `ModelFileError`."""
    try:
        if path is None:
            return FILE.read()
        data = path.read_bytes()
        FILE.check(data, str(path), HOW)
    except OSError as error:
        raise ModelFileError(f"SmartTurn cannot read {path}: {error}; {HOW}") from error
    except ModelFileError as error:
        raise ModelFileError(f"SmartTurn: {error}") from error
    return data


def _probability(session: Any, samples: Samples, rate: int) -> float:
    (found,) = session.run(None, {"input_features": smart_turn_features(samples, rate)})
    return float(np.asarray(found).reshape(-1)[0])
