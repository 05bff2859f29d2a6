"""ESpeak: a small voice that needs no network and no weights, in a hundred languages, by espeak-ng."""

from __future__ import annotations

import ctypes
import re
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import anyio
import msgspec
import numpy as np
from anyio.lowlevel import current_token

from bargein.pipeline import lowlevel
from bargein.pipeline.lowlevel import import_extra
from bargein.services.cascade.parts import Samples, TextToSpeech, Word

__all__ = ["ESpeak", "ESpeakVoice", "voices"]

RATE = 22_050
"""What the library says that it makes, samples a second."""
BUFFER_MS = 60
"""How much sound it hands over at once, and so how soon it notices that nobody listens any more."""

SYNCHRONOUS, DO_NOT_EXIT, UTF8, WORD = 2, 0x8000, 1, 1
SPEED, VOLUME, PITCH = 1, 2, 3
UNSPEAKABLE_REPLY = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What is no text: control characters, and halves of surrogates. Blanks in their stead keep the positions."""


class ESpeakVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice of the library."""

    name: str
    """As `ESpeak(voice=...)` takes it."""
    language: str
    """BCP 47 tag of what it speaks."""


class ESpeak(TextToSpeech):
    """Speaks with espeak-ng, extra `espeak`: robotic, clear, and ready within a few milliseconds.

    `voice` is a name or a language (see `voices`), `rate_wpm` 80 to 450 words a minute, `pitch` 0 to 100, `volume` 0 to
    200 with 100 as normal. Each `Word` is exact: the piece of the text from one blank to the next (several, where the
    library runs them together), with the pause that follows it. Markup is text; what cannot be said is passed over.

    The library has one state for the whole program: several sessions take turns, sentence by sentence, each in a
    thread of its own. Raises `ValueError` for what cannot be, when the voice is unknown at the first sentence, and
    `ModuleNotFoundError` without the library.
    """

    rate = RATE

    def __init__(self, voice: str = "en-us", *, rate_wpm: int = 175, pitch: int = 50, volume: int = 100) -> None:
        for name, value, low, high in (
            ("rate_wpm", rate_wpm, 80, 450),
            ("pitch", pitch, 0, 100),
            ("volume", volume, 0, 200),
        ):
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"ESpeak({name}={value!r}): expected an int from {low} to {high}")
        if not voice or "\0" in voice:
            raise ValueError(f"ESpeak(voice={voice!r}): expected a name, such as 'en-us'; voices() has them all")
        import_extra("espeakng_loader", "espeak", "ESpeak")
        self.voice = voice
        self._parameters = ((SPEED, rate_wpm), (PITCH, pitch), (VOLUME, volume))

    async def speak(self, text: str) -> AsyncGenerator[Samples | Word, None]:
        """Speak: each word as soon as its end is known, its sound before it."""
        text = UNSPEAKABLE_REPLY.sub(" ", text)
        if not text.strip():
            return
        work = _Work(self.voice, self._parameters, text)
        threading.Thread(target=work.run, name="bargein espeak", daemon=True).start()
        try:
            while True:
                over = work.over  # before the look at what it made
                while work.made:
                    yield work.made.popleft()
                if over:
                    break
                with lowlevel.at_work():
                    await work.news.wait()
                work.news = anyio.Event()
            if work.error is not None:
                raise work.error
        finally:
            work.cancelled = True


def voices(language: str = "") -> list[ESpeakVoice]:
    """The library's voices, all or those of a language (`"en"`: British, American...). Takes some milliseconds."""
    with _lock:
        listed = _listed(_library())
    return [each for each in listed if f"{each.language}-".startswith(f"{language.lower()}-") or not language]


class _Work:
    """A text being spoken, in a thread of its own. What it has made is bounded by the text, and waits for nobody."""

    def __init__(self, voice: str, parameters: tuple[tuple[int, int], ...], text: str) -> None:
        self.voice = voice
        self.parameters = parameters
        self.text = text
        self.made: deque[Samples | Word] = deque()
        self.news = anyio.Event()
        self.over = False
        self.cancelled = False
        self.error: Exception | None = None
        self._pieces = _Pieces(text)
        self._samples = 0
        loop: Any = current_token().native_token
        # It does not wait for the loop to answer: a thread that did would hang with a loop that has stopped.
        self._post: Callable[[Callable[[], Any]], Any] = (
            getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        )

    def run(self) -> None:
        """Wait for the turn, and speak. Never raises: the error is kept for the loop."""
        try:
            with _lock:
                if not self.cancelled:
                    self._synthesise(_library())
            self.made.extend(self._pieces.ended(self._samples))
        except Exception as error:
            self.error = error
        self.over = True
        self._tell()

    def _synthesise(self, library: Any) -> None:
        global _present
        named = [each.name for each in _listed(library) if each.language == self.voice.lower()]
        if all(library.espeak_SetVoiceByName(name.encode()) for name in (self.voice, *named)):
            raise ValueError(f"ESpeak(voice={self.voice!r}): espeak-ng has no such voice; voices() has them all")
        for parameter, value in self.parameters:
            library.espeak_SetParameter(parameter, value, 0)
        spoken = self.text.encode()
        _present = self
        try:
            failed = library.espeak_Synth(spoken, len(spoken) + 1, 0, 1, 0, UTF8, None, None)
        finally:
            _present = None
        if failed and not self.cancelled:
            raise RuntimeError(f"espeak-ng failed with its error {failed} at {self.text[:80]!r}")

    def take(self, sound: Any, count: int, events: Any) -> int:
        """What the library has made: 0 to go on, 1 to stop."""
        if self.cancelled:
            return 1
        at = 0
        while (event := events[at]).type:
            if event.type == WORD:
                self.made.extend(self._pieces.begun(event.text_position - 1, event.sample))
            at += 1
        if sound and count:
            self.made.append(np.frombuffer(ctypes.string_at(sound, 2 * count), np.int16))
            self._samples += count
        self._tell()
        return 0

    def _tell(self) -> None:
        try:
            self._post(lambda: self.news.set())
        except RuntimeError:  # the event loop is gone: nobody listens any more
            self.cancelled = True


class _Pieces:
    """Which piece of a text sounds when. Events are the library's words, of which a number, say, has several."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [match.span() for match in re.finditer(r"\S+", text)]
        self._next = 0  # the first token that has not begun
        self._first = 0  # the first token of the piece that sounds
        self._start: int | None = None  # the sample it began with

    def begun(self, position: int, sample: int) -> Iterator[Word]:
        """A word begins, at a character and a sample; the piece before it, if that is over."""
        at = self._next
        while at < len(self._tokens) and self._tokens[at][1] <= position:
            at += 1
        if at >= len(self._tokens) or (position < self._tokens[self._next][0] - 1 and self._start is not None):
            return  # still within the piece that sounds
        if self._start is None:
            self._start = sample
        else:
            yield from self._piece(at, sample)
        self._next = at + 1

    def ended(self, samples: int) -> Iterator[Word]:
        """All has been said: the last piece."""
        if self._start is not None:
            yield from self._piece(len(self._tokens), samples)

    def _piece(self, until: int, sample: int) -> Iterator[Word]:
        assert self._start is not None
        start, self._start = self._start, max(self._start, sample)
        text = self._text[self._tokens[self._first][0] : self._tokens[until - 1][1]]
        self._first = until
        yield Word(text=text, start_ms=start * 1000 / RATE, end_ms=self._start * 1000 / RATE)


# The library, of which there is one -------------------------------------------------------------------------------


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p))  # and more, which is not read


_lock = threading.Lock()
_loaded: Any = None
_present: _Work | None = None


def _taken(sound: Any, count: int, events: Any) -> int:
    return 1 if _present is None else _present.take(sound, count, events)


_callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))(_taken)
"""The library keeps its address, so it is kept here."""


def _listed(library: Any) -> list[ESpeakVoice]:
    """The voices. The lock must be held."""
    found, voices = library.espeak_ListVoices(None), list[ESpeakVoice]()
    while item := found[len(voices)]:
        name, languages = item.contents.name, item.contents.languages[1:]  # a byte of priority, then the tag
        voices.append(ESpeakVoice(name=name.decode(), language=languages.decode()))
    return voices


def _library() -> Any:
    """The library, loaded at the first call. The lock must be held."""
    global _loaded
    if _loaded is None:
        loader = import_extra("espeakng_loader", "espeak", "ESpeak")
        path, data = loader.get_library_path(), loader.get_data_path()
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            raise RuntimeError(
                f"espeak-ng at {path} cannot be loaded: {error}; install espeakng-loader anew"
            ) from error
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        rate = library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, str(data).encode(), DO_NOT_EXIT)
        if rate != RATE:
            raise RuntimeError(f"espeak-ng began with {rate} instead of {RATE} Hz; is its data complete, in {data}?")
        library.espeak_SetSynthCallback(_callback)
        _loaded = library
    return _loaded
