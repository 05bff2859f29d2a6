"""A provider's HTTP interface: one client while a part is open, and answers that are read as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import anyio

from bargein.pipeline.lowlevel import import_extra

__all__ = ["Http", "HttpFault", "HttpResponse", "is_local"]

T = TypeVar("T")

LINGER_SECONDS: Final = 0.2
"""How long the end of an answer's body is awaited once the answer is over, so that the connection can be kept."""


class HttpFault(Exception):  # noqa: N818
    """No answer, or not to its end. Whoever asked says it in words of their own."""

    def __init__(self, kind: Literal["slow", "unreachable", "cut"], said: str) -> None:
        super().__init__(said)
        self.kind: Literal["slow", "unreachable", "cut"] = kind
        """Nothing came for too long; nobody is there; the connection was closed."""
        self.said = said
        """The seconds, or what the library says of it."""


class HttpResponse:
    """An answer, of which the status and the headers have come. Raises `HttpFault` where no more comes of it."""

    def __init__(self, httpx: Any, response: Any, deadline: float, first_seconds: float, silent_seconds: float) -> None:
        self.status: int = response.status_code
        """The HTTP status."""
        self.headers: dict[str, str] = {name.lower(): value for name, value in response.headers.items()}
        """By lower-case names."""
        self.kind = self.headers.get("content-type", "")
        """The type of its body."""
        self._httpx = httpx
        self._response = response
        self._chunks = response.aiter_bytes()
        self._deadline = deadline  # for the next piece of the body: the first has the time that there was for all of it
        self._seconds, self._silent = first_seconds, silent_seconds

    async def chunk(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        data: bytes | None = await within(self._httpx, self._deadline, anext(self._chunks, None), self._seconds)
        self._seconds, self._deadline = self._silent, anyio.current_time() + self._silent
        return data

    async def whole(self, most: int) -> bytes:
        """The body, or its beginning, so many bytes at most."""
        body = b""
        while len(body) < most and (data := await self.chunk()) is not None:
            body += data
        return body[:most]

    async def beginning(self, most: int) -> bytes:
        """The same, but what there is of it, where no more comes."""
        body = b""
        with suppress(HttpFault):
            while len(body) < most and (data := await self.chunk()) is not None:
                body += data
        return body[:most]

    async def linger(self) -> None:
        """Read the body to its end, if that is near, so that the next request needs no new connection."""
        with anyio.move_on_after(LINGER_SECONDS), suppress(HttpFault):
            while await self.chunk() is not None:
                pass

    async def hang_up(self) -> None:
        """Close the connection, unless the answer was read to its end."""
        with anyio.CancelScope(shield=True) as scope:
            # httpx reads by generators within generators, which trio wants to see ended: a cancelled read ends them.
            scope.cancel()
            with suppress(self._httpx.HTTPError, RuntimeError):
                while await anext(self._chunks, None) is not None:
                    pass
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await self._response.aclose()


class Http:
    """A client for one address, `who`'s. It may be opened several times, and is closed with the last."""

    def __init__(self, who: str, url: str, *, first_byte_seconds: float, silent_seconds: float) -> None:
        for name, value in (("first_byte_seconds", first_byte_seconds), ("silent_seconds", silent_seconds)):
            if not value > 0:
                raise ValueError(f"{who}({name}={value}): expected a positive number of seconds")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"{who}: {url!r} is no address; expected one such as https://host/v1")
        self._who = who
        self._local = is_local(url)
        self._first = first_byte_seconds
        self._silent = silent_seconds
        self._client: Any = None
        self._httpx: Any = None
        self._opened = 0

    @property
    def is_open(self) -> bool:
        """Somebody has it open."""
        return self._client is not None

    async def open(self) -> None:
        """Make the client. Raises `ModuleNotFoundError` without the library."""
        if not self._opened:
            self._httpx = import_extra("httpx", "http", self._who)
            # The timeouts are ours, by AnyIO's clock; and no proxy stands between us and a server next door.
            self._client = self._httpx.AsyncClient(timeout=None, trust_env=not self._local)
        self._opened += 1

    async def close(self) -> None:
        """Let go of it."""
        self._opened -= 1
        if not self._opened:
            client, self._client = self._client, None
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await client.aclose()

    @asynccontextmanager
    async def post(self, url: str, *, headers: dict[str, str], **content: Any) -> AsyncIterator[HttpResponse]:
        """Ask, and wait for the beginning of the answer. Raises `HttpFault`."""
        deadline = anyio.current_time() + self._first
        request = self._client.build_request("POST", url, headers=headers, **content)
        response = await within(self._httpx, deadline, self._client.send(request, stream=True), self._first)
        answer = HttpResponse(self._httpx, response, deadline, self._first, self._silent)
        try:
            yield answer
        finally:
            await answer.hang_up()


async def within(httpx: Any, deadline: float, coming: Awaitable[T], seconds: float) -> T:
    """What is awaited, until the deadline, which is after so many seconds. Raises `HttpFault`."""
    try:
        with anyio.fail_after(max(deadline - anyio.current_time(), 0)):
            return await coming
    except TimeoutError:
        raise HttpFault("slow", f"{seconds:g}") from None
    except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
        raise HttpFault("unreachable", str(error) or type(error).__name__) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise HttpFault("cut", str(error) or type(error).__name__) from None


def is_local(url: str) -> bool:
    """Whether the address is of this machine or of the network around it, where servers ask for no key."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".internal", ".localhost", ".home.arpa"))
    return address.is_loopback or address.is_private or address.is_link_local
