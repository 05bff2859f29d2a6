"""Hearing with Deepgram: each utterance over a WebSocket, the words while it is spoken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import anyio
import numpy as np

from bargein.services.cascade.parts import Samples, SpeechToText
from bargein.services.providers._shared.remote_socket import RemoteSocket
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, dial

from ._protocol import KEEP_ALIVE, DeepgramProtocol

__all__ = ["Deepgram"]

IDLE_SECONDS: Final = 4.0
"""Deepgram leaves after 10 s without sound, and wants to be told every 3 to 5 s that there will be more."""
UNSPACED: Final = frozenset({"ja", "th", "zh"})
"""Languages that are written without spaces."""


class Deepgram(RemoteSocket, SpeechToText):
    """Hear with Deepgram, while it is spoken::

        Cascade(Deepgram(), ..., ...)

    `model` is one of Deepgram's, such as `"nova-3"`; `language` a BCP 47 tag, `"multi"`, or empty for the model's own.
    `options` are any other parameters of the interface (`{"smart_format": True, "keyterm": ["Bargein"]}`) and are
    merged over ours. The key is that of `DEEPGRAM_API_KEY` unless it is given. `url` is another server's.

    Each utterance has a socket of its own; a server that is busy or fails is asked for it again, up to `retries` times,
    while the sound waits. Raises `ConnectionError` where Deepgram refuses, complains or goes away, and `TimeoutError`
    where nothing comes within `silence_seconds` of the end of the sound. Raises `ValueError` without a key.
    """

    service = "Deepgram"

    def __init__(
        self,
        model: str = "nova-3",
        *,
        api_key: str | None = None,
        language: str = "",
        rate: int = 16_000,
        options: Mapping[str, Any] | None = None,
        url: str = "wss://api.deepgram.com/v1/listen",
        silence_seconds: float = 5.0,
        retries: int = 2,
        connect: Any = dial,
    ) -> None:
        super().__init__(api_key, "DEEPGRAM_API_KEY", silence_seconds, retries)
        self.rate = rate
        self.language = "" if language == "multi" else language
        query: dict[str, Any] = {"model": model, "encoding": "linear16", "sample_rate": rate, "channels": 1}
        query |= {"interim_results": True, "punctuate": True}
        query |= {"language": language} if language else {}
        query |= options or {}
        address = f"{url}{'&' if '?' in url else '?'}{urlencode(_plain(query), doseq=True)}"
        self._endpoint = Endpoint(url=address, headers={"Authorization": f"Token {self._secret}"})
        self._connect = connect

    def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str]:
        """Hear one utterance."""
        return self._exchange(partial(self._hear, sound))

    async def _hear(self, sound: AsyncIterator[Samples], put: Callable[[str], Awaitable[None]]) -> None:
        words = DeepgramProtocol("" if self.language.split("-")[0] in UNSPACED else " ")
        async with self._socket() as socket, anyio.create_task_group() as group:
            limit = anyio.CancelScope()  # its deadline is set when the sound is over
            group.start_soon(self._speak, sound, socket, words, limit)
            with limit:
                while not words.complete:
                    try:
                        message = await socket.receive()
                    except SocketClosedError as error:
                        if words.ending and error.code == 1000:
                            break
                        raise
                    if words.ending:
                        limit.deadline = anyio.current_time() + self._silence
                    if words.receive(message):
                        await put(words.text)
            if limit.cancelled_caught:
                raise self._silent()
            group.cancel_scope.cancel()

    async def _speak(
        self, sound: AsyncIterator[Samples], socket: Socket, words: DeepgramProtocol, limit: anyio.CancelScope
    ) -> None:
        """Send the sound, and that it is over."""
        turns = anyio.Lock()  # a socket has one sender at a time
        sent = anyio.current_time()

        async def wake() -> None:
            nonlocal sent
            while True:
                await anyio.sleep_until(sent + IDLE_SECONDS)
                if anyio.current_time() >= sent + IDLE_SECONDS:
                    async with turns:
                        sent = anyio.current_time()
                        await self._send(socket, KEEP_ALIVE)

        with suppress(SocketClosedError):  # whoever receives learns it, too
            async with anyio.create_task_group() as group:
                group.start_soon(wake)
                async for samples in sound:
                    if (message := words.sound(samples)) is not None:
                        async with turns:
                            sent = anyio.current_time()
                            await self._send(socket, message)
                group.cancel_scope.cancel()
            limit.deadline = anyio.current_time() + self._silence
            for ending in words.end():
                await self._send(socket, ending)


def _plain(query: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as Deepgram writes them: `true` and `false`, and none for None."""
    return {
        key: str(value).lower() if isinstance(value, bool | np.bool_) else value
        for key, value in query.items()
        if value is not None
    }
