"""`MediaStreamFormat`: what the media streams of telephone vendors share, and where they differ. No I/O.

All three vendors send JSON with an `event`, and sound in base64. They differ in the names of their fields, in the
codecs they offer, and in how they confirm that sound has been played.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from bargein.services.media.g711 import Codec
from bargein.services.transports.control import ControlError
from bargein.services.transports.message_socket import Message

__all__ = ["DtmfDigit", "MediaPayload", "MediaStreamFormat", "PhoneCall", "StreamEvent", "VendorEvent", "encode"]


class PhoneCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call, as the first messages of its stream describe it."""

    stream: str
    """The id of the stream, which messages to the vendor carry."""
    codec: Codec
    """The codec of the sound in both directions."""
    params: Mapping[str, str]
    """`provider`, `call`, `stream` and more, and the parameters that the application had the vendor pass on."""
    token: str = ""
    """The parameter named `token`, which is taken out of `params`."""

    def __repr__(self) -> str:
        return f"PhoneCall({self.stream})"  # without the token, which must not reach a log


class VendorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a message of the vendor means. One of the fields is set."""

    audio: bytes = b""
    """The caller's voice, encoded."""
    mark: str = ""
    """The name of a mark up to which sound has been played."""
    digit: str = ""
    """The key that the caller has pressed."""
    stop: str = ""
    """Why the call is over."""


class MediaPayload(msgspec.Struct, frozen=True):
    """Sound, decoded from base64."""

    payload: bytes
    track: str = "inbound"


class DtmfDigit(msgspec.Struct, frozen=True):
    """A key."""

    digit: str


class MarkName(msgspec.Struct, frozen=True):
    """A mark."""

    name: str


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that the vendors' messages share."""

    event: str
    media: MediaPayload | None = None
    dtmf: DtmfDigit | None = None
    mark: MarkName | None = None
    name: str = ""


EventType = TypeVar("EventType", bound=StreamEvent)


class MediaStreamFormat:
    """The messages of one vendor. Subclasses read its start and write its messages."""

    name: ClassVar[str]
    """The vendor's name."""

    def decode_start(self, data: Message) -> PhoneCall | None:
        """Return the call that a message describes; None for the messages before it.

        Args:
            data: A message of the vendor.

        Raises:
            ControlError: The message is not a start, or asks for a codec that is not supported.
        """
        raise NotImplementedError

    def decode_event(self, data: Message) -> VendorEvent | None:
        """Return what a message means; None for a message that needs no reaction.

        Args:
            data: A message of the vendor.

        Raises:
            ControlError: The message cannot be understood. Nothing else is raised.
        """
        event = self._parse(_DECODER, data)
        if event.media is not None:
            return VendorEvent(audio=event.media.payload) if event.media.track == "inbound" else None
        if mark := self._mark_name(event):
            return VendorEvent(mark=mark)
        if event.dtmf is not None:
            return VendorEvent(digit=event.dtmf.digit)
        return VendorEvent(stop="the call has ended") if event.event == "stop" else None

    def encode_audio(self, call: PhoneCall, payload: bytes) -> str:
        """Return the message that has the vendor play this sound.

        Args:
            call: The call.
            payload: Sound in the call's codec.
        """
        raise NotImplementedError

    def encode_mark(self, call: PhoneCall, name: str) -> str:
        """Return the message that asks the vendor to send this name back when all before it has been played.

        Args:
            call: The call.
            name: The name of the mark.
        """
        raise NotImplementedError

    def encode_clear(self, call: PhoneCall) -> str:
        """Return the message that has the vendor drop all sound that has not been played.

        Args:
            call: The call.
        """
        raise NotImplementedError

    def _mark_name(self, event: StreamEvent) -> str:
        """Return the name of the mark that this event confirms; an empty string for another event."""
        return event.mark.name if event.mark is not None else ""

    def _parse(self, decoder: msgspec.json.Decoder[EventType], data: Message) -> EventType:
        """Decode a message. Raises `ControlError`, and nothing else."""
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ControlError(f"this is not a message of {self.name}: {error}") from None

    def _not_a_start(self, event: StreamEvent) -> ControlError:
        return ControlError(f"this is not a start of {self.name}: {event.event!r}")


_DECODER = msgspec.json.Decoder(StreamEvent)


def encode(**message: Any) -> str:
    """Return a message as JSON; bytes become base64."""
    return msgspec.json.encode(message).decode()
