"""A scripted server of Nova Sonic's streams, in memory: for tests and demonstrations without a network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import anyio
import msgspec

from bargein.pipeline import ToolCall
from bargein.pipeline.lowlevel import check_options
from bargein.services.providers.nova import wire
from bargein.services.providers.nova.event_stream import decode
from bargein.services.sockets import Socket, SocketClosedError

from ._scripted_server import RATE, ScriptedServer, Step, tone
from .loudness_vad import LoudnessVad

__all__ = ["ScriptedNova"]


class ScriptedNova(ScriptedServer):
    """A server that sends its replies in order, repeated from the first after the last.

    It sends one reply for each turn of the user, and one when tool calls are answered. The words of a reply are sent
    first as preliminary text, then as audio, and as final text when all audio is sent. A turn of the user is loud audio
    or typed text; it interrupts a reply that is being sent or played.

    Pass `connect` to a `NovaSonic` with `input_rate=16_000`.

    Args:
        *replies: Each a string, or a sequence of words, pauses in seconds and tool calls.
        hears: The transcripts of the user's spoken turns, in order, repeated.
        word_ms: Length of each word's audio, in milliseconds.
        pace_seconds: Time between sending two words, in seconds. It is shorter than a word, as with the real service.
    """

    @check_options
    def __init__(
        self,
        *replies: str | Sequence[Step],
        hears: Sequence[str] = ("Hello?",),
        word_ms: int = 400,
        pace_seconds: float = 0.02,
    ) -> None:
        super().__init__(*replies, hears=hears, word_ms=word_ms, pace_seconds=pace_seconds)
        self.block_numbers = count(1)

    async def serve_socket(self, socket: Socket) -> None:
        """Serve one connection until it ends. `received` keeps all events except audio, each with its name.

        Args:
            socket: The server's end of the connection.
        """
        self.connections += 1
        async with anyio.create_task_group() as group:
            session = _Session(self, socket, group)
            with suppress(SocketClosedError):
                while True:
                    data = await socket.receive()
                    assert isinstance(data, bytes)
                    await session.on_event(decode(data).payload)
            group.cancel_scope.cancel()


class _Session:
    """One connection."""

    def __init__(self, server: ScriptedNova, socket: Socket, group: anyio.abc.TaskGroup) -> None:
        self._server = server
        self._socket = socket
        self._group = group
        self._vad = LoudnessVad()
        self._reply_scope = anyio.CancelScope()
        self._plays_until = 0.0
        self._announced = False  # text whose audio is not all sent
        self._replying = False
        self._calls: set[str] = set()  # of the latest reply, unanswered
        self._has_results = False  # some calls of the latest reply are answered
        self._typed_blocks: set[str] = set()  # open blocks of typed text, which is not history
        self._results: dict[str, str] = {}  # the calls that open blocks answer

    async def on_event(self, payload: bytes) -> None:
        """Act on an event of the client."""
        inner = base64.b64decode(msgspec.json.decode(payload)["bytes"])
        ((name, fields),) = msgspec.json.decode(inner)["event"].items()
        if name == "audioInput":
            await self._on_audio(base64.b64decode(fields["content"]))
            return
        self._server.received.append((name, fields))
        if name == "promptStart":
            await self._send("completionStart")
        elif name == "contentStart" and fields["type"] == "TEXT" and fields["interactive"]:
            self._typed_blocks.add(fields["contentName"])
        elif name == "textInput" and fields["contentName"] in self._typed_blocks:
            await self._interrupt()
            self._begin_reply()
        elif name == "contentStart" and fields["type"] == "TOOL":
            self._results[fields["contentName"]] = fields["toolResultInputConfiguration"]["toolUseId"]
        elif name == "toolResult":
            self._on_result(self._results.pop(fields["contentName"]))

    async def _on_audio(self, pcm: bytes) -> None:
        change = self._vad.process(pcm)
        if change == "started":
            await self._interrupt()
        elif change == "stopped":
            await self._send_text("USER", "FINAL", self._server.next_transcript())
            await self._interrupt()  # a reply that began while the user spoke
            self._begin_reply()

    # Events of the server -----------------------------------------------------------------------------------------

    async def _send(self, name: str, **fields: Any) -> None:
        with anyio.CancelScope(shield=True), suppress(SocketClosedError):  # an interrupt must not cut a message in two
            await self._socket.send(wire.encode_event(name, **fields))

    async def _begin_block(self, kind: str, role: str, stage: str = "") -> str:
        block = f"block-{next(self._server.block_numbers)}"
        more = {"additionalModelFields": json.dumps({"generationStage": stage})} if stage else {}
        await self._send("contentStart", contentId=block, type=kind, role=role, **more)
        return block

    async def _send_text(self, role: str, stage: str, text: str, reason: str = "PARTIAL_TURN") -> None:
        block = await self._begin_block("TEXT", role, stage)
        await self._send("textOutput", contentId=block, role=role, content=text)
        await self._send("contentEnd", contentId=block, type="TEXT", stopReason=reason)

    async def _interrupt(self) -> None:
        """Stop the reply that is being sent or played."""
        self._reply_scope.cancel()
        if self._announced or anyio.current_time() < self._plays_until:
            self._announced, self._plays_until = False, 0.0
            await self._send_text("ASSISTANT", "FINAL", '{ "interrupted" : true }', "INTERRUPTED")

    def _on_result(self, call_id: str) -> None:
        if call_id in self._calls:
            self._calls.discard(call_id)
            self._has_results = True
            self._reply_to_results()

    def _reply_to_results(self) -> None:
        if self._has_results and not self._calls and not self._replying:
            self._begin_reply()

    def _begin_reply(self) -> None:
        self._reply_scope.cancel()
        self._calls.clear()
        self._has_results = False
        self._reply_scope = anyio.CancelScope()
        self._group.start_soon(self._reply, self._reply_scope)

    async def _reply(self, scope: anyio.CancelScope) -> None:
        reply = self._server.next_reply()
        with scope:
            self._replying = True
            for step in (reply,) if isinstance(reply, str) else reply:
                await anyio.lowlevel.checkpoint()  # messages are sent whole; a reply can be stopped between its steps
                if isinstance(step, ToolCall):
                    await self._call_tool(step)
                elif isinstance(step, str):
                    await self._speak(step)
                else:
                    await anyio.sleep(step)
            self._replying = False
            self._reply_to_results()

    async def _call_tool(self, call: ToolCall) -> None:
        block = await self._begin_block("TOOL", "TOOL")
        call_id = call.call_id or f"tool-{next(self._server.call_numbers)}"
        self._calls.add(call_id)
        await self._send("toolUse", contentId=block, toolName=call.name, toolUseId=call_id, content=call.arguments)
        await self._send("contentEnd", contentId=block, type="TOOL", stopReason="TOOL_USE")

    async def _speak(self, text: str) -> None:
        self._announced = True
        await self._send_text("ASSISTANT", "SPECULATIVE", text)
        block = await self._begin_block("AUDIO", "ASSISTANT")
        samples = RATE * self._server.word_ms // 1000
        content = base64.b64encode(tone(300, samples).astype("<i2").tobytes()).decode()
        for _ in text.split():
            await anyio.sleep(self._server.pace_seconds)
            now = anyio.current_time()
            self._plays_until = max(self._plays_until, now) + self._server.word_ms / 1000
            await self._send("audioOutput", contentId=block, content=content)
        await self._send("contentEnd", contentId=block, type="AUDIO", stopReason="END_TURN")
        self._announced = False
        await self._send_text("ASSISTANT", "FINAL", text, "END_TURN")
        tokens = {"speechTokens": 25 * len(text.split()) * self._server.word_ms // 1000}
        await self._send("usageEvent", details={"delta": {"output": tokens}, "total": {"output": tokens}})
