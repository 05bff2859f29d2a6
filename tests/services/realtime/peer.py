"""A provider in a test's hand: speaks the OpenAI protocol over a pipe, as it is told, with all the faults of a network.

Written by hand against the wire, not with the product's own server, so that the two do not agree by mistake.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import anyio
import numpy as np

from bargein.services.providers.openai.client.realtime import OpenAIRealtime
from bargein.services.providers.openai.dialect import GA, Dialect
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, pipe

RATE = 24_000
WORD_MS = 500
"""Each word of a reply sounds so long: about what seven letters take."""


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26)


class Reply:
    """A response, as the peer made it."""

    def __init__(self, number: int, words: int, connection: int, metadata: dict[str, str] | None = None) -> None:
        self.number = number
        self.metadata = metadata
        self.connection = connection
        self.name = f"resp-{number}"
        self.item = f"item-{number}"
        self.words = [f"{_letter(number)}word{_letter(at)}{_letter(at)}" for at in range(words)]
        self.sent = 0  # words, with their sound
        self.cancelled = False
        self.done = False
        self.truncated: int | None = None
        self.deleted = False


class Peer:
    """The provider. `connect` is what a model is given in place of `dial`."""

    def __init__(
        self, seed: int = 0, *, words: tuple[int, int] = (3, 12), pace: float = 0.02, dialect: Dialect = GA
    ) -> None:
        self.random = Random(seed)
        self.dialect = dialect
        """What is said on the wire. By hand, this speaks GA."""
        self.words = words
        self.pace = pace
        """Seconds between two deltas, at most."""
        self.replies: list[Reply] = []
        self.received: list[dict[str, Any]] = []
        self.connections = 0
        self.stragglers = True
        self.refuse: list[SocketRefusedError] = []
        """What the next attempts to connect meet."""
        self.on_event: Any = None
        """Called with every event of the client's; returns True when it has dealt with it."""
        self._socket: Socket | None = None
        self._group: anyio.abc.TaskGroup | None = None

    def model(self, **options: Any) -> OpenAIRealtime:
        """A model that talks to this peer."""
        return OpenAIRealtime(**{"api_key": "key", "connect": self.connect, **options})

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """What the client's driver calls."""
        if self.refuse:
            raise self.refuse.pop(0)
        self.connections += 1
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            self._socket, self._group = ours, group
            group.start_soon(self._serve, ours)
            try:
                yield theirs
            finally:
                await theirs.close()
                group.cancel_scope.cancel()

    @property
    def active(self) -> Reply | None:
        """The response that is being made."""
        return next((reply for reply in self.replies if not reply.done), None)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What the client sent of one type."""
        return [event for event in self.received if event["type"] == kind]

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        event = self.dialect.write_event({"type": kind, **fields})
        if self._socket is not None and event is not None:
            with suppress(SocketClosedError):
                await self._socket.send(json.dumps(event))

    async def close(self, code: int = 1006) -> None:
        """The connection breaks: what was being made is lost."""
        socket, self._socket = self._socket, None
        for reply in self.replies:
            reply.done = True
        if socket is not None:
            await socket.close(code, "gone")

    async def speech(self, times: int = 1) -> None:
        """Hear the user speak, and stop what is being made for it."""
        for _ in range(times):
            await self.send("input_audio_buffer.speech_started", audio_start_ms=100, item_id="user")
        if (reply := self.active) is not None:
            reply.cancelled = True

    async def _serve(self, socket: Socket) -> None:
        await self.send("session.created", session={"id": f"sess-{self.connections}"})
        try:
            while True:
                event = json.loads(self.dialect.read_command(await socket.receive()))
                self.received.append(event)
                if self.on_event is None or not await self.on_event(event):
                    await self._event(event)
        except SocketClosedError:
            pass

    async def _event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "session.update":
            session = {**event["session"], "id": f"sess-{self.connections}"}
            await self.send("session.updated", session=session)
        elif kind == "response.create":
            await self.respond(event.get("event_id"), (event.get("response") or {}).get("metadata"))
        elif kind == "response.cancel":
            await self._cancel(event)
        elif kind == "conversation.item.truncate":
            (reply,) = [reply for reply in self.replies if reply.item == event["item_id"]]
            reply.truncated = event["audio_end_ms"]
            assert reply.truncated <= reply.sent * WORD_MS, "more than there is"
        elif kind == "conversation.item.delete":
            for reply in self.replies:
                reply.deleted = reply.deleted or reply.item == event["item_id"]

    async def _cancel(self, event: dict[str, Any]) -> None:
        reply = self.active
        if reply is None or reply.name != event.get("response_id", reply.name):
            await self.send("error", error={"code": "response_cancel_not_active", "message": "no active response"})
        else:
            reply.cancelled = True

    async def respond(self, event: str | None = None, metadata: dict[str, str] | None = None) -> None:
        """Begin a response; by itself, when nobody has asked."""
        if self.active is not None:
            code = "conversation_already_has_active_response"
            await self.send("error", error={"code": code, "message": "busy", "event_id": event})
            return
        reply = Reply(len(self.replies), self.random.randint(*self.words), self.connections, metadata)
        self.replies.append(reply)
        if self._group is not None:
            self._group.start_soon(self._speak, reply)

    async def _pause(self) -> None:
        await anyio.sleep(self.random.choice((0.0, 0.0, self.pace)))

    async def _speak(self, reply: Reply) -> None:
        await self._pause()
        await self.send(
            "response.created", response={"id": reply.name, "status": "in_progress", "metadata": reply.metadata}
        )
        ids = {"response_id": reply.name, "item_id": reply.item, "output_index": 0, "content_index": 0}
        late = self.random.randint(0, 3) if self.stragglers else 0
        for at, word in enumerate(reply.words):
            await self._pause()
            if reply.cancelled:
                if not late:
                    break
                late -= 1
            text = word if not at else f" {word}"
            await self.send("response.output_audio_transcript.delta", delta=text, **ids)
            sound = np.full(RATE * WORD_MS // 1000, reply.number + 1, "<i2").tobytes()
            reply.sent += 1
            cut = self.random.randint(0, len(sound))
            for part in (sound[:cut], sound[cut:]):
                if part:
                    await self.send("response.output_audio.delta", delta=base64.b64encode(part).decode(), **ids)
        if not reply.cancelled:
            await self.send("response.output_audio_transcript.done", transcript=" ".join(reply.words), **ids)
        status = "cancelled" if reply.cancelled else "completed"
        details = {"type": "cancelled", "reason": "turn_detected"} if reply.cancelled else None
        reply.done = True
        await self.send("response.done", response={"id": reply.name, "status": status, "status_details": details})
