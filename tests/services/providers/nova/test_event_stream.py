"""Messages of the event stream, against botocore's own parser."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.services.providers.nova.event_stream import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    MIN_BYTES,
    DamagedError,
    Message,
    MessageSplitter,
    decode,
    encode,
    encode_header,
)

NAMES = st.text(min_size=1, max_size=40)
TIMES = st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=300),
    st.text(max_size=300),
    TIMES,
    st.uuids(),
)
MESSAGES = st.builds(Message, st.dictionaries(NAMES, VALUES, max_size=6), st.binary(max_size=2000))


def as_botocore(value: Any) -> Any:
    """What botocore makes of a value: it leaves times in milliseconds and UUIDs as bytes."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value.bytes if isinstance(value, UUID) else value


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(each % (len(data) + 1) for each in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@settings(deadline=None)
@given(MESSAGES)
def test_botocore_parses_our_messages(message: Message) -> None:
    """Headers of every type, and the payload."""
    buffer = EventStreamBuffer()
    buffer.add_data(encode(*message))
    (read,) = list(buffer)
    assert read.headers == {name: as_botocore(value) for name, value in message.headers.items()}
    assert read.payload == message.payload


@settings(deadline=None)
@given(MESSAGES)
def test_encoded_messages_decode(message: Message) -> None:
    """A message decodes to what was encoded, and no bytes are left over."""
    read = decode(encode(*message))
    assert read == message
    assert [type(value) for value in read.headers.values()] == [type(value) for value in message.headers.values()]


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(0, 10**6), max_size=12))
def test_stream_may_be_cut_anywhere(messages: list[Message], cuts: list[int]) -> None:
    """Messages are found in pieces of any size. An incomplete one waits."""
    splitter = MessageSplitter()
    stream = b"".join(encode(*message) for message in messages)
    found = [decode(each) for piece in cut(stream, cuts) for each in splitter.feed(piece)]
    assert found == messages
    assert splitter.waiting == 0
    assert list(splitter.feed(stream[:11])) == []
    assert splitter.waiting == min(11, len(stream))


@settings(max_examples=200, deadline=None)
@given(MESSAGES, st.integers(0, 10**6), st.integers(1, 255))
def test_wrong_bit_is_detected(message: Message, place: int, flip: int) -> None:
    """A wrong bit in the length ends the stream. A wrong bit inside a message loses only that message."""
    data = bytearray(encode(*message))
    place %= len(data)
    data[place] ^= flip
    good = encode({":message-type": "event"}, b"next")
    splitter = MessageSplitter()
    if place < 12:
        with pytest.raises(DamagedError, match="before the message"):
            list(splitter.feed(bytes(data) + good))
        return
    bad, then = splitter.feed(bytes(data) + good)
    with pytest.raises(DamagedError):
        decode(bad)
    assert decode(then).payload == b"next"


def _crc(data: bytes) -> bytes:
    return crc32(data).to_bytes(4, "big")


def _message(headers: bytes, payload: bytes = b"") -> bytes:
    prelude = (MIN_BYTES + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    body = prelude + _crc(prelude) + headers + payload
    return body + _crc(body)


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05:na",
        b"\x01a\x0a",
        b"\x01a",
        b"\x01a\x07\x00\x05ab",
        b"\x01a\x06\x00",
        b"\x01a\x09short",
        b"\x01a\x05\x00\x00",
        b"\x01\xff\x00",
        b"\x01a\x07\x00\x01\xff",
        b"\x01a\x08" + b"\x7f" * 8,
        encode_header("a", 1) * 2,
    ],
    ids=["name", "type", "no type", "text", "length", "uuid", "number", "bad name", "bad text", "year", "twice"],
)
def test_malformed_headers(headers: bytes) -> None:
    """They are an error although the checksums are right."""
    with pytest.raises(DamagedError):
        decode(_message(headers))


def test_small_integers() -> None:
    """Other writers use signed integers of 8, 16 and 32 bits."""
    headers = b"\x01a\x02\xff\x01b\x03\xff\xfe\x01c\x04\xff\xff\xff\xfd"
    assert decode(_message(headers)).headers == {"a": -1, "b": -2, "c": -3}


@pytest.mark.parametrize(
    ("length", "headers"),
    [(MAX_BYTES + 1, 0), (MIN_BYTES - 1, 0), (MIN_BYTES + 4, 5), (MAX_BYTES, MAX_HEADER_BYTES + 1)],
)
def test_impossible_lengths(length: int, headers: int) -> None:
    """A length of gigabytes is an error at once, and not waited for."""
    prelude = length.to_bytes(4, "big") + headers.to_bytes(4, "big")
    with pytest.raises(DamagedError, match="cannot be"):
        list(MessageSplitter().feed(prelude + _crc(prelude)))


def test_malformed_messages() -> None:
    """Data that is too short, or has something behind it, is refused."""
    good = encode({}, b"x")
    for data in (b"", good[:-1], good + b"\x00"):
        with pytest.raises(DamagedError):
            decode(data)


def test_oversized_messages() -> None:
    """A message that is too large is refused before it is sent."""
    with pytest.raises(ValueError, match="name of 256 bytes"):
        encode_header("n" * 256, True)
    with pytest.raises(ValueError, match="header of 32768 bytes"):
        encode_header("n", "v" * 2**15)
    with pytest.raises(ValueError, match="at most"):
        encode({}, bytes(MAX_BYTES))
