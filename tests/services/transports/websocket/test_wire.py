"""The WebSocket's messages: to the byte, whatever comes."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import LIVE, Audio, Interrupt, Text, Transcript, UserText
from bargein.services.transports import control
from bargein.services.transports.control import ControlError, Finish, Start
from bargein.services.transports.websocket._wire import AgentWire, UserWire, pack, unpack
from tests.environment import amount

SOUND = Audio(samples=np.array([1, -2, 32767], np.int16), rate=16_000)


def test_the_header_is_as_documented() -> None:
    """Sixteen bytes, little-endian, then the samples."""
    assert pack(SOUND, 7, 3).hex(" ", -4) == "01010000 803e0000 07000000 03000000 0100feff ff7f"
    stereo = Audio(samples=np.array([[1, 2], [3, 4]], np.int16), rate=48_000)
    assert pack(stereo, 2**32, 0).hex(" ", -4) == "01020000 80bb0000 00000000 00000000 01000200 03000400"


@given(
    samples=st.lists(st.integers(-32768, 32767), min_size=2, max_size=64).filter(lambda each: len(each) % 2 == 0),
    channels=st.sampled_from([1, 2]),
    rate=st.integers(4_000, 384_000),
    sequence=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2**32 - 1),
)
def test_what_is_packed_is_unpacked(samples: list[int], channels: int, rate: int, sequence: int, epoch: int) -> None:
    """The same."""
    array = np.array(samples, np.int16)
    frame = Audio(samples=array if channels == 1 else array.reshape(-1, 2), rate=rate)
    assert unpack(pack(frame, sequence, epoch)) == (frame, sequence, epoch)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"\1" * 15, "15 bytes"),
        (pack(SOUND, 0, 0)[:16], "0 bytes are not whole"),
        (pack(SOUND, 0, 0)[:-1], "5 bytes are not whole"),
        (b"\2" + pack(SOUND, 0, 0)[1:], "begins with 02010000"),
        (b"\1\1\1\0" + pack(SOUND, 0, 0)[4:], "begins with 01010100"),
        (b"\1\0" + pack(SOUND, 0, 0)[2:], "0 channels at 16000 Hz"),
        (b"\1\1\0\0\0\0\0\0" + pack(SOUND, 0, 0)[8:], "1 channels at 0 Hz"),
    ],
)
def test_wrong_sound_is_refused(data: bytes, said: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(ControlError, match=said):
        unpack(data)


def test_sound_has_its_place_in_time() -> None:
    """Counted in samples, also when the rate changes, and over what was dropped on the way."""
    wire = AgentWire()
    ms20 = Audio(samples=np.zeros(320, np.int16), rate=16_000)
    ms10 = Audio(samples=np.zeros(480, np.int16), rate=48_000)
    sequences = [(ms20, 0), (ms20, 1), (ms20, 4), (ms10, 5), (ms10, 6), (ms10, 0)]
    frames = [frame for sound, sequence in sequences for frame in wire.decode(pack(sound, sequence, 0))]
    assert [frame.pts // 10**6 for frame in frames if isinstance(frame, Audio)] == [0, 20, 80, 100, 110, 120]
    assert wire.missing == 2


def test_the_agent_hears_frames() -> None:
    """Words and goodbyes; a second start is refused."""
    wire = AgentWire()
    assert list(wire.decode('{"type": "text", "text": "hi"}')) == [UserText(text="hi")]
    assert list(wire.decode('{"type": "end"}')) == [Finish()]
    with pytest.raises(ControlError, match="not the time for a start"):
        list(wire.decode(control.encode_start(Start())))


def test_sound_that_never_expires_belongs_to_the_present() -> None:
    """A player that compares epochs plays it."""
    wire = AgentWire()
    (message,) = wire.encode_event(Interrupt(epoch=4, reason="x"))
    assert json.loads(message)["epoch"] == 4
    (live,) = wire.encode_audio(SOUND)
    (mine,) = wire.encode_audio(SOUND.stamped(5))
    assert isinstance(live, bytes)
    assert isinstance(mine, bytes)
    assert [unpack(live)[1:], unpack(mine)[1:]] == [(0, 4), (1, 5)]
    assert wire.encode_event(Text(text="x"))
    assert not wire.encode_event(SOUND)


def test_the_user_drops_what_has_expired() -> None:
    """Older sound that comes after a flush is not given, and counted."""
    agent, user = AgentWire(), UserWire()
    (old,) = agent.encode_audio(SOUND.stamped(0))
    (flush,) = agent.encode_event(Interrupt(epoch=1, reason="the user spoke"))
    (new,) = agent.encode_audio(SOUND.stamped(1))
    given = [frame for data in (old, flush, old, new) for frame in user.decode(data)]
    assert given == [SOUND.stamped(0), Interrupt(epoch=1, reason="the user spoke"), given[2]]
    assert isinstance(given[2], Audio)
    assert given[2].epoch == 1
    assert user.stale == 1


def test_the_users_sound_is_live() -> None:
    """It has no epoch of the agent's."""
    (data,) = UserWire().encode_audio(SOUND)
    assert isinstance(data, bytes)
    assert unpack(data) == (SOUND, 0, 0)
    (frame,) = AgentWire().decode(data)
    assert isinstance(frame, Audio)
    assert frame.epoch == LIVE


COUNT = amount(10_000, 100_000)


def test_garbage_is_an_error_and_nothing_else() -> None:
    """Noise, and good messages with bytes changed, at both ends."""
    chance = random.Random(7)
    good: list[bytes] = [
        pack(SOUND, 1, 2),
        b'{"type": "text", "text": "hello"}',
        b'{"type": "image", "data": "AAAA", "format": "jpeg"}',
        control.encode_start(Start()).encode(),
        str(control.encode_agent_message(Transcript(text="hello"))).encode(),
        str(control.encode_agent_message(Interrupt(epoch=2))).encode(),
    ]
    agent, user = AgentWire(), UserWire()
    wrong = 0
    for number in range(COUNT):
        data = bytearray(chance.choice(good)) if number % 2 else bytearray(chance.randbytes(chance.randrange(64)))
        for _ in range(chance.randrange(4)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        message = bytes(data) if number % 3 else bytes(data).decode("utf-8", "replace")
        for wire in (agent, user):
            try:
                list(wire.decode(message))
            except ControlError:
                wrong += 1
    assert wrong > COUNT // 2
