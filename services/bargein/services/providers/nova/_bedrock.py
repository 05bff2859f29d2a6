"""Amazon Bedrock's bidirectional streams as sockets: a TLS connection, a signed request, signed messages both ways."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.abc
import msgspec
from anyio.streams.tls import TLSAttribute

from bargein.pipeline.lowlevel import import_extra
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError

from ._http2 import Http2Exchange, exchange
from ._signing import Credentials, EventSigner, sign_request
from .event_stream import DamagedError, MessageSplitter

__all__ = ["Bedrock"]

SERVICE: Final = "bedrock"
EXPIRED: Final = "ExpiredTokenException"
CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
END_SECONDS: Final = 0.2
"""How long the message that ends our stream may take."""
LAST_WORDS_SECONDS: Final = 1.0
"""How long the server's reason for closing is awaited: the body of a refusal, or messages before the end."""
MAX_REFUSAL_BYTES: Final = 4000


def _now() -> datetime:
    return datetime.now(UTC)  # signatures need a date; this is not used to measure time


@cache
def _default_context() -> ssl.SSLContext:
    return ssl.create_default_context()  # cached because it reads a file of 200 kB


class Bedrock:
    """Connects to Bedrock, any number of times, each time with the present credentials.

    Args:
        region: The AWS region.
        credentials: Returns the present credentials.
        now: Returns the present date; replaceable for tests.
    """

    def __init__(
        self,
        *,
        region: str,
        credentials: Callable[[], Awaitable[Credentials]],
        now: Callable[[], datetime] = _now,
    ) -> None:
        import_extra("h2", "nova", "NovaSonic()")
        self.region = region
        self.credentials = credentials
        self.now = now

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """Open a socket of event stream messages, which it signs when it sends them.

        Raises:
            SocketRefusedError: There is no connection. The server may refuse only after the first messages; then
                `receive` raises this.
        """
        credentials = await self._fetch_credentials(endpoint)
        async with await self._dial(endpoint) as stream:
            signed = sign_request(
                endpoint.url,
                {"content-type": CONTENT_TYPE, **endpoint.headers},
                credentials=credentials,
                region=self.region,
                service=SERVICE,
                now=self.now(),
            )
            signer = EventSigner(
                credentials=credentials, region=self.region, service=SERVICE, signature=signed.signature
            )
            async with exchange(stream, endpoint.url, signed.headers) as request:

                async def has_new_credentials() -> bool:
                    with suppress(SocketRefusedError):
                        return await self._fetch_credentials(endpoint) != credentials
                    return False

                socket = _EventSocket(
                    request, lambda each: signer.sign(each, self.now()), repr(endpoint), has_new_credentials
                )
                try:
                    yield socket
                finally:
                    await socket.close()

    async def _fetch_credentials(self, endpoint: Endpoint) -> Credentials:
        with anyio.move_on_after(endpoint.open_seconds):
            return await self.credentials()
        raise SocketRefusedError(f"{endpoint!r}: no AWS credentials within {endpoint.open_seconds:g} s")

    async def _dial(self, endpoint: Endpoint) -> anyio.abc.ByteStream:
        address, parts = repr(endpoint), urlsplit(endpoint.url)
        context = endpoint.ssl or _default_context()
        context.set_alpn_protocols(["h2"])
        try:
            with anyio.fail_after(endpoint.open_seconds):
                stream = await anyio.connect_tcp(
                    parts.hostname or "",
                    parts.port or 443,
                    tls=True,
                    ssl_context=context,
                    tls_hostname=parts.hostname,
                    tls_standard_compatible=False,
                )
        except TimeoutError:
            raise SocketRefusedError(f"{address} does not answer within {endpoint.open_seconds:g} s") from None
        except ssl.SSLError as error:
            raise SocketRefusedError(f"{address}: {error}") from None
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise SocketRefusedError(f"{address} cannot be reached: {error or type(error).__name__}") from None
        if stream.extra(TLSAttribute.alpn_protocol, None) != "h2":
            await stream.aclose()
            raise SocketRefusedError(f"{address} does not speak HTTP/2")
        return stream


class _EventSocket:
    """A socket whose messages are whole messages of the event stream."""

    def __init__(
        self,
        request: Http2Exchange,
        sign: Callable[[bytes], bytes],
        address: str,
        has_new_credentials: Callable[[], Awaitable[bool]],
    ) -> None:
        self._request = request
        self._sign = sign
        self._address = address
        self._has_new_credentials = has_new_credentials
        self._splitter = MessageSplitter()
        self._messages: deque[bytes] = deque()
        self._cut = False  # a message was, or may have been, sent only in part
        self._receive_failed = anyio.Event()  # `receive` has raised the reason for the end
        self._accepted = False  # the server has answered with status 200
        self._closed = False

    async def send(self, data: str | bytes) -> None:
        """Send a message. Raises `SocketClosedError`."""
        if self._cut:
            raise SocketClosedError(1006, "a message was cut off")
        # Each signature covers the one before, so nothing can follow a message that was sent in part.
        self._cut = True
        try:
            await self._request.send(self._sign(data.encode() if isinstance(data, str) else data))
        except SocketClosedError:
            # `receive` may still read the server's reason, which says more than this error.
            with anyio.move_on_after(LAST_WORDS_SECONDS):
                await self._receive_failed.wait()
            raise
        self._cut = False

    async def receive(self) -> bytes:
        """Return the next message. Raises `SocketClosedError`, or `SocketRefusedError` for a refused request."""
        await anyio.lowlevel.checkpoint()
        try:
            while not self._messages:
                if not self._accepted:
                    if await self._request.answered() != 200:
                        raise await self._refusal()
                    self._accepted = True
                data = await self._request.receive()
                if not data:
                    waiting = self._splitter.waiting
                    rest = f" within a message, {waiting} bytes of it" if waiting else ""
                    raise SocketClosedError(1000, f"the server ended the stream{rest}")
                try:
                    self._messages.extend(self._splitter.feed(data))
                except DamagedError as error:
                    raise SocketClosedError(1002, str(error)) from None
        except ConnectionError:
            self._receive_failed.set()
            raise
        return self._messages.popleft()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End our stream as the protocol wants it: with an empty signed message."""
        if self._closed:
            return
        self._closed = True
        with anyio.move_on_after(END_SECONDS, shield=True), suppress(SocketClosedError):
            if not self._cut:
                await self._request.send(self._sign(b""), end=True)
        self._cut = True

    async def _refusal(self) -> SocketRefusedError:
        status, body = self._request.status, b""
        with anyio.move_on_after(LAST_WORDS_SECONDS), suppress(SocketClosedError):
            while len(body) < MAX_REFUSAL_BYTES and (more := await self._request.receive()):
                body += more
        kind = self._request.headers.get("x-amzn-errortype", "").partition(":")[0]
        text = _refusal_text(body[:MAX_REFUSAL_BYTES])
        if kind == EXPIRED and await self._has_new_credentials():
            status = None  # without a status the driver tries again, with the new credentials
        reason = f"{self._address} answers {self._request.status}"
        return SocketRefusedError(reason, status, f"{kind}: {text}" if kind else text)


def _refusal_text(body: bytes) -> str:
    """Return the message of a refusal, without the request that some repeat with the session token in it."""
    text = body.decode("utf-8", "replace")
    with suppress(msgspec.MsgspecError):
        fields = msgspec.json.decode(body, type=dict[str, Any])
        text = str(fields.get("message") or fields.get("Message") or text)
    return text.partition("The Canonical String")[0].strip()
