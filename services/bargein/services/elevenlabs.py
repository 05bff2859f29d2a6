"""Speaking with ElevenLabs: each sentence over a WebSocket, with the time of every word."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from ._remote import Pcm, Remote, read
from .cascade.parts import Samples, TextToSpeech, Word
from .sockets import Endpoint, SocketClosedError, dial

__all__ = ["ElevenLabs"]

RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
CLEAR_MS: Final = 500.0
"""So much sound there must be to tell whether times are those of a message or of the whole."""


class ElevenLabs(Remote, TextToSpeech):
    """Speak with ElevenLabs, and say when each word sounds::

        Cascade(..., ..., ElevenLabs("JBFqnCBsd6RMkjVDRZzb"))

    `voice` is a voice's id, `model` one that the WebSocket interface has (`eleven_v3` is not), `language` an ISO 639-1
    code for models that take one. `voice_settings` are those of the interface (`{"stability": 0.5, "speed": 1.1}`), and
    `options` any other parameters of it, merged over ours. `rate` is 8,000 to 48,000 Hz; the higher ones need a larger
    plan. The key is that of `ELEVENLABS_API_KEY` unless it is given. `url` is another server's, or a region's.

    Each sentence has a socket of its own. Raises `ConnectionError` where ElevenLabs refuses, complains or goes away,
    and `TimeoutError` where nothing comes for `silence_seconds`. Raises `ValueError` without a key.
    """

    service = "ElevenLabs"

    def __init__(
        self,
        voice: str,
        *,
        model: str = "eleven_flash_v2_5",
        api_key: str | None = None,
        language: str = "",
        rate: int = 24_000,
        voice_settings: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        url: str = "wss://api.elevenlabs.io",
        silence_seconds: float = 10.0,
        connect: Any = dial,
    ) -> None:
        super().__init__(api_key, "ELEVENLABS_API_KEY", silence_seconds)
        if rate not in RATES:
            raise ValueError(f"ElevenLabs(rate={rate}): expected one of {', '.join(map(str, RATES))}")
        self.rate = rate
        self._voice_settings = dict(voice_settings or {})
        query: dict[str, Any] = {"model_id": model, "output_format": f"pcm_{rate}"}
        query |= {"auto_mode": "true", "sync_alignment": "true"}  # whole sentences come; every message has its times
        query |= {"language_code": language} if language else {}
        query |= {k: str(v).lower() if isinstance(v, bool) else v for k, v in (options or {}).items()}
        address = f"{url.rstrip('/')}/v1/text-to-speech/{quote(voice, safe='')}/stream-input?{urlencode(query)}"
        self._endpoint = Endpoint(url=address, headers={"xi-api-key": self._secret})
        self._connect = connect

    def speak(self, text: str) -> AsyncGenerator[Samples | Word]:
        """Speak a sentence or a part of one."""
        return self._exchange(partial(self._say, text))

    async def _say(self, text: str, put: Callable[[Samples | Word], Awaitable[None]]) -> None:
        if not text.strip():
            return
        speech = _Speech(self.rate)
        async with self._connect(self._endpoint) as socket:
            for message in speech.request(text, self._voice_settings):
                await self._send(socket, message)
            while not speech.complete:
                try:
                    data = await self._receive(socket)
                except SocketClosedError as error:
                    if error.code != 1000 or not speech.pcm.count:
                        raise
                    break  # some models end like this
                for piece in speech.receive(data):
                    await put(piece)
            for piece in speech.rest():
                await put(piece)


class _Alignment(msgspec.Struct, rename="camel"):
    """When each character sounds."""

    chars: list[str] = []
    char_start_times_ms: list[float] = []
    char_durations_ms: list[float] = []


class _Message(msgspec.Struct, rename="camel"):
    """Whatever the server may say."""

    audio: bytes | None = None
    is_final: bool | None = None
    alignment: _Alignment | None = None
    normalized_alignment: _Alignment | None = None
    error: Any = None
    message: Any = None


class _Speech:
    """The protocol: a text to messages, and messages to sound and words."""

    def __init__(self, rate: int) -> None:
        self.pcm = Pcm()
        """The sound so far."""
        self.complete = False
        """Nothing more will come."""
        self._rate = rate
        self._word = ""  # its beginning, when a message ends within it
        self._start = self._end = 0.0

    def request(self, text: str, settings: Mapping[str, Any]) -> Iterator[str]:
        """How it is asked for: the settings, the text, and that it is all."""
        for fields in (
            {"text": " "} | ({"voice_settings": settings} if settings else {}),
            {"text": f"{text.strip()} "},
        ):
            yield msgspec.json.encode(fields).decode()
        yield '{"text":""}'

    def receive(self, data: str | bytes) -> Iterator[Samples | Word]:
        """What a message gives. Raises `ConnectionError` for errors and nonsense."""
        message = read("ElevenLabs", data, _Message)
        if message.error or (message.message and message.audio is None):
            said = ": ".join(str(each) for each in (message.error, message.message) if each)
            raise ConnectionError(f"ElevenLabs reports an error: {said[:300]}")
        offset = 1000 * self.pcm.count / self._rate
        if message.audio:
            yield self.pcm.samples(message.audio)
        alignment = message.alignment or message.normalized_alignment
        if alignment is not None:
            yield from self._words(alignment, offset)
        self.complete = bool(message.is_final)

    def rest(self) -> Iterator[Word]:
        """The last word, which no space has ended."""
        if self._word:
            yield Word(text=self._word, start_ms=self._start, end_ms=self._end)
            self._word = ""

    def _words(self, alignment: _Alignment, offset: float) -> Iterator[Word]:
        starts = alignment.char_start_times_ms
        if starts and offset >= CLEAR_MS and starts[0] >= 0.8 * offset:
            offset = 0.0  # documented as those of the message; some models count from the beginning of the sound
        for char, start, duration in zip(alignment.chars, starts, alignment.char_durations_ms, strict=False):
            if char.isspace():
                yield from self.rest()
                continue
            if _stands_alone(char) or _stands_alone(self._word):
                yield from self.rest()
            begin = max(self._end, offset + start)
            if not self._word:
                self._start = begin
            self._word += char
            self._end = max(begin, offset + start + duration)


def _stands_alone(char: str) -> bool:
    """It is written in Chinese, Japanese or Thai, where no space ends a word."""
    return len(char) == 1 and (
        "\u0e00" <= char <= "\u0e7f" or "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff"
    )
