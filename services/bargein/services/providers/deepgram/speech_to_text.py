"""Deepgram's speech-to-text: each utterance over a WebSocket, with its words while it is spoken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Unpack
from urllib.parse import urlencode

import anyio
import numpy as np

from bargein.pipeline.lowlevel import Samples, check_options
from bargein.services.cascade.parts import SpeechToText
from bargein.services.providers._shared.remote_speech import RemoteSpeech, SocketSpeechOptions
from bargein.services.sockets import Endpoint, Socket, SocketClosedError

from ._protocol import KEEP_ALIVE, DeepgramProtocol

__all__ = ["Deepgram"]

KEEP_ALIVE_SECONDS: Final = 4.0
"""Deepgram closes a connection after 10 s without audio, and recommends a keep-alive message every 3 to 5 s."""
UNSPACED: Final = frozenset({"ja", "th", "zh"})
"""Languages that are written without spaces."""


class Deepgram(RemoteSpeech, SpeechToText):
    """Speech-to-text by Deepgram, which sends words while they are spoken.

    Example::

        Cascade(Deepgram(), ..., ...)

    Each utterance has its own socket. While a busy or failing server is asked again, the audio waits. The iterator
    of `transcribe` raises `ConnectionError` when Deepgram refuses, reports an error or closes the connection, and
    `TimeoutError` when it is silent.

    Args:
        model: The model's name.
        language: A BCP 47 tag, `"multi"`, or empty for the model's own language.
        rate: The rate of the audio in Hz.
        extra: Other query parameters, merged over all of the above: `{"smart_format": True, "keyterm": ["Bargein"]}`.
        url: The address of the API.
        **options: The options of all speech over a socket, see `SocketSpeechOptions`: `api_key` (by default that of
            `DEEPGRAM_API_KEY`), `silence_seconds` (5 by default; counts from the end of the audio), `retries`,
            `connect`.

    Raises:
        ValueError: There is no key, or an argument is out of range.
    """

    service = "Deepgram"

    @check_options
    def __init__(
        self,
        model: str = "nova-3",
        *,
        language: str = "",
        rate: int = 16_000,
        extra: Mapping[str, Any] | None = None,
        url: str = "wss://api.deepgram.com/v1/listen",
        **options: Unpack[SocketSpeechOptions],
    ) -> None:
        super().__init__(options, "DEEPGRAM_API_KEY", silence_seconds=5.0)
        self.rate = rate
        self.language = "" if language == "multi" else language
        query: dict[str, Any] = {"model": model, "encoding": "linear16", "sample_rate": rate, "channels": 1}
        query |= {"interim_results": True, "punctuate": True}
        query |= {"language": language} if language else {}
        query |= extra or {}
        address = f"{url}{'&' if '?' in url else '?'}{urlencode(_query_values(query), doseq=True)}"
        self._endpoint = Endpoint(url=address, headers={"Authorization": f"Token {self._secret}"})

    def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str]:
        """Yield the text of one utterance, whole each time it changes."""
        return self._exchange(partial(self._transcribe, sound))

    async def _transcribe(self, sound: AsyncIterator[Samples], put: Callable[[str], Awaitable[None]]) -> None:
        protocol = DeepgramProtocol("" if self.language.split("-")[0] in UNSPACED else " ")
        async with self._socket() as socket, anyio.create_task_group() as group:
            limit = anyio.CancelScope()  # gets a deadline when the audio is over
            group.start_soon(self._send_audio, sound, socket, protocol, limit)
            with limit:
                while not protocol.complete:
                    try:
                        message = await socket.receive()
                    except SocketClosedError as error:
                        if protocol.ending and error.code == 1000:
                            break
                        raise
                    if protocol.ending:
                        limit.deadline = anyio.current_time() + self._silence_seconds
                    if protocol.receive(message):
                        await put(protocol.text)
            if limit.cancelled_caught:
                raise self._timeout()
            group.cancel_scope.cancel()

    async def _send_audio(
        self, sound: AsyncIterator[Samples], socket: Socket, protocol: DeepgramProtocol, limit: anyio.CancelScope
    ) -> None:
        """Send the audio, keep the connection alive in its pauses, and end the stream."""
        lock = anyio.Lock()  # a socket allows one sender at a time
        last_sent = anyio.current_time()

        async def keep_alive() -> None:
            nonlocal last_sent
            while True:
                await anyio.sleep_until(last_sent + KEEP_ALIVE_SECONDS)
                if anyio.current_time() >= last_sent + KEEP_ALIVE_SECONDS:
                    async with lock:
                        last_sent = anyio.current_time()
                        await self._send(socket, KEEP_ALIVE)

        with suppress(SocketClosedError):  # the receiving task meets it as well, and reports it
            async with anyio.create_task_group() as group:
                group.start_soon(keep_alive)
                async for samples in sound:
                    if (message := protocol.encode(samples)) is not None:
                        async with lock:
                            last_sent = anyio.current_time()
                            await self._send(socket, message)
                group.cancel_scope.cancel()
            limit.deadline = anyio.current_time() + self._silence_seconds
            for ending in protocol.end():
                await self._send(socket, ending)


def _query_values(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return query parameters as Deepgram writes them: `true` and `false` for booleans, and no None values."""
    return {
        key: str(value).lower() if isinstance(value, bool | np.bool_) else value
        for key, value in query.items()
        if value is not None
    }
