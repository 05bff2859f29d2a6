"""What the language models behind HTTP have in common: one request an answer, asked again while nothing has come."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import anyio

from bargein.services.cascade.parts import LanguageModel, Prompt

from .http import Http, HttpFault
from .model_error import LanguageModelError, refusal, retry_wait
from .model_stream import AnswerStream, Piece

__all__ = ["HttpModel"]

LARGEST_REFUSAL = 64 * 2**10
"""Bytes of a refusal that are read."""
LARGEST_ANSWER = 16 * 2**20
"""Bytes of an answer that is not streamed."""


class HttpModel(LanguageModel):
    """A language model behind HTTP. A subclass says what is asked, and how the answer is read."""

    def __init__(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        secret: str,
        retries: int,
        first_byte_seconds: float,
        silent_seconds: float,
    ) -> None:
        who = type(self).__name__
        if retries < 0:
            raise ValueError(f"{who}(retries={retries}): expected 0 or more")
        self._http = Http(who, url, first_byte_seconds=first_byte_seconds, silent_seconds=silent_seconds)
        self.url = url
        """Where it is asked."""
        self.retries = retries
        """How often an answer is asked for again, while nothing of it has come."""
        self.first_byte_seconds = first_byte_seconds
        """How long the beginning of an answer may take."""
        self.silent_seconds = silent_seconds
        """How long it may be silent within an answer."""
        self._headers = {"accept": "text/event-stream", "accept-encoding": "identity", **headers}
        self._secret = secret
        self._random = random.Random()

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The body that a prompt is asked with, as JSON."""
        raise NotImplementedError

    def stream(self) -> AnswerStream:
        """The protocol of the next answer."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self._http.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer. Raises `LanguageModelError`; what was given before it stands.

        Close the iterator (`contextlib.aclosing`) when you stop early: that ends the request.
        """
        if not self._http.is_open:
            raise RuntimeError(f"{type(self).__name__} is not open; use it in `async with`")
        body = json.dumps(self.request(prompt), ensure_ascii=False).encode("utf-8", "replace")
        attempt = 0
        while True:
            attempt += 1
            given = False
            try:
                async with aclosing(self._once(body)) as pieces:
                    async for piece in pieces:
                        given = True
                        yield piece
                return
            except (LanguageModelError, HttpFault) as fault:
                error = self._meaning(fault) if isinstance(fault, HttpFault) else fault
                wait = retry_wait(error, attempt, self._random)
                if given or wait is None or attempt > self.retries:
                    raise self._discreet(error) from None
            await anyio.sleep(wait)

    async def _once(self, body: bytes) -> AsyncGenerator[Piece, None]:
        """One request, and its answer's pieces. Raises `HttpFault`, too."""
        stream = self.stream()
        async with self._http.post(self.url, headers=self._headers, content=body) as answer:
            if answer.status != 200 or "html" in answer.kind:
                said = await answer.beginning(LARGEST_REFUSAL)
                raise refusal(self._who, answer.status, said, answer.headers)
            if "json" in answer.kind and "ndjson" not in answer.kind:  # it does not stream, or it complains politely
                for piece in stream.whole(await answer.whole(LARGEST_ANSWER)):
                    yield piece
                return
            while not stream.over and (data := await answer.chunk()) is not None:
                for piece in stream.feed(data):
                    yield piece
            for piece in stream.end():
                yield piece
            await answer.linger()

    @property
    def _who(self) -> str:
        return self.url.split("?")[0]

    def _meaning(self, fault: HttpFault) -> LanguageModelError:
        """What has gone wrong, and what to do about it."""
        if fault.kind == "slow":
            message = f"{self._who} says nothing for {fault.said} s; look if it is there, or give it more time"
            return LanguageModelError(message, kind="slow")
        if fault.kind == "unreachable":
            message = f"{self._who} cannot be reached: {fault.said}; look whether it runs, and at base_url"
        else:
            message = f"{self._who} has closed the connection ({fault.said}); ask again"
        return LanguageModelError(message, kind="unreachable")

    def _discreet(self, error: LanguageModelError) -> LanguageModelError:
        """The error without the key, which some providers repeat."""
        if self._secret and self._secret in str(error):
            error.args = (str(error).replace(self._secret, "***"),)
        return error
