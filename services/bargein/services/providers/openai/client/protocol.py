"""The client's side of the OpenAI Realtime protocol, without I/O: commands become messages, messages become events.

It follows the GA interface of 2026. Other providers of the family use the same class: events of all of them are
understood, and commands are written in the words of a `Dialect`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np

from bargein.pipeline.lowlevel import check_options
from bargein.services.history import Entry
from bargein.services.history.messages import data_uri
from bargein.services.media.g711 import codec
from bargein.services.providers._shared.keys import Token, fetch_token
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.dialect import GA, Dialect
from bargein.services.realtime import Message, Profile, Settings
from bargein.services.sockets import Endpoint

from ._event_reader import OPENING, OUT_OF_BAND, REQUEST, EventReader

__all__ = ["PROFILE", "AudioForm", "OpenAIProtocol"]

AudioForm = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
"""The format of sound on the wire: 16-bit PCM, or G.711 (mu-law, A-law) at 8 kHz."""

PROFILE: Final = Profile(
    provider="OpenAI",
    input_rate=24_000,
    output_rate=24_000,
    supports_images=True,
    supports_text_output=True,
    supports_cancel=True,
    supports_truncation=True,
    turn_detection=("server_vad", "semantic_vad"),
    supports_commit=True,
    answers_during_tool_calls=True,
    emits_speech_events=True,
    supports_updates=True,
    supports_out_of_band=True,
    supports_history_seeding=True,
    max_session_seconds=3600.0,
    max_id_characters=32,
)


class OpenAIProtocol(EventReader):
    """The protocol of one connection.

    Classes of other providers override `_meaning` and `_updated`, and use `_ask` and `_create` for requests of their
    own.

    Args:
        url: The WebSocket's address with the model.
        headers: HTTP headers of the handshake, with the key.
        profile: What the provider can do.
        form: The format of sound on the wire.
        dialect: How the provider's protocol differs from OpenAI's.
        token: Returns a bearer token for the connection, where the key is not in a header.
    """

    profile = PROFILE

    @check_options
    def __init__(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        profile: Profile = PROFILE,
        form: AudioForm = "audio/pcm",
        dialect: Dialect = GA,
        token: Token | None = None,
    ) -> None:
        self.profile = profile  # type: ignore[misc]
        self._token = token
        self._endpoint = Endpoint(url=url, headers=headers)
        self._count = 0  # for event ids
        self._short_ids: dict[str, str] = {}  # ids of earlier calls that are too long for the provider
        super().__init__(codec({"type": form}), dialect)

    def endpoint(self) -> Endpoint | Awaitable[Endpoint]:
        """Return where to connect to, with a new token where tokens are used."""
        return self._endpoint if self._token is None else self._authorized(self._token)

    async def _authorized(self, token: Token) -> Endpoint:
        bearer = {"Authorization": f"Bearer {await fetch_token(self.profile.provider, token)}"}
        return msgspec.structs.replace(self._endpoint, headers={**self._endpoint.headers, **bearer})

    # Commands -----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterator[Message]:
        """Send the settings at once. `session.updated` says when they have taken effect."""
        yield self._message(wire.SessionUpdate(event_id=OPENING, session=self.session(settings)))

    def _message(self, event: wire.ClientEvent) -> Message:
        """Return an event as a message in the words of the dialect."""
        dialect = self._dialect
        if dialect.event_ids and event.event_id is None:
            self._count += 1
            event.event_id = f"event-{self._count}"
        if dialect is GA or isinstance(event, wire.SessionUpdate | wire.AudioAppend):
            return wire.encode(event)
        return msgspec.json.encode(dialect.write_command(msgspec.to_builtins(event))).decode()

    def update(self, settings: Settings) -> Iterator[Message]:
        """Send the settings as they should be."""
        yield self._message(wire.SessionUpdate(session=self.session(settings)))

    def session(self, settings: Settings) -> dict[str, Any]:
        """Return the session object of some settings in the words of the dialect, with `extra` merged over it.

        Args:
            settings: The settings.
        """
        sound: dict[str, Any] = {"format": self._format(self.profile.input_rate)}
        sound["turn_detection"] = settings.turn_detection
        if settings.transcription is not None:
            sound["transcription"] = settings.transcription
        spoken: dict[str, Any] = {"format": self._format(self.profile.output_rate)}
        if settings.voice is not None:
            spoken["voice"] = settings.voice
        session: dict[str, Any] = {
            "type": "realtime",
            "instructions": settings.instructions,
            "output_modalities": [settings.output],
            "audio": {"input": sound, "output": spoken},
            "tools": [{"type": "function", **each} for each in settings.tools],
        }
        return settings.with_extra(self._dialect.write_session(session))

    def _format(self, rate: int) -> dict[str, Any]:
        name = self._codec.name
        return {"type": name, "rate": rate} if name == "audio/pcm" else {"type": name}

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """Send an earlier conversation: the user's words, what was heard of the agent, tool calls and results."""
        for entry in entries:
            if entry.role == "call":
                call_id, arguments = self._fit_call_id(entry.call_id), entry.arguments or "{}"
                yield self._create(
                    wire.WireItem(type="function_call", call_id=call_id, name=entry.name, arguments=arguments)
                )
                yield from self.tool_result(entry.call_id, entry.output or "")
            else:
                kind = "output_text" if entry.role == "assistant" else "input_text"
                parts = [wire.WirePart(type=kind, text=entry.remembered)] if entry.remembered else []
                if entry.role == "user" and self.profile.supports_images and not self._dialect.images:
                    parts += [_picture(data_uri(each), each.detail) for each in entry.available_pictures]
                if parts:
                    yield self._create(wire.WireItem(type="message", role=entry.role, content=parts))

    def _fit_call_id(self, call_id: str) -> str:
        """Return an id for a call of an earlier conversation, whose provider may allow longer ids than this one."""
        limit = self.profile.max_id_characters
        if limit is None or len(call_id) <= limit:
            return call_id
        short = f"call_{hashlib.blake2b(call_id.encode(), digest_size=16).hexdigest()}"[:limit]
        return self._short_ids.setdefault(call_id, short)

    def audio(self, pcm: bytes) -> Message:
        """Send more of the user's sound."""
        if self._codec.sample_bytes == 1:
            pcm = self._codec.encode(np.frombuffer(pcm, "<i2").astype(np.int16, copy=False))
        return self._message(wire.AudioAppend(audio=pcm))

    def commit(self) -> Iterator[Message]:
        """Make an item of the sound so far. The server does not answer it by itself."""
        yield self._message(wire.AudioCommit())

    def clear_audio(self) -> Iterator[Message]:
        """Discard the sound that was not committed."""
        yield self._message(wire.AudioClear())

    def text(self, text: str, item_id: str = "") -> Iterator[Message]:
        """Send what the user wrote. The server makes an id where ours is longer than it accepts."""
        part = wire.WirePart(type="input_text", text=text)
        limit = self.profile.max_id_characters
        name = item_id if item_id and (limit is None or len(item_id) <= limit) else None
        yield self._create(wire.WireItem(type="message", role="user", content=[part], id=name))

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterator[Message]:
        """Send a picture."""
        part = _picture(f"data:image/{image_format};base64,{base64.b64encode(data).decode()}", detail)
        yield self._create(wire.WireItem(type="message", role="user", content=[part]))

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """Send the result of a tool call."""
        call_id = self._short_ids.get(call_id, call_id)
        yield self._create(wire.WireItem(type="function_call_output", call_id=call_id, output=output))

    def respond(self, instructions: str = "") -> Iterator[Message]:
        """Request a response."""
        yield self._ask({"instructions": instructions} if instructions else {})

    def _ask(self, response: dict[str, Any]) -> Message:
        """Request a response by a name that its metadata repeat."""
        self._count += 1
        self._requests.append(f"respond-{self._count}")
        fields = {"metadata": {REQUEST: self._requests[-1]}, **response}
        return self._message(wire.ResponseCreate(event_id=self._requests[-1], response=fields))

    @property
    def request_id(self) -> str | None:
        """The event id of the latest request for a response."""
        return self._requests[-1] if self._requests else None

    def out_of_band(self, name: str, instructions: str) -> Iterator[Message]:
        """Request a response in text outside the conversation. Its metadata distinguish it from others."""
        response = {
            "conversation": "none",
            "output_modalities": ["text"],
            "tool_choice": "none",
            "instructions": instructions,
            "metadata": {OUT_OF_BAND: name[:512]},
        }
        self._count += 1
        event = f"out-of-band-{self._count}"
        self._out_of_band_requests[event] = name
        yield self._message(wire.ResponseCreate(event_id=event, response=response))

    def cancel(self, response_id: str) -> Iterator[Message]:
        """Cancel this response and no other."""
        yield self._message(wire.ResponseCancel(response_id=response_id))

    def truncate(self, item_id: str, ms: int) -> Iterator[Message]:
        """Cut an item to what was heard of it."""
        yield self._message(wire.ItemTruncate(item_id=item_id, audio_end_ms=ms))

    def delete_item(self, item_id: str) -> Iterator[Message]:
        """Delete an item that was not heard at all: the server refuses to truncate it to nothing."""
        yield self._message(wire.ItemDelete(item_id=item_id))

    def _create(self, item: wire.WireItem) -> Message:
        return self._message(wire.ItemCreate(item=item))


def _picture(url: str, detail: str) -> wire.WirePart:
    return wire.WirePart(type="input_image", image_url=url, detail=detail or None)
