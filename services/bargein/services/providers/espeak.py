"""ESpeak: a small voice on this machine in a hundred languages, by the library espeak-ng.

The library is called through ctypes. What is relied on, tried with espeak-ng 1.52.0 in the wheel of espeakng-loader
0.2.4:

* the functions `espeak_Initialize`, `espeak_SetSynthCallback`, `espeak_SetVoiceByName`, `espeak_SetParameter`,
  `espeak_Synth` and `espeak_ListVoices` of its `speak_lib.h`, and the values of its enumerations below;
* the layout of `espeak_EVENT` (up to `sample`, and its size) and the first two fields of `espeak_VOICE`;
* a rate of 22,050 Hz.

The library has one state for the whole process. One lock guards every call, and the callback only runs inside
`espeak_Synth`, in the thread that holds the lock. `test_the_library_is_as_relied_on` fails with a sentence if a later
version differs.
"""

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

from bargein.pipeline.lowlevel import CheckedFields, Samples, at_work, check_options, import_extra
from bargein.services.cascade.parts import TextToSpeech, Word

__all__ = ["ESpeak", "ESpeakVoice", "voices"]

RATE = 22_050
"""The rate of the library's audio in Hz."""
BUFFER_MS = 60
"""Audio that the library hands over at once, in milliseconds. After a cancellation it makes no more than this."""

SYNCHRONOUS, DO_NOT_EXIT, UTF8, WORD = 2, 0x8000, 1, 1  # AUDIO_OUTPUT_SYNCHRONOUS, ..., espeakEVENT_WORD
SPEED, VOLUME, PITCH = 1, 2, 3  # espeakRATE, espeakVOLUME, espeakPITCH
NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and single surrogates. Each is replaced by a blank, so that positions in the text stay right."""


class ESpeakVoice(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """A voice of the library."""

    name: str
    """The name for `ESpeak(voice=...)`."""
    language: str
    """The BCP 47 tag of its language."""


class ESpeak(TextToSpeech):
    """A voice by espeak-ng: robotic, clear, and ready within a few milliseconds. Needs the extra `espeak`.

    The time of each `Word` is exact. A word is the text from one blank to the next, or several that the library runs
    together, with the pause that follows. Markup is spoken as text. Characters that cannot be spoken are skipped.

    The library has one state for the whole process. So sessions take turns, sentence by sentence, each in a thread of
    its own. The iterator of `speak` raises `ValueError` at the first sentence for a voice that the library does not
    have.

    Args:
        voice: A voice's name or a language, see `voices`.
        rate_wpm: The speed in words per minute, 80 to 450.
        pitch: The pitch, 0 to 100.
        volume: The volume, 0 to 200; 100 is normal.

    Raises:
        ModuleNotFoundError: The library is not installed.
        ValueError: An argument has no possible value.
    """

    rate = RATE

    @check_options
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
        """Yield the audio of a text, and each word behind its audio."""
        text = NO_TEXT.sub(" ", text)
        if not text.strip():
            return
        synthesis = _Synthesis(self.voice, self._parameters, text)
        threading.Thread(target=synthesis.run, name="bargein espeak", daemon=True).start()
        try:
            while True:
                over = synthesis.over  # read before the pieces, which may still grow until it is set
                while synthesis.pieces:
                    yield synthesis.pieces.popleft()
                if over:
                    break
                with at_work():
                    await synthesis.changed.wait()
                synthesis.changed = anyio.Event()
            if synthesis.error is not None:
                raise synthesis.error
        finally:
            synthesis.cancelled = True


def voices(language: str = "") -> list[ESpeakVoice]:
    """Return the library's voices. It takes some milliseconds.

    Args:
        language: A language, such as `"en"` for British, American and other voices; empty for all voices.
    """
    with _lock:
        listed = _list_voices(_library())
    return [each for each in listed if f"{each.language}-".startswith(f"{language.lower()}-") or not language]


class _Synthesis:
    """A text that is being spoken in a thread. Its pieces are bounded by the text, so the thread never waits for
    room."""

    def __init__(self, voice: str, parameters: tuple[tuple[int, int], ...], text: str) -> None:
        self.voice = voice
        self.parameters = parameters
        self.text = text
        self.pieces: deque[Samples | Word] = deque()
        self.changed = anyio.Event()
        self.over = False
        self.cancelled = False
        self.error: Exception | None = None
        self._words = _WordTimes(text)
        self._samples = 0
        loop: Any = current_token().native_token
        # trio's entry token has `run_sync_soon`, asyncio's loop `call_soon_threadsafe`. AnyIO's own way waits for the
        # loop to answer, and would hang in a thread whose loop has stopped.
        self._post: Callable[[Callable[[], Any]], Any] = (
            getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        )

    def run(self) -> None:
        """Wait for the library and speak. Errors are kept in `error`."""
        try:
            with _lock:
                if not self.cancelled:
                    self._synthesise(_library())
            self.pieces.extend(self._words.end(self._samples))
        except Exception as error:
            self.error = error
        self.over = True
        self._notify()

    def _synthesise(self, library: Any) -> None:
        global _current
        by_language = [each.name for each in _list_voices(library) if each.language == self.voice.lower()]
        if all(library.espeak_SetVoiceByName(name.encode()) for name in (self.voice, *by_language)):
            raise ValueError(f"ESpeak(voice={self.voice!r}): espeak-ng has no such voice; voices() has them all")
        for parameter, value in self.parameters:
            library.espeak_SetParameter(parameter, value, 0)
        data = self.text.encode()
        _current = self
        try:
            failed = library.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None)
        finally:
            _current = None
        if failed and not self.cancelled:
            raise RuntimeError(f"espeak-ng failed with its error {failed} at a text of {len(self.text)} characters")

    def on_audio(self, sound: Any, count: int, events: Any) -> int:
        """Take audio and events of the library's callback. Return 0 to go on, 1 to stop."""
        if self.cancelled:
            return 1
        at = 0
        while (event := events[at]).type:
            if event.type == WORD:
                self.pieces.extend(self._words.begin(event.text_position - 1, event.sample))
            at += 1
        if sound and count:
            self.pieces.append(np.frombuffer(ctypes.string_at(sound, 2 * count), np.int16))
            self._samples += count
        self._notify()
        return 0

    def _notify(self) -> None:
        try:
            # The event is looked up in the loop's thread, because `speak` replaces it there.
            self._post(lambda: self.changed.set())
        except RuntimeError:  # the event loop has ended, so no task takes the pieces
            self.cancelled = True


class _WordTimes:
    """Finds the time of each word of a text. A word of the library can be a part of a word of the text: a number has
    several."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [match.span() for match in re.finditer(r"\S+", text)]
        self._next = 0  # the first token that has not begun
        self._first = 0  # the first token of the word that sounds
        self._start: int | None = None  # the sample at which that word began

    def begin(self, position: int, sample: int) -> Iterator[Word]:
        """Yield the word that ends when the library begins a word at a character and a sample."""
        at = self._next
        while at < len(self._tokens) and self._tokens[at][1] <= position:
            at += 1
        if at >= len(self._tokens) or (position < self._tokens[self._next][0] - 1 and self._start is not None):
            return  # still within the word that sounds
        if self._start is None:
            self._start = sample
        else:
            yield from self._word(at, sample)
        self._next = at + 1

    def end(self, samples: int) -> Iterator[Word]:
        """Yield the last word."""
        if self._start is not None:
            yield from self._word(len(self._tokens), samples)

    def _word(self, until: int, sample: int) -> Iterator[Word]:
        assert self._start is not None
        start, self._start = self._start, max(self._start, sample)
        text = self._text[self._tokens[self._first][0] : self._tokens[until - 1][1]]
        self._first = until
        yield Word(text=text, start_ms=start * 1000 / RATE, end_ms=self._start * 1000 / RATE)


# The library, which exists once in a process --------------------------------------------------------------------------


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h. The union at its end is as large as its largest member, `char string[8]`."""

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
    """The beginning of `espeak_VOICE`. The library returns pointers to voices, so the rest is not needed."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p))


_lock = threading.Lock()
_loaded: Any = None
_current: _Synthesis | None = None


def _on_audio(sound: Any, count: int, events: Any) -> int:
    return 1 if _current is None else _current.on_audio(sound, count, events)


_callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))(
    _on_audio
)
"""The callback. The library keeps its address for ever, so it must never be collected."""


def _list_voices(library: Any) -> list[ESpeakVoice]:
    """Return the voices. The lock must be held."""
    pointers, result = library.espeak_ListVoices(None), list[ESpeakVoice]()
    while item := pointers[len(result)]:
        name, languages = item.contents.name, item.contents.languages[1:]  # one byte of priority, then the first tag
        result.append(ESpeakVoice(name=name.decode(), language=languages.decode()))
    return result


def _library() -> Any:
    """Return the library, loaded by the first call. The lock must be held."""
    global _loaded
    if _loaded is None:
        loader = import_extra("espeakng_loader", "espeak", "ESpeak")
        path, data = loader.get_library_path(), loader.get_data_path()
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            raise RuntimeError(f"espeak-ng at {path} cannot be loaded: {error}; reinstall espeakng-loader") from error
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        rate = library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, str(data).encode(), DO_NOT_EXIT)
        if rate != RATE:
            raise RuntimeError(f"espeak-ng began with {rate} instead of {RATE} Hz; is its data complete, in {data}?")
        library.espeak_SetSynthCallback(_callback)
        _loaded = library
    return _loaded
