"""Twilio Media Streams, bidirectional (`<Connect><Stream url="wss://...">`).

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages. The sound is µ-law at 8 kHz in both
directions. A mark comes back when all before it has been played, and at once when it was cleared. `<Parameter>`
elements become the peer's `params`; Twilio does not allow a query in the URL.
"""

from __future__ import annotations

import msgspec

from bargein.services.media.g711 import codec
from bargein.services.transports.message_socket import Message

from ._format import MediaStreamFormat, PhoneCall, StreamEvent, encode

__all__ = ["Twilio"]


class _TwilioStart(msgspec.Struct, frozen=True, rename="camel"):
    stream_sid: str
    call_sid: str = ""
    account_sid: str = ""
    custom_parameters: dict[str, str] = {}


class _TwilioEvent(StreamEvent, frozen=True, kw_only=True):
    start: _TwilioStart | None = None


_DECODER = msgspec.json.Decoder(_TwilioEvent)


class Twilio(MediaStreamFormat):
    """The messages of Twilio's media streams."""

    name = "twilio"

    def decode_start(self, data: Message) -> PhoneCall | None:
        """Return the call that `start` describes; None for `connected`, which comes before it."""
        event = self._parse(_DECODER, data)
        if event.event == "connected":
            return None
        if event.event != "start" or event.start is None:
            raise self._not_a_start(event)
        start = event.start
        custom = dict(start.custom_parameters)
        token = custom.pop("token", "")
        params = custom | {
            "provider": self.name,
            "call": start.call_sid,
            "stream": start.stream_sid,
            "account": start.account_sid,
        }
        return PhoneCall(stream=start.stream_sid, codec=codec({"type": "audio/pcmu"}), params=params, token=token)

    def encode_audio(self, call: PhoneCall, payload: bytes) -> str:
        """Return a `media` message: play this sound."""
        return encode(event="media", streamSid=call.stream, media={"payload": payload})

    def encode_mark(self, call: PhoneCall, name: str) -> str:
        """Return a `mark` message: send it back when all sound before it has been played."""
        return encode(event="mark", streamSid=call.stream, mark={"name": name})

    def encode_clear(self, call: PhoneCall) -> str:
        """Return a `clear` message: drop all sound that has not been played."""
        return encode(event="clear", streamSid=call.stream)
