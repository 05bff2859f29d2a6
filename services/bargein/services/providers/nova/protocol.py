"""The client's side of Nova Sonic's protocol: commands to messages, messages to events. No I/O.

A message is one of the event stream, not yet signed. The service insists on an order: the session, the prompt, the
instructions, the conversation so far, then the user's audio without a break. Tool results, and typed text with Nova 2,
come between the audio.

Statements marked [third party] come from other projects and not from Amazon's documentation.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.history import Entry
from bargein.services.realtime import Event, Message, Profile, Protocol, ProtocolFault, SessionReady, Settings
from bargein.services.realtime.settings import deep_merge
from bargein.services.sockets import Endpoint
from bargein.services.tools import without_references

from . import wire
from ._turns import NovaTurns

__all__ = ["PROFILE", "PROFILE_1", "NovaProtocol"]

PROFILE: Final = Profile(
    provider="Nova 2 Sonic",
    input_rate=16_000,
    output_rate=24_000,
    turn_detection=("server_vad",),
    supports_response_requests=False,
    needs_continuous_audio=True,  # muted or not: the service gives up a silent stream after about 55 s [third party]
    supports_updates=True,
    reconnects_to_update=True,
    supports_history_seeding=True,
    max_session_seconds=480.0,
)
"""What Nova 2 Sonic can do."""
PROFILE_1: Final = msgspec.structs.replace(PROFILE, provider="Nova Sonic", supports_text_input=False)
"""What the first version can do: it takes no typed text."""
DEFAULT_VOICE: Final = "tiffany"
"""The voice if none is chosen, because the service requires one. Both versions have it."""
DEFAULT_INSTRUCTIONS: Final = "You are a friendly assistant. Be brief: your answers are spoken."
"""The instructions if there are none, because the service requires some."""
MAX_HISTORY_MESSAGES: Final = 40
"""Messages of an earlier conversation that are sent, the newest [third party]."""
MAX_HISTORY_MESSAGE_BYTES: Final = {True: 50_000, False: 1_000}
"""Bytes of each such message: with Nova 2 (True), and with the first version (False) [third party]."""
MAX_HISTORY_BYTES: Final = 200_000
"""Bytes of all such messages together [third party]."""
SCHEMA_KEYWORDS: Final = ("type", "properties", "required")
"""The keywords that Amazon's models take at the top of a tool's schema: no definitions, so no references. Source:
https://docs.aws.amazon.com/nova/latest/userguide/prompting-tool-troubleshooting.html"""
RESULT_KEY: Final = "result"
"""The key under which a tool's result is sent if it is not a JSON object. It is not certain that plain text is
taken."""
FATAL_KINDS: Final = frozenset({"validationException", "accessDeniedException", "resourceNotFoundException"})
"""Failures where retrying cannot succeed, if they are the first message of a connection."""


class NovaProtocol(Protocol):
    """The protocol of one connection to Nova Sonic.

    Args:
        url: The address of the model.
        profile: What the model can do.
        ssl: The TLS context; None for the default.
    """

    profile = PROFILE

    @check_options
    def __init__(self, *, url: str, profile: Profile = PROFILE, ssl: ssl.SSLContext | None = None) -> None:
        self.profile = profile  # type: ignore[misc]
        self._endpoint = Endpoint(url=url, ssl=ssl)
        self._prompt = uuid4().hex
        self._turns = NovaTurns(self._prompt[:8])
        self._block_count = 0
        self._prompt_open = False
        self._audio_open = False
        self._has_answered = False  # the service has sent a message that is not a failure

    def endpoint(self) -> Endpoint:
        """Return where to connect to."""
        return self._endpoint

    # Messages of the service --------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterable[Event]:
        """Return the events of a message. A message that cannot be read is a fault, not the end."""
        if isinstance(data, str):
            return (ProtocolFault(message="text, where a message of the event stream was expected"),)
        try:
            event = wire.decode_event(data)
        except wire.UnreadableError as error:
            return (ProtocolFault(message=f"a message that cannot be read: {error}"),)
        except wire.ServiceError as error:
            self._prompt_open = False
            fatal = error.kind in FATAL_KINDS and not self._has_answered
            return (ProtocolFault(message=str(error), code=error.kind, fatal=fatal, broken=True),)
        self._has_answered = True
        return () if event is None else self._turns.take(event)

    # Commands -----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterator[Message]:
        """Open the session and the prompt, and send the instructions."""
        self._prompt_open = True
        session: dict[str, Any] = {"inferenceConfiguration": {}}
        turns = {key: value for key, value in (settings.turn_detection or {}).items() if key != "type"}
        if turns:
            session["turnDetectionConfiguration"] = turns
        yield wire.encode_event("sessionStart", **deep_merge(session, settings.extra.get("sessionStart") or {}))
        audio = _audio_format(self.profile.output_rate) | {"voiceId": settings.voice or DEFAULT_VOICE}
        prompt: dict[str, Any] = {
            "promptName": self._prompt,
            "textOutputConfiguration": {"mediaType": "text/plain"},
            "audioOutputConfiguration": audio,
        }
        if settings.tools:
            prompt["toolUseOutputConfiguration"] = {"mediaType": "application/json"}
            prompt["toolConfiguration"] = {"tools": [_tool(each) for each in settings.tools]}
        yield wire.encode_event("promptStart", **deep_merge(prompt, settings.extra.get("promptStart") or {}))
        yield from self._block("TEXT", "SYSTEM", "textInput", settings.instructions or DEFAULT_INSTRUCTIONS)

    def on_open(self) -> Iterable[Event]:
        """Report the session as ready at once: the service may say nothing before it hears something."""
        return (SessionReady(session_id=self._prompt),)

    def close_session(self) -> Iterator[Message]:
        """End the user's audio, the prompt and the session."""
        if not self._prompt_open:
            return
        if self._audio_open:
            yield wire.encode_event("contentEnd", promptName=self._prompt, contentName="microphone")
        yield wire.encode_event("promptEnd", promptName=self._prompt)
        yield wire.encode_event("sessionEnd")

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """Send the conversation so far. It must precede the user's audio; later, entries become typed text."""
        if not self._audio_open:
            for role, text in _history(entries, MAX_HISTORY_MESSAGE_BYTES[self.profile.supports_text_input]):
                yield from self._block("TEXT", role, "textInput", text)
        elif self.profile.supports_text_input:
            for entry in entries:
                yield from self.text(_entry_text(entry))

    def audio(self, pcm: bytes) -> Iterator[Message]:
        """Send audio of the user."""
        yield from self._open_audio()
        content = base64.b64encode(pcm).decode()
        yield wire.encode_event("audioInput", promptName=self._prompt, contentName="microphone", content=content)

    def text(self, text: str, item_id: str = "") -> Iterator[Message]:
        """Send typed text, which is answered like spoken words. Nova 2 only."""
        yield from self._open_audio()
        if text.strip():  # the service refuses empty text
            yield from self._block("TEXT", "USER", "textInput", text, interactive=True)

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """Send a tool's result."""
        yield from self._open_audio()
        result = {"toolUseId": call_id, "type": "TEXT", "textInputConfiguration": {"mediaType": "text/plain"}}
        content = _as_object(output)
        yield from self._block("TOOL", "TOOL", "toolResult", content, toolResultInputConfiguration=result)

    def clear_audio(self) -> Iterable[Message]:
        """Return nothing: audio that was sent cannot be taken back."""
        return ()

    def _open_audio(self) -> Iterator[Message]:
        """Begin the block of the user's audio, which lasts for the session. From here on audio must not pause."""
        if self._audio_open:
            return
        self._audio_open = True
        yield wire.encode_event(
            "contentStart",
            promptName=self._prompt,
            contentName="microphone",
            type="AUDIO",
            interactive=True,
            role="USER",
            audioInputConfiguration=_audio_format(self.profile.input_rate),
        )

    def _block(
        self, kind: str, role: str, event: str, content: str, *, interactive: bool = False, **fields: Any
    ) -> Iterator[Message]:
        """Send a block with one content: its beginning, its content, its end."""
        self._block_count += 1
        names = {"promptName": self._prompt, "contentName": f"block-{self._block_count}"}
        if kind == "TEXT":
            fields["textInputConfiguration"] = {"mediaType": "text/plain"}
        yield wire.encode_event("contentStart", **names, type=kind, interactive=interactive, role=role, **fields)
        yield wire.encode_event(event, **names, content=content)
        yield wire.encode_event("contentEnd", **names)


def _audio_format(rate: int) -> dict[str, Any]:
    return {
        "mediaType": "audio/lpcm",
        "sampleRateHertz": rate,
        "sampleSizeBits": 16,
        "channelCount": 1,
        "encoding": "base64",
        "audioType": "SPEECH",
    }


def _tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's declaration. The service takes its JSON schema as a string, and few keywords at its top."""
    known = {"type": "object", "properties": {}} | without_references(schema.get("parameters") or {})
    parameters = msgspec.json.encode({key: known[key] for key in SCHEMA_KEYWORDS if key in known}).decode()
    spec = {"name": schema["name"], "description": schema.get("description") or schema["name"]}
    return {"toolSpec": {**spec, "inputSchema": {"json": parameters}}}


def _as_object(output: str) -> str:
    """Return a tool's result as a JSON object, which the service is known to take."""
    try:
        found = msgspec.json.decode(output)
    except (msgspec.MsgspecError, RecursionError):
        found = output
    return output if isinstance(found, dict) else msgspec.json.encode({RESULT_KEY: found}).decode()


def _entry_text(entry: Entry) -> str:
    """Return an entry as text. Tool calls become a note, because the service takes earlier ones in no other form."""
    if entry.role == "call":
        return f"[{entry.name} {entry.arguments}: {entry.output}]"
    return entry.remembered


def _history(entries: Sequence[Entry], max_message_bytes: int) -> list[tuple[str, str]]:
    """Return the newest messages as the service wants them: the user's first, roles alternating, within the limits."""
    messages: list[tuple[str, str]] = []
    for entry in entries:
        role = "ASSISTANT" if entry.role == "assistant" else "USER"
        text = _entry_text(entry).strip()
        if messages and messages[-1][0] == role:
            text = f"{messages.pop()[1]}\n{text}"
        messages.append((role, text))
    messages = [(role, _cut(text, max_message_bytes)) for role, text in messages[-MAX_HISTORY_MESSAGES:]]
    while messages and (
        messages[0][0] == "ASSISTANT" or sum(len(text.encode()) for _, text in messages) > MAX_HISTORY_BYTES
    ):
        del messages[0]
    return messages


def _cut(text: str, max_bytes: int) -> str:
    """Return the end of a text, within a number of bytes. The end matters more for what follows."""
    raw = text.encode()
    return text if len(raw) <= max_bytes else "…" + raw[3 - max_bytes :].decode("utf-8", "ignore")
