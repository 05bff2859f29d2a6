"""Nova Sonic in a test's hand: hears, reads, answers, is interrupted, and insists on the order of what it is told.

Written against the wire, with botocore's parser and nothing of the product's, so that the two do not agree by mistake.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any
from zlib import crc32

import anyio
import numpy as np
from botocore.eventstream import EventStreamBuffer, EventStreamMessage

from bargein.services.providers.nova import NovaSonic
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, pipe

RATE = 24_000
WORD_MS = 500
"""Each word of a reply sounds so long."""
QUIET_MS = 600
"""So much silence ends the user's turn."""
LIMIT_S = 480

Reply = str | tuple[str, str]
"""Words, or the name and the arguments of a tool."""


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """A message of the event stream, made by hand."""
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
        for name, value in headers.items()
    )
    prelude = (16 + len(head) + len(payload)).to_bytes(4, "big") + len(head).to_bytes(4, "big")
    prelude += crc32(prelude).to_bytes(4, "big")
    body = prelude + head + payload
    return body + crc32(body).to_bytes(4, "big")


def chunk(name: str, **fields: Any) -> bytes:
    """An event of the service's."""
    inner = base64.b64encode(json.dumps({"event": {name: fields}}).encode()).decode()
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps({"bytes": inner, "p": "abcdefgh"}).encode())


def exception(kind: str, text: str) -> bytes:
    """A failure of the service's."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps({"message": text}).encode())


def parsed(data: bytes | str) -> EventStreamMessage:
    """One message of the client's, read by botocore."""
    assert isinstance(data, bytes)
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    (found,) = list(buffer)
    return found


def event_of(found: EventStreamMessage) -> tuple[str, dict[str, Any]]:
    """The event in a message of the client's."""
    assert found.headers == {
        ":message-type": "event",
        ":event-type": "chunk",
        ":content-type": "application/json",
    }
    ((name, fields),) = json.loads(base64.b64decode(json.loads(found.payload)["bytes"]))["event"].items()
    return name, fields


class OrderError(Exception):
    """The client told something out of its order: what the service would say."""


class Turn:
    """A turn of the agent's, as the peer made it."""

    def __init__(self, number: int, words: list[str], connection: int) -> None:
        self.number = number
        self.words = words
        self.connection = connection
        self.sent = 0
        self.interrupted = False
        self.interrupted_at = math.inf
        self.made = False  # all of its sound has been sent
        self.over = False


class Session:
    """One connection: what was told, and what the model does about it."""

    def __init__(self, peer: Peer, send: Callable[[bytes], Any], number: int) -> None:
        self.peer = peer
        self.number = number
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.turn: Turn | None = None
        self.ended = False
        self._send_bytes = send
        self._state = "new"
        self._names: dict[str, dict[str, Any]] = {}  # open blocks
        self._used: set[str] = set()
        self._roles: list[str] = []
        self._loud = False
        self._quiet_ms = 0.0
        self._blocks = 0
        self._group: anyio.abc.TaskGroup | None = None
        self.lock = anyio.Lock()

    async def send(self, name: str, **fields: Any) -> None:
        ids = {"sessionId": f"s{self.number}", "promptName": "p", "completionId": f"k{self.number}"}
        await self.raw(chunk(name, **ids, **fields))

    async def raw(self, data: bytes) -> None:
        with suppress(SocketClosedError):
            await self._send_bytes(data)

    # What it is told ----------------------------------------------------------------------------------------------

    def check(self, name: str, fields: dict[str, Any]) -> None:
        """The order that the service insists on. Raises `OrderError`."""
        self.events.append((name, fields))
        if name == "sessionStart":
            self._step("new", "session", name)
        elif name == "promptStart":
            self._step("session", "prompt", name)
            assert fields["audioOutputConfiguration"]["sampleRateHertz"] == RATE
            assert fields["textOutputConfiguration"] == {"mediaType": "text/plain"}
        elif name == "promptEnd":
            if self._names:
                raise OrderError("promptEnd while a block is open")
            self._step("prompt", "over", name)
        elif name == "sessionEnd":
            self._step("over", "ended", name)
            self.ended = True
        else:
            self._block(name, fields)

    def _step(self, before: str, after: str, name: str) -> None:
        if self._state != before:
            raise OrderError(f"{name} when it is {self._state}")
        self._state = after

    def _block(self, name: str, fields: dict[str, Any]) -> None:
        block = fields["contentName"]
        if self._state != "prompt":
            raise OrderError(f"{name} when it is {self._state}")
        if name == "contentStart":
            if block in self._used:
                raise OrderError(f"the block {block} twice")
            self._used.add(block)
            self._begins(fields)
            self._names[block] = fields
            return
        if block not in self._names:
            raise OrderError(f"{name} of no open block")
        kind = self._names[block]["type"]
        wants = {"textInput": "TEXT", "audioInput": "AUDIO", "toolResult": "TOOL"}.get(name, kind)
        if wants != kind:
            raise OrderError(f"{name} in a block of {kind}")
        if name == "contentEnd":
            del self._names[block]

    def _begins(self, fields: dict[str, Any]) -> None:
        kind, role = fields["type"], fields["role"]
        listens = any(each["type"] == "AUDIO" for each in self._names.values())
        if kind == "AUDIO":
            if listens or not self._roles:
                raise OrderError("sound before the instructions, or twice")
            assert fields["interactive"] is True
            assert fields["audioInputConfiguration"]["sampleSizeBits"] == 16
        elif kind == "TOOL":
            assert fields["toolResultInputConfiguration"]["toolUseId"]
        elif fields["interactive"]:
            if not self.peer.reads or not listens:
                raise OrderError("text may not be written now")
        else:
            if listens:
                raise OrderError("chat history must come before audio input")
            if not self._roles and role != "SYSTEM":
                raise OrderError("there must be instructions first")
            if self._roles and role != ("USER" if self._roles[-1] in ("SYSTEM", "ASSISTANT") else "ASSISTANT"):
                raise OrderError(f"history: {role} after {self._roles[-1]}")
            self._roles.append(role)

    async def hear(self, name: str, fields: dict[str, Any]) -> None:
        """Act on an event, when its order has been found good."""
        if name == "audioInput":
            await self._sound(np.frombuffer(base64.b64decode(fields["content"]), "<i2"))
        elif name == "textInput" and self._names[fields["contentName"]]["interactive"]:
            self.peer.heard.append(fields["content"])
            await self.barge_in()
            self.answer()
        elif name == "toolResult":
            self.peer.results.append(fields["content"])
            self.answer()

    async def _sound(self, samples: np.ndarray[Any, Any]) -> None:
        self.peer.heard_ms += (ms := 1000 * len(samples) / self.peer.input_rate)
        if len(samples) and float(np.abs(samples.astype(float)).mean()) > 200:
            if not self._loud:
                await self.barge_in()
            self._loud, self._quiet_ms = True, 0.0
            return
        self._quiet_ms += ms
        if self._loud and self._quiet_ms >= QUIET_MS:
            self._loud = False
            await self.user(self.peer.hears)
            self.answer()

    # What it says -------------------------------------------------------------------------------------------------

    async def begin(self, kind: str, role: str, stage: str | None = None, **more: Any) -> str:
        self._blocks += 1
        block = f"c{self.number}-{self._blocks}"
        if stage:
            more["additionalModelFields"] = json.dumps({"generationStage": stage})
        await self.send("contentStart", contentId=block, type=kind, role=role, **more)
        return block

    async def text(self, role: str, stage: str, words: str, stop: str = "PARTIAL_TURN") -> None:
        block = await self.begin("TEXT", role, stage)
        await self.send("textOutput", contentId=block, role=role, content=words)
        await self.send("contentEnd", contentId=block, type="TEXT", stopReason=stop)

    async def user(self, words: str) -> None:
        """What the user said."""
        await self.text("USER", "FINAL", words)

    async def barge_in(self) -> None:
        """The user speaks while the agent does, or while it may still be heard."""
        turn = self.turn
        if turn is None or turn.interrupted or not turn.sent:
            return
        turn.interrupted, turn.interrupted_at = True, anyio.current_time()
        async with self.lock:
            await self.text("ASSISTANT", "FINAL", '{ "interrupted" : true }', "INTERRUPTED")

    def answer(self) -> None:
        """Say what comes next."""
        if self._group is not None:
            self._group.start_soon(self._answer)

    async def _answer(self) -> None:
        while self.turn is not None and not self.turn.over:  # noqa: ASYNC110 - in virtual time
            await anyio.sleep(0.01)
        reply = self.peer.next_reply()
        if reply is None:
            return
        if isinstance(reply, tuple):
            self.peer.calls += 1
            block = await self.begin("TOOL", "TOOL")
            call = f"tu-{self.peer.calls}"
            await self.send("toolUse", contentId=block, toolName=reply[0], toolUseId=call, content=reply[1])
            await self.send("contentEnd", contentId=block, type="TOOL", stopReason="TOOL_USE")
            return
        turn = self.turn = Turn(len(self.peer.turns), reply.split(), self.number)
        self.peer.turns.append(turn)
        await self._speak(turn)
        turn.over = True

    async def _speak(self, turn: Turn) -> None:
        peer = self.peer
        await peer.pause()
        await self.text("ASSISTANT", "SPECULATIVE", " ".join(turn.words))
        form = {"mediaType": "audio/lpcm", "sampleRateHertz": RATE}
        block = await self.begin("AUDIO", "ASSISTANT", audioOutputConfiguration=form)
        late = peer.random.randint(0, 3) if peer.stragglers else 0
        for _ in turn.words:
            await peer.pause()
            if turn.interrupted:
                if not late:
                    break
                late -= 1
            sound = np.full(RATE * WORD_MS // 1000, turn.number + 1, "<i2").tobytes()
            turn.sent += 1
            cut = peer.random.randint(0, len(sound))
            for part in (sound[:cut], sound[cut:]):
                if part:
                    await self.send("audioOutput", contentId=block, content=base64.b64encode(part).decode())
        async with self.lock:
            await self.send("contentEnd", contentId=block, type="AUDIO", stopReason="END_TURN")
            turn.made = not turn.interrupted
            if not turn.interrupted and peer.tells_finals:
                await self.text("ASSISTANT", "FINAL", " ".join(turn.words), "END_TURN")
        spent = {"input": {"speechTokens": 10, "textTokens": 1}, "output": {"speechTokens": 20, "textTokens": 2}}
        await self.send("usageEvent", details={"delta": spent, "total": spent}, totalTokens=33)

    async def run(self, receive: Callable[[], Any], close: Callable[[], Any]) -> None:
        """Listen, until the client or the service ends it."""
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._limit, close)
            with suppress(SocketClosedError):
                while not self.ended and (found := await receive()) is not None:
                    if not await self._event(*event_of(found)):
                        break
            self._group = None
            group.cancel_scope.cancel()
        if self.ended:
            await self.send("completionEnd", stopReason="END_TURN")
        await close()

    async def _event(self, name: str, fields: dict[str, Any]) -> bool:
        """Take an event; says whether the session continues."""
        try:
            self.check(name, fields)
        except OrderError as error:
            self.peer.faults.append(str(error))
            await self.raw(exception("validationException", str(error)))
            return False
        if name == "promptStart" and self.peer.throws:
            await self.raw(exception(*self.peer.throws.pop(0)))
            return False
        if name == "promptStart":
            await self.send("completionStart")
        await self.hear(name, fields)
        return True

    async def _limit(self, close: Callable[[], Any]) -> None:
        await anyio.sleep(LIMIT_S)
        self.peer.limits += 1
        await self.raw(exception("modelTimeoutException", "the session has lasted too long"))
        await close()


class Peer:
    """The service. `connect` is what a model is given in place of Bedrock."""

    def __init__(
        self, *replies: Reply, seed: int = 0, pace: float = 0.02, reads: bool = True, input_rate: int = 16_000
    ) -> None:
        self.random = Random(seed)
        self.replies = list(replies)
        self.pace = pace
        self.reads = reads
        self.input_rate = input_rate
        self.hears = "What is the weather in Paris?"
        self.tells_finals = True
        self.stragglers = False
        self.sessions: list[Session] = []
        self.turns: list[Turn] = []
        self.heard: list[str] = []
        """What the user wrote."""
        self.results: list[str] = []
        """What tools answered."""
        self.heard_ms = 0.0
        self.faults: list[str] = []
        """What was told out of its order."""
        self.broken_at: list[float] = []
        """When connections broke."""
        self.calls = 0
        self.limits = 0
        self.throws: list[tuple[str, str]] = []
        """With what failures the next sessions begin, and end."""
        self.refuse: list[SocketRefusedError] = []
        self.endpoints: list[Endpoint] = []
        self._socket: Socket | None = None

    def model(self, model: str = "amazon.nova-2-5-sonic", **options: Any) -> NovaSonic:
        """A model that talks to this peer."""
        return NovaSonic(model, connect=self.connect, **options)

    def next_reply(self) -> Reply | None:
        """The script's next; where there is none, some words."""
        if self.replies:
            return self.replies.pop(0)
        words = self.random.randint(3, 12)
        letters = "abcdefghijklmnopqrstuvwxyz"
        return " ".join(f"{letters[len(self.turns) % 26]}word{letters[at]}{letters[at]}" for at in range(words))

    async def pause(self) -> None:
        await anyio.sleep(self.random.choice((0.0, 0.0, self.pace)))

    @property
    def session(self) -> Session:
        """The latest."""
        return self.sessions[-1]

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """What the client's driver calls."""
        self.endpoints.append(endpoint)
        if self.refuse:
            raise self.refuse.pop(0)
        ours, theirs = pipe()
        self._socket = ours
        session = Session(self, ours.send, len(self.sessions) + 1)
        self.sessions.append(session)

        async def receive() -> EventStreamMessage:
            return parsed(await ours.receive())

        async def serve() -> None:
            with anyio.CancelScope(shield=True):  # a service knows nothing of who gives up on the other side
                await session.run(receive, ours.close)

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            try:
                yield theirs
            finally:
                await theirs.close()

    async def close(self, code: int = 1006) -> None:
        """The connection breaks: what was being made is lost."""
        self.broken_at.append(anyio.current_time())
        if self._socket is not None:
            await self._socket.close(code, "gone")
        for turn in self.turns:
            turn.over = True
