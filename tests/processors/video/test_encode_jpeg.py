"""EncodeJpeg: what goes in can be seen again, in its colours."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from bargein.pipeline import Image, Video
from bargein.pipeline.testing import check_processor
from bargein.processors.video.decode_picture import DecodePicture
from bargein.processors.video.encode_jpeg import EncodeJpeg


def encoded(frame: Video | Image, quality: int = 80) -> bytes:
    (out,) = EncodeJpeg(quality).process(frame)
    assert out.format == "jpeg"
    assert isinstance(out.data, bytes)
    return out.data


def seen(frame: Video | Image, quality: int = 80) -> Any:
    """The picture after a round trip, as integers in rgb24."""
    (out,) = DecodePicture().process(Video(data=encoded(frame, quality), format="jpeg"))
    return np.asarray(out.data, int)


def filled(form: str, *colour: int) -> Video:
    pixels = np.empty((16, 24, len(colour)), np.uint8)
    pixels[:] = colour
    return Video(data=pixels, format=form)


@pytest.mark.parametrize("form", ["rgb24", "bgr24", "rgba"])
def test_red_stays_red(form: str) -> None:
    """In every order of the planes."""
    colour = {"rgb24": (255, 0, 0), "bgr24": (0, 0, 255), "rgba": (255, 0, 0, 255)}[form]
    assert abs(seen(filled(form, *colour)) - (255, 0, 0)).max() <= 4


def test_transparent_pixels_become_black() -> None:
    """A white that is half transparent becomes grey."""
    for alpha, grey in ((255, 255), (128, 128), (0, 0)):
        assert abs(seen(filled("rgba", 255, 255, 255, alpha)) - grey).max() <= 2


def test_grey_stays_grey() -> None:
    """With one component in the file, which spares a third of the bytes or more."""
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    data = encoded(Video(data=ramp, format="gray8"))
    with Pillow.open(io.BytesIO(data)) as picture:
        assert picture.mode == "L"
    assert abs(seen(Video(data=ramp, format="gray8"))[..., 0] - ramp).max() <= 4


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.tuples(*[st.integers(0, 75)] * 3), st.integers(80, 95))
def test_a_round_trip_is_close(width: int, height: int, colour: tuple[int, int, int], quality: int) -> None:
    """A smooth picture of any size comes back with its size, and each value within 6."""
    pixels = (np.indices((height, width)).sum(axis=0)[..., None] + np.array(colour)).astype(np.uint8)
    back = seen(Video(data=pixels), quality)
    assert back.shape == (height, width, 3)
    assert abs(back - pixels).max() <= 6


def test_quality_costs_bytes() -> None:
    """Higher quality brings the picture closer to the original."""
    noise = Video(data=np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8), format="gray8")
    sizes = [len(encoded(noise, quality)) for quality in (1, 30, 80, 95)]
    errors = [abs(seen(noise, quality)[..., 0] - np.asarray(noise.data)).mean() for quality in (1, 30, 80, 95)]
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_jpeg_passes_unchanged() -> None:
    """The very same frame."""
    frame = Video(data=b"as it is", format="jpeg")
    (out,) = EncodeJpeg().process(frame)
    assert out is frame


def test_everything_else_is_kept() -> None:
    """The class and the other fields."""
    still = Image(data=np.zeros((4, 4), np.uint8), format="gray8", detail="low", response_id="a", pts=7, epoch=3)
    (out,) = EncodeJpeg().process(still)
    assert isinstance(out, Image)
    assert (out.format, out.detail, out.response_id, out.pts, out.epoch) == ("jpeg", "low", "a", 7, 3)


@pytest.mark.parametrize("form", ["png", "webp"])
def test_other_encodings_are_refused(form: str) -> None:
    """With what to insert."""
    with pytest.raises(ValueError, match=r"EncodeJpeg takes raw pixels, and got .*insert DecodePicture\(\) before it"):
        list(EncodeJpeg().process(Video(data=b"x", format=form)))


def test_unsupported_picture_is_refused() -> None:
    """The error says what to insert."""
    with pytest.raises(ValueError, match=r"too large for JPEG .*insert Scale\("):
        list(EncodeJpeg().process(Video(data=np.zeros((1, 65_501), np.uint8), format="gray8")))


@pytest.mark.parametrize("quality", [0, 96, 80.0, True])
def test_bad_qualities_are_refused(quality: Any) -> None:
    """With what was given and what is expected."""
    with pytest.raises(ValueError, match=rf"EncodeJpeg\(quality={quality}\): expected an int from 1"):
        EncodeJpeg(quality)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"EncodeJpeg needs PIL.*pip install 'bargein\[video\]'"):
        EncodeJpeg()


@pytest.mark.virtual
async def test_it_conforms() -> None:
    """The conformance suite passes."""
    frames = [Video(data=np.full((6, 8, 3), at, np.uint8), pts=at * 40_000_000) for at in range(8)]
    await check_processor(EncodeJpeg, frames)
