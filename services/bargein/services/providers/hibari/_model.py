"""The model of the voice: data files of an installed package, checked by their hash, loaded once for the process."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from bargein.pipeline.lowlevel import Samples, import_extra
from bargein.services.cascade.parts import Word
from bargein.services.providers.models import HIBARI

from ._lexicon import Entry, Lexicon
from ._reader import Part, Reader
from ._sound import HOP, RATE, to_samples
from ._tagger import Tagger

__all__ = ["VoiceModel", "load_voice"]

LENGTHS: Final = b"/Clip_output_0"
"""The value inside the graph that is the length of each phoneme, in `UNIT` samples."""
UNIT: Final = 2 * HOP
EARLY: Final = 3
"""Units by which a phoneme sounds before its place in the lengths: 75 ms. The voice from which the network learned is
so, too, and its own word times allow for it."""
LEAD_IN: Final = 1
"""Units that are kept before the first word: 25 ms. The network makes about 275 ms, for which the user would
wait."""


class _Guesser(msgspec.Struct):
    """What the network for unknown words reads and writes."""

    letters: list[str] = msgspec.field(name="in")
    sounds: list[str] = msgspec.field(name="out")
    maxlen: int


class VoiceModel:
    """The loaded voice. Several threads may use it at once.

    Args:
        library: The module `onnxruntime`.
        files: The files of the package.
    """

    def __init__(self, library: Any, files: Mapping[str, bytes]) -> None:
        self._voice = _open(library, with_output(files["hibari.onnx"], LENGTHS))
        self._unknown = _open(library, files["oov.onnx"])
        self._guesser = msgspec.json.decode(files["oov.json"], type=_Guesser)
        self._letters = {letter: 1 + at for at, letter in enumerate(self._guesser.letters)}
        self._ids = msgspec.json.decode(files["vocab.json"], type=dict[str, int])
        lists = tuple(
            msgspec.json.decode(gzip.decompress(files[f"lexicon_us_{name}.json.gz"]), type=dict[str, Entry])
            for name in ("gold", "silver")
        )
        self.lexicon = Lexicon(lists, self._guess)
        self.tagger = Tagger(gzip.decompress(files["tagger.json.gz"]))

    def reader(self, pronunciations: Mapping[str, str]) -> Reader:
        """Return what reads texts for this voice.

        Args:
            pronunciations: How words of one's own sound.
        """
        return Reader(self.lexicon, self.tagger, pronunciations)

    def speak(self, part: Part, speed: float, seed: int) -> tuple[Samples, list[Word]]:
        """Return the sound of a part of a text, and when each word sounds in it.

        Args:
            part: The phonemes.
            speed: How fast: 1 is normal.
            seed: Which noise to take.
        """
        known = [(at, number) for at, each in enumerate(part.phonemes) if (number := self._ids.get(each)) is not None]
        ids = np.array([[0, *(number for _, number in known), 0]], np.int64)
        *spectra, pitch, lengths = self._voice.run(None, {"ids": ids, "speed": np.array([speed], np.float32)})
        low, phase, noise, free, free_phase = (each[0] for each in spectra)
        samples = to_samples((low, phase, noise, free, free_phase), pitch[0], seed)
        ends = np.cumsum(lengths.reshape(-1)) * UNIT  # of each id; the first is that of the silence before all others
        skipped = max(0, int(ends[0]) - (EARLY + LEAD_IN) * UNIT)
        # Where each phoneme of the part begins. One that the voice does not know takes no time.
        shift = skipped + EARLY * UNIT
        begins, at = np.empty(len(part.phonemes) + 1), 0
        for place in range(len(begins)):
            begins[place] = ends[at]
            at += at < len(known) and known[at][0] == place
        words = [
            Word(
                text=each.text,
                start_ms=1000 * max(0.0, begins[each.start] - shift) / RATE,
                end_ms=1000 * max(0.0, begins[each.end] - shift) / RATE,
            )
            for each in part.words
        ]
        return samples[skipped:], words

    def _guess(self, word: str) -> str:
        """Return the phonemes of an unknown word, as the network for such words writes them."""
        letters = [self._letters[each] for each in word if each in self._letters][: self._guesser.maxlen]
        if not letters:
            return ""
        found = self._unknown.run(None, {"chars": np.array([letters], np.int64)})[0][0].tolist()
        # The network repeats a sound, and writes 0 for none.
        kept = (each for at, each in enumerate(found) if each and (not at or each != found[at - 1]))
        return "".join(self._guesser.sounds[each - 1] for each in kept)


def with_output(graph: bytes, name: bytes) -> bytes:
    """Return an ONNX model with one of its inner values as a further output, which comes last.

    In the encoding of protocol buffers a message may be written in parts, one behind the other, and repeated fields
    are joined. So 20 bytes at the end are enough: field 7 of the model (the graph), with field 12 (an output), with
    field 1 (its name). The runtime finds its type by itself.

    Args:
        graph: The model.
        name: The value, at most 100 bytes.
    """
    for field in (1, 12, 7):
        name = bytes([field << 3 | 2, len(name)]) + name
    return graph + name


def _open(library: Any, data: bytes) -> Any:
    options = library.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return library.InferenceSession(data, options, providers=["CPUExecutionProvider"])


_loaded: list[VoiceModel] = []
_loading = threading.Lock()


def load_voice() -> VoiceModel:
    """Return the voice of this process; the first call loads it, in about a second. Call it in a thread.

    Raises:
        ModuleNotFoundError: The extra `hibari` is not installed.
        ModelFileError: A file of the package is missing, or is not the one that is expected.
    """
    library = import_extra("onnxruntime", "hibari", "Hibari")
    with _loading:
        if not _loaded:
            _loaded.append(VoiceModel(library, HIBARI.read("Hibari")))
        return _loaded[0]
