"""A server of Nova Sonic's streams that plays its part, in memory: for tests and demonstrations, without a network."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from typing import Any

import anyio
import msgspec
import numpy as np

from bargein.pipeline import ToolCall
from bargein.services.providers.nova import wire
from bargein.services.providers.nova.event_stream import decode
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, pipe

from .loudness_vad import LoudnessVad

__all__ = ["ScriptedNova", "rehearsal"]

Step = str | float | ToolCall
"""A part of a reply: words, a pause in seconds, or a call, whose answer the next reply is to."""
RATE = 24_000
KEPT = 4096


class ScriptedNova:
    """Gives its replies in order, over and over: one for each turn of the user's, and one when a call is answered.

    A reply is a string or a sequence of steps. Its words are announced, sound for `word_ms` each, and are told once
    more when they have been made, `pace` seconds apart, which is faster than they are spoken. The user's turn is what
    is loud, or what is written; it interrupts what is being made or heard. `hears` are the transcripts of what is said,
    in turn. Give `connect` to a `NovaSonic`, which must hear 16 kHz.
    """

    def __init__(
        self,
        *replies: str | Sequence[Step],
        hears: Sequence[str] = ("Hello?",),
        word_ms: int = 400,
        pace: float = 0.02,
    ) -> None:
        self.replies = replies or ("Hello.",)
        self.hears = tuple(hears)
        self.word_ms = word_ms
        self.pace = pace
        self.received: deque[tuple[str, dict[str, Any]]] = deque(maxlen=KEPT)
        """All events of the client's but the sound, over all connections."""
        self.connections = 0
        """How many there were."""
        self.replied, self.heard, self.called, self.blocks = count(), count(), count(1), count(1)

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """A connection, in place of one to Bedrock."""
        self.connections += 1
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(self._talk, ours)
            try:
                yield theirs
            finally:
                await theirs.close()
                group.cancel_scope.cancel()

    async def _talk(self, socket: Socket) -> None:
        async with anyio.create_task_group() as group:
            session = _Session(self, socket, group)
            with suppress(SocketClosedError):
                while True:
                    await session.hear(decode(bytes(await socket.receive())).payload)  # type: ignore[arg-type]
            group.cancel_scope.cancel()


@asynccontextmanager
async def rehearsal(
    *replies: str | Sequence[Step],
) -> AsyncIterator[Callable[[Endpoint], AbstractAsyncContextManager[Socket]]]:
    """What to `connect` with for these replies, in memory."""
    yield ScriptedNova(*replies).connect


class _Session:
    """One connection."""

    def __init__(self, server: ScriptedNova, socket: Socket, group: anyio.abc.TaskGroup) -> None:
        self._server = server
        self._socket = socket
        self._group = group
        self._ears = LoudnessVad()
        self._turn = anyio.CancelScope()
        self._plays_until = 0.0
        self._announced = False  # text whose sound has not all come
        self._making = False
        self._calls: set[str] = set()  # unanswered, of the latest turn
        self._called = False  # and some were answered
        self._live: set[str] = set()  # open blocks of text that are written now, and not history
        self._results: dict[str, str] = {}  # the calls that open blocks answer

    async def hear(self, payload: bytes) -> None:
        """Act on an event of the client's."""
        inner = base64.b64decode(msgspec.json.decode(payload)["bytes"])
        ((name, fields),) = msgspec.json.decode(inner)["event"].items()
        if name == "audioInput":
            await self._listen(base64.b64decode(fields["content"]))
            return
        self._server.received.append((name, fields))
        if name == "promptStart":
            await self._send("completionStart")
        elif name == "contentStart" and fields["type"] == "TEXT" and fields["interactive"]:
            self._live.add(fields["contentName"])
        elif name == "textInput" and fields["contentName"] in self._live:
            await self._interrupt()
            self._answer()
        elif name == "contentStart" and fields["type"] == "TOOL":
            self._results[fields["contentName"]] = fields["toolResultInputConfiguration"]["toolUseId"]
        elif name == "toolResult":
            self._answered(self._results.pop(fields["contentName"]))

    async def _listen(self, pcm: bytes) -> None:
        heard = self._ears.hear(pcm)
        if heard == "began":
            await self._interrupt()
        elif heard == "over":
            said = self._server.hears[next(self._server.heard) % len(self._server.hears)]
            await self._block("TEXT", "USER", "FINAL", said)
            await self._interrupt()  # what was answered while the user spoke
            self._answer()

    # What it says -------------------------------------------------------------------------------------------------

    async def _send(self, name: str, **fields: Any) -> None:
        with anyio.CancelScope(shield=True), suppress(SocketClosedError):  # whole, whoever interrupts
            await self._socket.send(wire.event(name, **fields))

    async def _begin(self, kind: str, role: str, stage: str = "") -> str:
        block = f"block-{next(self._server.blocks)}"
        more = {"additionalModelFields": json.dumps({"generationStage": stage})} if stage else {}
        await self._send("contentStart", contentId=block, type=kind, role=role, **more)
        return block

    async def _block(self, kind: str, role: str, stage: str, text: str, reason: str = "PARTIAL_TURN") -> None:
        block = await self._begin(kind, role, stage)
        await self._send("textOutput", contentId=block, role=role, content=text)
        await self._send("contentEnd", contentId=block, type=kind, stopReason=reason)

    async def _interrupt(self) -> None:
        """The user goes on: what is being made ends here."""
        self._turn.cancel()
        if self._announced or anyio.current_time() < self._plays_until:
            self._announced, self._plays_until = False, 0.0
            await self._block("TEXT", "ASSISTANT", "FINAL", '{ "interrupted" : true }', "INTERRUPTED")

    def _answered(self, call: str) -> None:
        if call in self._calls:
            self._calls.discard(call)
            self._called = True
            self._go_on()

    def _go_on(self) -> None:
        if self._called and not self._calls and not self._making:
            self._answer()

    def _answer(self) -> None:
        self._turn.cancel()
        self._calls.clear()
        self._called = False
        self._turn = anyio.CancelScope()
        self._group.start_soon(self._make, self._turn)

    async def _make(self, turn: anyio.CancelScope) -> None:
        reply = self._server.replies[next(self._server.replied) % len(self._server.replies)]
        with turn:
            self._making = True
            for step in (reply,) if isinstance(reply, str) else reply:
                await anyio.lowlevel.checkpoint()  # what is sent is sent whole; between the steps it can be stopped
                if isinstance(step, ToolCall):
                    await self._call(step)
                elif isinstance(step, str):
                    await self._say(step)
                else:
                    await anyio.sleep(step)
            self._making = False
            self._go_on()

    async def _call(self, call: ToolCall) -> None:
        block = await self._begin("TOOL", "TOOL")
        name = call.call_id or f"tool-{next(self._server.called)}"
        self._calls.add(name)
        await self._send("toolUse", contentId=block, toolName=call.name, toolUseId=name, content=call.arguments)
        await self._send("contentEnd", contentId=block, type="TOOL", stopReason="TOOL_USE")

    async def _say(self, text: str) -> None:
        self._announced = True
        await self._block("TEXT", "ASSISTANT", "SPECULATIVE", text)
        block = await self._begin("AUDIO", "ASSISTANT")
        samples = RATE * self._server.word_ms // 1000
        tone = (8000 * np.sin(2 * np.pi * 300 / RATE * np.arange(samples))).astype("<i2").tobytes()
        sound = base64.b64encode(tone).decode()
        for _ in text.split():
            await anyio.sleep(self._server.pace)
            now = anyio.current_time()
            self._plays_until = max(self._plays_until, now) + self._server.word_ms / 1000
            await self._send("audioOutput", contentId=block, content=sound)
        await self._send("contentEnd", contentId=block, type="AUDIO", stopReason="END_TURN")
        self._announced = False
        await self._block("TEXT", "ASSISTANT", "FINAL", text, "END_TURN")
        spent = {"speechTokens": 25 * len(text.split()) * self._server.word_ms // 1000}
        await self._send("usageEvent", details={"delta": {"output": spent}, "total": {"output": spent}})
