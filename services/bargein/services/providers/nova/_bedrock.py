"""Amazon Bedrock's streams as sockets: a connection, a signed request, and signed messages both ways."""

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
TYPE: Final = "application/vnd.amazon.eventstream"
GOODBYE_S: Final = 0.2
"""How long the end of our stream may take."""
LAST_WORDS_S: Final = 1.0
"""And how long the server's last words are waited for: a refusal's body, or what came before the end."""
BODY: Final = 4000
"""Characters of a refusal that are read."""


def _now() -> datetime:
    return datetime.now(UTC)  # a date, which the signatures need, and no measure of time


@cache
def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context()  # which reads a file of 200 kB, so once


class Bedrock:
    """Connects, as often as it is asked to, as whoever `credentials` names at that moment."""

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
        """A socket of messages of the event stream, open while the block runs. It signs what it sends.

        Raises `SocketRefusedError` when none comes about. Whether the server lets us in is only known when it answers,
        which it may do after the first messages: then `receive` raises it.
        """
        credentials = await self._who(endpoint)
        async with await self._dial(endpoint) as stream:
            signed = sign_request(
                endpoint.url,
                {"content-type": TYPE, **endpoint.headers},
                credentials=credentials,
                region=self.region,
                service=SERVICE,
                now=self.now(),
            )
            signer = EventSigner(
                credentials=credentials, region=self.region, service=SERVICE, signature=signed.signature
            )
            async with exchange(stream, endpoint.url, signed.headers) as talk:

                async def renewed() -> bool:
                    with suppress(SocketRefusedError):
                        return await self._who(endpoint) != credentials
                    return False

                socket = _EventSocket(talk, lambda each: signer.sign(each, self.now()), repr(endpoint), renewed)
                try:
                    yield socket
                finally:
                    await socket.close()

    async def _who(self, endpoint: Endpoint) -> Credentials:
        with anyio.move_on_after(endpoint.open_seconds):
            return await self.credentials()
        raise SocketRefusedError(f"{endpoint!r}: no AWS credentials within {endpoint.open_seconds:g} s")

    async def _dial(self, endpoint: Endpoint) -> anyio.abc.ByteStream:
        where, parts = repr(endpoint), urlsplit(endpoint.url)
        context = endpoint.ssl or _trusting()
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
            raise SocketRefusedError(f"{where} does not answer within {endpoint.open_seconds:g} s") from None
        except ssl.SSLError as error:
            raise SocketRefusedError(f"{where}: {error}") from None
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise SocketRefusedError(f"{where} cannot be reached: {error or type(error).__name__}") from None
        if stream.extra(TLSAttribute.alpn_protocol, None) != "h2":
            await stream.aclose()
            raise SocketRefusedError(f"{where} does not speak HTTP/2")
        return stream


class _EventSocket:
    """Whole messages of the event stream, both ways."""

    def __init__(
        self,
        talk: Http2Exchange,
        sign: Callable[[bytes], bytes],
        where: str,
        renewed: Callable[[], Awaitable[bool]],
    ) -> None:
        self._talk = talk
        self._sign = sign
        self._where = where
        self._renewed = renewed
        self._splitter = MessageSplitter()
        self._messages: deque[bytes] = deque()
        self._cut = False  # a message was, or may have been, sent in part
        self._told = anyio.Event()  # the receiver knows why it is over
        self._let_in = False
        self._gone = False

    async def send(self, data: str | bytes) -> None:
        """Send a message. Raises `SocketClosedError`."""
        if self._cut:
            raise SocketClosedError(1006, "a message was cut off")
        self._cut = True  # until it has gone through: each signature covers the one before
        try:
            await self._talk.send(self._sign(data.encode() if isinstance(data, str) else data))
        except SocketClosedError:
            with anyio.move_on_after(LAST_WORDS_S):
                await self._told.wait()  # what came before the end says more than the end
            raise
        self._cut = False

    async def receive(self) -> bytes:
        """The next message. Raises `SocketClosedError`, and `SocketRefusedError` where the server lets nobody in."""
        await anyio.lowlevel.checkpoint()
        try:
            while not self._messages:
                if not self._let_in:
                    if await self._talk.answered() != 200:
                        raise await self._refusal()
                    self._let_in = True
                data = await self._talk.receive()
                if not data:
                    rest = f" within a message, {self._splitter.waiting} bytes of it" if self._splitter.waiting else ""
                    raise SocketClosedError(1000, f"the server ended the stream{rest}")
                try:
                    self._messages.extend(self._splitter.feed(data))
                except DamagedError as error:
                    raise SocketClosedError(1002, str(error)) from None
        except ConnectionError:
            self._told.set()
            raise
        return self._messages.popleft()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End our stream, as the protocol wants it: with a signed message that is empty."""
        if self._gone:
            return
        self._gone = True
        with anyio.move_on_after(GOODBYE_S, shield=True), suppress(SocketClosedError):
            if not self._cut:
                await self._talk.send(self._sign(b""), end=True)
        self._cut = True

    async def _refusal(self) -> SocketRefusedError:
        status, body = self._talk.status, b""
        with anyio.move_on_after(LAST_WORDS_S), suppress(SocketClosedError):
            while len(body) < BODY and (more := await self._talk.receive()):
                body += more
        kind = self._talk.headers.get("x-amzn-errortype", "").partition(":")[0]
        said = _said(body[:BODY])
        if kind == EXPIRED and await self._renewed():
            status = None  # with the others it may be let in
        why = f"{self._where} answers {self._talk.status}"
        return SocketRefusedError(why, status, f"{kind}: {said}" if kind else said)


def _said(body: bytes) -> str:
    """The words of a refusal; without the request, which some repeat with the session token in it."""
    text = body.decode("utf-8", "replace")
    with suppress(msgspec.MsgspecError):
        fields = msgspec.json.decode(body, type=dict[str, Any])
        text = str(fields.get("message") or fields.get("Message") or text)
    return text.partition("The Canonical String")[0].strip()
