"""The client's side of Ultravox's protocol: commands to messages, messages to events. No I/O.

A call is created by HTTP with all of its settings, then joined over a WebSocket. Audio has no ids, so ids of the
agent's turns are made here. A turn begins when the agent thinks or speaks, and ends when the agent listens again or the
server says that it was interrupted. The order on the socket decides what belongs to which turn, also after an
interrupt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.history import Entry
from bargein.services.realtime import (
    AudioPiece,
    Event,
    Interrupted,
    ItemOver,
    Message,
    Profile,
    Protocol,
    ProtocolFault,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    Settings,
    TextPiece,
    ToolCallReceived,
    Transcribed,
)
from bargein.services.sockets import Endpoint
from bargein.services.tools import without_references

from . import wire

__all__ = ["PROFILE", "UltravoxProtocol", "agent_call_request", "call_request"]

PROFILE: Final = Profile(
    provider="Ultravox",
    input_rate=16_000,
    output_rate=24_000,
    supports_text_output=True,
    sends_response_ids=False,
    supports_cancel=True,
    turn_detection=("server_vad",),
    supports_response_requests=False,
    responds_to_tool_results=True,
    supports_verbatim_speech=True,  # by the vendor's pages
    supports_updates=True,
    reconnects_to_update=True,
    supports_history_seeding=True,
    max_session_seconds=3600.0,
)
"""What Ultravox can do. Its memory cannot be cut, and a lost call cannot be resumed."""
URGENCY: Final = "soon"
"""When typed text is answered: after what the agent is saying. `immediate` would interrupt the agent, and `later` would
wait for some other input."""
FAILED: Final = "implementation-error"
"""The error type of a tool that failed."""
CANCELLED_MESSAGE: Final = "The user interrupted, and it was called off."
EARLIER: Final = "For you to know, and not to answer, this is what has been said so far.\n"
"""Introduction of an earlier conversation, which is sent as text of the user that asks for no answer. A call request
can hold initial messages, but their form is not certain."""


def call_request(
    settings: Settings,
    *,
    profile: Profile,
    buffer_ms: int,
    first_speaker: Literal["user", "agent"],
    max_call_seconds: float,
) -> dict[str, Any]:
    """Return the body of the request that creates a call of a model.

    Args:
        settings: The settings of the session.
        profile: The rates of the audio.
        buffer_ms: How far ahead of playback the server may send, in milliseconds.
        first_speaker: Which side speaks first.
        max_call_seconds: How long the call may last, in seconds.
    """
    body: dict[str, Any] = {
        "model": settings.model,
        "firstSpeaker": f"FIRST_SPEAKER_{first_speaker.upper()}",
        "initialOutputMedium": "MESSAGE_MEDIUM_TEXT" if settings.output == "text" else "MESSAGE_MEDIUM_VOICE",
        "maxDuration": f"{max_call_seconds:g}s",
        "medium": {
            "serverWebSocket": {
                "inputSampleRate": profile.input_rate,
                "outputSampleRate": profile.output_rate,
                "clientBufferSizeMs": buffer_ms,
            }
        },
    }
    if settings.instructions:
        body["systemPrompt"] = settings.instructions
    if settings.voice is not None:
        body["voice"] = settings.voice
    if settings.tools:
        body["selectedTools"] = [{"temporaryTool": _tool(tool)} for tool in settings.tools]
    return settings.with_extra(body)


def agent_call_request(body: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return query and body of the request that creates a call of an agent, which has its own model and greeting.

    Args:
        body: The body for a model, from `call_request`.
    """
    query = {} if body["firstSpeaker"] == "FIRST_SPEAKER_AGENT" else {"enableGreetingPrompt": "false"}
    return query, {name: value for name, value in body.items() if name not in ("model", "firstSpeaker")}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool that the client runs. Each parameter has its own schema, without references to shared parts."""
    schema = without_references(tool.get("parameters") or {})
    parameters = [
        {
            "name": name,
            "location": "PARAMETER_LOCATION_BODY",
            "schema": each,
            "required": name in schema.get("required", ()),
        }
        for name, each in schema.get("properties", {}).items()
    ]
    return {
        "modelToolName": tool["name"],
        "description": tool.get("description") or "",
        "dynamicParameters": parameters,
        "client": {},
    }


class UltravoxProtocol(Protocol):
    """The protocol of one call.

    Args:
        join: Creates a call and returns where its socket is.
        profile: What the model can do.
    """

    profile = PROFILE

    @check_options
    def __init__(self, *, join: Callable[[], Awaitable[Endpoint]], profile: Profile = PROFILE) -> None:
        self.profile = profile  # type: ignore[misc]
        self._join = join
        self._call = ""
        self._count = 0
        self._turn = self._last_turn = ""
        self._has_text = False  # the turn has text
        self._cancelled = False  # the turn was cancelled by us
        self._transcripts: dict[tuple[str, int], str] = {}  # by role and ordinal
        self._agent_turns: dict[int, str] = {}  # the turn of each transcript of the agent, by ordinal
        self._calls: dict[str, str] = {}  # unanswered tool calls; each with its turn, or "" if that was interrupted

    def endpoint(self) -> Awaitable[Endpoint]:
        """Create the call and return where its socket is."""
        return self._join()

    # Messages of the server ---------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterator[Event]:
        """Return the events of a message. Unknown types are ignored; a message that cannot be read is a fault."""
        if isinstance(data, bytes):
            yield from self._ensure_turn()
            yield AudioPiece(response_id=self._turn, item_id=self._turn, pcm=data)
            return
        try:
            message = wire.decode_server(data)
        except ValueError as error:
            yield ProtocolFault(message=f"a message that cannot be read: {error}")
            return
        if isinstance(message, wire.CallStarted):
            self._call = message.call_id
            yield SessionReady(session_id=message.call_id)
        elif isinstance(message, wire.State):
            yield from self._on_state(message.state)
        elif isinstance(message, wire.TranscriptMessage):
            yield from self._on_agent_text(message) if message.role == "agent" else self._on_user_text(message)
        elif isinstance(message, wire.ClientToolInvocation):
            yield from self._ensure_turn()
            self._calls[message.invocation_id] = self._turn
            arguments = msgspec.json.encode(message.parameters).decode()
            yield ToolCallReceived(
                response_id=self._turn, call_id=message.invocation_id, name=message.tool_name, arguments=arguments
            )
        elif isinstance(message, wire.PlaybackClearBuffer):
            if self._last_turn:
                yield Interrupted(response_id=self._last_turn)
            yield from self._end_turn("interrupted")

    def _on_state(self, state: str) -> Iterator[Event]:
        if state in ("listening", "idle"):
            yield from self._end_turn("interrupted" if self._cancelled else "completed")
        elif state == "thinking" and self._cancelled:  # about something new: no more of the cancelled turn will come
            yield from self._end_turn("interrupted")
            yield from self._ensure_turn()
        elif state in ("thinking", "speaking"):
            yield from self._ensure_turn()

    def _ensure_turn(self) -> Iterator[Event]:
        """Begin a turn unless there is one."""
        if not self._turn:
            self._count += 1
            self._turn = self._last_turn = f"{self._call}:turn-{self._count}"
            yield ResponseBegan(response_id=self._turn)

    def _end_turn(self, outcome: Literal["completed", "interrupted"]) -> Iterator[Event]:
        if not self._turn:
            return
        turn, self._turn = self._turn, ""
        has_text, self._has_text, self._cancelled = self._has_text, False, False
        if outcome == "interrupted":
            self._detach_calls(turn)
        if has_text:
            yield ItemOver(response_id=turn, item_id=turn)
        yield ResponseOver(response_id=turn, outcome=outcome)

    def _detach_calls(self, turn: str) -> None:
        """Mark the tool calls of a turn, so that the agent does not speak about their results."""
        self._calls = {call: "" if owner == turn else owner for call, owner in self._calls.items()}

    def _on_agent_text(self, message: wire.TranscriptMessage) -> Iterator[Event]:
        """Report words of the agent. Late words of an earlier turn belong to that turn."""
        if message.ordinal not in self._agent_turns:
            yield from self._ensure_turn()
            self._agent_turns[message.ordinal] = self._turn
        turn, before = self._agent_turns[message.ordinal], self._transcripts.get(("agent", message.ordinal), "")
        now = self._update_transcript(message)
        if turn == self._turn and len(now) > len(before) and now.startswith(before):
            self._has_text = True
            yield TextPiece(response_id=turn, item_id=turn, text=now[len(before) :])

    def _on_user_text(self, message: wire.TranscriptMessage) -> Iterator[Event]:
        text = self._update_transcript(message)
        if message.medium == "voice":  # typed text comes back as well, and is known here
            item = f"{self._call}:user-{message.ordinal}"
            yield Transcribed(item_id=item, text=text.strip(), final=message.final)

    def _update_transcript(self, message: wire.TranscriptMessage) -> str:
        """Return all of a transcript, with this message."""
        key = message.role, message.ordinal
        text = message.text if message.text is not None else self._transcripts.get(key, "") + (message.delta or "")
        self._transcripts[key] = text
        return text

    # Commands -----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterable[Message]:
        """Return nothing: the settings were part of the request that created the call."""
        return ()

    def update(self, settings: Settings) -> Iterable[Message]:
        """Return nothing: a call cannot be changed, so the driver creates another one."""
        return ()

    def audio(self, pcm: bytes) -> Message:
        """Send audio of the user."""
        return pcm

    def clear_audio(self) -> Iterable[Message]:
        """Return nothing: audio that was sent cannot be taken back."""
        return ()

    def text(self, text: str, item_id: str = "") -> Iterator[Message]:
        """Send typed text. An empty text is not sent, because it would interrupt the agent."""
        if text:
            yield wire.encode(wire.UserTextMessage(text=text, urgency=URGENCY))

    def say(self, text: str, *, protected: bool = False) -> Iterator[Message]:
        """Speak a text word for word, without the model."""
        yield wire.encode(wire.ForcedAgentMessage(content=text, uninterruptible=protected, urgency=URGENCY))

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """Send the conversation so far as text; or the results of tool calls that another connection has made."""
        text = "\n".join(_describe(entry) for entry in entries if entry.role == "call" or entry.remembered)
        if text and all(entry.role == "call" for entry in entries):  # results that are waited for
            yield wire.encode(wire.UserTextMessage(text=text, urgency=URGENCY))
        elif text:
            yield wire.encode(wire.UserTextMessage(text=f"{EARLIER}{text}", urgency="later", defer_response=True))

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """Send a tool's result. The agent speaks about it, unless the turn of the call was interrupted."""
        reaction = "speaks" if self._calls.pop(call_id, "") else "listens"
        yield wire.encode(wire.ClientToolResult(invocation_id=call_id, result=output, agent_reaction=reaction))

    def cancel_tool_call(self, call_id: str) -> Iterator[Message]:
        """Send an error for a tool that was cancelled. Without a result the call would stand still."""
        self._calls.pop(call_id, None)
        yield wire.encode(
            wire.ClientToolResult(
                invocation_id=call_id, agent_reaction="listens", error_type=FAILED, error_message=CANCELLED_MESSAGE
            )
        )

    def cancel(self, response_id: str) -> Iterator[Message]:
        """Stop the agent with an empty text that asks for no answer."""
        if response_id == self._turn:
            self._cancelled = True
            self._detach_calls(response_id)
            yield wire.encode(wire.UserTextMessage(text="", urgency="immediate", defer_response=True))


def _describe(entry: Entry) -> str:
    if entry.role == "call":
        return f"(the tool {entry.name} was called with {entry.arguments or '{}'}, and answered: {entry.output or ''})"
    return f"{'you' if entry.role == 'assistant' else entry.role}: {entry.remembered}"
