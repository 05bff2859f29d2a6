"""What a realtime model brings along, so that it stands below any source."""

from __future__ import annotations

import importlib.util

from bargein.pipeline import Processor
from bargein.processors import DropPictures, Resample, SampleFps
from bargein.services.media.user_pictures import UserPictures

from .profile import Profile

__all__ = ["input_adapters"]

ENCODED = ("jpeg", "png", "webp")
"""The encoded formats of a picture frame."""


def input_adapters(profile: Profile, fps: float) -> tuple[Processor, ...]:
    """Return new processors that convert the user's audio and pictures for a provider.

    Without the library for a conversion the processor is left out, and input of another format is a `Failure`.

    Args:
        profile: What the provider takes.
        fps: Maximum number of pictures of a video that are encoded a second.
    """
    adapters: list[Processor] = []
    if importlib.util.find_spec("av") is not None:
        adapters.append(Resample(profile.input_rate, channels=1))
    if not profile.supports_images:
        adapters.append(DropPictures(profile.provider))
    elif importlib.util.find_spec("PIL") is not None:
        formats = [form for form in profile.image_formats if form in ENCODED]  # a profile may also name aliases
        fit = UserPictures(formats, max_bytes=profile.max_image_bytes)
        adapters += [SampleFps(fps), fit.options(on_error="drop")]
    return tuple(adapters)
