"""PocketSphinx: an ear that needs no network and brings its model along, for English and small vocabularies."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import anyio
import numpy as np

from bargein.pipeline.lowlevel import Worker, import_extra
from bargein.services.cascade.parts import Samples, SpeechToText

__all__ = ["PocketSphinx"]

T = TypeVar("T")

PARTIAL = 1_600
"""How many samples are decoded in one call of the thread, and so between two looks at the text."""
STEP = 320
"""How many samples are decoded while nothing else in Python runs: the library never lets go of the interpreter."""
NOISE = re.compile(r"<[^>\s]*>|\[[^\]\s]*\]|\+\+[^+\s]*\+\+|\(\d+\)")
"""Silences, noises, breaths, and the numbers of other pronunciations."""
WIDE = {"beam": 1e-80, "pbeam": 1e-80, "wbeam": 1e-60}
"""Beams for a grammar. Within the library's own (1e-48, 1e-48, 7e-29) the end of a sentence that was spoken clearly is
at times pruned before the sound reaches it. A grammar has few words, so wider beams take about a seventh more time."""


class PocketSphinx(SpeechToText):
    """Hears with CMU PocketSphinx, extra `pocketsphinx`, and its American English model: lower case, no punctuation.

    It is a context manager, and loads within it. What it learns of a voice and a microphone (the cepstral mean) it
    keeps from one utterance to the next, so one serves one speaker; the first utterance is heard least well. What one
    knows of the words makes it far better:

    * `grammar` is JSGF, as text or a `Path`: only its sentences are heard. Of a sentence that is not spoken to its end
      the words up to there are given.
    * `keyphrases` are listened for in all else that is said, each with its threshold: from 1e-50 (often) to 1 (seldom).
      One that was said once may be given twice.
    * `lm`, `dict`, `hmm` are the library's files: n-grams, pronunciations, acoustic model.
    * `words` adds pronunciations, such as `{"bargein": "B AA R JH IH N"}`.
    * `thorough` goes over an utterance twice more when it has ended. That hears a little better and takes 50 to 100 ms
      for each second that was spoken, in which nothing else in Python runs.
    * Other `options` are the library's own, by its names: `lw`, `beam`, `cmninit`...

    `concurrency` utterances are heard at once, each by a decoder (80 MB, half a second to load) and thread of its own;
    the next waits for one of them. Raises `ValueError` for what cannot be, `RuntimeError` with the options when the
    library takes none of it, and `ModuleNotFoundError` without the library.
    """

    rate = 16_000
    language = "en-US"

    def __init__(
        self,
        *,
        grammar: str | Path = "",
        keyphrases: Mapping[str, float] | None = None,
        words: Mapping[str, str] | None = None,
        hmm: str | Path = "",
        lm: str | Path = "",
        dict: str | Path = "",
        thorough: bool = False,
        concurrency: int = 2,
        **options: Any,
    ) -> None:
        if sum(map(bool, (grammar, keyphrases, lm))) > 1:
            raise ValueError("PocketSphinx: give one of grammar=, keyphrases= and lm=; each says what may be heard")
        if concurrency < 1:
            raise ValueError(f"PocketSphinx(concurrency={concurrency}): expected how many are heard at once, 1 or more")
        self._library = import_extra("pocketsphinx", "pocketsphinx", "PocketSphinx")
        self._grammar = grammar.read_text() if isinstance(grammar, Path) else grammar
        self._keyphrases = {" ".join(each.lower().split()): at for each, at in (keyphrases or {}).items()}
        self._words = {**(words or {})}
        files = {name: str(path) for name, path in (("hmm", hmm), ("lm", lm), ("dict", dict)) if path}
        self._options = {"samprate": self.rate, "loglevel": "FATAL", "fwdflat": thorough, "bestpath": thorough}
        self._options |= (WIDE if grammar else {}) | files | options
        if grammar or keyphrases:
            self._options["lm"] = None
        self._concurrency = concurrency
        self._slots: anyio.Semaphore | None = None
        self._free: list[_Ear] = []
        self._ears: list[_Ear] = []
        self._mean = ""

    async def __aenter__(self) -> PocketSphinx:
        """Load the model. Raises `RuntimeError` when it cannot be."""
        self._slots = anyio.Semaphore(self._concurrency)
        try:
            self._free.append(await self._ear())
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str, None]:
        """Hear one utterance. Raises `RuntimeError` outside the context manager and when the decoder fails."""
        if self._slots is None:
            raise RuntimeError("PocketSphinx is not open; use it in 'async with', as a cascade does")
        async with self._slots:
            ear = self._free.pop() if self._free else await self._ear()
            try:
                said = ""
                await ear.call(partial(ear.begin, self._mean))
                async for samples in sound:
                    if samples.dtype != np.int16 or samples.ndim != 1:
                        raise ValueError(
                            f"PocketSphinx got an array of {samples.dtype} with shape {samples.shape}; "
                            f"expected int16 of shape (n,), mono at {self.rate} Hz"
                        )
                    for at in range(0, len(samples), PARTIAL):
                        heard = await ear.call(partial(ear.hear, samples[at : at + PARTIAL]))
                        if heard and heard != said:
                            said = heard
                            yield said
                heard, self._mean = await ear.call(ear.end)
                # No end of a sentence was reached: what was understood on the way is worth more than nothing.
                if heard and heard != said:
                    yield heard
            except _Broken as error:
                self._discard(ear)
                raise RuntimeError(
                    f"PocketSphinx failed while it listened: {error.__cause__}; the next utterance gets a new decoder"
                ) from error.__cause__
            finally:  # its thread finishes the call that it is in; the next utterance waits behind that
                if ear in self._ears:
                    self._free.append(ear)

    async def _ear(self) -> _Ear:
        ear = _Ear(self._decoder)
        self._ears.append(ear)
        try:
            await ear.load()
        except BaseException:
            self._discard(ear)
            raise
        return ear

    def _discard(self, ear: _Ear) -> None:
        if ear in self._ears:
            self._ears.remove(ear)
        ear.dismiss()

    def _leave(self) -> None:
        ears, self._ears, self._free, self._slots = self._ears, [], [], None
        for ear in ears:
            ear.dismiss()

    def _decoder(self) -> Any:
        """Load one, in its thread."""
        try:
            decoder = self._library.Decoder(**self._options)
            for word, phones in self._words.items():
                if decoder.lookup_word(word) is None:
                    decoder.add_word(word, phones, True)
            if self._grammar:
                decoder.add_jsgf_string("grammar", self._grammar)
                decoder.activate_search("grammar")
            if self._keyphrases:
                for word in " ".join(self._keyphrases).split():
                    if decoder.lookup_word(word) is None:  # the library would pass over it without a word
                        raise ValueError(f"{word!r} is not in the dictionary")
                with tempfile.TemporaryDirectory(prefix="bargein") as folder:
                    path = Path(folder) / "keyphrases"
                    path.write_text("".join(f"{each} /{at:g}/\n" for each, at in self._keyphrases.items()))
                    decoder.add_kws("keyphrases", str(path))
                decoder.activate_search("keyphrases")
        except Exception as error:
            what = "grammar" if self._grammar else "keyphrases" if self._keyphrases else "options"
            raise RuntimeError(
                f"PocketSphinx cannot be set up with {self._options} and its {what}: {error}; files must be there, and "
                "every word must be in the dictionary, or in words= with its pronunciation"
            ) from error
        return decoder


class _Broken(Exception):  # noqa: N818
    """A decoder failed, for the reason that is the cause."""


class _Ear:
    """A decoder and the thread that it lives in, where `begin`, `hear` and `end` run."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._worker = Worker("bargein pocketsphinx")
        self._decoder: Any = None
        self._open = False

    async def call(self, function: Callable[[], T]) -> T:
        """Run one of the others in the thread."""
        try:
            return await self._worker.call(function)
        except Exception as error:
            raise _Broken from error

    def dismiss(self) -> None:
        """Tell the thread to end after the call that it is in, and do not wait for that."""
        self._worker.dismiss()

    async def load(self) -> None:
        """Make the decoder in the thread. Raises what making it raises."""
        self._decoder = await self._worker.call(self._make)

    def begin(self, mean: str) -> None:
        if self._open:  # the utterance before was called off
            self._open = False
            self._decoder.end_utt()
        if mean:
            self._decoder.set_cmn(mean)
        self._decoder.start_utt()
        self._open = True

    def hear(self, samples: Samples) -> str:
        for at in range(0, len(samples), STEP):
            self._decoder.process_raw(samples[at : at + STEP].tobytes())
        return self._text()

    def end(self) -> tuple[str, str]:
        """The final text, and what has been learned of the voice."""
        self._open = False
        self._decoder.end_utt()
        return self._text(), self._decoder.get_cmn()

    def _text(self) -> str:
        found = self._decoder.hyp()
        return " ".join(NOISE.sub(" ", found.hypstr).split()) if found is not None else ""
