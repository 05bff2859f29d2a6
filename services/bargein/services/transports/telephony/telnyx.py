"""Telnyx media streaming, bidirectional (`stream_bidirectional_mode: "rtp"`).

Sources: https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming and
https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket. `media_format` names the codec
of the caller's sound, PCMU or PCMA at 8 kHz; set `stream_bidirectional_codec` to the same one. A piece must not be
shorter than 20 ms. A mark comes back when all before it has been played, and at once when it was cleared.
"""

from __future__ import annotations

import msgspec

from bargein.services.media.g711 import codec
from bargein.services.transports.control import ControlError
from bargein.services.transports.message_socket import Message

from ._format import MediaStreamFormat, PhoneCall, StreamEvent, encode

__all__ = ["Telnyx"]

CODECS = {"PCMU": "audio/pcmu", "PCMA": "audio/pcma"}


class _TelnyxMediaFormat(msgspec.Struct, frozen=True):
    encoding: str = "PCMU"
    sample_rate: int = 8_000
    channels: int = 1


class _TelnyxStart(msgspec.Struct, frozen=True, rename={"caller": "from", "callee": "to"}):
    call_control_id: str = ""
    call_session_id: str = ""
    caller: str = ""
    callee: str = ""
    client_state: str | None = None
    custom_parameters: dict[str, str] | None = None
    media_format: _TelnyxMediaFormat = _TelnyxMediaFormat()


class _TelnyxEvent(StreamEvent, frozen=True, kw_only=True, rename={"token": "x-telnyx-streaming-auth-token"}):
    stream_id: str = ""
    start: _TelnyxStart | None = None
    token: str = ""


_DECODER = msgspec.json.Decoder(_TelnyxEvent)


class Telnyx(MediaStreamFormat):
    """The messages of Telnyx's media streaming."""

    name = "telnyx"

    def __init__(self) -> None:
        self._token = ""  # of `connected`, which comes before the start

    def decode_start(self, data: Message) -> PhoneCall | None:
        """Return the call that `start` describes; None for `connected`, which comes before it."""
        event = self._parse(_DECODER, data)
        if event.event == "connected":
            self._token = event.token
            return None
        if event.event != "start" or event.start is None:
            raise self._not_a_start(event)
        start, media = event.start, event.start.media_format
        if media.encoding not in CODECS or media.sample_rate != 8_000:
            raise ControlError(
                f"{self.name} sends {media.encoding} of {media.sample_rate} Hz; ask it for PCMU or PCMA of 8000 Hz"
            )
        custom = dict(start.custom_parameters or {})
        token = custom.pop("token", "") or self._token
        params = custom | {
            "provider": self.name,
            "call": start.call_control_id,
            "stream": event.stream_id,
            "session": start.call_session_id,
            "from": start.caller,
            "to": start.callee,
            "client_state": start.client_state or "",
        }
        sound = codec({"type": CODECS[media.encoding]})
        return PhoneCall(stream=event.stream_id, codec=sound, params=params, token=token)

    def encode_audio(self, call: PhoneCall, payload: bytes) -> str:
        """Return a `media` message: play this sound."""
        return encode(event="media", media={"payload": payload})

    def encode_mark(self, call: PhoneCall, name: str) -> str:
        """Return a `mark` message: send it back when all sound before it has been played."""
        return encode(event="mark", mark={"name": name})

    def encode_clear(self, call: PhoneCall) -> str:
        """Return a `clear` message: drop all sound that has not been played."""
        return encode(event="clear")
