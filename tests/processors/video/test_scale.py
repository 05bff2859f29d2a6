"""Scale: sizes, aspect ratios, centres and colours, in every format."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Image, Video
from bargein.pipeline.testing import Harness, check_processor
from bargein.processors.video.scale import Fit, Scale

SHAPES = {"rgb24": (3,), "bgr24": (3,), "rgba": (4,), "gray8": ()}
SIDES = st.integers(1, 90)


def plain(width: int, height: int, form: str = "rgb24", value: int = 255) -> Video:
    return Video(data=np.full((height, width, *SHAPES[form]), value, np.uint8), format=form)


def pixels(processor: Scale, frame: Video | Image) -> Any:
    (out,) = processor.process(frame)
    return out.data


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["letterbox", "crop", "stretch"]), st.sampled_from(list(SHAPES)))
def test_any_size_becomes_the_size(width: int, height: int, wide: int, high: int, fit: Fit, form: str) -> None:
    """In every fit and format: C-contiguous, of its format, and nothing of the background unless it is wanted."""
    data = pixels(Scale(wide, high, fit), plain(width, height, form))
    assert data.shape == (high, wide, *SHAPES[form])
    assert data.flags.c_contiguous
    assert data.dtype == np.uint8
    if fit != "letterbox":
        assert (data == 255).all()


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_letterbox_keeps_the_shape(width: int, height: int, wide: int, high: int) -> None:
    """The picture touches two sides, stands in the middle, and has its aspect ratio to half a pixel."""
    white = pixels(Scale(wide, high), plain(width, height, "gray8")) == 255
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    assert white[np.ix_(rows, columns)].all()
    for at, side in ((rows, high), (columns, wide)):
        assert 0 <= (side - 1 - at[-1]) - at[0] <= 1
    scale = min(wide / width, high / height)
    assert abs(len(columns) - width * scale) <= 0.5 or len(columns) == 1
    assert abs(len(rows) - height * scale) <= 0.5 or len(rows) == 1
    assert len(columns) == wide or len(rows) == high


@pytest.mark.parametrize(("width", "height"), [(300, 100), (100, 300), (301, 101)])
def test_a_crop_keeps_the_middle(width: int, height: int) -> None:
    """What stands out on both sides is gone, the same on both."""
    y, x = np.mgrid[0:height, 0:width]
    across = (x if width > height else y) / max(width, height) * 255
    data = pixels(Scale(50, 50, "crop"), Video(data=across.astype(np.uint8), format="gray8")).astype(float)
    line = data.mean(axis=0 if width > height else 1)
    assert line[0] == pytest.approx(255 / 3, abs=3)
    assert line[-1] == pytest.approx(255 * 2 / 3, abs=3)
    assert line[0] + line[-1] == pytest.approx(255, abs=2)


def test_a_stretch_keeps_everything() -> None:
    """The four corners stay in the corners."""
    corners = np.zeros((100, 200), np.uint8)
    corners[:50, :100], corners[50:, 100:] = 250, 120
    data = pixels(Scale(40, 40, "stretch"), Video(data=corners, format="gray8"))
    assert (data[5, 5], data[5, 35], data[35, 5], data[35, 35]) == (250, 0, 0, 120)


@pytest.mark.parametrize(
    ("form", "bar"), [("rgb24", [10, 20, 30]), ("bgr24", [30, 20, 10]), ("rgba", [10, 20, 30, 255]), ("gray8", 18)]
)
def test_the_background_has_its_colour(form: str, bar: Any) -> None:
    """In the order of each format; its brightness in grey, opaque in rgba."""
    data = pixels(Scale(100, 100, background=(10, 20, 30)), plain(100, 50, form))
    assert (data[:25] == bar).all()
    assert (data[75:] == bar).all()
    assert (data[25:75] == 255).all()


@pytest.mark.parametrize("form", ["rgb24", "bgr24"])
def test_colours_stay_in_their_place(form: str) -> None:
    """Each plane is scaled for itself."""
    data = np.zeros((40, 40, 3), np.uint8)
    data[:] = (200, 100, 50)
    assert (pixels(Scale(13, 13), Video(data=data, format=form)) == (200, 100, 50)).all()


def test_transparent_colours_do_not_bleed() -> None:
    """The colour under a transparent pixel is not mixed into its neighbours."""
    data = np.zeros((40, 40, 4), np.uint8)
    data[:, :20], data[:, 20:] = (255, 0, 0, 255), (0, 255, 0, 0)
    scaled = pixels(Scale(13, 13), Video(data=data, format="rgba"))
    assert (scaled[..., 1] == 0).all()


def test_smaller_is_filtered() -> None:
    """A fine chequerboard becomes grey, not stripes."""
    board = (np.indices((240, 240)).sum(axis=0) % 2 * 255).astype(np.uint8)
    data = pixels(Scale(60, 60), Video(data=board, format="gray8"))
    assert abs(data.astype(int) - 127).max() <= 8


def test_slices_and_mirrors_are_taken() -> None:
    """Arrays need not be contiguous."""
    random = np.random.default_rng(1).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    for view in (random[::-1], random[:, ::-1], random[5:50, 3:70], random[..., ::-1], random.transpose(1, 0, 2)):
        one, other = (pixels(Scale(20, 20), Video(data=data)) for data in (view, view.copy()))
        assert np.array_equal(one, other)


def test_matching_picture_passes_unchanged() -> None:
    """The very same frame."""
    frame = plain(40, 30)
    (out,) = Scale(40, 30).process(frame)
    assert out is frame


def test_everything_else_is_kept() -> None:
    """The class and the other fields."""
    still = Image(data=np.zeros((4, 4), np.uint8), format="gray8", detail="low", response_id="a", pts=7, epoch=3)
    (out,) = Scale(2, 2).process(still)
    assert isinstance(out, Image)
    assert (out.format, out.detail, out.response_id, out.pts, out.epoch) == ("gray8", "low", "a", 7, 3)


async def test_encoded_pictures_are_refused() -> None:
    """With what to insert."""
    with pytest.raises(ValueError, match=r"Scale takes raw pixels, and got Video.*insert DecodePicture\(\) before it"):
        async with Harness(Scale(2, 2)) as harness:
            await harness.send(Video(data=b"x", format="jpeg"))


@pytest.mark.parametrize(
    "bad",
    [
        {"width": 0},
        {"height": 1.5},
        {"width": True},
        {"fit": "cover"},
        {"background": (0, 0)},
        {"background": (0, 0, 256)},
    ],
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    """With what was given and what is expected."""
    with pytest.raises(ValueError, match=rf"Scale\({next(iter(bad))}=.*expected"):
        Scale(**{"width": 4, "height": 4, **bad})


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"Scale needs PIL.*pip install 'bargein\[video\]'"):
        Scale(2, 2)


@pytest.mark.virtual
@pytest.mark.parametrize("fit", ["letterbox", "crop", "stretch"])
async def test_it_conforms(fit: Fit) -> None:
    """The conformance suite passes."""
    frames = [Video(data=np.full((6, 8, 3), at, np.uint8), pts=at * 40_000_000) for at in range(8)]
    await check_processor(lambda: Scale(5, 5, fit), frames)
