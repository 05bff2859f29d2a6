"""Nova Sonic's protocol, the client's side: commands to messages, messages to events. No I/O.

A message is one of the event stream, not yet signed. What a connection is told has an order that the service insists
on: the session, the prompt, the instructions, the conversation so far, then the user's sound, without a break; results
of tools, and with Nova 2 what the user writes, come in between.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec

from bargein.services.history import Entry
from bargein.services.realtime import Event, Message, Profile, Protocol, ProtocolFault, SessionReady, Settings
from bargein.services.realtime.settings import deep_merge
from bargein.services.sockets import Endpoint

from . import wire
from ._turns import NovaTurns

__all__ = ["PROFILE", "PROFILE_1", "NovaProtocol"]

PROFILE: Final = Profile(
    provider="Nova 2 Sonic",
    input_rate=16_000,
    output_rate=24_000,
    turn_detection=("server_vad",),
    supports_response_requests=False,
    needs_continuous_audio=True,  # muted or not: a stream that hears nothing for about 55 s is given up [general knowledge]
    supports_updates=True,
    reconnects_to_update=True,
    supports_history_seeding=True,
    max_session_seconds=480.0,
)
PROFILE_1: Final = msgspec.structs.replace(PROFILE, provider="Nova Sonic", supports_text_input=False)
"""The first version reads nothing while it listens."""
VOICE: Final = "tiffany"
"""There must be one; both versions have this."""
INSTRUCTIONS: Final = "You are a friendly assistant. Be brief: your answers are spoken."
"""There must be some, too."""
HISTORY_MESSAGES: Final = 40
"""How many messages of an earlier conversation are told, the newest [about so many, says a third party]."""
HISTORY_BYTES: Final = {True: 50_000, False: 1_000}
"""How long each may be: with Nova 2, and with the first version [the same]."""
HISTORY_TOTAL: Final = 200_000
"""And all together [the same]."""
RESULT: Final = "result"
"""Under this key stands what a tool answered, where it is no object [whether plain text is taken is not certain]."""
HOPELESS: Final = frozenset({"validationException", "accessDeniedException", "resourceNotFoundException"})
"""Failures that another try would meet again, where they are the first that a connection says."""


class NovaProtocol(Protocol):
    """One connection's protocol."""

    profile = PROFILE

    def __init__(self, *, url: str, profile: Profile = PROFILE, ssl: Any = None) -> None:
        self.profile = profile  # type: ignore[misc]
        self._endpoint = Endpoint(url=url, ssl=ssl)
        self._prompt = uuid4().hex
        self._turns = NovaTurns(self._prompt[:8])
        self._count = 0  # of our blocks
        self._open = False  # the prompt has begun
        self._listening = False  # and the user's sound
        self._works = False  # the service has said something sensible

    def endpoint(self) -> Endpoint:
        """Where to connect to."""
        return self._endpoint

    # What a message means -----------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterable[Event]:
        """The events of a message. What cannot be read is a fault, and not the end."""
        if isinstance(data, str):
            return (ProtocolFault(message="text, where a message of the event stream was expected"),)
        try:
            event = wire.read(data)
        except wire.UnreadableError as error:
            return (ProtocolFault(message=f"a message that cannot be read: {error}"),)
        except wire.ThrownError as error:
            self._open = False
            fatal = error.kind in HOPELESS and not self._works
            return (ProtocolFault(message=str(error), code=error.kind, fatal=fatal, broken=True),)
        self._works = True
        return () if event is None else self._turns.take(event)

    # Commands -----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterator[Message]:
        """The session, the prompt, the instructions."""
        self._open = True
        session: dict[str, Any] = {"inferenceConfiguration": {}}
        turns = {key: value for key, value in (settings.turn_detection or {}).items() if key != "type"}
        if turns:
            session["turnDetectionConfiguration"] = turns
        yield wire.event("sessionStart", **deep_merge(session, settings.extra.get("sessionStart") or {}))
        sound = self._sound(self.profile.output_rate) | {"voiceId": settings.voice or VOICE}
        prompt: dict[str, Any] = {
            "promptName": self._prompt,
            "textOutputConfiguration": {"mediaType": "text/plain"},
            "audioOutputConfiguration": sound,
        }
        if settings.tools:
            prompt["toolUseOutputConfiguration"] = {"mediaType": "application/json"}
            prompt["toolConfiguration"] = {"tools": [_tool(each) for each in settings.tools]}
        yield wire.event("promptStart", **deep_merge(prompt, settings.extra.get("promptStart") or {}))
        yield from self._block("TEXT", "SYSTEM", "textInput", settings.instructions or INSTRUCTIONS)

    def on_open(self) -> Iterable[Event]:
        """The service may say nothing before it hears something, so nobody waits for it."""
        return (SessionReady(session_id=self._prompt),)

    def close_session(self) -> Iterator[Message]:
        """The user's sound, the prompt and the session are over."""
        if not self._open:
            return
        if self._listening:
            yield wire.event("contentEnd", promptName=self._prompt, contentName="microphone")
        yield wire.event("promptEnd", promptName=self._prompt)
        yield wire.event("sessionEnd")

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """The conversation so far, which has its place before the user's sound; later it is written by the user."""
        if not self._listening:
            for role, text in _history(entries, HISTORY_BYTES[self.profile.supports_text_input]):
                yield from self._block("TEXT", role, "textInput", text)
        elif self.profile.supports_text_input:
            for entry in entries:
                yield from self.text(_note(entry))

    def audio(self, pcm: bytes) -> Iterator[Message]:
        """More of the user's sound."""
        yield from self._listen()
        content = base64.b64encode(pcm).decode()
        yield wire.event("audioInput", promptName=self._prompt, contentName="microphone", content=content)

    def text(self, text: str, item_id: str = "") -> Iterator[Message]:
        """The user wrote something, which is answered as if it had been said. Nova 2 only."""
        yield from self._listen()
        if text.strip():  # the service takes no empty text
            yield from self._block("TEXT", "USER", "textInput", text, interactive=True)

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """A tool has answered."""
        yield from self._listen()
        result = {"toolUseId": call_id, "type": "TEXT", "textInputConfiguration": {"mediaType": "text/plain"}}
        yield from self._block("TOOL", "TOOL", "toolResult", _object(output), toolResultInputConfiguration=result)

    def clear_audio(self) -> Iterable[Message]:
        """What was heard cannot be taken back."""
        return ()

    def _listen(self) -> Iterator[Message]:
        """The user's sound begins; from here on it must not pause."""
        if self._listening:
            return
        self._listening = True
        yield wire.event(
            "contentStart",
            promptName=self._prompt,
            contentName="microphone",
            type="AUDIO",
            interactive=True,
            role="USER",
            audioInputConfiguration=self._sound(self.profile.input_rate),
        )

    def _block(
        self, kind: str, role: str, event: str, content: str, *, interactive: bool = False, **more: Any
    ) -> Iterator[Message]:
        """A block of text: its beginning, its content, its end."""
        self._count += 1
        names = {"promptName": self._prompt, "contentName": f"block-{self._count}"}
        if kind == "TEXT":
            more["textInputConfiguration"] = {"mediaType": "text/plain"}
        yield wire.event("contentStart", **names, type=kind, interactive=interactive, role=role, **more)
        yield wire.event(event, **names, content=content)
        yield wire.event("contentEnd", **names)

    def _sound(self, rate: int) -> dict[str, Any]:
        return {
            "mediaType": "audio/lpcm",
            "sampleRateHertz": rate,
            "sampleSizeBits": 16,
            "channelCount": 1,
            "encoding": "base64",
            "audioType": "SPEECH",
        }


def _tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in the service's words: its JSON schema is a string."""
    parameters = msgspec.json.encode(schema.get("parameters") or {"type": "object", "properties": {}}).decode()
    spec = {"name": schema["name"], "description": schema.get("description") or schema["name"]}
    return {"toolSpec": {**spec, "inputSchema": {"json": parameters}}}


def _object(output: str) -> str:
    """What a tool answered, as the JSON object that the service is known to take."""
    try:
        found = msgspec.json.decode(output)
    except (msgspec.MsgspecError, RecursionError):
        found = output
    return output if isinstance(found, dict) else msgspec.json.encode({RESULT: found}).decode()


def _note(entry: Entry) -> str:
    """An entry as text. What a tool answered is told as a note: there is no other place for it."""
    if entry.role == "call":
        return f"[{entry.name} {entry.arguments}: {entry.output}]"
    return entry.remembered


def _history(entries: Sequence[Entry], most: int) -> list[tuple[str, str]]:
    """The newest of a conversation as the service wants it: the user first, then the two in turns, none too long."""
    told: list[tuple[str, str]] = []
    for entry in entries:
        role = "ASSISTANT" if entry.role == "assistant" else "USER"
        text = _note(entry).strip()
        if told and told[-1][0] == role:
            text = f"{told.pop()[1]}\n{text}"
        told.append((role, text))
    told = [(role, _cut(text, most)) for role, text in told[-HISTORY_MESSAGES:]]
    while told and (told[0][0] == "ASSISTANT" or sum(len(text.encode()) for _, text in told) > HISTORY_TOTAL):
        del told[0]
    return told


def _cut(text: str, most: int) -> str:
    """So many bytes of a text, at most: its end, which matters more for what follows."""
    raw = text.encode()
    return text if len(raw) <= most else "…" + raw[3 - most :].decode("utf-8", "ignore")
