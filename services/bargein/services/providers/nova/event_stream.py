"""Messages of `application/vnd.amazon.eventstream`: encoded, found in a stream of bytes, and decoded. No I/O.

A message is big-endian: u32 total length, u32 length of the headers, u32 CRC-32 of these eight bytes; the headers; the
payload; u32 CRC-32 of everything before. A header is u8 length of the name, the name, u8 type, the value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID
from zlib import crc32

__all__ = ["DamagedError", "Message", "MessageSplitter", "Value", "decode", "encode", "encode_header", "split"]

Value = bool | int | bytes | str | datetime | UUID
"""The value of a header. A `datetime` has a time zone; the wire holds milliseconds."""

PRELUDE: Final = 12
MIN_BYTES: Final = PRELUDE + 4
"""Bytes of a message with neither headers nor payload."""
MAX_HEADER_BYTES: Final = 128 * 1024
MAX_BYTES: Final = 16 * 2**20
"""Bytes of a message. A larger length is taken for damaged data."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_U32, _PAIR, _I64, _U16 = struct.Struct(">I"), struct.Struct(">II"), struct.Struct(">q"), struct.Struct(">H")


class DamagedError(ValueError):
    """The bytes are not a message: a checksum or a length is wrong, or a header cannot be read."""


class Message(NamedTuple):
    """A decoded message."""

    headers: Mapping[str, Value]
    payload: bytes


# Encoding -------------------------------------------------------------------------------------------------------------


def encode(headers: Mapping[str, Value], payload: bytes = b"") -> bytes:
    """Return a message as bytes. Raises `ValueError` if headers or payload are too large.

    Args:
        headers: The headers, by name.
        payload: The body of the message.
    """
    head = b"".join(encode_header(name, value) for name, value in headers.items())
    length = MIN_BYTES + len(head) + len(payload)
    if len(head) > MAX_HEADER_BYTES or length > MAX_BYTES:
        raise ValueError(
            f"a message of {length} bytes, {len(head)} of them headers; at most {MAX_BYTES} and {MAX_HEADER_BYTES}"
        )
    prelude = _PAIR.pack(length, len(head))
    body = b"".join((prelude, _U32.pack(crc32(prelude)), head, payload))
    return body + _U32.pack(crc32(body))


def encode_header(name: str, value: Value) -> bytes:
    """Return a header as bytes. Integers are written with 64 bits.

    Args:
        name: Name of the header, 1 to 255 bytes.
        value: Its value.
    """
    raw = name.encode()
    if not 0 < len(raw) < 256:
        raise ValueError(f"a header's name of {len(raw)} bytes; 1 to 255 are possible")
    return bytes((len(raw),)) + raw + _encode_value(value)


def _encode_value(value: Value) -> bytes:
    if isinstance(value, bool):
        return b"\x00" if value else b"\x01"
    if isinstance(value, int):
        return b"\x05" + _I64.pack(value)
    if isinstance(value, datetime):
        return b"\x08" + _I64.pack((value - _EPOCH) // timedelta(milliseconds=1))
    if isinstance(value, UUID):
        return b"\x09" + value.bytes
    kind, raw = (b"\x07", value.encode()) if isinstance(value, str) else (b"\x06", value)
    if len(raw) >= 2**15:  # some implementations read the length as a signed number
        raise ValueError(f"a header of {len(raw)} bytes; at most {2**15 - 1} are possible")
    return kind + _U16.pack(len(raw)) + raw


# Decoding -------------------------------------------------------------------------------------------------------------


class MessageSplitter:
    """Finds messages in a stream of bytes, wherever the stream is cut. The messages are whole, but not yet verified."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._data)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages that these bytes complete.

        Raises `DamagedError` where no message begins. The rest of the stream is lost then.

        Args:
            data: The next bytes of the stream, cut anywhere.
        """
        self._data += data
        while len(self._data) >= PRELUDE:
            length = _length(self._data)
            if len(self._data) < length:
                return
            message = bytes(self._data[:length])
            del self._data[:length]
            yield message


def split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Verify a whole message and return its prelude, headers and payload. Raises `DamagedError`.

    Args:
        data: One complete message.
    """
    if len(data) < MIN_BYTES or _length(data) != len(data):
        raise DamagedError(f"{len(data)} bytes are not one whole message")
    (stated,) = _U32.unpack(data[-4:])
    if (computed := crc32(data[:-4])) != stated:
        raise DamagedError(f"the message's checksum is {stated:#010x}, and should be {computed:#010x}")
    end = PRELUDE + _PAIR.unpack_from(data)[1]
    return data[:PRELUDE], data[PRELUDE:end], data[end:-4]


def decode(data: bytes) -> Message:
    """Verify and decode a whole message. Raises `DamagedError`.

    Args:
        data: One complete message.
    """
    _, head, payload = split(data)
    return Message(dict(_headers(head)), payload)


def _length(data: bytes | bytearray) -> int:
    length, headers = _PAIR.unpack_from(data)
    (stated,) = _U32.unpack_from(data, 8)
    if (computed := crc32(data[:8])) != stated:
        raise DamagedError(f"the checksum before the message is {stated:#010x}, and should be {computed:#010x}")
    if length > MAX_BYTES or headers > MAX_HEADER_BYTES or headers + MIN_BYTES > length:
        raise DamagedError(f"a message of {length} bytes, {headers} of them headers, cannot be")
    return int(length)


def _headers(data: bytes) -> Iterator[tuple[str, Value]]:
    at, seen = 0, set[str]()
    try:
        while at < len(data):
            start, end = at + 1, at + 1 + data[at]
            name = _slice(data, start, end).decode()
            read, at = _READERS[data[end]], end + 1
            if name in seen:
                raise DamagedError(f"the header {name!r} stands twice")
            seen.add(name)
            value, at = read(data, at)
            yield name, value
    except (KeyError, IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise DamagedError(f"the headers cannot be read: {type(error).__name__} at byte {at}") from None


def _slice(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise IndexError
    return data[start:end]


def _number(form: str) -> Callable[[bytes, int], tuple[Any, int]]:
    layout = struct.Struct(form)
    return lambda data, at: (layout.unpack_from(data, at)[0], at + layout.size)


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + _U16.unpack_from(data, at)[0]
    return _slice(data, at + 2, end), end


def _text(data: bytes, at: int) -> tuple[str, int]:
    raw, end = _bytes(data, at)
    return raw.decode(), end


def _time(data: bytes, at: int) -> tuple[datetime, int]:
    return _EPOCH + timedelta(milliseconds=_I64.unpack_from(data, at)[0]), at + 8


def _uuid(data: bytes, at: int) -> tuple[UUID, int]:
    return UUID(bytes=_slice(data, at, at + 16)), at + 16


_READERS: Final[Mapping[int, Callable[[bytes, int], tuple[Any, int]]]] = {
    0: lambda data, at: (True, at),
    1: lambda data, at: (False, at),
    2: _number(">b"),
    3: _number(">h"),
    4: _number(">i"),
    5: _number(">q"),
    6: _bytes,
    7: _text,
    8: _time,
    9: _uuid,
}
