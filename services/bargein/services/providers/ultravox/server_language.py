"""The server's side of Ultravox's protocol, translated to and from OpenAI's, so that `serve` can speak it.

::

    async with serve(make_brain, dialect=ULTRAVOX) as server:
        ...  # server.url is the `joinUrl` of every call

Creating calls by HTTP is not part of it. It is a peer for tests and demonstrations: where the vendor's documentation
does not say which state follows when, the order here is a guess.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers.openai import wire as openai

from . import wire
from .protocol import PROFILE

__all__ = ["ULTRAVOX", "UltravoxLanguage"]

TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"


class UltravoxLanguage:
    """The server language of Ultravox's calls, for `serve(dialect=...)`.

    Args:
        input_rate: The rate of the user's audio in Hz, as the call was created with.
        output_rate: The rate of the agent's audio in Hz, as the call was created with.
    """

    path = "/join"
    model = ""
    key_header = ""

    @check_options
    def __init__(self, *, input_rate: int = PROFILE.input_rate, output_rate: int = PROFILE.output_rate) -> None:
        self._rates = input_rate, output_rate
        self._active = ""  # the response in progress
        self._thinking = False  # "thinking" was sent, and nothing has followed yet
        self._has_audio = False  # audio was sent that may still be playing
        self._calls: list[wire.ClientToolInvocation] = []  # of the response in progress
        self._unanswered: set[str] = set()
        self._ordinals: dict[str, int] = {}  # of transcripts, by item
        self._transcripts: dict[str, str] = {}  # of the user, by item

    @property
    def session_defaults(self) -> Mapping[str, Any]:
        """The session settings that a connection begins with: the audio formats."""
        user, agent = ({"format": {"type": "audio/pcm", "rate": rate}} for rate in self._rates)
        return {"audio": {"input": {**user, "transcription": {"model": "ultravox"}}, "output": agent}}

    def for_connection(self) -> UltravoxLanguage:
        """Return a new one for another call."""
        return UltravoxLanguage(input_rate=self._rates[0], output_rate=self._rates[1])

    # Messages of the client ---------------------------------------------------------------------------------------

    def read(self, data: str | bytes) -> Iterator[str | bytes]:
        """Translate a client's message to commands. A message that cannot be read is passed on, for the server to
        refuse.

        Args:
            data: A message, as the client wrote it.
        """
        if isinstance(data, bytes):
            yield openai.encode(openai.AudioAppend(audio=data))
            return
        try:
            message = wire.decode_client(data)
        except ValueError:
            yield data
            return
        if isinstance(message, wire.UserTextMessage):
            yield from self._read_text(message)
        elif isinstance(message, wire.ForcedAgentMessage):
            part = openai.WirePart(type="output_text", text=message.content)
            yield openai.encode(openai.ItemCreate(item=openai.WireItem(type="force_message", content=[part])))
        elif isinstance(message, wire.ClientToolResult):
            output = message.result if message.result is not None else message.error_message or ""
            item = openai.WireItem(type="function_call_output", call_id=message.invocation_id, output=output)
            yield openai.encode(openai.ItemCreate(item=item))
            self._unanswered.discard(message.invocation_id)
            if not self._unanswered and message.agent_reaction != "listens":
                yield openai.encode(openai.ResponseCreate())

    def _read_text(self, message: wire.UserTextMessage) -> Iterator[str]:
        if message.text:
            part = openai.WirePart(type="input_text", text=message.text)
            yield openai.encode(openai.ItemCreate(item=openai.WireItem(type="message", role="user", content=[part])))
        elif message.urgency == "immediate":
            yield openai.encode(openai.ResponseCancel())
            # The server answers an update in order, which tells `_translate` that the interrupt is over.
            yield openai.encode(openai.SessionUpdate(session={"type": "realtime"}))
            return
        if not message.defer_response:
            if self._active:
                yield openai.encode(openai.ResponseCancel())
            yield openai.encode(openai.ResponseCreate())

    # Messages of the server ---------------------------------------------------------------------------------------

    def write(self, event: dict[str, Any]) -> Iterator[str | bytes]:
        """Translate an event to messages of the server.

        Args:
            event: The event, as OpenAI's GA interface has it.
        """
        for message in self._translate(event):
            yield message if isinstance(message, bytes) else wire.encode(message)

    def _translate(self, event: dict[str, Any]) -> Iterator[wire.ServerMessage | bytes]:
        kind = event["type"]
        if kind == "session.created":
            yield wire.CallStarted(call_id=event["session"]["id"])
            yield wire.State(state="listening")
        elif kind == "input_audio_buffer.speech_started":
            if self._has_audio and not self._active:  # all was sent, and may still be playing
                self._has_audio = False
                yield wire.PlaybackClearBuffer()
        elif kind == "session.updated":  # the end of an interrupt, which may have come before its response
            if (self._thinking or self._unanswered) and not self._active:
                self._thinking = False
                yield wire.PlaybackClearBuffer()
                yield wire.State(state="listening")
        elif kind in ("input_audio_buffer.committed", "response.created"):
            if kind == "response.created":
                self._active, self._has_audio = event["response"]["id"], False
            if not self._thinking:
                self._thinking = True
                yield wire.State(state="thinking")
        elif kind == "response.done":
            yield from self._end_response(event["response"]["status"])
        elif event.get("response_id") == self._active:
            yield from self._translate_response(kind, event)
        elif kind in (f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed"):
            yield self._user_transcript(event)

    def _translate_response(self, kind: str, event: dict[str, Any]) -> Iterator[wire.ServerMessage | bytes]:
        if kind == "response.output_audio.delta":
            if not self._has_audio:
                self._has_audio = True
                yield wire.State(state="speaking")
            delta = event["delta"]
            yield delta if isinstance(delta, bytes) else base64.b64decode(delta)
        elif kind in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            yield self._agent_transcript(event, delta=event["delta"])
        elif kind == "response.output_audio_transcript.done":
            yield self._agent_transcript(event, text=event["transcript"], final=True)
        elif kind == "response.output_text.done":
            yield self._agent_transcript(event, text=event["text"], final=True)
        elif kind == "response.function_call_arguments.done":
            self._calls.append(
                wire.ClientToolInvocation(
                    tool_name=event["name"],
                    invocation_id=event["call_id"],
                    parameters=_parameters(event["arguments"]),
                )
            )

    def _end_response(self, status: str) -> Iterator[wire.ServerMessage]:
        self._active, self._thinking, calls, self._calls = "", False, self._calls, []
        if status == "cancelled":
            self._has_audio = False
            yield wire.PlaybackClearBuffer()
            yield wire.State(state="listening")
        elif calls:
            self._unanswered = {call.invocation_id for call in calls}
            yield from calls
        else:
            yield wire.State(state="listening")

    def _agent_transcript(self, event: dict[str, Any], **fields: Any) -> wire.TranscriptMessage:
        return wire.TranscriptMessage(role="agent", ordinal=self._ordinal(event["item_id"]), **fields)

    def _user_transcript(self, event: dict[str, Any]) -> wire.TranscriptMessage:
        item = event["item_id"]
        text = event.get("transcript") or self._transcripts.get(item, "") + event.get("delta", "")
        self._transcripts[item] = text
        final = event["type"].endswith("completed")
        return wire.TranscriptMessage(role="user", text=text, final=final, ordinal=self._ordinal(item))

    def _ordinal(self, item: str) -> int:
        return self._ordinals.setdefault(item, len(self._ordinals))


def _parameters(arguments: str) -> dict[str, Any]:
    """Return a tool's arguments as a dictionary; empty if the model has written something else."""
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


ULTRAVOX: Final = UltravoxLanguage()
"""The server language at the usual rates."""
