"""Pictures are fitted to what a model accepts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from bargein.pipeline import Failure, Image, Video
from bargein.pipeline.testing import Harness
from bargein.processors import DropPictures, FitPicture

NOISE = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)


def encoded(form: str, pixels: np.ndarray = NOISE) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, form)
    return file.getvalue()


def fitted(frame: Video | Image, fit: FitPicture) -> tuple[Video | Image, tuple[int, int]]:
    (out,) = fit.process(frame)
    assert isinstance(out.data, bytes)
    return out, Pillow.open(io.BytesIO(out.data)).size


def test_fitting_picture_passes() -> None:
    """The very same frame, without being decoded."""
    frame = Image(encoded("jpeg"), format="jpeg")
    assert next(FitPicture(max_bytes=len(frame.data)).process(frame)) is frame
    png = Image(encoded("png"), format="png")
    assert next(FitPicture(()).process(png)) is png


@pytest.mark.parametrize("form", ["rgb24", "bgr24", "rgba", "gray8", "png", "webp"])
def test_everything_else_becomes_jpeg(form: str) -> None:
    """Raw pixels of any order, and formats that the model does not accept."""
    data: np.ndarray | bytes = {
        "rgb24": NOISE,
        "bgr24": NOISE,
        "rgba": np.dstack([NOISE, NOISE[..., :1]]),
        "gray8": NOISE[..., 0],
        "png": encoded("png"),
        "webp": encoded("webp"),
    }[form]  # type: ignore[assignment]
    out, size = fitted(Image(data, format=form, detail="high"), FitPicture())
    assert (out.format, size, out.detail if isinstance(out, Image) else "") == ("jpeg", (640, 480), "high")


def test_large_pictures_become_smaller() -> None:
    """The limits are the sides and the number of bytes. The aspect ratio stays."""
    _, size = fitted(Video(NOISE), FitPicture(max_side_pixels=320))
    assert size == (320, 240)
    out, size = fitted(Video(NOISE), FitPicture(max_bytes=20_000))
    assert len(out.data) <= 20_000
    assert size[0] / size[1] == pytest.approx(4 / 3, rel=0.02)
    jpeg = Image(encoded("jpeg"), format="jpeg")
    out, _ = fitted(jpeg, FitPicture(max_bytes=20_000))
    assert len(out.data) <= 20_000 < len(jpeg.data)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"formats": ("gif",)}, r"FitPicture\(formats=.*gif"),
        ({"max_bytes": 0}, r"max_bytes=0"),
        ({"max_side_pixels": 1.5}, r"max_side_pixels=1.5"),
        ({"quality": 96}, r"quality=96"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], match: str) -> None:
    """With the option and its value."""
    with pytest.raises(ValueError, match=match):
        FitPicture(**options)  # type: ignore[arg-type]


def test_impossible_limit_is_an_error() -> None:
    """It does not try for ever."""
    with pytest.raises(ValueError, match="max_bytes=10, however small"):
        list(FitPicture(max_bytes=10).process(Video(NOISE)))


async def test_a_broken_picture_is_lost_alone() -> None:
    """With `on_error="drop"`, as brains use it, the session continues."""
    async with Harness(FitPicture().options(on_error="drop")) as harness:
        await harness.send(Image(b"\x89PNG\r\n\x1a\n nonsense", format="png"), Video(NOISE))
        await harness.end()
        assert [frame.format for frame in harness.of(Video)] == ["jpeg"]
        assert not harness.of(Image)


async def test_pictures_are_dropped_with_one_failure() -> None:
    """A camera of thirty frames a second does not cause thirty failures a second."""
    async with Harness(DropPictures("The brain")) as harness:
        await harness.send(*[Video(NOISE)] * 5, Image(NOISE))
        await harness.end()
        assert not harness.of(Video)
        (failure,) = DropPictures("The brain").process(Video(NOISE))
        assert isinstance(failure, Failure)
        assert "use a model that takes pictures" in failure.message
