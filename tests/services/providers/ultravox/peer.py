"""A server of Ultravox's calls in a test's hand, with chance: by hand against the wire, not with the product's own."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import anyio
import numpy as np

from bargein.services.providers.ultravox import Ultravox
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, pipe

RATE = 24_000
WORD_MS = 500
"""Each word sounds so long: about what seven letters take."""


class Turn:
    """A turn of the agent's, as it was made."""

    def __init__(self, number: int, words: int) -> None:
        self.number = number
        first = chr(ord("a") + number % 26)
        self.words = [f"{first}word{chr(ord('a') + at % 26) * 2}" for at in range(words)]
        self.interrupted = False
        self.scope = anyio.CancelScope()


class UltravoxPeer:
    """Each turn has 3 to 12 words, whose samples are its number and one."""

    def __init__(self, seed: int = 0, *, pace: float = 0.02, words: tuple[int, int] = (3, 12)) -> None:
        self.random = Random(seed)
        self.pace = pace
        self.words = words
        self.turns: list[Turn] = []
        self.calls: list[dict[str, Any]] = []
        """What calls were made with."""
        self.received: list[dict[str, Any]] = []
        """What the client said, but for sound."""
        self.heard = 0
        """Bytes of its sound."""
        self.turn: Turn | None = None
        """The one that is being made, or presumed to be heard."""
        self.waits = 0
        """Texts that are answered after it."""
        self._out: deque[str | bytes] = deque()
        self._socket: Socket | None = None
        self._group: anyio.abc.TaskGroup | None = None

    def model(self, **options: Any) -> Ultravox:
        """A model that talks to this peer."""
        return Ultravox(create_call=self.join, connect=self.connect, **options)

    async def join(self, told: dict[str, Any]) -> str:
        """Make a call."""
        self.calls.append(told)
        return f"wss://call-{len(self.calls)}.invalid/"

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """What the client's driver calls."""
        assert endpoint.url == f"wss://call-{len(self.calls)}.invalid/"
        assert not endpoint.headers, "the key is not for the socket"
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            self._socket, self._group, self.turn, self.waits = ours, group, None, 0
            self._out.clear()
            self._more = anyio.Event()
            group.start_soon(self._write, ours)
            group.start_soon(self._serve, ours)
            try:
                yield theirs
            finally:
                await theirs.close()
                group.cancel_scope.cancel()

    def say(self, kind: str, **fields: Any) -> None:
        """Send a message, behind all that was sent before."""
        self.send(json.dumps({"type": kind, **fields}))

    def send(self, data: str | bytes) -> None:
        """Send anything."""
        self._out.append(data)
        self._more.set()

    async def _write(self, socket: Socket) -> None:
        with suppress(SocketClosedError):
            while True:
                while self._out:
                    await socket.send(self._out.popleft())
                self._more = anyio.Event()
                await self._more.wait()

    async def close(self, code: int = 1006) -> None:
        """The connection breaks."""
        socket, self._socket = self._socket, None
        if self.turn is not None:
            self.turn.interrupted = True
            self.turn.scope.cancel()
        if socket is not None:
            await socket.close(code, "gone")

    def interrupt(self, times: int = 1) -> None:
        """The user is heard to interrupt, or says so. What is to be answered is answered afterwards."""
        turn = self.turn
        if turn is None or turn.interrupted:
            return
        turn.interrupted = True
        turn.scope.cancel()
        for _ in range(times):
            self.say("playback_clear_buffer")
        self.say("state", state="listening")
        self._next()

    def _next(self) -> None:
        self.turn = None
        if self.waits:
            self.waits = 0
            self.answer()

    async def _serve(self, socket: Socket) -> None:
        self.say("call_started", callId=f"call-{len(self.calls)}")
        try:
            while True:
                data = await socket.receive()
                if isinstance(data, bytes):
                    self.heard += len(data)
                    continue
                message = json.loads(data)
                self.received.append(message)
                if message["type"] == "user_text_message" and not message["deferResponse"]:
                    self.answer()
                elif message["type"] == "user_text_message" and not message["text"]:
                    assert message["urgency"] == "immediate"
                    await self._pause()
                    self.interrupt()
        except SocketClosedError:
            pass

    def answer(self) -> None:
        """Begin a turn, or another one after this one."""
        if self.turn is not None:
            self.waits = 1
        elif self._group is not None:
            self.turn = Turn(len(self.turns), self.random.randint(*self.words))
            self.turns.append(self.turn)
            self._group.start_soon(self._make, self.turn)

    async def _pause(self) -> None:
        await anyio.sleep(self.random.choice((0.0, 0.0, self.pace)))

    def _of(self, turn: Turn, what: str | bytes, **fields: Any) -> None:
        """Send something of a turn's, unless it was interrupted: its task may learn of that a moment later."""
        if not turn.interrupted:
            self.send(what) if isinstance(what, bytes) else self.say(what, **fields)

    async def _make(self, turn: Turn) -> None:
        with turn.scope:
            self._of(turn, "state", state="thinking")
            await self._pause()
            self._of(turn, "state", state="speaking")
            began = anyio.current_time()
            for at, word in enumerate(turn.words):
                await self._pause()
                delta = word if not at else f" {word}"
                self._of(
                    turn, "transcript", role="agent", medium="voice", delta=delta, final=False, ordinal=turn.number
                )
                sound = np.full(RATE * WORD_MS // 1000, turn.number + 1, "<i2").tobytes()
                cut = self.random.randint(1, len(sound) - 1)
                self._of(turn, sound[:cut])
                self._of(turn, sound[cut:])
            text = " ".join(turn.words)
            self._of(turn, "transcript", role="agent", medium="voice", text=text, final=True, ordinal=turn.number)
            if self.random.random() < 0.5:  # it may say so when it has been heard, or when it has been sent
                await anyio.sleep(max(0.0, began + len(turn.words) * WORD_MS / 1000 - anyio.current_time()))
            self._of(turn, "state", state="listening")
        if not turn.interrupted:
            self._next()
