"""Twilio Media Streams, bidirectional (`<Connect><Stream url="wss://...">`).

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages. The sound is µ-law, 8 kHz, both ways. A
mark comes back when all before it has been played, and at once when it was cleared. `<Parameter>` elements arrive as
wishes; an address has no query there.
"""

from __future__ import annotations

import msgspec
from bargein.services.media.g711 import codec
from bargein.services.transports.control import ControlError

from ._json import made, parsed
from ._line import PhoneCall, VendorEvent

__all__ = ["Twilio"]


class _Start(msgspec.Struct, frozen=True, rename="camel"):
    stream_sid: str
    call_sid: str = ""
    account_sid: str = ""
    custom_parameters: dict[str, str] = {}


class _Media(msgspec.Struct, frozen=True):
    payload: bytes
    track: str = "inbound"


class _Dtmf(msgspec.Struct, frozen=True):
    digit: str


class _Mark(msgspec.Struct, frozen=True):
    name: str


class _Event(msgspec.Struct, frozen=True):
    event: str
    start: _Start | None = None
    media: _Media | None = None
    dtmf: _Dtmf | None = None
    mark: _Mark | None = None


_DECODER = msgspec.json.Decoder(_Event)


class Twilio:
    """How Twilio says it."""

    name = "twilio"

    def opened(self, data: str | bytes) -> PhoneCall | None:
        """The call that `start` tells of, after `connected`."""
        event = parsed(_DECODER, data, self.name)
        if event.event == "connected":
            return None
        if event.event != "start" or event.start is None:
            raise ControlError(f"this is no start of {self.name}: {event.event!r}")
        start = event.start
        custom = dict(start.custom_parameters)
        token = custom.pop("token", "")
        wishes = custom | {
            "provider": self.name,
            "call": start.call_sid,
            "stream": start.stream_sid,
            "account": start.account_sid,
        }
        return PhoneCall(stream=start.stream_sid, codec=codec({"type": "audio/pcmu"}), wishes=wishes, token=token)

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
        return made(event="media", streamSid=call.stream, media={"payload": payload})

    def mark(self, call: PhoneCall, name: str) -> str:
        """`mark`."""
        return made(event="mark", streamSid=call.stream, mark={"name": name})

    def clear(self, call: PhoneCall) -> str:
        """`clear`."""
        return made(event="clear", streamSid=call.stream)
