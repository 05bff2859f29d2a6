"""Telnyx media streaming, bidirectional (`stream_bidirectional_mode: "rtp"`).

Source: https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming and
https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket. The sound is what
`media_format` says, PCMU or PCMA of 8 kHz; have `stream_bidirectional_codec` the same. A piece must not be shorter
than 20 ms. A mark comes back when all before it has been played, and at once when it was cleared.
"""

from __future__ import annotations

import msgspec
from bargein.services.media.g711 import codec
from bargein.services.transports.control import ControlError

from ._json import made, parsed
from ._line import PhoneCall, VendorEvent

__all__ = ["Telnyx"]

CODECS = {"PCMU": "audio/pcmu", "PCMA": "audio/pcma"}


class _Format(msgspec.Struct, frozen=True):
    encoding: str = "PCMU"
    sample_rate: int = 8_000
    channels: int = 1


class _Start(msgspec.Struct, frozen=True, rename={"caller": "from", "called": "to"}):
    call_control_id: str = ""
    call_session_id: str = ""
    caller: str = ""
    called: str = ""
    client_state: str | None = None
    custom_parameters: dict[str, str] | None = None
    media_format: _Format = _Format()


class _Media(msgspec.Struct, frozen=True):
    payload: bytes
    track: str = "inbound"


class _Dtmf(msgspec.Struct, frozen=True):
    digit: str


class _Mark(msgspec.Struct, frozen=True):
    name: str


class _Event(msgspec.Struct, frozen=True, rename={"token": "x-telnyx-streaming-auth-token"}):
    event: str
    stream_id: str = ""
    start: _Start | None = None
    media: _Media | None = None
    dtmf: _Dtmf | None = None
    mark: _Mark | None = None
    token: str = ""


_DECODER = msgspec.json.Decoder(_Event)


class Telnyx:
    """How Telnyx says it."""

    name = "telnyx"

    def __init__(self) -> None:
        self._token = ""  # comes before the start

    def opened(self, data: str | bytes) -> PhoneCall | None:
        """The call that `start` tells of, after `connected`."""
        event = parsed(_DECODER, data, self.name)
        if event.event == "connected":
            self._token = event.token
            return None
        if event.event != "start" or event.start is None:
            raise ControlError(f"this is no start of {self.name}: {event.event!r}")
        start, form = event.start, event.start.media_format
        if form.encoding not in CODECS or form.sample_rate != 8_000:
            raise ControlError(
                f"{self.name} sends {form.encoding} of {form.sample_rate} Hz; ask it for PCMU or PCMA of 8000 Hz"
            )
        custom = dict(start.custom_parameters or {})
        token = custom.pop("token", "") or self._token
        wishes = custom | {
            "provider": self.name,
            "call": start.call_control_id,
            "stream": event.stream_id,
            "session": start.call_session_id,
            "from": start.caller,
            "to": start.called,
            "client_state": start.client_state or "",
        }
        return PhoneCall(
            stream=event.stream_id, codec=codec({"type": CODECS[form.encoding]}), wishes=wishes, token=token
        )

    def said(self, data: str | bytes) -> VendorEvent | None:
        """The caller's sound and keys, marks, and `stop`."""
        event = parsed(_DECODER, data, self.name)
        if event.media is not None:
            return VendorEvent(sound=event.media.payload) if event.media.track == "inbound" else None
        if event.mark is not None:
            return VendorEvent(mark=event.mark.name)
        if event.dtmf is not None:
            return VendorEvent(digit=event.dtmf.digit)
        return VendorEvent(stop="the call has ended") if event.event == "stop" else None

    def media(self, call: PhoneCall, payload: bytes) -> str:
        """`media`."""
        return made(event="media", media={"payload": payload})

    def mark(self, call: PhoneCall, name: str) -> str:
        """`mark`."""
        return made(event="mark", mark={"name": name})

    def clear(self, call: PhoneCall) -> str:
        """`clear`."""
        return made(event="clear")
