"""A server of Gemini's live interface that plays its part: for tests and demonstrations, without key or network."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from http import HTTPStatus
from itertools import count
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import ToolCall
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, listen, pipe

from .loudness_vad import LoudnessVad

__all__ = ["ScriptedGemini", "ScriptedTurn", "rehearsal"]

Step = str | float | ToolCall
"""A part of a reply: words, a pause in seconds, or a call, whose answer the next reply is to."""
RATE = 24_000
KEPT = 4096
NO_SOUND_WITH_CALLS = "gemini-3"
"""Such models close the connection for sound that comes while a call must be answered."""


class ScriptedTurn:
    """A turn of the model's, as it was made."""

    def __init__(self, number: int) -> None:
        self.number = number
        """From 0."""
        self.words: list[str] = []
        """What has been sent of it."""
        self.done = False
        """Its boundary has been sent."""
        self.interrupted = False
        """It was, by the user."""
        self.scope = anyio.CancelScope()
        self.plays_until = 0.0


class ScriptedGemini:
    """Gives its replies in order, over and over: one for each turn of the user's, and one when calls are answered.

    A reply is a string or a sequence of steps. Each word has its text and `word_ms` of sound, or text alone where the
    setup asks for text. They are made `pace` seconds apart, which is faster than they are spoken; `turnComplete`
    comes when they would have been heard. `hears` are the transcripts of what is spoken, in turn.

    Give `connect` to a `GeminiLive` for a connection in memory, or its `url` to one for a real WebSocket::

        async with ScriptedGemini("Hello.").serve() as url:
            model = GeminiLive(api_key="any", url=url)
    """

    def __init__(
        self,
        *replies: str | Sequence[Step],
        hears: Sequence[str] = (),
        word_ms: int = 400,
        pace: float = 0.02,
    ) -> None:
        self.replies = replies or ("Hello.",)
        self.hears = tuple(hears)
        self.word_ms = word_ms
        self.pace = pace
        self.resumes = True
        """Handles are good; where not, a session that asks for one is closed."""
        self.refuse: deque[SocketRefusedError] = deque()
        """What the next connections in memory meet."""
        self.received: deque[dict[str, Any]] = deque(maxlen=KEPT)
        """All messages of the client's, over all connections."""
        self.endpoints: list[Endpoint] = []
        """Where connections in memory were made to."""
        self.turns: list[ScriptedTurn] = []
        """All turns of the model's."""
        self.connections = 0
        """How many there were."""
        self.open = 0
        """How many there are."""
        self.session: GeminiPeerSession | None = None
        """The newest."""
        self.handles: set[str] = set()
        self._replied = count()
        self.heard, self.called, self.kept = count(), count(1), count(1)

    def reply(self, turn: int) -> str | Sequence[Step]:
        """What is said, or called, next in a turn."""
        return self.replies[next(self._replied) % len(self.replies)]

    def sound(self, turn: int, samples: int) -> npt.NDArray[np.int16]:
        """So many samples of the voice at 24 kHz: a tone, another one for each turn."""
        pitch = 200 * 2 ** (turn % 12 / 12)
        tone: npt.NDArray[np.int16] = (8000 * np.sin(2 * np.pi * pitch / RATE * np.arange(samples))).astype(np.int16)
        return tone

    async def rest(self) -> None:
        """The time between two words."""
        await anyio.sleep(self.pace)

    def sent(self, *keys: str) -> list[Any]:
        """What the client sent under these keys, such as `"realtime_input", "text"`."""
        found: list[Any] = list(self.received)
        for key in keys:
            found = [each[key] for each in found if isinstance(each, dict) and key in each]
        return found

    # Connections --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """A connection in memory, in place of `dial`."""
        self.endpoints.append(endpoint)
        if self.refuse:
            raise self.refuse.popleft()
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(self.talk, ours)
            try:
                yield theirs
            finally:
                await theirs.close()
                group.cancel_scope.cancel()

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """A WebSocket server while the block runs; gives its URL. Whoever has no key and no token is refused."""

        def admit(connection: Any, request: Any) -> Any:
            if "x-goog-api-key" in request.headers or "Authorization" in request.headers:
                return None
            return connection.respond(HTTPStatus.FORBIDDEN, "Method doesn't allow unregistered callers.\n")

        async def handle(socket: Socket, request: Any) -> None:
            await self.talk(socket)

        async with listen(handle, host=host, port=port, process_request=admit) as chosen:
            yield f"ws://{host}:{chosen}/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"

    async def talk(self, socket: Socket) -> None:
        """Serve one connection until it ends."""
        self.connections += 1
        self.open += 1
        try:
            with suppress(SocketClosedError):
                async with anyio.create_task_group() as group:
                    self.session = GeminiPeerSession(self, socket, group)
                    try:
                        await self.session.run()
                    except SocketClosedError:
                        group.cancel_scope.cancel()
        finally:
            self.open -= 1

    # On demand ----------------------------------------------------------------------------------------------------

    async def send(self, message: dict[str, Any] | bytes | str) -> None:
        """Send a message, or anything else that is none."""
        if self.session is not None:
            await self.session.send(message)

    async def close(self, code: int = 1011, reason: str = "") -> None:
        """Close the connection."""
        if self.session is not None:
            await self.session.socket.close(code, reason)

    async def go_away(self, seconds: float) -> None:
        """Say that the connection will be closed."""
        await self.send({"goAway": {"timeLeft": f"{seconds:g}s"}})


@asynccontextmanager
async def rehearsal(
    *replies: str | Sequence[Step],
) -> AsyncIterator[Callable[[Endpoint], AbstractAsyncContextManager[Socket]]]:
    """What to `connect` with for these replies, in memory."""
    yield ScriptedGemini(*replies).connect


class GeminiPeerSession:
    """One connection."""

    def __init__(self, server: ScriptedGemini, socket: Socket, group: anyio.abc.TaskGroup) -> None:
        self.server = server
        self.socket = socket
        self.setup: dict[str, Any] = {}
        """As the client asked for it."""
        self.turn: ScriptedTurn | None = None
        """The one that is being made, or presumed to play."""
        self._group = group
        self._sending = anyio.Lock()
        self._ears = LoudnessVad()
        self._calls: dict[str, anyio.Event] = {}
        self._after = 0  # answers of background tools that are spoken of after this turn

    async def send(self, message: dict[str, Any] | bytes | str, turn: ScriptedTurn | None = None) -> None:
        """Send a message as the service does: JSON in a binary frame. What is of a turn comes before its boundary."""
        data = json.dumps(message).encode() if isinstance(message, dict) else message
        with anyio.CancelScope(shield=True), suppress(SocketClosedError):  # whole, whoever interrupts
            async with self._sending:
                if turn is None or not turn.done:
                    await self.socket.send(data)

    async def run(self) -> None:
        """Set up, and listen until the connection ends."""
        first = json.loads(await self.socket.receive())
        self.server.received.append(first)
        if (wrong := self._wrong(first)) is not None:
            await self.socket.close(1007, wrong)
            return
        self.setup = first["setup"]
        await self.send({"setupComplete": {}})
        await self._keep()
        while True:
            message = json.loads(await self.socket.receive())
            self.server.received.append(message)
            await self._hear(message)

    def _wrong(self, first: Any) -> str | None:
        """What is wrong with the setup."""
        setup = first.get("setup") if isinstance(first, dict) else None
        if not isinstance(setup, dict):
            return "setup must be the first message and only the first"
        if not setup.get("model"):
            return "setup.model is missing"
        if setup.get("generationConfig", {}).get("responseModalities") not in (["AUDIO"], ["TEXT"]):
            return "exactly one response modality is expected"
        handle = setup.get("sessionResumption", {}).get("handle")
        if handle and (not self.server.resumes or handle not in self.server.handles):
            return "the session is not found"
        if handle and self.server.open > 1:
            return "the session has another connection"
        return None

    async def _hear(self, message: dict[str, Any]) -> None:
        if content := message.get("client_content"):
            if content.get("turnComplete"):
                await self.interrupt()
                self._answer()
        elif live := message.get("realtime_input"):
            if self._calls and NO_SOUND_WITH_CALLS in self.setup["model"]:
                await self.socket.close(1008, "realtime input while a call is unanswered")
                return
            await self._live(live)
        elif answer := message.get("tool_response"):
            for each in answer["functionResponses"]:
                await self._result(each)

    async def _live(self, live: dict[str, Any]) -> None:
        if "audio" in live:
            heard = self._ears.hear(base64.b64decode(live["audio"]["data"]))
            if not self._manual and heard == "began" and self._interrupts:
                await self.interrupt()
            elif not self._manual and heard == "over":
                await self._spoken()
        elif "text" in live:
            await self.interrupt()
            self._answer()
        elif live.get("audioStreamEnd") and not self._manual:
            if self._ears.stop():
                await self._spoken()
        elif "activityStart" in live and self._manual:
            await self.interrupt()
        elif "activityEnd" in live and self._manual:
            await self._spoken()

    async def _spoken(self) -> None:
        """The user has spoken: what was said, and the answer."""
        if "inputAudioTranscription" in self.setup and self.server.hears:
            words = self.server.hears[next(self.server.heard) % len(self.server.hears)].split(" ")
            for at, word in enumerate(words):
                text = word if not at else f" {word}"
                await self.send({"serverContent": {"inputTranscription": {"text": text}}})
        if self.turn is not None and not self._interrupts:
            self._after += 1
            return
        await self.interrupt()  # what was answered while the user spoke
        self._answer()

    async def _result(self, answer: dict[str, Any]) -> None:
        called = self._calls.pop(answer.get("id", ""), None)
        if called is not None:
            called.set()
            return
        when = answer.get("scheduling", "WHEN_IDLE")
        if when == "INTERRUPT":
            await self.interrupt()
        if when != "SILENT":
            if self.turn is None:
                self._answer()
            else:
                self._after += 1

    # Turns of the model's -----------------------------------------------------------------------------------------

    def _answer(self) -> None:
        self.turn = ScriptedTurn(len(self.server.turns))
        self.server.turns.append(self.turn)
        self._group.start_soon(self._make, self.turn)

    async def interrupt(self) -> None:
        """The user has interrupted: what is being made, or plays, ends here."""
        turn, self.turn = self.turn, None
        if turn is None:
            return
        turn.scope.cancel()
        turn.interrupted = turn.done = True
        calls, self._calls = list(self._calls), {}
        if calls:
            await self.send({"toolCallCancellation": {"ids": calls}})
        await self.send({"serverContent": {"interrupted": True}})
        await self._complete(turn)

    async def _make(self, turn: ScriptedTurn) -> None:
        with turn.scope:
            await self._speak(turn)
            await self.send({"serverContent": {"generationComplete": True}}, turn)
            await anyio.sleep(max(0.0, turn.plays_until - anyio.current_time()))
            turn.done = True
            self.turn = None
            await self._complete(turn)
            await self._keep()
            if self._after:
                self._after = 0
                self._answer()

    async def _complete(self, turn: ScriptedTurn) -> None:
        spoken = 25 * len(turn.words) * self.server.word_ms // 1000
        details = [{"modality": "AUDIO", "tokenCount": spoken}]
        usage = {"promptTokenCount": 40, "responseTokenCount": spoken, "responseTokensDetails": details}
        await self.send({"serverContent": {"turnComplete": True}, "usageMetadata": usage})

    async def _keep(self) -> None:
        """Give a handle for the session as it is now."""
        if "sessionResumption" in self.setup:
            handle = f"h-{next(self.server.kept)}"
            self.server.handles.add(handle)
            await self.send({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})

    async def _speak(self, turn: ScriptedTurn) -> None:
        while True:
            reply = self.server.reply(turn.number)
            calls: list[ToolCall] = []
            for step in (reply,) if isinstance(reply, str) else reply:
                if isinstance(step, str):
                    await self._say(turn, step)
                elif isinstance(step, ToolCall):
                    calls.append(step)
                else:
                    await anyio.sleep(step)
            if not calls:
                return
            await self._call(turn, calls)

    async def _call(self, turn: ScriptedTurn, calls: list[ToolCall]) -> None:
        """Call tools, and wait for those that must be waited for."""
        named = [(call.call_id or f"fc-{next(self.server.called)}", call) for call in calls]
        made = [{"id": name, "name": call.name, "args": json.loads(call.arguments)} for name, call in named]
        waited = [name for name, call in named if call.name not in self._background]
        self._calls = {name: anyio.Event() for name in waited}
        events = list(self._calls.values())
        await self.send({"toolCall": {"functionCalls": made}}, turn)
        for event in events:
            await event.wait()

    async def _say(self, turn: ScriptedTurn, text: str) -> None:
        server = self.server
        for word in text.split():
            await server.rest()
            said = word if not turn.words else f" {word}"
            if self.setup["generationConfig"]["responseModalities"] == ["TEXT"]:
                await self.send({"serverContent": {"modelTurn": {"parts": [{"text": said}]}}}, turn)
                turn.words.append(word)
                continue
            await self.send({"serverContent": {"outputTranscription": {"text": said}}}, turn)
            sound = server.sound(turn.number, RATE * server.word_ms // 1000).astype("<i2").tobytes()
            data = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(sound).decode()}
            turn.words.append(word)
            turn.plays_until = max(turn.plays_until, anyio.current_time()) + server.word_ms / 1000
            await self.send({"serverContent": {"modelTurn": {"parts": [{"inlineData": data}]}}}, turn)

    # The setup ----------------------------------------------------------------------------------------------------

    @property
    def _listening(self) -> dict[str, Any]:
        return dict(self.setup.get("realtimeInputConfig", {}))

    @property
    def _manual(self) -> bool:
        return bool(self._listening.get("automaticActivityDetection", {}).get("disabled"))

    @property
    def _interrupts(self) -> bool:
        return self._listening.get("activityHandling") != "NO_INTERRUPTION"

    @property
    def _background(self) -> set[str]:
        tools = [each for tool in self.setup.get("tools", ()) for each in tool.get("functionDeclarations", ())]
        return {each["name"] for each in tools if each.get("behavior") == "NON_BLOCKING"}
