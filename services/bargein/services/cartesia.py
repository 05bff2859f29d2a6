"""Speaking with Cartesia: each sentence over a WebSocket, with the time of every word."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import msgspec

from ._remote import Pcm, Remote, read
from .cascade.parts import Samples, TextToSpeech, Word
from .sockets import Endpoint, dial

__all__ = ["Cartesia"]


class Cartesia(Remote, TextToSpeech):
    """Speak with Cartesia, and say when each word sounds::

        Cascade(..., ..., Cartesia("a0e99841-438c-4a64-b679-ae501e7d6091"))

    `voice` is a voice's id, `model` one of Cartesia's, `language` an ISO 639-1 code. `options` are any other fields of
    a request (`{"generation_config": {"speed": 1.1}}`), and are merged over ours; `version` is the date of the
    interface that they are of. The key is that of `CARTESIA_API_KEY` unless it is given. `url` is another server's.

    Each sentence has a socket of its own. Raises `ConnectionError` where Cartesia refuses, complains or goes away, and
    `TimeoutError` where nothing comes for `silence_seconds`. Raises `ValueError` without a key.
    """

    service = "Cartesia"

    def __init__(
        self,
        voice: str,
        *,
        model: str = "sonic-3",
        api_key: str | None = None,
        language: str = "en",
        rate: int = 24_000,
        options: Mapping[str, Any] | None = None,
        version: str = "2026-03-01",
        url: str = "wss://api.cartesia.ai/tts/websocket",
        silence_seconds: float = 10.0,
        connect: Any = dial,
    ) -> None:
        super().__init__(api_key, "CARTESIA_API_KEY", silence_seconds)
        self.rate = rate
        self._request: dict[str, Any] = {
            "model_id": model,
            "voice": {"mode": "id", "id": voice},
            "language": language,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": rate},
            "add_timestamps": True,
            "continue": False,
            **(options or {}),
        }
        address = f"{url}{'&' if '?' in url else '?'}{urlencode({'cartesia_version': version})}"
        self._endpoint = Endpoint(url=address, headers={"X-API-Key": self._secret})
        self._connect = connect

    def speak(self, text: str) -> AsyncGenerator[Samples | Word]:
        """Speak a sentence or a part of one."""
        return self._exchange(partial(self._say, text))

    async def _say(self, text: str, put: Callable[[Samples | Word], Awaitable[None]]) -> None:
        if not text.strip():
            return
        speech = _Speech(uuid4().hex)
        async with self._connect(self._endpoint) as socket:
            await self._send(socket, speech.request(text, self._request))
            while not speech.complete:
                for piece in speech.receive(await self._receive(socket)):
                    await put(piece)


class _Times(msgspec.Struct):
    """When each word sounds, in seconds."""

    words: list[str] = []
    start: list[float] = []
    end: list[float] = []


class _Message(msgspec.Struct):
    """Whatever the server may say."""

    type: str = ""
    context_id: str | None = None
    data: bytes | None = None
    done: bool | None = None
    word_timestamps: _Times | None = None
    error: Any = None
    title: Any = None
    message: Any = None


class _Speech:
    """The protocol: a text to a request, and messages to sound and words."""

    def __init__(self, context: str) -> None:
        self.complete = False
        """Nothing more will come."""
        self._context = context
        self._pcm = Pcm()

    def request(self, text: str, fields: Mapping[str, Any]) -> str:
        """How it is asked for."""
        return msgspec.json.encode({**fields, "transcript": text, "context_id": self._context}).decode()

    def receive(self, data: str | bytes) -> Iterator[Samples | Word]:
        """What a message gives. Raises `ConnectionError` for errors and nonsense."""
        message = read("Cartesia", data, _Message)
        if message.context_id not in (None, self._context):
            return
        if message.type == "error" or message.error:
            said = ": ".join(str(each) for each in (message.error, message.title, message.message) if each)
            raise ConnectionError(f"Cartesia reports an error: {said[:300] or repr(data[:60])}")
        if message.data:
            yield self._pcm.samples(message.data)
        if (times := message.word_timestamps) is not None:
            for word, start, end in zip(times.words, times.start, times.end, strict=False):
                yield Word(text=word, start_ms=1000 * start, end_ms=1000 * end)
        # A chunk, too, has this field; the end is a message of its own, after the last times.
        self.complete = message.type == "done"
