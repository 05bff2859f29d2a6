"""Speech-to-text and text-to-speech over OpenAI's HTTP interface, and over that of compatible servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, Unpack

import anyio
import numpy as np

from bargein.pipeline.lowlevel import Samples, check_options
from bargein.services.cascade.parts import SpeechToText, TextToSpeech, Word
from bargein.services.providers._shared.http import HttpClient, HttpFault
from bargein.services.providers._shared.remote_speech import RemoteSpeech, SpeechOptions
from bargein.services.sockets.retry import backoff_seconds, retry_after_seconds

from ._speech_protocol import SpeechReader, TranscriptReader, error_message, wav

__all__ = ["OpenAISpeech", "OpenAITranscription"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_REFUSAL_BYTES = 64 * 2**10
"""Bytes of an error answer that are read, at most."""


class _AnswerReader(Protocol[T_co]):
    """Turns the bytes of an answer into pieces: transcripts or sound."""

    over: bool

    def feed(self, data: bytes) -> Iterator[T_co]: ...

    def end(self) -> Iterator[T_co]: ...


class _RefusedError(Exception):
    """An answer whose status is an error."""

    def __init__(self, status: int, body: bytes, wait_seconds: float | None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body.decode("utf-8", "replace")
        self.wait_seconds = wait_seconds


class _OverHttp(RemoteSpeech):
    """A part that sends one request for each utterance or sentence, and retries while no answer has begun."""

    service = "OpenAI"

    def __init__(self, url: str, options: SpeechOptions) -> None:
        super().__init__(options, "OPENAI_API_KEY")
        self._base = url.rstrip("/")
        seconds = self._silence_seconds
        self._http = HttpClient(type(self).__name__, self._base, first_byte_seconds=seconds, silence_seconds=seconds)
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

    async def _request(
        self, path: str, reader: Callable[[str], _AnswerReader[T]], put: Callable[[T], Awaitable[None]], **content: Any
    ) -> None:
        """Send a request and pass on the pieces of its answer."""
        attempt, answered = 0, False

        async def pass_on(piece: T) -> None:
            nonlocal answered
            answered = True
            await put(piece)

        while True:
            attempt += 1
            try:
                return await self._request_once(path, reader, pass_on, content)
            except (HttpFault, _RefusedError) as fault:
                wait = self._wait(fault, attempt)
                if answered or wait is None:
                    raise
            await anyio.sleep(wait)

    async def _request_once(
        self,
        path: str,
        reader: Callable[[str], _AnswerReader[T]],
        put: Callable[[T], Awaitable[None]],
        content: dict[str, Any],
    ) -> None:
        async with self._http.post(self._base + path, headers=self._headers, **content) as answer:
            if answer.status != 200:
                body = await answer.read_available(MAX_REFUSAL_BYTES)
                raise _RefusedError(answer.status, body, retry_after_seconds(answer.headers))
            protocol = reader(answer.content_type)
            while not protocol.over and (data := await answer.read_chunk()) is not None:
                for piece in protocol.feed(data):
                    await put(piece)
            for piece in protocol.end():
                await put(piece)
            await answer.drain()

    def _wait(self, fault: HttpFault | _RefusedError, attempt: int) -> float | None:
        """Return the seconds before the next attempt; None where another one cannot help or would come too late."""
        if isinstance(fault, _RefusedError):
            return self._retry_wait(attempt, fault.status, fault.wait_seconds)
        if fault.cause == "slow" or attempt > self._retries:
            return None
        # The first time it is mostly a connection of the pool that the server has closed.
        return backoff_seconds(attempt, None, self._random) if attempt > 1 else 0.0

    def _to_error(self, error: Exception) -> Exception:
        error = super()._to_error(error)
        if isinstance(error, _RefusedError):
            # The message for a refused key repeats a part of the key.
            message = "" if error.status == 401 else error_message(error.body) or error.body
            return ConnectionError(self._refusal(error.status, message))
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
    """OpenAI's speech-to-text: an utterance is sent when it is over, and its words come as they are written::

        Cascade(OpenAITranscription(), ..., ...)

    A server that is busy, fails or closes the connection is asked again while no part of its answer has come, and not
    before the time that it names.

    Args:
        model: The model's name.
        language: A BCP 47 tag such as `en-GB`, of which the first part is sent; empty for any language.
        prompt: Words that are likely to be said, which helps the model with names.
        extra: Other fields of the request, merged over ours.
        url: The server's address. Compatible servers have others, such as `"http://localhost:8000/v1"`.
        **options: The options of all speech at a provider, see `SpeechOptions`: `api_key` (by default that of
            `OPENAI_API_KEY`; a server that wants no key accepts any), `silence_seconds`, `retries`.

    Raises:
        ValueError: There is no key.
        ConnectionError: The server refuses, reports an error or breaks off. Raised while it transcribes.
        TimeoutError: Nothing came for `silence_seconds`. Raised while it transcribes.
    """

    @check_options
    def __init__(
        self,
        model: str = "gpt-transcribe",
        *,
        language: str = "",
        prompt: str = "",
        extra: Mapping[str, str] | None = None,
        url: str = "https://api.openai.com/v1",
        **options: Unpack[SpeechOptions],
    ) -> None:
        super().__init__(url, options)
        self.language = language
        self._fields = {"model": model, "response_format": "json", "stream": "true"}
        self._fields |= {"language": language.split("-", 1)[0]} if language else {}
        self._fields |= {"prompt": prompt} if prompt else {}
        self._fields |= extra or {}

    def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str]:
        """Transcribe one utterance; each text replaces the one before."""
        return self._exchange(partial(self._transcribe, sound))

    async def _transcribe(self, sound: AsyncIterator[Samples], put: Callable[[str], Awaitable[None]]) -> None:
        pieces = [samples async for samples in sound]
        if not sum(map(len, pieces)):
            return
        file = ("speech.wav", wav(np.concatenate(pieces), self.rate), "audio/wav")
        await self._request("/audio/transcriptions", TranscriptReader, put, data=self._fields, files={"file": file})


class OpenAISpeech(_OverHttp, TextToSpeech):
    """OpenAI's text-to-speech, played as it is made::

        Cascade(..., ..., OpenAISpeech(voice="marin", instructions="Speak calmly."))

    It does not report the times of words. A server that is busy, fails or closes the connection is asked again while no
    part of its answer has come, and not before the time that it names.

    Args:
        model: The model's name.
        voice: The voice's name.
        instructions: How to speak, in plain words.
        extra: Other fields of the request, such as `{"speed": 1.1}`, merged over ours.
        rate: Samples per second (Hz) of the server's sound; OpenAI's is 24,000.
        url: The server's address. Compatible servers have others.
        **options: The options of all speech at a provider, see `SpeechOptions`: `api_key` (by default that of
            `OPENAI_API_KEY`; a server that wants no key accepts any), `silence_seconds`, `retries`.

    Raises:
        ValueError: There is no key.
        ConnectionError: The server refuses, reports an error or breaks off. Raised while it speaks.
        TimeoutError: Nothing came for `silence_seconds`. Raised while it speaks.
    """

    @check_options
    def __init__(
        self,
        model: str,
        *,
        voice: str = "alloy",
        instructions: str = "",
        extra: Mapping[str, Any] | None = None,
        rate: int = 24_000,
        url: str = "https://api.openai.com/v1",
        **options: Unpack[SpeechOptions],
    ) -> None:
        super().__init__(url, options)
        self.rate = rate
        self._fields: dict[str, Any] = {"model": model, "voice": voice, "response_format": "pcm"}
        self._fields |= {"instructions": instructions} if instructions else {}
        self._fields |= extra or {}

    def speak(self, text: str) -> AsyncGenerator[Samples | Word]:
        """Speak a sentence or a part of one."""
        return self._exchange(partial(self._speak, text))

    async def _speak(self, text: str, put: Callable[[Samples | Word], Awaitable[None]]) -> None:
        if not text.strip():
            return
        await self._request(
            "/audio/speech", partial(SpeechReader, rate=self.rate), put, json={**self._fields, "input": text}
        )
