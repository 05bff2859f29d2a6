"""Plivo audio streaming, bidirectional (`<Stream bidirectional="true" keepCallAlive="true">`).

Sources: https://plivo.com/docs/voice/audio-streaming/audio-streaming and
https://plivo.com/docs/voice/xml/the-stream-element/checkpoint-event. `mediaFormat` names the codec of both directions:
µ-law at 8 kHz, or 16-bit PCM at 8 or 16 kHz. Plivo answers a `checkpoint` with `playedStream` when all before it has
been played, and does not answer one that was cleared. `extraHeaders` become the peer's `params`.
"""

from __future__ import annotations

import msgspec

from bargein.services.media.g711 import Codec, codec
from bargein.services.transports.control import ControlError
from bargein.services.transports.message_socket import Message

from ._format import MediaStreamFormat, PhoneCall, StreamEvent, encode

__all__ = ["Plivo"]

MULAW = "audio/x-mulaw"
L16 = "audio/x-l16"
"""16-bit PCM. Plivo's documents do not state its byte order; their samples hand it to recognisers that expect
little-endian."""
RATES = {MULAW: (8_000,), L16: (8_000, 16_000)}


class _PlivoMediaFormat(msgspec.Struct, frozen=True, rename="camel"):
    encoding: str = MULAW
    sample_rate: int = 8_000


class _PlivoStart(msgspec.Struct, frozen=True, rename="camel"):
    stream_id: str
    call_id: str = ""
    account_id: str = ""
    media_format: _PlivoMediaFormat = _PlivoMediaFormat()


class _PlivoEvent(StreamEvent, frozen=True, kw_only=True):
    start: _PlivoStart | None = None
    extra_headers: str | None = None


_DECODER = msgspec.json.Decoder(_PlivoEvent)


class Plivo(MediaStreamFormat):
    """The messages of Plivo's audio streaming."""

    name = "plivo"

    def decode_start(self, data: Message) -> PhoneCall | None:
        """Return the call that `start` describes. It is Plivo's first message."""
        event = self._parse(_DECODER, data)
        if event.event != "start" or event.start is None:
            raise self._not_a_start(event)
        start, media = event.start, event.start.media_format
        if media.sample_rate not in RATES.get(media.encoding, ()):
            raise ControlError(
                f"{self.name} sends {media.encoding} of {media.sample_rate} Hz; ask it for {MULAW};rate=8000, "
                f"or {L16};rate=8000 or 16000"
            )
        custom = _parse_headers(event.extra_headers or "")
        token = custom.pop("token", "")
        params = custom | {
            "provider": self.name,
            "call": start.call_id,
            "stream": start.stream_id,
            "account": start.account_id,
        }
        sound = codec({"type": "audio/pcmu"}) if media.encoding == MULAW else Codec("audio/pcm", media.sample_rate, 2)
        return PhoneCall(stream=start.stream_id, codec=sound, params=params, token=token)

    def encode_audio(self, call: PhoneCall, payload: bytes) -> str:
        """Return a `playAudio` message: play this sound."""
        kind = L16 if call.codec.sample_bytes == 2 else MULAW
        media = {"contentType": kind, "sampleRate": call.codec.rate, "payload": payload}
        return encode(event="playAudio", media=media)

    def encode_mark(self, call: PhoneCall, name: str) -> str:
        """Return a `checkpoint` message: confirm it when all sound before it has been played."""
        return encode(event="checkpoint", streamId=call.stream, name=name)

    def encode_clear(self, call: PhoneCall) -> str:
        """Return a `clearAudio` message: drop all sound that has not been played."""
        return encode(event="clearAudio", streamId=call.stream)

    def _mark_name(self, event: StreamEvent) -> str:
        return event.name if event.event == "playedStream" else ""


def _parse_headers(text: str) -> dict[str, str]:
    """Parse `userId=12345;sessionId=abc`, also within braces or with commas: Plivo sends all of these forms."""
    pairs = (each.partition("=") for each in text.strip("{} ").replace(",", ";").split(";"))
    return {name.strip(): value.strip() for name, mark, value in pairs if mark}
