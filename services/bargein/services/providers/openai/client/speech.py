"""Hearing and speaking over OpenAI's HTTP interface, and over that of the many servers that have the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import anyio
import numpy as np

from bargein.services.cascade.parts import Samples, SpeechToText, TextToSpeech, Word
from bargein.services.providers._shared.http import HttpClient, HttpFault
from bargein.services.providers._shared.remote_speech import RemoteSpeech
from bargein.services.sockets.retry import RETRYABLE_STATUSES, backoff_seconds, retry_after_seconds

from ._speech_protocol import SoundAnswer, WordsAnswer, complaint, wav

__all__ = ["OpenAISpeech", "OpenAITranscription"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LARGEST_REFUSAL = 64 * 2**10
"""Bytes of a refusal that are read."""


class _Reads(Protocol[T_co]):
    """The protocol of an answer."""

    over: bool

    def feed(self, data: bytes) -> Iterator[T_co]: ...

    def end(self) -> Iterator[T_co]: ...


class _RefusedError(Exception):
    """An answer whose status is an error."""

    def __init__(self, status: int, body: bytes, wait: float | None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body.decode("utf-8", "replace")
        self.wait = wait


class _OverHttp(RemoteSpeech):
    """A part that asks one request an utterance or a sentence, again while nothing of its answer has come."""

    service = "OpenAI"

    def __init__(self, api_key: str | None, base_url: str, silence_seconds: float, retries: int) -> None:
        super().__init__(api_key, "OPENAI_API_KEY", silence_seconds, retries)
        who = type(self).__name__
        self._base = base_url.rstrip("/")
        self._http = HttpClient(who, self._base, first_byte_seconds=silence_seconds, silence_seconds=silence_seconds)
        self._headers = {"authorization": f"Bearer {self._secret}", "accept-encoding": "identity"}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            await self._http.open()
        except BaseException as error:
            await super().__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            await self._http.close()

    async def _ask(
        self, path: str, reads: Callable[[str], _Reads[T]], put: Callable[[T], Awaitable[None]], **content: Any
    ) -> None:
        """Ask, and give what is read of the answer."""
        attempt, given = 0, False

        async def give(piece: T) -> None:
            nonlocal given
            given = True
            await put(piece)

        while True:
            attempt += 1
            try:
                return await self._once(path, reads, give, content)
            except (HttpFault, _RefusedError) as fault:
                wait = self._wait(fault, attempt)
                if given or wait is None or attempt > self._retries:
                    raise
            await anyio.sleep(wait)

    async def _once(
        self, path: str, reads: Callable[[str], _Reads[T]], put: Callable[[T], Awaitable[None]], content: dict[str, Any]
    ) -> None:
        async with self._http.post(self._base + path, headers=self._headers, **content) as answer:
            if answer.status != 200:
                said = await answer.read_available(LARGEST_REFUSAL)
                raise _RefusedError(answer.status, said, retry_after_seconds(answer.headers))
            protocol = reads(answer.content_type)
            while not protocol.over and (data := await answer.read_chunk()) is not None:
                for piece in protocol.feed(data):
                    await put(piece)
            for piece in protocol.end():
                await put(piece)
            await answer.drain()

    def _wait(self, fault: HttpFault | _RefusedError, attempt: int) -> float | None:
        """Seconds before the next try; None when another would not help, or come too late."""
        if isinstance(fault, _RefusedError):
            return backoff_seconds(attempt, fault.wait, self._random) if fault.status in RETRYABLE_STATUSES else None
        if fault.cause == "slow":
            return None
        return (
            backoff_seconds(attempt, None, self._random) if attempt > 1 else 0.0
        )  # most often one that was kept too long

    def _to_error(self, error: Exception) -> Exception:
        error = super()._to_error(error)
        if isinstance(error, _RefusedError):
            # A refused key is repeated in part by what is said of it.
            said = "" if error.status == 401 else complaint(error.body) or error.body
            return ConnectionError(self._refusal(error.status, said))
        if isinstance(error, HttpFault):
            if error.cause == "slow":
                return self._timeout()
            if error.cause == "unreachable":
                return ConnectionError(f"{self._base} cannot be reached: {self._clean(error.detail)}")
            return ConnectionError(f"{self.service} broke off in the middle: {self._clean(error.detail)}")
        if type(error) is ConnectionError:
            return ConnectionError(self._clean(str(error)))
        return error


class OpenAITranscription(_OverHttp, SpeechToText):
    """Hear with OpenAI: an utterance is sent when it is over, and its words come as they are written::

        Cascade(OpenAITranscription(), ..., ...)

    `language` is a BCP 47 tag, of which the first part is sent; `prompt` says what to expect. `options` are any other
    fields of the interface, merged over ours. The key is that of `OPENAI_API_KEY` unless it is given; a server that
    asks for none takes any. `base_url` is that of a compatible server, such as `"http://localhost:8000/v1"`.

    A server that is busy, fails or hangs up is asked again, up to `retries` times, while nothing of its answer has
    come, and not before it wants. Raises `ConnectionError` where the server refuses, complains or breaks off, and
    `TimeoutError` where nothing comes for `silence_seconds`. Raises `ValueError` without a key.
    """

    def __init__(
        self,
        model: str = "gpt-4o-mini-transcribe",
        *,
        api_key: str | None = None,
        language: str = "",
        prompt: str = "",
        options: Mapping[str, str] | None = None,
        base_url: str = "https://api.openai.com/v1",
        silence_seconds: float = 10.0,
        retries: int = 2,
    ) -> None:
        super().__init__(api_key, base_url, silence_seconds, retries)
        self.language = language
        self._fields = {"model": model, "response_format": "json", "stream": "true"}
        self._fields |= {"language": language.split("-", 1)[0]} if language else {}
        self._fields |= {"prompt": prompt} if prompt else {}
        self._fields |= options or {}

    def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str]:
        """Hear one utterance."""
        return self._exchange(partial(self._hear, sound))

    async def _hear(self, sound: AsyncIterator[Samples], put: Callable[[str], Awaitable[None]]) -> None:
        pieces = [samples async for samples in sound]
        if not sum(map(len, pieces)):
            return
        file = ("speech.wav", wav(np.concatenate(pieces), self.rate), "audio/wav")
        await self._ask("/audio/transcriptions", WordsAnswer, put, data=self._fields, files={"file": file})


class OpenAISpeech(_OverHttp, TextToSpeech):
    """Speak with OpenAI, as the sound is made::

        Cascade(..., ..., OpenAISpeech(voice="marin", instructions="Speak calmly."))

    `options` are any other fields of the interface (`{"speed": 1.1}`), merged over ours. The sound is OpenAI's, 24 kHz;
    `rate` is for a server that has another. It does not say when its words sound. The key is that of `OPENAI_API_KEY`
    unless it is given; a server that asks for none takes any. `base_url` is that of a compatible server.

    A server that is busy, fails or hangs up is asked again, up to `retries` times, while nothing of its answer has
    come, and not before it wants. Raises `ConnectionError` where the server refuses, complains or breaks off, and
    `TimeoutError` where nothing comes for `silence_seconds`. Raises `ValueError` without a key.
    """

    def __init__(
        self,
        model: str = "gpt-4o-mini-tts",
        *,
        voice: str = "alloy",
        api_key: str | None = None,
        instructions: str = "",
        options: Mapping[str, Any] | None = None,
        rate: int = 24_000,
        base_url: str = "https://api.openai.com/v1",
        silence_seconds: float = 10.0,
        retries: int = 2,
    ) -> None:
        super().__init__(api_key, base_url, silence_seconds, retries)
        self.rate = rate
        self._fields: dict[str, Any] = {"model": model, "voice": voice, "response_format": "pcm"}
        self._fields |= {"instructions": instructions} if instructions else {}
        self._fields |= options or {}

    def speak(self, text: str) -> AsyncGenerator[Samples | Word]:
        """Speak a sentence or a part of one."""
        return self._exchange(partial(self._say, text))

    async def _say(self, text: str, put: Callable[[Samples | Word], Awaitable[None]]) -> None:
        if not text.strip():
            return
        await self._ask(
            "/audio/speech", partial(SoundAnswer, rate=self.rate), put, json={**self._fields, "input": text}
        )
