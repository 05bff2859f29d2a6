"""What the language models behind HTTP have in common: one client, one request an answer, its faults."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio

from ._answer_stream import AnswerStream, Piece
from ._llm_error import LanguageModelError, refusal, retry_wait
from ._need import need
from .cascade.parts import LanguageModel, Prompt

__all__ = ["HttpModel", "is_local"]

LARGEST_REFUSAL = 64 * 2**10
"""Bytes of a refusal that are read."""
LINGER_SECONDS = 0.2
"""How long the end of an answer's body is awaited once the answer is over, so that the connection can be kept."""


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
        for name, value in (("first_byte_seconds", first_byte_seconds), ("silent_seconds", silent_seconds)):
            if not value > 0:
                raise ValueError(f"{who}({name}={value}): expected a positive number of seconds")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"{who}: {url!r} is no address; expected one such as https://host/v1")
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
        self._client: Any = None
        self._httpx: Any = None
        self._entered = 0

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The body that a prompt is asked with, as JSON."""
        raise NotImplementedError

    def stream(self) -> AnswerStream:
        """The protocol of the next answer."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        if not self._entered:
            self._httpx = need("httpx", "http", type(self).__name__)
            # The timeouts are ours, by AnyIO's clock; and no proxy stands between us and a server next door.
            self._client = self._httpx.AsyncClient(timeout=None, trust_env=not is_local(self.url))
        self._entered += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if not self._entered:
            client, self._client = self._client, None
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await client.aclose()

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer. Raises `LanguageModelError`; what was given before it stands.

        Close the iterator (`contextlib.aclosing`) when you stop early: that ends the request.
        """
        if self._client is None:
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
            except LanguageModelError as error:
                wait = retry_wait(error, attempt, self._random)
                if given or wait is None or attempt > self.retries:
                    raise self._discreet(error) from None
            await anyio.sleep(wait)

    async def _once(self, body: bytes) -> AsyncGenerator[Piece, None]:
        """One request, and its answer's pieces."""
        stream, deadline = self.stream(), anyio.current_time() + self.first_byte_seconds
        request = self._client.build_request("POST", self.url, content=body, headers=self._headers)
        response = await self._within(deadline, self._client.send(request, stream=True))
        chunks = response.aiter_bytes()
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            kind = headers.get("content-type", "")
            if response.status_code != 200 or "html" in kind:
                said = await self._all(chunks, deadline, LARGEST_REFUSAL, patient=False)
                raise refusal(self._who, response.status_code, said, headers)
            if "json" in kind and "ndjson" not in kind:  # it does not stream, or it complains politely
                for piece in stream.whole(await self._all(chunks, deadline, 16 * 2**20)):
                    yield piece
                return
            begun = False
            while not stream.over:
                chunk = await self._within(deadline, anext(chunks, None), silent=begun)
                if chunk is None:
                    break
                for piece in stream.feed(chunk):
                    yield piece
                begun, deadline = True, anyio.current_time() + self.silent_seconds
            for piece in stream.end():
                yield piece
            await self._linger(chunks)
        finally:
            await self._hang_up(response, chunks)

    async def _hang_up(self, response: Any, chunks: Any) -> None:
        """Close the connection, unless the answer was read to its end."""
        with anyio.CancelScope(shield=True) as scope:
            # httpx reads by generators within generators, which trio wants to see ended: a cancelled read ends them.
            scope.cancel()
            with suppress(self._httpx.HTTPError, RuntimeError):
                while await anext(chunks, None) is not None:
                    pass
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await response.aclose()

    @property
    def _who(self) -> str:
        return self.url.split("?")[0]

    async def _within(self, deadline: float, coming: Any, silent: bool = False) -> Any:
        """What is awaited, until the deadline, with what went wrong as a `LanguageModelError`."""
        httpx = self._httpx
        try:
            with anyio.fail_after(max(deadline - anyio.current_time(), 0)):
                return await coming
        except TimeoutError:
            limit = self.silent_seconds if silent else self.first_byte_seconds
            message = f"{self._who} says nothing for {limit:g} s; look if it is there, or give it more time"
            raise LanguageModelError(message, kind="slow") from None
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            message = f"{self._who} cannot be reached: {error}; look whether it runs, and at base_url"
            raise LanguageModelError(message, kind="unreachable") from None
        except httpx.HTTPError as error:
            message = f"{self._who} has closed the connection ({error or type(error).__name__}); ask again"
            raise LanguageModelError(message, kind="unreachable") from None

    async def _all(self, chunks: Any, deadline: float, most: int, patient: bool = True) -> bytes:
        """A whole body, or its beginning; where nobody is patient, what there is of it."""
        body = b""
        try:
            while len(body) < most and (chunk := await self._within(deadline, anext(chunks, None))) is not None:
                body += chunk
        except LanguageModelError:
            if patient:
                raise
        return body[:most]

    async def _linger(self, chunks: Any) -> None:
        """Read the body to its end, if that is near, so that the next question needs no new connection."""
        with anyio.move_on_after(LINGER_SECONDS):
            try:
                while await self._within(anyio.current_time() + 1, anext(chunks, None)) is not None:
                    pass
            except LanguageModelError:
                pass

    def _discreet(self, error: LanguageModelError) -> LanguageModelError:
        """The error without the key, which some providers repeat."""
        if self._secret and self._secret in str(error):
            error.args = (str(error).replace(self._secret, "***"),)
        return error


def is_local(url: str) -> bool:
    """Whether the address is of this machine or of the network around it, where servers ask for no key."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".internal", ".localhost", ".home.arpa"))
    return address.is_loopback or address.is_private or address.is_link_local
