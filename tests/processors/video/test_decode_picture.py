"""DecodePicture: every encoding to every format, and nothing that comes from outside breaks it."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import zlib
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from bargein.pipeline import Failure, Image, Video
from bargein.pipeline.testing import Harness, check_processor
from bargein.processors.video._pictures import RawFormat
from bargein.processors.video.decode_picture import DecodePicture

ENCODINGS = ["jpeg", "png", "webp"]
FORMATS: tuple[RawFormat, ...] = get_args(RawFormat)
RED = np.full((10, 20, 3), (255, 0, 0), np.uint8)


def encoded(pixels: Any, form: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, form.upper(), **options)
    return file.getvalue()


def decoded(data: bytes, form: str = "png", to: RawFormat = "rgb24", **options: Any) -> Any:
    (out,) = DecodePicture(to, **options).process(Video(data=data, format=form))
    assert out.format == to
    return out.data


def saved(picture: Pillow.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("form", ENCODINGS)
def test_every_encoding_becomes_every_format(form: str, to: RawFormat) -> None:
    """Red is red, and the array is C-contiguous."""
    data = decoded(encoded(RED, form), form, to)
    red = {"rgb24": (255, 0, 0), "bgr24": (0, 0, 255), "rgba": (255, 0, 0, 255), "gray8": 76}[to]
    assert data.shape[:2] == (10, 20)
    assert data.flags.c_contiguous
    assert abs(data.astype(int) - red).max() <= 4


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(FORMATS), st.integers(0, 9))
def test_png_is_exact(width: int, height: int, to: RawFormat, seed: int) -> None:
    """Every pixel of every size comes back."""
    shape = {"gray8": (), "rgba": (4,)}.get(to, (3,))
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *shape), np.uint8)
    data = decoded(encoded(pixels), to=to)
    assert np.array_equal(data[..., ::-1] if to == "bgr24" else data, pixels)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("to", FORMATS)
def test_raw_pictures_are_converted(source: RawFormat, to: RawFormat) -> None:
    """Between any two formats; one that is right passes as it is."""
    grey: dict[str, Any] = {"rgba": (90, 90, 90, 255)}
    pixels = np.empty((5, 7, *{"gray8": (), "rgba": (4,)}.get(source, (3,))), np.uint8)
    pixels[:] = grey.get(source, 90)
    frame = Video(data=pixels, format=source)
    (out,) = DecodePicture(to).process(frame)
    assert (out is frame) == (source == to)
    assert (np.asarray(out.data) == grey.get(to, 90)).all()


def test_raw_red_is_found_again() -> None:
    """The planes change places."""
    (out,) = DecodePicture("bgr24").process(Video(data=RED))
    assert np.array_equal(out.data, RED[..., ::-1])


def test_transparent_pixels_become_black() -> None:
    """However the file says it: with an alpha plane, in a palette, or as one colour."""
    half = np.full((4, 4, 4), (255, 255, 255, 128), np.uint8)
    assert (decoded(encoded(half)) == 128).all()
    assert (decoded(encoded(half), to="gray8") == 128).all()
    assert (decoded(encoded(half), to="rgba") == half).all()
    white = Pillow.new("RGB", (4, 4), "white")
    for picture in (white.convert("P"), white, white.convert("L")):
        colour: Any = picture.getpixel((0, 0))
        data = saved(picture, transparency=colour)
        assert (decoded(data) == 0).all()
        assert (decoded(data, to="gray8") == 0).all()
        assert (decoded(data, to="rgba")[..., 3] == 0).all()


def test_unusual_pictures() -> None:
    """CMYK, one bit, palettes and sixteen bits come out as they look."""
    assert (
        abs(
            decoded(saved(Pillow.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"), "jpeg").astype(int) - (254, 0, 0)
        ).max()
        < 4
    )
    assert (decoded(saved(Pillow.new("1", (4, 4), 1))) == 255).all()
    assert (
        decoded(saved(Pillow.new("RGB", (4, 4), (9, 8, 7)).convert("P", palette=Pillow.Palette.ADAPTIVE))) == (9, 8, 7)
    ).all()
    deep = np.full((4, 4), 0x8000, np.uint16)
    assert (decoded(encoded(deep)) == 128).all()


def test_an_animation_gives_its_first_picture() -> None:
    """Its other pictures are ignored."""
    first, second = (Pillow.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    for form in ("PNG", "WEBP"):
        data = saved(first, form, save_all=True, append_images=[second], lossless=True)
        assert (decoded(data, form.lower()) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ENCODINGS)
def test_a_camera_held_otherwise_is_turned(form: str, orientation: int) -> None:
    """As its EXIF says: the bright corner comes out where it was seen."""
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16] = 200
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "webp" else {"quality": 95} if form == "jpeg" else {}
    data = encoded(np.ascontiguousarray(turned), form, exif=exif, **options)
    assert abs(decoded(data, form, "gray8").astype(int) - upright).max() <= 4


def test_broken_exif_loses_no_picture() -> None:
    """It is shown as it is."""
    data = encoded(RED, "png", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff rubbish")
    assert np.array_equal(decoded(data), RED)


@pytest.mark.parametrize("form", ENCODINGS)
def test_truncated_pictures_are_refused(form: str) -> None:
    """With how much there is, wherever they are cut, and what to do."""
    noise = np.random.default_rng(1).integers(0, 256, (60, 60, 3), np.uint8)
    data = encoded(noise, form)
    for cut in (1, 2, 5, 15, 30, 100, len(data) // 2, len(data) - 30):
        match = rf"Video\({cut} bytes, {form}.*its {cut} bytes are truncated, corrupt, or not {form} .*on_error="
        with pytest.raises(ValueError, match=match):
            decoded(data[:cut], form)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(ENCODINGS), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=20)
)
def test_corrupt_pictures_give_a_picture_or_an_error(form: str, flips: list[tuple[int, int]]) -> None:
    """Never another exception."""
    data = bytearray(encoded(np.arange(768, dtype=np.uint8).reshape(16, 16, 3), form))
    for at, value in flips:
        data[at % len(data)] = value
    with contextlib.suppress(ValueError):
        assert decoded(bytes(data), form, max_pixels=10_000).dtype == np.uint8


@settings(deadline=None)
@given(st.sampled_from(ENCODINGS), st.binary(min_size=1, max_size=300))
def test_rubbish_is_refused(form: str, data: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(ValueError, match="on_error"):
        decoded(data, form)


@pytest.mark.parametrize("form", ENCODINGS)
@pytest.mark.parametrize("kind", ENCODINGS)
def test_the_content_must_be_what_the_format_says(form: str, kind: str) -> None:
    """Else both are named."""
    data = encoded(RED, kind)
    if form == kind:
        assert decoded(data, form).shape == (10, 20, 3)
        return
    with pytest.raises(ValueError, match=rf"{form}.* holds a {kind}; set format='{kind}' where the frame is made"):
        decoded(data, form)


def _huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [5001, 10_000, 60_000])
def test_decompression_bombs_are_refused(side: int) -> None:
    """A few bytes that claim gigabytes are refused by their header, with the size they claim, and without a warning."""
    with pytest.raises(
        ValueError, match=rf"a picture of {side}x{side}, more than DecodePicture\(max_pixels=25000000\)"
    ):
        decoded(_huge_png(side, side))


def test_max_pixels_is_exact() -> None:
    """What has as many is allowed."""
    assert decoded(encoded(RED), max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ValueError, match=r"20x10, more than DecodePicture\(max_pixels=199\)"):
        decoded(encoded(RED), max_pixels=199)


async def test_dropping_goes_on() -> None:
    """As the error advises: the bad frame is lost and reported, the next ones come."""
    async with Harness(DecodePicture().options(on_error="drop")) as harness:
        good = Video(data=encoded(RED), format="png")
        await harness.send(good, Video(data=b"nothing", format="png"), good)
        await harness.end()
    assert len(harness.of(Video)) == 2
    assert len(harness.of(Failure)) == 1


def test_everything_else_is_kept() -> None:
    """The class and the other fields."""
    still = Image(data=encoded(RED), format="png", detail="low", response_id="a", pts=7, epoch=3)
    (out,) = DecodePicture().process(still)
    assert isinstance(out, Image)
    assert (out.format, out.detail, out.response_id, out.pts, out.epoch) == ("rgb24", "low", "a", 7, 3)


@pytest.mark.parametrize("bad", [{"format": "jpeg"}, {"format": "yuv"}, {"max_pixels": 0}, {"max_pixels": 1e6}])
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    """With what was given and what is expected."""
    with pytest.raises(ValueError, match=rf"DecodePicture\({next(iter(bad))}=.*expected"):
        DecodePicture(**bad)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"DecodePicture needs PIL.*pip install 'bargein\[video\]'"):
        DecodePicture()


@pytest.mark.virtual
@pytest.mark.parametrize("form", ENCODINGS)
async def test_it_conforms(form: str) -> None:
    """The conformance suite passes."""
    frames = [
        Video(data=encoded(np.full((6, 8), at * 20, np.uint8), form), format=form, pts=at * 40_000_000)
        for at in range(8)
    ]
    await check_processor(DecodePicture, frames)
