"""Bedrock in a test's hand: HTTP/2 over TLS, with every signature verified, and the peer of Nova Sonic behind it."""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any

import anyio
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from botocore.eventstream import EventStreamMessage
from h2.exceptions import ProtocolError

from bargein.services.providers.nova import NovaSonic
from bargein.services.providers.nova._bedrock import Bedrock
from bargein.services.providers.nova._credentials import credentials_provider
from bargein.services.providers.nova._signing import Credentials

from .peer import Peer, Session
from .server import Server
from .verifier import RefusedError, Verifier

NOW = datetime(2026, 8, 30, 12, 36, 0, tzinfo=UTC)
REGION = "us-east-1"
PATH = "/model/amazon.nova-2-5-sonic/invoke-with-bidirectional-stream"
WHO = Credentials(access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG", token="temporary/token==")
STATUS = {"ExpiredTokenException": 403, "UnrecognizedClientException": 403, "InvalidSignatureException": 403}


@cache
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and what a client must know to trust it."""
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    return theirs, ours


class BedrockPeer:
    """The server: lets in who signs as somebody it knows."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.secrets: dict[str, tuple[str, str | None]] = {WHO.access_key: (WHO.secret_key, WHO.token)}
        self.alpn = ["h2"]
        self.answers_late = False
        """It says nothing before it has been told something."""
        self.reads = True
        """It makes room for more when it has been sent something."""
        self.throttles = 0
        """So many requests are told to come later."""
        self.requests: list[dict[str, str]] = []
        self.events = 0
        """How many events were verified."""
        self.ends = 0
        """How many streams were ended as they should be, with a signed event that is empty."""
        self.server: Server | None = None
        self.url = "https://127.0.0.1"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        context, _ = certificates()
        context.set_alpn_protocols(self.alpn)
        listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"https://127.0.0.1:{listeners.listeners[0].extra(SocketAttribute.local_port)}"
        listener = TLSListener(listeners, context, False)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._connected)
            yield
            await anyio.sleep(0.05)  # farewells are still heard
            group.cancel_scope.cancel()

    def model(self, who: Credentials = WHO, credentials: Any = None, **options: Any) -> NovaSonic:
        """A model that talks to this server, at a time that stands still."""
        bedrock = Bedrock(region=REGION, credentials=credentials or credentials_provider(who), now=lambda: NOW)
        return NovaSonic(url=self.url, ssl=certificates()[1], connect=bedrock.connect, **options)

    async def _connected(self, stream: Any) -> None:
        server = self.server = Server(stream)
        server.reads = self.reads
        async with stream, anyio.create_task_group() as group:
            group.start_soon(server.run)
            with suppress(anyio.EndOfStream):
                await self._requested(server)
            group.cancel_scope.cancel()

    async def _requested(self, server: Server) -> None:
        headers = await server.requested()
        self.requests.append(headers)
        verifier = Verifier(self.secrets, REGION, NOW)
        assert headers[":path"] == PATH
        assert headers["content-type"] == "application/vnd.amazon.eventstream"
        try:
            if self.throttles:
                self.throttles -= 1
                raise RefusedError("ThrottlingException", "Too many requests, please wait")
            where = headers[":authority"]
            verifier.request("POST", f"https://{where}{headers[':path']}", {**headers, "host": where})
        except RefusedError as error:
            kind, said = error.args
            await server.answer(STATUS.get(kind, 429), x_amzn_errortype=f"{kind}:http://internal.amazon.com/")
            await server.say(json.dumps({"message": said}).encode())
            await server.end()
            await anyio.sleep(0.1)
            return
        if not self.answers_late:
            await server.answer(content_type="application/vnd.amazon.eventstream")
        await self._converse(server, verifier)

    async def _converse(self, server: Server, verifier: Verifier) -> None:
        waiting: deque[EventStreamMessage | None] = deque()

        async def receive() -> EventStreamMessage | None:
            while not waiting:
                try:
                    data = await server.take()
                except anyio.EndOfStream:
                    return None
                if not data and server.ended:
                    return None
                if not server.h2.streams[1].state_machine.headers_sent:
                    await server.answer()
                found = verifier.events(data)
                self.events += len(found)
                self.ends += sum(each is None for each in found)
                waiting.extend(found)
            return waiting.popleft()

        async def close() -> None:
            with suppress(ProtocolError):
                await server.end()

        session = Session(self.peer, server.say, len(self.peer.sessions) + 1)
        self.peer.sessions.append(session)
        await session.run(receive, close)
        while not server.ended:
            if await receive() is None:
                break
