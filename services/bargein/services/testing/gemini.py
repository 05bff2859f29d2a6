"""A scripted server of Gemini's live API: for tests and demonstrations, without a key or a network."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from itertools import count
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import ToolCall
from bargein.pipeline.lowlevel import check_options
from bargein.services.sockets import Socket, SocketClosedError, listen

from ._scripted_server import RATE, ScriptedServer, Step, tone
from .loudness_vad import LoudnessVad

__all__ = ["ScriptedGemini", "ScriptedTurn"]

NO_AUDIO_WITH_CALLS = "gemini-3"
"""Prefix of the models that close the connection if audio comes while a tool call is unanswered."""


class ScriptedTurn:
    """A turn of the model, for assertions.

    Args:
        number: The number of the turn, from 0.
    """

    @check_options
    def __init__(self, number: int) -> None:
        self.number = number
        """The number of the turn, from 0."""
        self.words: list[str] = []
        """The words that were sent."""
        self.done = False
        """Whether its end (`turnComplete`) was sent."""
        self.interrupted = False
        """Whether the user has interrupted it."""
        self.scope = anyio.CancelScope()
        self.plays_until = 0.0


class ScriptedGemini(ScriptedServer):
    """A server that sends its replies in order, repeated from the first after the last.

    It sends one reply for each turn of the user, and one when tool calls are answered. Each word is sent with its text
    and its audio, or as text alone if the setup asks for text. Words are sent faster than they are spoken;
    `turnComplete` comes when they would have been played.

    Pass `connect` to a `GeminiLive` for a connection in memory, or the URL of `serve` for a real WebSocket::

        async with ScriptedGemini("Hello.").serve() as url:
            model = GeminiLive(api_key="any", url=url)

    Args:
        *replies: Each a string, or a sequence of words, pauses in seconds and tool calls.
        hears: The transcripts of the user's spoken turns, in order, repeated.
        word_ms: Length of each word's audio, in milliseconds.
        pace_seconds: Time between sending two words, in seconds.
    """

    @check_options
    def __init__(
        self,
        *replies: str | Sequence[Step],
        hears: Sequence[str] = (),
        word_ms: int = 400,
        pace_seconds: float = 0.02,
    ) -> None:
        super().__init__(*replies, hears=hears, word_ms=word_ms, pace_seconds=pace_seconds)
        self.resumes = True
        """Whether sessions can be resumed; if not, a session that asks for it is closed."""
        self.turns: list[ScriptedTurn] = []
        """All turns of the model."""
        self.open_connections = 0
        """Number of open connections."""
        self.session: GeminiPeerSession | None = None
        """The newest session."""
        self.handles: set[str] = set()
        """Handles by which sessions can be resumed."""
        self.handle_numbers = count(1)

    def audio(self, turn: int, samples: int) -> npt.NDArray[np.int16]:
        """Return samples of the voice at 24 kHz: a tone whose pitch depends on the turn.

        Args:
            turn: The number of the turn, from 0.
            samples: Number of samples.
        """
        return tone(200 * 2 ** (turn % 12 / 12), samples)

    def find_sent(self, *keys: str) -> list[Any]:
        """Return the values that the client has sent under these nested keys, such as `"realtime_input", "text"`.

        Args:
            keys: The keys, the outermost first.
        """
        found: list[Any] = list(self.received)
        for key in keys:
            found = [each[key] for each in found if isinstance(each, dict) and key in each]
        return found

    # Connections --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Run a WebSocket server and yield its URL. Clients without a key and without a token are refused.

        Args:
            host: Address to listen at. Default: this machine only.
            port: Port to listen at. Default 0, for a free one.
        """

        def check_key(connection: Any, request: Any) -> Any:
            if "x-goog-api-key" in request.headers or "Authorization" in request.headers:
                return None
            return connection.respond(HTTPStatus.FORBIDDEN, "Method doesn't allow unregistered callers.\n")

        async def handle(socket: Socket, request: Any) -> None:
            await self.serve_socket(socket)

        async with listen(handle, host=host, port=port, process_request=check_key) as chosen:
            yield f"ws://{host}:{chosen}/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"

    async def serve_socket(self, socket: Socket) -> None:
        """Serve one connection until it ends.

        Args:
            socket: The server's end of the connection.
        """
        self.connections += 1
        self.open_connections += 1
        try:
            with suppress(SocketClosedError):
                async with anyio.create_task_group() as group:
                    self.session = GeminiPeerSession(self, socket, group)
                    try:
                        await self.session.run()
                    except SocketClosedError:
                        group.cancel_scope.cancel()
        finally:
            self.open_connections -= 1

    # On demand ----------------------------------------------------------------------------------------------------

    async def send(self, message: dict[str, Any] | bytes | str) -> None:
        """Send a message, or any other data, over the newest connection.

        Args:
            message: An object, which is sent as JSON, or the data itself.
        """
        if self.session is not None:
            await self.session.send(message)

    async def close(self, code: int = 1011, reason: str = "") -> None:
        """Close the newest connection.

        Args:
            code: The close code of the WebSocket. Default 1011, for an internal error.
            reason: The reason. Default: empty.
        """
        if self.session is not None:
            await self.session.socket.close(code, reason)

    async def go_away(self, seconds: float) -> None:
        """Announce that the connection will be closed after this many seconds.

        Args:
            seconds: The time that is left, in seconds.
        """
        await self.send({"goAway": {"timeLeft": f"{seconds:g}s"}})


class GeminiPeerSession:
    """The server's side of one connection."""

    def __init__(self, server: ScriptedGemini, socket: Socket, group: anyio.abc.TaskGroup) -> None:
        self.server = server
        self.socket = socket
        self.setup: dict[str, Any] = {}
        """The client's setup."""
        self.turn: ScriptedTurn | None = None
        """The turn that is being sent, or whose audio would still be playing."""
        self._group = group
        self._send_lock = anyio.Lock()
        self._vad = LoudnessVad()
        self._calls: dict[str, anyio.Event] = {}
        self._turns_due = 0  # results of background tools that are answered after the present turn

    async def send(self, message: dict[str, Any] | bytes | str, turn: ScriptedTurn | None = None) -> None:
        """Send a message as the service does: JSON in a binary frame. A message of a turn that is over is dropped."""
        data = json.dumps(message).encode() if isinstance(message, dict) else message
        with anyio.CancelScope(shield=True), suppress(SocketClosedError):  # an interrupt must not cut a message in two
            async with self._send_lock:
                if turn is None or not turn.done:
                    await self.socket.send(data)

    async def run(self) -> None:
        """Read the setup and serve the connection until it ends."""
        first = json.loads(await self.socket.receive())
        self.server.received.append(first)
        if (complaint := self._check_setup(first)) is not None:
            await self.socket.close(1007, complaint)
            return
        self.setup = first["setup"]
        await self.send({"setupComplete": {}})
        await self._send_handle()
        while True:
            message = json.loads(await self.socket.receive())
            self.server.received.append(message)
            await self._on_message(message)

    def _check_setup(self, first: Any) -> str | None:
        """Return what is wrong with the first message; None if it is a good setup."""
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
        if handle and self.server.open_connections > 1:
            return "the session has another connection"
        return None

    async def _on_message(self, message: dict[str, Any]) -> None:
        if content := message.get("client_content"):
            if content.get("turnComplete"):
                await self.interrupt()
                self._begin_turn()
        elif fields := message.get("realtime_input"):
            if self._calls and NO_AUDIO_WITH_CALLS in self.setup["model"]:
                await self.socket.close(1008, "realtime input while a call is unanswered")
                return
            await self._on_realtime_input(fields)
        elif response := message.get("tool_response"):
            for each in response["functionResponses"]:
                await self._on_result(each)

    async def _on_realtime_input(self, fields: dict[str, Any]) -> None:
        if "audio" in fields:
            change = self._vad.process(base64.b64decode(fields["audio"]["data"]))
            if not self._manual and change == "started" and self._interrupts:
                await self.interrupt()
            elif not self._manual and change == "stopped":
                await self._on_user_turn()
        elif "text" in fields:
            await self.interrupt()
            self._begin_turn()
        elif fields.get("audioStreamEnd") and not self._manual:
            if self._vad.stop():
                await self._on_user_turn()
        elif "activityStart" in fields and self._manual:
            await self.interrupt()
        elif "activityEnd" in fields and self._manual:
            await self._on_user_turn()

    async def _on_user_turn(self) -> None:
        """Send the transcript of a spoken turn, and answer it."""
        if "inputAudioTranscription" in self.setup and self.server.hears:
            words = self.server.next_transcript().split(" ")
            for at, word in enumerate(words):
                text = word if not at else f" {word}"
                await self.send({"serverContent": {"inputTranscription": {"text": text}}})
        if self.turn is not None and not self._interrupts:
            self._turns_due += 1
            return
        await self.interrupt()  # a turn that began while the user spoke
        self._begin_turn()

    async def _on_result(self, response: dict[str, Any]) -> None:
        waiting = self._calls.pop(response.get("id", ""), None)
        if waiting is not None:
            waiting.set()
            return
        scheduling = response.get("scheduling", "WHEN_IDLE")
        if scheduling == "INTERRUPT":
            await self.interrupt()
        if scheduling != "SILENT":
            if self.turn is None:
                self._begin_turn()
            else:
                self._turns_due += 1

    # Turns of the model -------------------------------------------------------------------------------------------

    def _begin_turn(self) -> None:
        self.turn = ScriptedTurn(len(self.server.turns))
        self.server.turns.append(self.turn)
        self._group.start_soon(self._run_turn, self.turn)

    async def interrupt(self) -> None:
        """End the turn that is being sent or played, as if the user had interrupted it."""
        turn, self.turn = self.turn, None
        if turn is None:
            return
        turn.scope.cancel()
        turn.interrupted = turn.done = True
        calls, self._calls = list(self._calls), {}
        if calls:
            await self.send({"toolCallCancellation": {"ids": calls}})
        await self.send({"serverContent": {"interrupted": True}})
        await self._send_boundary(turn)

    async def _run_turn(self, turn: ScriptedTurn) -> None:
        with turn.scope:
            await self._send_replies(turn)
            await self.send({"serverContent": {"generationComplete": True}}, turn)
            await anyio.sleep(max(0.0, turn.plays_until - anyio.current_time()))
            turn.done = True
            self.turn = None
            await self._send_boundary(turn)
            await self._send_handle()
            if self._turns_due:
                self._turns_due = 0
                self._begin_turn()

    async def _send_boundary(self, turn: ScriptedTurn) -> None:
        tokens = 25 * len(turn.words) * self.server.word_ms // 1000
        details = [{"modality": "AUDIO", "tokenCount": tokens}]
        usage = {"promptTokenCount": 40, "responseTokenCount": tokens, "responseTokensDetails": details}
        await self.send({"serverContent": {"turnComplete": True}, "usageMetadata": usage})

    async def _send_handle(self) -> None:
        """Send a handle for the session as it is now, if the client wants to resume sessions."""
        if "sessionResumption" in self.setup:
            handle = f"h-{next(self.server.handle_numbers)}"
            self.server.handles.add(handle)
            await self.send({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})

    async def _send_replies(self, turn: ScriptedTurn) -> None:
        """Send a reply, and after its tool calls the next one."""
        while True:
            reply = self.server.next_reply(turn.number)
            calls: list[ToolCall] = []
            for step in (reply,) if isinstance(reply, str) else reply:
                if isinstance(step, str):
                    await self._send_words(turn, step)
                elif isinstance(step, ToolCall):
                    calls.append(step)
                else:
                    await anyio.sleep(step)
            if not calls:
                return
            await self._call_tools(turn, calls)

    async def _call_tools(self, turn: ScriptedTurn, calls: list[ToolCall]) -> None:
        """Call tools, and wait for the results of those that are not background tools."""
        by_id = {call.call_id or f"fc-{next(self.server.call_numbers)}": call for call in calls}
        messages = [
            {"id": call_id, "name": call.name, "args": json.loads(call.arguments)} for call_id, call in by_id.items()
        ]
        self._calls = {
            call_id: anyio.Event() for call_id, call in by_id.items() if call.name not in self._background_tools
        }
        events = list(self._calls.values())
        await self.send({"toolCall": {"functionCalls": messages}}, turn)
        for event in events:
            await event.wait()

    async def _send_words(self, turn: ScriptedTurn, text: str) -> None:
        server = self.server
        for word in text.split():
            await server.pause()
            piece = word if not turn.words else f" {word}"
            if self.setup["generationConfig"]["responseModalities"] == ["TEXT"]:
                await self.send({"serverContent": {"modelTurn": {"parts": [{"text": piece}]}}}, turn)
                turn.words.append(word)
                continue
            await self.send({"serverContent": {"outputTranscription": {"text": piece}}}, turn)
            pcm = server.audio(turn.number, RATE * server.word_ms // 1000).astype("<i2").tobytes()
            data = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(pcm).decode()}
            turn.words.append(word)
            turn.plays_until = max(turn.plays_until, anyio.current_time()) + server.word_ms / 1000
            await self.send({"serverContent": {"modelTurn": {"parts": [{"inlineData": data}]}}}, turn)

    # The setup ----------------------------------------------------------------------------------------------------

    @property
    def _input_config(self) -> dict[str, Any]:
        return dict(self.setup.get("realtimeInputConfig", {}))

    @property
    def _manual(self) -> bool:
        return bool(self._input_config.get("automaticActivityDetection", {}).get("disabled"))

    @property
    def _interrupts(self) -> bool:
        return self._input_config.get("activityHandling") != "NO_INTERRUPTION"

    @property
    def _background_tools(self) -> set[str]:
        tools = [each for tool in self.setup.get("tools", ()) for each in tool.get("functionDeclarations", ())]
        return {each["name"] for each in tools if each.get("behavior") == "NON_BLOCKING"}
