"""Overlay: what is drawn is sent, and nothing else is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bargein.pipeline import Video
from bargein.pipeline.testing import Harness, check_processor
from bargein.processors.video._pictures import Pixels
from bargein.processors.video.overlay import Overlay

SHAPES: dict[str, tuple[int, ...]] = {"rgb24": (3,), "bgr24": (3,), "rgba": (4,), "gray8": ()}


def black(form: str = "rgb24", pts: int = 0) -> Video:
    pixels = np.zeros((6, 8, *SHAPES[form]), np.uint8)
    pixels.setflags(write=False)
    return Video(data=pixels, format=form, pts=pts)


def corner(pixels: Pixels, frame: Video) -> None:
    pixels[0, 0] = 255


def drawn(overlay: Overlay, frame: Video) -> Any:
    (out,) = overlay.process(frame)
    return out.data


@pytest.mark.parametrize("form", list(SHAPES))
def test_drawing_in_place(form: str) -> None:
    """On a copy of the shape that the format says. The input stays as it was."""
    frame = black(form)
    data = drawn(Overlay(corner), frame)
    assert data.shape == (6, 8, *SHAPES[form])
    assert (data[0, 0] == 255).all()
    assert not data[1:].any()
    assert not np.asarray(frame.data).any()


def test_an_array_takes_its_place() -> None:
    """The one returned counts, and not what was drawn before."""

    def inverted(pixels: Pixels, frame: Video) -> Pixels:
        picture = 255 - pixels
        pixels[:] = 7
        return picture

    assert (drawn(Overlay(inverted), black()) == 255).all()


def test_the_function_sees_the_frame() -> None:
    """Its time, for one."""

    def clock(pixels: Pixels, frame: Video) -> None:
        pixels[:] = frame.pts

    assert (drawn(Overlay(clock), black(pts=9)) == 9).all()


def test_outputs_share_no_memory() -> None:
    """Whether the function returns its input, another array, or the same buffer again and again."""
    buffer = np.zeros((6, 8, 3), np.uint8)

    def source(pixels: Pixels, frame: Video) -> Any:
        return frame.data

    def same(pixels: Pixels, frame: Video) -> Pixels:
        return pixels

    def again(pixels: Pixels, frame: Video) -> Pixels:
        return buffer

    def mirrored(pixels: Pixels, frame: Video) -> Pixels:
        return pixels[::-1]

    for function in (source, same, again, mirrored):
        frame = black()
        data = drawn(Overlay(function), frame)
        assert not np.shares_memory(data, np.asarray(frame.data))
        assert not np.shares_memory(data, buffer)
        assert data.flags.c_contiguous


def test_views_are_taken() -> None:
    """A frame that is not contiguous becomes one that is."""
    mirrored = Video(data=np.zeros((6, 8, 3), np.uint8)[:, ::-1])
    assert drawn(Overlay(corner), mirrored).flags.c_contiguous


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (np.zeros((6, 8, 3), np.float32), r"an array of float32 with shape \(6, 8, 3\)"),
        (np.zeros((8, 6, 3), np.uint8), r"an array of uint8 with shape \(8, 6, 3\)"),
        (np.zeros((6, 8), np.uint8), r"an array of uint8 with shape \(6, 8\)"),
        (True, "bool True"),
    ],
)
def test_other_results_are_refused(returned: Any, told: str) -> None:
    """With the function's name, what it returned, and what it should."""

    def watermark(pixels: Pixels, frame: Video) -> Any:
        return returned

    with pytest.raises(ValueError, match=rf"watermark returned {told}; expected None, .* shape \(6, 8, 3\)"):
        drawn(Overlay(watermark), black())


async def test_encoded_pictures_are_refused() -> None:
    """With what to insert."""
    with pytest.raises(ValueError, match=r"Overlay takes raw pixels, and got .*insert DecodePicture\(\) before it"):
        async with Harness(Overlay(corner)) as harness:
            await harness.send(Video(data=b"x", format="png"))


async def test_exception_of_the_function() -> None:
    """It is treated as the processor's exception."""

    def clumsy(pixels: Pixels, frame: Video) -> None:
        raise RuntimeError("the pen broke")

    with pytest.raises(RuntimeError, match="the pen broke"):
        async with Harness(Overlay(clumsy)) as harness:
            await harness.send(black())


async def _later(pixels: Pixels, frame: Video) -> None: ...


@pytest.mark.parametrize("bad", [3, None, _later])
def test_wrong_function_is_refused(bad: Any) -> None:
    """An async function is refused too, because it could not be awaited here."""
    with pytest.raises(ValueError, match=r"Overlay\(.*expected a sync function draw\(pixels, frame\)"):
        Overlay(bad)


def test_everything_else_is_kept() -> None:
    """The other fields."""
    frame = Video(data=np.zeros((2, 2), np.uint8), format="gray8", response_id="a", pts=7, epoch=3)
    (out,) = Overlay(corner).process(frame)
    assert (out.format, out.response_id, out.pts, out.epoch) == ("gray8", "a", 7, 3)


@pytest.mark.virtual
async def test_it_conforms() -> None:
    """The conformance suite passes."""
    await check_processor(lambda: Overlay(corner), [black(pts=at * 40_000_000) for at in range(8)])
