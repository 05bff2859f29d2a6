"""An HTTP client for one provider, and responses that are read while they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import anyio

from bargein.pipeline.lowlevel import import_extra
from bargein.services.sockets.addresses import is_local_url

__all__ = ["HttpClient", "HttpFault", "HttpResponse"]

T = TypeVar("T")
FaultCause = Literal["slow", "unreachable", "cut"]

DRAIN_SECONDS: Final = 0.2
"""How long the end of a response's body is awaited, so that its connection can be used again."""


class HttpFault(Exception):  # noqa: N818
    """A request got no response, or only a part of one. Callers turn it into their own error."""

    def __init__(self, cause: FaultCause, detail: str) -> None:
        super().__init__(detail)
        self.cause: FaultCause = cause
        """`"slow"`: nothing came in time; `"unreachable"`: no connection; `"cut"`: the connection was closed."""
        self.detail = detail
        """The seconds of a timeout, or the library's message."""


class HttpResponse:
    """A response whose status and headers have arrived. Its methods raise `HttpFault`."""

    def __init__(
        self, httpx: Any, response: Any, deadline: float, first_byte_seconds: float, silence_seconds: float
    ) -> None:
        self.status: int = response.status_code
        """The HTTP status."""
        self.headers: dict[str, str] = {name.lower(): value for name, value in response.headers.items()}
        """The headers, by lower-case names."""
        self.content_type = self.headers.get("content-type", "")
        """The type of the body; empty if the server does not say."""
        self._httpx = httpx
        self._response = response
        self._chunks = response.aiter_bytes()
        self._deadline = deadline  # for the next chunk; the first shares the time that the headers had
        self._seconds, self._silence_seconds = first_byte_seconds, silence_seconds

    async def read_chunk(self) -> bytes | None:
        """Return the next piece of the body, or None at its end."""
        data: bytes | None = await _until(self._httpx, self._deadline, anext(self._chunks, None), self._seconds)
        self._seconds, self._deadline = self._silence_seconds, anyio.current_time() + self._silence_seconds
        return data

    async def read(self, max_bytes: int) -> bytes:
        """Return the body, or its first `max_bytes` bytes."""
        body = b""
        while len(body) < max_bytes and (data := await self.read_chunk()) is not None:
            body += data
        return body[:max_bytes]

    async def read_available(self, max_bytes: int) -> bytes:
        """Return the body like `read`; where it breaks off, return what has arrived."""
        body = b""
        with suppress(HttpFault):
            while len(body) < max_bytes and (data := await self.read_chunk()) is not None:
                body += data
        return body[:max_bytes]

    async def drain(self) -> None:
        """Read the rest of the body for a moment, so that the next request can use the connection."""
        with anyio.move_on_after(DRAIN_SECONDS), suppress(HttpFault):
            while await self.read_chunk() is not None:
                pass

    async def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        with anyio.CancelScope(shield=True) as scope:
            # httpx reads through nested async generators. A cancelled read ends them all; trio complains about
            # generators that are left open.
            scope.cancel()
            with suppress(self._httpx.HTTPError, RuntimeError):
                while await anext(self._chunks, None) is not None:
                    pass
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await self._response.aclose()


class HttpClient:
    """An HTTP client for one address. It can be opened several times, and closes with the last `close`.

    Args:
        owner: The class that uses it, for errors.
        url: The address, to check it and to see whether it is local.
        first_byte_seconds: How long the beginning of a response may take, in seconds.
        silence_seconds: How long the server may be silent within a response, in seconds.

    Raises:
        ValueError: A time is not positive, or the address is not an HTTP address.
    """

    def __init__(self, owner: str, url: str, *, first_byte_seconds: float, silence_seconds: float) -> None:
        for name, value in (("first_byte_seconds", first_byte_seconds), ("silence_seconds", silence_seconds)):
            if not value > 0:
                raise ValueError(f"{owner}({name}={value}): expected a positive number of seconds")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"{owner}: {url!r} is not an address; expected one such as https://host/v1")
        self._owner = owner
        self._is_local = is_local_url(url)
        self._first_byte_seconds = first_byte_seconds
        self._silence_seconds = silence_seconds
        self._client: Any = None
        self._httpx: Any = None
        self._users = 0

    @property
    def is_open(self) -> bool:
        """Whether it has been opened more often than closed."""
        return self._client is not None

    async def open(self) -> None:
        """Create the client. Raises `ModuleNotFoundError` without the extra `http`."""
        if not self._users:
            self._httpx = import_extra("httpx", "http", self._owner)
            # Timeouts are kept here, on AnyIO's clock. A local server is not reached through a proxy.
            self._client = self._httpx.AsyncClient(timeout=None, trust_env=not self._is_local)
        self._users += 1

    async def close(self) -> None:
        """Close the client, if this is the last user."""
        self._users -= 1
        if not self._users:
            client, self._client = self._client, None
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await client.aclose()

    @asynccontextmanager
    async def post(self, url: str, *, headers: dict[str, str], **content: Any) -> AsyncIterator[HttpResponse]:
        """Send a `POST` request and yield the response when its headers have arrived.

        Args:
            url: The full address.
            headers: The HTTP headers.
            **content: The body and query, as `httpx.Request` takes them (`content=`, `json=`, `files=`, `params=`).

        Raises:
            HttpFault: There is no response.
        """
        deadline = anyio.current_time() + self._first_byte_seconds
        request = self._client.build_request("POST", url, headers=headers, **content)
        sending = self._client.send(request, stream=True)
        reply = await _until(self._httpx, deadline, sending, self._first_byte_seconds)
        response = HttpResponse(self._httpx, reply, deadline, self._first_byte_seconds, self._silence_seconds)
        try:
            yield response
        finally:
            await response.close()


async def _until(httpx: Any, deadline: float, coming: Awaitable[T], seconds: float) -> T:
    """Await something of httpx until a deadline, which is `seconds` after its beginning. Raises `HttpFault`."""
    try:
        with anyio.fail_after(max(deadline - anyio.current_time(), 0)):
            return await coming
    except TimeoutError:
        raise HttpFault("slow", f"{seconds:g}") from None
    except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
        raise HttpFault("unreachable", str(error) or type(error).__name__) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise HttpFault("cut", str(error) or type(error).__name__) from None
