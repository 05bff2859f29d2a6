"""The base of language models behind HTTP: one request for each answer, retried while nothing has arrived.

The options that all of them share are written down once, as a `TypedDict` for `Unpack`, so that an editor completes
them for each class.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypedDict
from urllib.parse import urlsplit

import anyio

from bargein.services.cascade.parts import LanguageModel, Prompt
from bargein.services.sockets.addresses import is_local_url

from .http import HttpClient, HttpFault
from .keys import check_key
from .model_error import LanguageModelError, http_error, retry_wait
from .model_stream import AnswerStream, Piece, without_none

__all__ = ["HttpModel", "LanguageModelOptions", "find_model_key"]

MAX_ERROR_BYTES = 64 * 2**10
"""Bytes of an error response that are read."""
MAX_ANSWER_BYTES = 16 * 2**20
"""Bytes of an answer that is not streamed."""


def find_model_key(owner: str, api_key: str | None, variable: str, url: str) -> str:
    """Return the key for a language model's address; empty if none is needed.

    Args:
        owner: The class of the model, for errors.
        api_key: The key that was given; None to look at the environment variable, `""` to send none.
        variable: The environment variable of the provider at this address; empty if the provider is unknown, so that a
            key is never sent to another provider.
        url: The address.

    Raises:
        ValueError: A server outside the local network needs a key, or the key has impossible characters.
    """
    key = os.environ.get(variable, "") if api_key is None and variable else api_key or ""
    if not key and api_key is None and not is_local_url(url):
        also = f", or set {variable}" if variable else ""
        raise ValueError(f"{owner}: no key for {urlsplit(url).hostname}; give api_key=...{also}")
    return check_key(owner, key, variable or "the argument")


class LanguageModelOptions(TypedDict, total=False):
    """Options that the constructors of all language models behind HTTP have."""

    temperature: float | None
    """The model's temperature; None, the default, for the provider's default."""
    extra: Mapping[str, Any] | None
    """Other fields of the request, merged over all that other options say. A None value removes a field."""
    headers: Mapping[str, str] | None
    """Other HTTP headers."""
    images: bool
    """Whether pictures are sent; False for models that cannot see. Default True."""
    retries: int
    """How often an answer is requested again. Default 2."""
    first_byte_seconds: float
    """How long the beginning of an answer may take, in seconds. Default 15."""
    silence_seconds: float
    """How long the server may be silent within an answer, in seconds. Default 15."""


class HttpModel(LanguageModel):
    """A language model behind HTTP. A subclass implements `body` and `stream`.

    Args:
        model: The model's name.
        url: The address of the endpoint.
        headers: The HTTP headers of each request.
        secret: The key, which is removed from errors.
        limits: Fields of the request that limit the answer, such as `max_tokens`; None values are left out.
        options: The options that all language models share.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        url: str,
        headers: Mapping[str, str],
        secret: str,
        limits: Mapping[str, Any],
        options: LanguageModelOptions,
    ) -> None:
        owner = type(self).__name__
        self.model = model
        """The model's name."""
        self.url = url
        """The address of the endpoint."""
        self.images = options.get("images", True)
        """Whether pictures are sent."""
        self.retries = options.get("retries", 2)
        """How often an answer is requested again, while nothing of it has arrived."""
        if self.retries < 0:
            raise ValueError(f"{owner}(retries={self.retries}): expected 0 or more")
        self.first_byte_seconds = options.get("first_byte_seconds", 15.0)
        """How long the beginning of an answer may take, in seconds."""
        self.silence_seconds = options.get("silence_seconds", 15.0)
        """How long the server may be silent within an answer, in seconds."""
        self._http = HttpClient(
            owner, url, first_byte_seconds=self.first_byte_seconds, silence_seconds=self.silence_seconds
        )
        own = {"accept": "text/event-stream", "accept-encoding": "identity", "content-type": "application/json"}
        more = {name.lower(): value for name, value in (options.get("headers") or {}).items()}
        self._headers = {**own, **headers, **more}
        self._fields = {**limits, "temperature": options.get("temperature"), **(options.get("extra") or {})}
        self._secret = secret
        self._random = random.Random()

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """Return what the provider's protocol makes of a prompt. Fields that are None are not sent.

        Args:
            prompt: The conversation and the tools.
        """
        raise NotImplementedError

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """Return the JSON body of the request for a prompt, with the limits and the extra fields.

        Args:
            prompt: The conversation and the tools.
        """
        return without_none({**self.body(prompt), **self._fields})

    def stream(self) -> AnswerStream:
        """Return the protocol of one answer."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self._http.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield the answer to a prompt, piece by piece.

        Close the iterator (`contextlib.aclosing`) when you stop early; that ends the request.

        Raises:
            LanguageModelError: There is no answer, or it breaks off. Pieces yielded before are valid.
            RuntimeError: The model is not open; use it in `async with`.
        """
        if not self._http.is_open:
            raise RuntimeError(f"{type(self).__name__} is not open; use it in `async with`")
        body = json.dumps(self.request(prompt), ensure_ascii=False).encode("utf-8", "replace")
        attempt = 0
        while True:
            attempt += 1
            begun = False
            try:
                async with aclosing(self._try(body)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except (LanguageModelError, HttpFault) as fault:
                error = self._to_error(fault) if isinstance(fault, HttpFault) else fault
                wait = retry_wait(error, attempt, self._random)
                if begun or wait is None or attempt > self.retries:
                    raise error from None
            await anyio.sleep(wait)

    async def _try(self, body: bytes) -> AsyncGenerator[Piece, None]:
        """Send one request and yield its answer. Raises `LanguageModelError` and `HttpFault`."""
        stream = self.stream()
        stream.secret = self._secret
        async with self._http.post(self.url, headers=self._headers, content=body) as response:
            if response.status != 200 or "html" in response.content_type:
                error_body = await response.read_available(MAX_ERROR_BYTES)
                raise http_error(self._source, response.status, error_body, response.headers, self._secret)
            if "json" in response.content_type and "ndjson" not in response.content_type:
                # The server does not stream, or reports an error with status 200.
                for piece in stream.read_body(await response.read(MAX_ANSWER_BYTES)):
                    yield piece
                return
            while not stream.over and (data := await response.read_chunk()) is not None:
                for piece in stream.feed(data):
                    yield piece
            for piece in stream.end():
                yield piece
            await response.drain()

    @property
    def _source(self) -> str:
        """The address without its query, which may hold a secret."""
        return self.url.split("?")[0]

    def _to_error(self, fault: HttpFault) -> LanguageModelError:
        if fault.cause == "slow":
            message = f"{self._source} says nothing for {fault.detail} s; look if it is there, or give it more time"
            return LanguageModelError(message, kind="slow")
        if fault.cause == "unreachable":
            message = f"{self._source} cannot be reached: {fault.detail}; look whether it runs, and at url"
        else:
            message = f"{self._source} has closed the connection ({fault.detail}); ask again"
        return LanguageModelError(message, kind="unreachable")
