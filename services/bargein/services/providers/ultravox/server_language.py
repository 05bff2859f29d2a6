"""Ultravox's protocol, the server's side: put in the terms of OpenAI's, so that `serve` can speak it.

::

    async with serve(make_brain, dialect=SPOKEN) as server:
        ...  # server.url is the `joinUrl` of every call

The call is made elsewhere, by HTTP; this is what it is joined by. It is a peer for tests and demonstrations: which
state follows which, and when exactly, is a guess where the facts say nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bargein.services.providers.openai import wire as openai

from . import _wire as wire
from .protocol import PROFILE

__all__ = ["SPOKEN", "UltravoxLanguage"]

USER: Final = "conversation.item.input_audio_transcription"


class UltravoxLanguage:
    """What a server of Ultravox's calls speaks. The rates are those that the call was made with."""

    path = "/join"
    model = ""
    key_header = ""

    def __init__(self, *, input_rate: int = PROFILE.input_rate, output_rate: int = PROFILE.output_rate) -> None:
        self._rates = input_rate, output_rate
        self._active = ""  # the response in progress
        self._thinks = False  # that was told, and nothing has come of it
        self._sounded = False  # something was said that may still be heard
        self._calls: list[wire.ClientToolInvocation] = []  # of the response in progress
        self._unanswered: set[str] = set()
        self._ordinals: dict[str, int] = {}  # of transcripts, by item
        self._said: dict[str, str] = {}  # by the user's item

    @property
    def begins(self) -> Mapping[str, Any]:
        """Its formats."""
        heard, spoken = ({"format": {"type": "audio/pcm", "rate": rate}} for rate in self._rates)
        return {"audio": {"input": {**heard, "transcription": {"model": "ultravox"}}, "output": spoken}}

    def begin(self) -> UltravoxLanguage:
        """For another call."""
        return UltravoxLanguage(input_rate=self._rates[0], output_rate=self._rates[1])

    # What the client says -----------------------------------------------------------------------------------------

    def read(self, data: str | bytes) -> Iterator[str | bytes]:
        """A message as commands; one that cannot be read is left for the server to complain of."""
        if isinstance(data, bytes):
            yield openai.encode(openai.AudioAppend(audio=data))
            return
        try:
            message = wire.decode_client(data)
        except ValueError:
            yield data
            return
        if isinstance(message, wire.UserTextMessage):
            yield from self._text(message)
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

    def _text(self, message: wire.UserTextMessage) -> Iterator[str]:
        if message.text:
            part = openai.WirePart(type="input_text", text=message.text)
            yield openai.encode(openai.ItemCreate(item=openai.WireItem(type="message", role="user", content=[part])))
        elif message.urgency == "immediate":
            yield openai.encode(openai.ResponseCancel())
            yield openai.encode(openai.SessionUpdate(session={"type": "realtime"}))  # which is answered, in order
            return
        if not message.defer_response:
            if self._active:
                yield openai.encode(openai.ResponseCancel())
            yield openai.encode(openai.ResponseCreate())

    # What the server says -----------------------------------------------------------------------------------------

    def write(self, event: dict[str, Any]) -> Iterator[str | bytes]:
        """An event as messages."""
        for message in self._messages(event):
            yield message if isinstance(message, bytes) else wire.encode(message)

    def _messages(self, event: dict[str, Any]) -> Iterator[wire.ServerMessage | bytes]:
        kind = event["type"]
        if kind == "session.created":
            yield wire.CallStarted(call_id=event["session"]["id"])
            yield wire.State(state="listening")
        elif kind == "input_audio_buffer.speech_started":
            if self._sounded and not self._active:  # all was sent, and may still be heard
                self._sounded = False
                yield wire.PlaybackClearBuffer()
        elif kind == "session.updated":  # an interrupt is over, which may have come before its response
            if (self._thinks or self._unanswered) and not self._active:
                self._thinks = False
                yield wire.PlaybackClearBuffer()
                yield wire.State(state="listening")
        elif kind in ("input_audio_buffer.committed", "response.created"):
            if kind == "response.created":
                self._active, self._sounded = event["response"]["id"], False
            if not self._thinks:
                self._thinks = True
                yield wire.State(state="thinking")
        elif kind == "response.done":
            yield from self._done(event["response"]["status"])
        elif event.get("response_id") == self._active:
            yield from self._of_response(kind, event)
        elif kind in (f"{USER}.delta", f"{USER}.completed"):
            yield self._heard(event)

    def _of_response(self, kind: str, event: dict[str, Any]) -> Iterator[wire.ServerMessage | bytes]:
        if kind == "response.output_audio.delta":
            if not self._sounded:
                self._sounded = True
                yield wire.State(state="speaking")
            delta = event["delta"]
            yield delta if isinstance(delta, bytes) else base64.b64decode(delta)
        elif kind in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            yield self._agent(event, delta=event["delta"])
        elif kind == "response.output_audio_transcript.done":
            yield self._agent(event, text=event["transcript"], final=True)
        elif kind == "response.output_text.done":
            yield self._agent(event, text=event["text"], final=True)
        elif kind == "response.function_call_arguments.done":
            call = wire.ClientToolInvocation(
                tool_name=event["name"],
                invocation_id=event["call_id"],
                parameters=_parameters(event["arguments"]),
            )
            self._calls.append(call)

    def _done(self, status: str) -> Iterator[wire.ServerMessage]:
        self._active, self._thinks, calls, self._calls = "", False, self._calls, []
        if status == "cancelled":
            self._sounded = False
            yield wire.PlaybackClearBuffer()
            yield wire.State(state="listening")
        elif calls:
            self._unanswered = {call.invocation_id for call in calls}
            yield from calls
        else:
            yield wire.State(state="listening")

    def _agent(self, event: dict[str, Any], **fields: Any) -> wire.TranscriptMessage:
        return wire.TranscriptMessage(role="agent", ordinal=self._ordinal(event["item_id"]), **fields)

    def _heard(self, event: dict[str, Any]) -> wire.TranscriptMessage:
        item = event["item_id"]
        said = self._said[item] = event.get("transcript") or self._said.get(item, "") + event.get("delta", "")
        final = event["type"].endswith("completed")
        return wire.TranscriptMessage(role="user", text=said, final=final, ordinal=self._ordinal(item))

    def _ordinal(self, item: str) -> int:
        return self._ordinals.setdefault(item, len(self._ordinals))


def _parameters(arguments: str) -> dict[str, Any]:
    """What a tool is called with; a model may have written anything."""
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


SPOKEN: Final = UltravoxLanguage()
"""What is spoken at the usual rates."""
