"""Plivo audio streaming, bidirectional (`<Stream bidirectional="true" keepCallAlive="true">`).

Source: https://plivo.com/docs/voice/audio-streaming/audio-streaming and
https://plivo.com/docs/voice/xml/the-stream-element/checkpoint-event. The sound is what `mediaFormat` says: µ-law of
8 kHz, or 16-bit PCM of 8 or 16 kHz, both ways. A `checkpoint` is answered by `playedStream` when all before it has
been played, and not at all when it was cleared. `extraHeaders` arrive as wishes.
"""

from __future__ import annotations

import msgspec
from bargein.services.media.g711 import Codec, codec
from bargein.services.transports.control import ControlError

from ._json import made, parsed
from ._line import PhoneCall, VendorEvent

__all__ = ["Plivo"]

MULAW = "audio/x-mulaw"
L16 = "audio/x-l16"  # taken to be little-endian, as the vendor's samples hand it on to recognisers that expect that
RATES = {MULAW: (8_000,), L16: (8_000, 16_000)}


class _Format(msgspec.Struct, frozen=True, rename="camel"):
    encoding: str = MULAW
    sample_rate: int = 8_000


class _Start(msgspec.Struct, frozen=True, rename="camel"):
    stream_id: str
    call_id: str = ""
    account_id: str = ""
    media_format: _Format = _Format()


class _Media(msgspec.Struct, frozen=True):
    payload: bytes
    track: str = "inbound"


class _Dtmf(msgspec.Struct, frozen=True):
    digit: str


class _Event(msgspec.Struct, frozen=True):
    event: str
    start: _Start | None = None
    media: _Media | None = None
    dtmf: _Dtmf | None = None
    name: str = ""
    extra_headers: str | None = None


_DECODER = msgspec.json.Decoder(_Event)


class Plivo:
    """How Plivo says it."""

    name = "plivo"

    def opened(self, data: str | bytes) -> PhoneCall | None:
        """The call that `start` tells of."""
        event = parsed(_DECODER, data, self.name)
        if event.event != "start" or event.start is None:
            raise ControlError(f"this is no start of {self.name}: {event.event!r}")
        start, form = event.start, event.start.media_format
        if form.sample_rate not in RATES.get(form.encoding, ()):
            raise ControlError(
                f"{self.name} sends {form.encoding} of {form.sample_rate} Hz; ask it for {MULAW};rate=8000, "
                f"or {L16};rate=8000 or 16000"
            )
        sound = codec({"type": "audio/pcmu"}) if form.encoding == MULAW else Codec("audio/pcm", form.sample_rate, 2)
        custom = _headers(event.extra_headers or "")
        token = custom.pop("token", "")
        wishes = custom | {
            "provider": self.name,
            "call": start.call_id,
            "stream": start.stream_id,
            "account": start.account_id,
        }
        return PhoneCall(stream=start.stream_id, codec=sound, wishes=wishes, token=token)

    def said(self, data: str | bytes) -> VendorEvent | None:
        """The caller's sound and keys, checkpoints, and `stop`."""
        event = parsed(_DECODER, data, self.name)
        if event.media is not None:
            return VendorEvent(sound=event.media.payload) if event.media.track == "inbound" else None
        if event.event == "playedStream":
            return VendorEvent(mark=event.name)
        if event.dtmf is not None:
            return VendorEvent(digit=event.dtmf.digit)
        return VendorEvent(stop="the call has ended") if event.event == "stop" else None

    def media(self, call: PhoneCall, payload: bytes) -> str:
        """`playAudio`."""
        kind = L16 if call.codec.width == 2 else MULAW
        media = {"contentType": kind, "sampleRate": call.codec.rate, "payload": payload}
        return made(event="playAudio", media=media)

    def mark(self, call: PhoneCall, name: str) -> str:
        """`checkpoint`."""
        return made(event="checkpoint", streamId=call.stream, name=name)

    def clear(self, call: PhoneCall) -> str:
        """`clearAudio`."""
        return made(event="clearAudio", streamId=call.stream)


def _headers(text: str) -> dict[str, str]:
    """`userId=12345;sessionId=abc`, or the same within braces, or with commas."""
    pairs = (each.partition("=") for each in text.strip("{} ").replace(",", ";").split(";"))
    return {name.strip(): value.strip() for name, mark, value in pairs if mark}
