"""Ultravox's protocol, the client's side: commands to messages, messages to events. No I/O.

A call is made by HTTP, with all that the model is told; then there is a WebSocket, whose sound has no ids. So a turn of
the agent's has a number of ours. It begins when the agent thinks or says something, and ends when it listens again, or
when the server says that it was interrupted. What comes after that, in the order of the socket, is of the next turn;
what comes before it is of the old one, also after an interrupt of ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

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

from . import _wire as wire

__all__ = ["PROFILE", "UltravoxProtocol", "call", "of_agent"]

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
"""What it can do. Its memory cannot be cut, and a call that was lost cannot be taken up."""
URGENCY: Final = "soon"
"""How what the user types is brought in: it is answered when the agent has said what it is saying. With `immediate` it
would interrupt; with `later` it would wait for something else to be answered."""
REACTION: Final = "speaks"
"""What the agent does with a tool's answer."""
SILENT_REACTION: Final = "listens"
"""And what with one that came after an interrupt."""
FAILED: Final = "implementation-error"
"""The kind of a tool's failure."""
CALLED_OFF: Final = "The user interrupted, and it was called off."
EARLIER: Final = "For you to know, and not to answer, this is what has been said so far.\n"
"""How an earlier conversation is told: as words of the user's that ask for no answer. (A call can be given its messages
when it is made, but their form is not certain.)"""


def call(
    settings: Settings, *, profile: Profile, buffer_ms: int, first: Literal["user", "agent"], seconds: float
) -> dict[str, Any]:
    """What a call is made with."""
    told: dict[str, Any] = {
        "model": settings.model,
        "firstSpeaker": f"FIRST_SPEAKER_{first.upper()}",
        "initialOutputMedium": "MESSAGE_MEDIUM_TEXT" if settings.output == "text" else "MESSAGE_MEDIUM_VOICE",
        "maxDuration": f"{seconds:g}s",
        "medium": {
            "serverWebSocket": {
                "inputSampleRate": profile.input_rate,
                "outputSampleRate": profile.output_rate,
                "clientBufferSizeMs": buffer_ms,
            }
        },
    }
    if settings.instructions:
        told["systemPrompt"] = settings.instructions
    if settings.voice is not None:
        told["voice"] = settings.voice
    if settings.tools:
        told["selectedTools"] = [{"temporaryTool": _tool(tool)} for tool in settings.tools]
    return settings.with_extra(told)


def of_agent(told: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The query, and what a call is made with, where an agent that was set up there has a model and a greeting."""
    query = {} if told["firstSpeaker"] == "FIRST_SPEAKER_AGENT" else {"enableGreetingPrompt": "false"}
    return query, {name: value for name, value in told.items() if name not in ("model", "firstSpeaker")}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool that runs here. Each parameter has a schema of its own, and with it what the whole one defines."""
    schema = tool.get("parameters") or {}
    shared = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    parameters = [
        {
            "name": name,
            "location": "PARAMETER_LOCATION_BODY",
            "schema": {**each, **shared},
            "required": name in schema.get("required", ()),
        }
        for name, each in schema.get("properties", {}).items()
    ]
    described = {"modelToolName": tool["name"], "description": tool.get("description") or ""}
    return {**described, "dynamicParameters": parameters, "client": {}}


class UltravoxProtocol(Protocol):
    """One call's protocol. `join` makes the call, and gives where its socket is."""

    profile = PROFILE

    def __init__(self, *, join: Callable[[], Awaitable[Endpoint]], profile: Profile = PROFILE) -> None:
        self.profile = profile  # type: ignore[misc]
        self._join = join
        self._call = ""
        self._count = 0
        self._turn = self._latest = ""
        self._texts = False  # the turn has text
        self._cancelled = False  # the turn was, by us
        self._said: dict[tuple[str, int], str] = {}  # by role and ordinal
        self._turns: dict[int, str] = {}  # which turn a transcript of the agent's belongs to
        self._calls: dict[str, str] = {}  # unanswered, and the turn that they are of, while that is wanted

    def endpoint(self) -> Awaitable[Endpoint]:
        """Where to connect to, once the call has been made."""
        return self._join()

    # What a message means -----------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterator[Event]:
        """The events of a message. Unknown types are ignored; what cannot be read is a fault, and not the end."""
        if isinstance(data, bytes):
            yield from self._speaking()
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
            yield from self._state(message.state)
        elif isinstance(message, wire.TranscriptMessage):
            yield from self._agent(message) if message.role == "agent" else self._user(message)
        elif isinstance(message, wire.ClientToolInvocation):
            yield from self._speaking()
            self._calls[message.invocation_id] = self._turn
            arguments = msgspec.json.encode(message.parameters).decode()
            yield ToolCallReceived(
                response_id=self._turn, call_id=message.invocation_id, name=message.tool_name, arguments=arguments
            )
        elif isinstance(message, wire.PlaybackClearBuffer):
            if self._latest:
                yield Interrupted(response_id=self._latest)
            yield from self._over("interrupted")

    def _state(self, state: str) -> Iterator[Event]:
        if state in ("listening", "idle"):
            yield from self._over("interrupted" if self._cancelled else "completed")
        elif state == "thinking" and self._cancelled:  # about something else; of what was called off no more will come
            yield from self._over("interrupted")
            yield from self._speaking()
        elif state in ("thinking", "speaking"):
            yield from self._speaking()

    def _speaking(self) -> Iterator[Event]:
        """Something of a turn comes: of the present one, or it begins the next."""
        if not self._turn:
            self._count += 1
            self._turn = self._latest = f"{self._call}:turn-{self._count}"
            yield ResponseBegan(response_id=self._turn)

    def _over(self, outcome: Literal["completed", "interrupted"]) -> Iterator[Event]:
        if not self._turn:
            return
        name, self._turn = self._turn, ""
        texts, self._texts, self._cancelled = self._texts, False, False
        if outcome == "interrupted":
            self._unwanted(name)
        if texts:
            yield ItemOver(response_id=name, item_id=name)
        yield ResponseOver(response_id=name, outcome=outcome)

    def _unwanted(self, turn: str) -> None:
        """Of this turn nothing more is to be said, whatever its calls bring."""
        self._calls = {call: "" if of == turn else of for call, of in self._calls.items()}

    def _agent(self, message: wire.TranscriptMessage) -> Iterator[Event]:
        """Words of the agent's. Those of a turn that is over belong to that one, however late."""
        if message.ordinal not in self._turns:
            yield from self._speaking()
            self._turns[message.ordinal] = self._turn
        turn, before = self._turns[message.ordinal], self._said.get(("agent", message.ordinal), "")
        now = self._now(message)
        if turn == self._turn and len(now) > len(before) and now.startswith(before):
            self._texts = True
            yield TextPiece(response_id=turn, item_id=turn, text=now[len(before) :])

    def _user(self, message: wire.TranscriptMessage) -> Iterator[Event]:
        text = self._now(message)
        if message.medium == "voice":  # what was typed is known here
            item = f"{self._call}:user-{message.ordinal}"
            yield Transcribed(item_id=item, text=text.strip(), final=message.final)

    def _now(self, message: wire.TranscriptMessage) -> str:
        """All that is known of a transcript."""
        key = message.role, message.ordinal
        text = message.text if message.text is not None else self._said.get(key, "") + (message.delta or "")
        self._said[key] = text
        return text

    # Commands -----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterable[Message]:
        """The call was made with all that there is to say."""
        return ()

    def update(self, settings: Settings) -> Iterable[Message]:
        """Nothing can be changed: another call is made."""
        return ()

    def audio(self, pcm: bytes) -> Message:
        """More of the user's sound."""
        return pcm

    def clear_audio(self) -> Iterable[Message]:
        """What was sent cannot be taken back."""
        return ()

    def text(self, text: str, item_id: str = "") -> Iterator[Message]:
        """What the user wrote. An empty one would be an interrupt."""
        if text:
            yield wire.encode(wire.UserTextMessage(text=text, urgency=URGENCY))

    def say(self, text: str, *, protected: bool = False) -> Iterator[Message]:
        """Say these words, without the model."""
        yield wire.encode(wire.ForcedAgentMessage(content=text, uninterruptible=protected, urgency=URGENCY))

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """The conversation so far, or a call of another connection with its answer, in words."""
        said = "\n".join(_told(entry) for entry in entries if entry.role == "call" or entry.remembered)
        if said and all(entry.role == "call" for entry in entries):  # an answer that was waited for
            yield wire.encode(wire.UserTextMessage(text=said, urgency=URGENCY))
        elif said:
            yield wire.encode(wire.UserTextMessage(text=f"{EARLIER}{said}", urgency="later", defer_response=True))

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """What a tool answered. The model goes on by itself, unless the user has interrupted what it was for."""
        reaction = REACTION if self._calls.pop(call_id, "") else SILENT_REACTION
        yield wire.encode(wire.ClientToolResult(invocation_id=call_id, result=output, agent_reaction=reaction))

    def cancel_tool_call(self, call_id: str) -> Iterator[Message]:
        """No answer will come of a tool: without one, the call would stand still."""
        self._calls.pop(call_id, None)
        yield wire.encode(
            wire.ClientToolResult(
                invocation_id=call_id, agent_reaction=SILENT_REACTION, error_type=FAILED, error_message=CALLED_OFF
            )
        )

    def cancel(self, response_id: str) -> Iterator[Message]:
        """Stop the agent: an empty message, at once, that asks for no answer."""
        if response_id == self._turn:
            self._cancelled = True
            self._unwanted(response_id)
            yield wire.encode(wire.UserTextMessage(text="", urgency="immediate", defer_response=True))


def _told(entry: Entry) -> str:
    if entry.role == "call":
        return f"(the tool {entry.name} was called with {entry.arguments or '{}'}, and answered: {entry.output or ''})"
    return f"{'you' if entry.role == 'assistant' else entry.role}: {entry.remembered}"
