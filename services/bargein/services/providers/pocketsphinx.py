"""PocketSphinx: speech-to-text on this machine with a model in its package, for English and small vocabularies."""

from __future__ import annotations

import re
import tempfile
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import anyio
import numpy as np

from bargein.pipeline.lowlevel import Samples, Worker, check_options, import_extra
from bargein.services.cascade.parts import SpeechToText

from ._shared.sphinx_decoder import make_decoder

__all__ = ["PocketSphinx"]

T = TypeVar("T")

PARTIAL_SAMPLES = 1_600
"""Samples that are decoded in one call of the thread, and so between two partial texts: 100 ms."""
STEP_SAMPLES = 320
"""Samples that are decoded at once: 20 ms. Where the library holds the interpreter lock, others run in between."""
GRAMMAR_BEAMS = {"beam": 1e-80, "pbeam": 1e-80, "wbeam": 1e-60}
"""Beams for a grammar. The library's own (1e-48, 1e-48, 7e-29) sometimes prune the end of a clearly spoken sentence. A
grammar has few words, so wider beams take only about a seventh more time."""
NOISE = re.compile(r"<[^>\s]*>|\[[^\]\s]*\]|\+\+[^+\s]*\+\+|\(\d+\)")
"""Marks for silence, noise and breath, and the numbers of alternative pronunciations."""


class PocketSphinx(SpeechToText):
    """Speech-to-text by CMU PocketSphinx with its American English model. Needs the extra `pocketsphinx`.

    The text is in lower case, without punctuation. It is a context manager, and loads its model when it is entered, for
    about half a second in a thread. The event loop goes on meanwhile, except where the installed library does not
    export its C functions and keeps the interpreter lock. A decoder that is no longer used is kept for the next
    instance with the same arguments, and a server can call `preload` before it opens.

    It keeps what it learns of a voice and a microphone (the cepstral mean) from one utterance to the next, so one
    instance serves one speaker; the first utterance is recognised least well. Anything that limits the words makes it
    far better: `grammar`, `keyphrases` or `lm`, of which one can be given. Entering it raises `RuntimeError` if the
    library refuses the arguments.

    Args:
        grammar: A JSGF grammar, as text or the `Path` of a file. Only its sentences are recognised. Of a
            sentence that is not spoken to its end, the words up to there are returned.
        keyphrases: Phrases that are spotted in anything that is said, each with its threshold from 1e-50 (often) to 1
            (seldom). A phrase that was said once may be reported twice.
        words: Further pronunciations, such as `{"bargein": "B AA R JH IH N"}`.
        hmm: The folder of another acoustic model.
        lm: The file of another language model (n-grams).
        dict: The file of another pronunciation dictionary.
        thorough: Whether an utterance is decoded twice more at its end. That is a little more exact, and takes 50 to
            100 ms for each second of speech.
        concurrency: How many utterances are recognised at once, each by its own decoder (80 MB, half a second to
            load) in its own thread.
        extra: Other options of the library by its names, such as `{"lw": 6.5, "beam": 1e-60}`, merged over all of the
            above.

    Raises:
        ModuleNotFoundError: The library is not installed.
        ValueError: An argument has no possible value, or more than one of grammar, keyphrases and lm is given.
    """

    rate = 16_000
    language = "en-US"

    @check_options
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
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if sum(map(bool, (grammar, keyphrases, lm))) > 1:
            raise ValueError("PocketSphinx: give one of grammar=, keyphrases= and lm=; each says what may be heard")
        if concurrency < 1:
            raise ValueError(
                f"PocketSphinx(concurrency={concurrency}): expected how many utterances are recognised at once, "
                "1 or more"
            )
        self._library = import_extra("pocketsphinx", "pocketsphinx", "PocketSphinx")
        self._grammar = grammar.read_text(encoding="utf-8") if isinstance(grammar, Path) else grammar
        self._keyphrases = {" ".join(each.lower().split()): at for each, at in (keyphrases or {}).items()}
        self._words = {**(words or {})}
        files = {name: str(path) for name, path in (("hmm", hmm), ("lm", lm), ("dict", dict)) if path}
        self._options: Mapping[str, Any] = {
            "samprate": self.rate,
            "loglevel": "FATAL",
            "fwdflat": thorough,
            "bestpath": thorough,
            **(GRAMMAR_BEAMS if grammar else {}),
            **files,
            **(extra or {}),
            **({"lm": None} if grammar or keyphrases else {}),
        }
        self._concurrency = concurrency
        self._slots: anyio.Semaphore | None = None
        self._free: list[_DecoderThread] = []
        self._threads: list[_DecoderThread] = []
        self._key = repr((self._options, self._grammar, self._keyphrases, self._words))
        self._cepstral_mean = ""

    async def __aenter__(self) -> PocketSphinx:
        self._slots = anyio.Semaphore(self._concurrency)
        try:
            self._free.append(await self._start_decoder())
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str, None]:
        """Yield the text of one utterance, whole each time it changes.

        Raises `RuntimeError` outside the context manager and when the decoder fails, and `ValueError` for other audio
        than 16-bit mono.
        """
        if self._slots is None:
            raise RuntimeError("PocketSphinx is not open; use it in 'async with', as a cascade does")
        async with self._slots:
            thread = self._free.pop() if self._free else await self._start_decoder()
            try:
                text = ""
                await thread.call(partial(thread.get().begin, self._cepstral_mean))
                async for samples in sound:
                    if samples.dtype != np.int16 or samples.ndim != 1:
                        raise ValueError(
                            f"PocketSphinx got an array of {samples.dtype} with shape {samples.shape}; "
                            f"expected int16 of shape (n,), mono at {self.rate} Hz"
                        )
                    for at in range(0, len(samples), PARTIAL_SAMPLES):
                        partial_text = await thread.call(
                            partial(thread.get().decode, samples[at : at + PARTIAL_SAMPLES])
                        )
                        if partial_text and partial_text != text:
                            text = partial_text
                            yield text
                final_text, self._cepstral_mean = await thread.call(thread.get().end)
                # An empty final text means that no end of a sentence was reached. The last partial text stands then.
                if final_text and final_text != text:
                    yield final_text
            except _DecoderError as error:
                self._discard(thread)
                raise RuntimeError(
                    f"PocketSphinx failed while it listened: {error.__cause__}; the next utterance gets a new decoder"
                ) from error.__cause__
            finally:
                # After a cancellation the thread finishes its call. The next utterance of this decoder waits for it.
                if thread in self._threads:
                    self._free.append(thread)

    def preload(self) -> None:
        """Load a decoder now, for the first session. This blocks for about half a second."""
        _give_back(self._key, [self._take_or_load()])

    async def _start_decoder(self) -> _DecoderThread:
        thread = _DecoderThread(self._take_or_load)
        self._threads.append(thread)
        try:
            await thread.load()
        except BaseException:
            self._discard(thread)
            raise
        return thread

    def _discard(self, thread: _DecoderThread) -> None:
        if thread in self._threads:
            self._threads.remove(thread)
        thread.dismiss()

    def _leave(self) -> None:
        threads, free, self._threads, self._free, self._slots = self._threads, self._free, [], [], None
        for thread in threads:
            thread.dismiss()
            if thread in free and thread.decoder is not None and thread.is_idle:
                decoders, thread.decoder = [thread.decoder], None
                _give_back(self._key, decoders)

    def _take_or_load(self) -> _Decoder:
        """Return a kept decoder, or load one. Runs in the decoder's thread."""
        with _idle_lock:
            if decoders := _idle_decoders.get(self._key):
                return decoders.pop()
        return _Decoder(self._load())

    def _load(self) -> Any:
        """Return a new decoder of the library."""
        try:
            decoder = make_decoder(self._library, self._options)
            for word, phones in self._words.items():
                if decoder.lookup_word(word) is None:
                    decoder.add_word(word, phones, True)
            if self._grammar:
                decoder.add_jsgf_string("grammar", self._grammar)
                decoder.activate_search("grammar")
            if self._keyphrases:
                self._add_keyphrases(decoder)
        except Exception as error:
            what = "grammar" if self._grammar else "keyphrases" if self._keyphrases else "options"
            raise RuntimeError(
                f"PocketSphinx cannot be set up with {self._options} and its {what}: {error}; files must be there, and "
                "every word must be in the dictionary, or in words= with its pronunciation"
            ) from error
        return decoder

    def _add_keyphrases(self, decoder: Any) -> None:
        for word in " ".join(self._keyphrases).split():
            if decoder.lookup_word(word) is None:  # the library would skip the phrase silently
                raise ValueError(f"{word!r} is not in the dictionary")
        with tempfile.TemporaryDirectory(prefix="bargein") as folder:
            path = Path(folder) / "keyphrases"
            path.write_text("".join(f"{each} /{at:g}/\n" for each, at in self._keyphrases.items()), encoding="utf-8")
            decoder.add_kws("keyphrases", str(path))
        decoder.activate_search("keyphrases")


class _DecoderError(Exception):
    """A decoder has failed; the cause says why."""


class _Decoder:
    """A decoder of the library. Only one thread may use it at a time."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._in_utterance = False
        self._initial_mean: str = decoder.get_cmn()

    def begin(self, cepstral_mean: str) -> None:
        """Begin an utterance.

        Args:
            cepstral_mean: What an earlier utterance of this speaker has taught; empty for a new speaker.
        """
        if self._in_utterance:  # the utterance before was cancelled
            self._in_utterance = False
            self._decoder.end_utt()
        self._decoder.set_cmn(cepstral_mean or self._initial_mean)
        self._decoder.start_utt()
        self._in_utterance = True

    def decode(self, samples: Samples) -> str:
        """Decode more audio and return the text so far."""
        for at in range(0, len(samples), STEP_SAMPLES):
            self._decoder.process_raw(samples[at : at + STEP_SAMPLES].tobytes())
        return self._text()

    def end(self) -> tuple[str, str]:
        """End the utterance and return its text and the cepstral mean."""
        self._in_utterance = False
        self._decoder.end_utt()
        return self._text(), self._decoder.get_cmn()

    def _text(self) -> str:
        hypothesis = self._decoder.hyp()
        return " ".join(NOISE.sub(" ", hypothesis.hypstr).split()) if hypothesis is not None else ""


class _DecoderThread:
    """A thread and the decoder that is used in it."""

    def __init__(self, load: Callable[[], _Decoder]) -> None:
        self._load = load
        self._worker = Worker("bargein pocketsphinx")
        self.decoder: _Decoder | None = None
        self.is_idle = True
        """Whether no call runs. A call that was cancelled runs on, and its decoder cannot be given to others."""

    def get(self) -> _Decoder:
        """Return the decoder, which must be loaded."""
        assert self.decoder is not None
        return self.decoder

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function in the thread. Raises `_DecoderError`."""
        self.is_idle = False
        try:
            result = await self._worker.call(function)
        except Exception as error:
            raise _DecoderError from error
        self.is_idle = True
        return result

    def dismiss(self) -> None:
        """Let the thread end after its present call, without waiting for it."""
        self._worker.dismiss()

    async def load(self) -> None:
        """Take or load the decoder in the thread. Raises what loading it raises."""
        self.decoder = await self._worker.call(self._load)


MAX_IDLE_DECODERS = 2
"""Decoders that are kept for the next instance, over all arguments."""
_idle_decoders: defaultdict[str, list[_Decoder]] = defaultdict(list)
_idle_lock = threading.Lock()


def _give_back(key: str, decoders: list[_Decoder]) -> None:
    """Keep a decoder for the next instance with these arguments, and drop the oldest beyond the limit.

    Args:
        key: Stands for the arguments.
        decoders: The decoder, which is taken out of the list, so that nobody else keeps it.
    """
    dropped: list[_Decoder] = []
    with _idle_lock:
        _idle_decoders[key].append(decoders.pop())
        while sum(map(len, _idle_decoders.values())) > MAX_IDLE_DECODERS:
            oldest = next(iter(_idle_decoders))
            dropped.append(_idle_decoders[oldest].pop(0))
            if not _idle_decoders[oldest]:
                del _idle_decoders[oldest]
    if dropped:  # to free 80 MB takes up to 0.1 s, in which the event loop would stand still
        threading.Thread(target=dropped.clear, name="bargein pocketsphinx free", daemon=True).start()
