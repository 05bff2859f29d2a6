"""Frames: what they hold, what they refuse, and what they never do."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import pytest

from bargein.pipeline import (
    LIVE,
    Audio,
    Delivery,
    End,
    Failure,
    Frame,
    FrameError,
    Image,
    Interrupt,
    Played,
    ResponseStarted,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    UserText,
    Video,
)

SOUND = np.arange(320, dtype=np.int16)
PIXELS = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": SOUND.astype(np.float32)}, r"an array of float32 with shape \(320,\); expected .* int16"),
        ({"samples": SOUND.astype(np.int32)}, "an array of int32"),
        ({"samples": b"\0\0"}, r"bytes .*Audio\.from_bytes"),
        ({"samples": SOUND[:0]}, r"shape \(0,\); expected a non-empty"),
        ({"samples": np.zeros((2, 2, 2), np.int16)}, r"shape \(2, 2, 2\)"),
        ({"samples": np.int16(3)}, "int16"),
        ({"rate": 0}, "Audio.rate is int 0; expected samples a second"),
        ({"rate": -8000}, "-8000"),
        ({"rate": 16_000.0}, "float 16000.0"),
    ],
)
def test_invalid_audio_is_refused(fields: dict[str, Any], message: str) -> None:
    """The error says what was given and what is expected."""
    with pytest.raises(FrameError, match=message):
        Audio(**cast("Any", {"samples": SOUND, "rate": 16_000} | fields))


@pytest.mark.parametrize("kind", [Video, Image])
@pytest.mark.parametrize(
    ("data", "form", "message"),
    [
        (PIXELS[..., 0], "rgb24", r"shape \(4, 6\); format 'rgb24' expects an array of uint8 with shape \(height"),
        (PIXELS.astype(np.int16), "rgb24", "an array of int16"),
        (PIXELS, "gray8", r"expects an array of uint8 with shape \(height, width\)"),
        (PIXELS, "rgba", "rgba"),
        (PIXELS[:0], "rgb24", r"shape \(0, 6, 3\)"),
        (PIXELS, "jpeg", "expects non-empty bytes"),
        (b"", "png", "expects non-empty bytes"),
        (b"..", "rgb24", "bytes"),
        (b"..", "gif", "format is 'gif'; expected one of rgb24, .*webp"),
    ],
)
def test_invalid_pictures_are_refused(kind: type[Video | Image], data: Any, form: str, message: str) -> None:
    """Pixels must fit the format they are said to have."""
    with pytest.raises(FrameError, match=message):
        kind(data=data, format=form)


def test_frames_are_frozen() -> None:
    """No field can be set."""
    with pytest.raises(AttributeError):
        Audio(samples=SOUND, rate=16_000).rate = 8000  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Text(text="a").epoch = 3  # type: ignore[misc]


def test_live_is_the_default_and_the_greatest() -> None:
    """A frame without an epoch never expires."""
    assert Text(text="a").epoch == LIVE
    assert Text(text="a", epoch=10**12).epoch < LIVE


@pytest.mark.parametrize("frame", [Transcript(text="a"), Played(response_id="r", ms=1), End()])
def test_events_never_expire(frame: Frame) -> None:
    """Only media, text and urgent frames can carry an epoch."""
    with pytest.raises(FrameError, match="never expire"):
        msgspec.structs.replace(frame, epoch=3)


def test_stamping_leaves_the_original() -> None:
    """A stamped frame is another frame with the same contents."""
    frame = Audio(samples=SOUND, rate=16_000, pts=5, response_id="r")
    stamped = frame.stamped(3)
    assert (stamped.epoch, frame.epoch) == (3, LIVE)
    assert stamped.samples is frame.samples
    assert msgspec.structs.replace(stamped, epoch=LIVE) == frame


def test_equality_compares_contents() -> None:
    """Frames with arrays can be compared in tests, and hashed."""
    one, same = (Audio(samples=SOUND.copy(), rate=16_000) for _ in range(2))
    assert one == same
    assert not one != same  # noqa: SIM202 - the two operators are two methods
    assert hash(one) == hash(same)
    assert one != one.scaled(0.5)
    assert one != Audio(samples=SOUND, rate=8000)
    assert Video(data=PIXELS) == Video(data=PIXELS.copy())
    assert Video(data=PIXELS) != Image(data=PIXELS)
    assert Image(data=b"x", format="png") != Image(data=PIXELS)
    assert len({one, same}) == 1


def test_reprs_tell_size_and_time_and_no_contents() -> None:
    """They are short enough for logs, and never contain the user's media."""
    assert repr(Audio(samples=SOUND, rate=16_000, pts=1_500_000_000)) == "Audio(20 ms, 16000 Hz, 1 ch, pts=1.500s)"
    assert repr(Audio(samples=SOUND, rate=16_000, epoch=3, response_id="r")).endswith(
        "pts=0.000s, epoch=3, response_id='r')"
    )
    assert repr(Video(data=PIXELS)) == "Video(6x4, rgb24, pts=0.000s)"
    assert repr(Image(data=b"abc", format="jpeg")) == "Image(3 bytes, jpeg, pts=0.000s)"


def test_bytes_round_trip() -> None:
    """Mono and stereo survive; half a sample is refused."""
    mono = Audio(samples=SOUND, rate=16_000)
    assert Audio.from_bytes(mono.to_bytes(), 16_000) == mono
    stereo = Audio(samples=SOUND.reshape(-1, 2), rate=16_000)
    assert Audio.from_bytes(stereo.to_bytes(), 16_000, channels=2) == stereo
    assert (mono.channels, stereo.channels) == (1, 2)
    with pytest.raises(FrameError, match="3 bytes are not a whole number"):
        Audio.from_bytes(b"abc", 16_000)


def test_durations_are_counted_from_samples() -> None:
    """Nanoseconds are rounded down from the count, so they must not be summed."""
    frame = Audio(samples=SOUND[:441], rate=44_100)
    assert frame.duration == 320 * 1_000_000_000 // 44_100
    assert Audio(samples=SOUND, rate=16_000).ms == 20.0


def test_scaling_saturates() -> None:
    """Too loud is clipped, not wrapped."""
    loud = Audio(samples=np.array([20_000, -20_000, 3], np.int16), rate=8000).scaled(2)
    assert loud.samples.tolist() == [32_767, -32_768, 6]


def test_own_frame_class() -> None:
    """A frame class may leave out the class options."""

    class Subtitle(Frame, frozen=True, kw_only=True):
        text: str

    class Mood(Frame):  # type: ignore[misc]  # type checkers want the options, run time does not
        happy: bool

    assert Subtitle(text="a", epoch=2).epoch == 2
    assert Mood(happy=True).delivery is Delivery.STREAM
    with pytest.raises(AttributeError):
        Mood(happy=True).happy = False


def test_interrupts_may_carry_an_epoch() -> None:
    """It says which response they are about; the engine numbers them."""
    assert Interrupt(epoch=4).epoch == 4
    assert Interrupt().epoch == LIVE


def test_frames_take_their_payload_by_position() -> None:
    """The ids, `pts` and `epoch` stay keyword-only."""
    assert Text("hi") == Text(text="hi")
    assert Audio(SOUND, 16_000) == Audio(samples=SOUND, rate=16_000)
    assert Image(b"x", "png") == Image(data=b"x", format="png")
    assert ToolResult("call-1", "{}") == ToolResult(call_id="call-1", output="{}")
    for kind, payload in ((Text, ("hi", False)), (Audio, (SOUND, 16_000)), (ToolCall, ("call-1", "name", "{}"))):
        with pytest.raises(TypeError, match="position"):
            cast("Any", kind)(*payload, "an-id")


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        (Text, (3,), r"Text\.text is int 3; expected a str"),
        (UserText, (b"hi",), r"UserText\.text is bytes b'hi'; expected a str, or decode it"),
        (Transcript, (None,), r"Transcript\.text is NoneType None"),
        (Failure, (ValueError("x"),), r"Failure\.message is ValueError"),
        (ResponseStarted, (7,), r"ResponseStarted\.response_id is int 7"),
        (ToolResult, ("c", {"a": 1}), r"ToolResult\.output is dict \{'a': 1\}"),
        (Text, (), r"Text\(\) lacks its text; write Text\(text='...'\)"),
        (ToolCall, ("c",), r"ToolCall\(\) lacks its name"),
        (Audio, (SOUND,), r"Audio\.rate is missing; expected samples a second"),
        (Audio, (), r"Audio\.samples is missing; expected a non-empty array"),
        (Image, (), r"Image\.data is missing; format 'rgb24' expects an array"),
    ],
)
def test_a_wrong_payload_is_named(kind: Any, payload: tuple[Any, ...], message: str) -> None:
    """The error says which class, which field and which value."""
    with pytest.raises(FrameError, match=message):
        kind(*payload)


def test_a_string_of_a_subclass_is_a_string() -> None:
    """Enumerations of strings, for instance, are accepted."""

    class Name(str):
        pass

    assert Text(Name("hi")).text == "hi"
