"""The user's pictures: encoded, and still before the question about them."""

from __future__ import annotations

import numpy as np

from bargein.pipeline import Image, UserText
from bargein.pipeline.testing import Harness
from bargein.services.frames import Respond
from bargein.services.media.user_pictures import UserPictures


async def test_question_does_not_overtake_its_picture() -> None:
    """The picture is encoded in a thread meanwhile, and the question waits for it."""
    async with Harness(UserPictures()) as harness:
        await harness.send(Image(np.zeros((480, 640, 3), np.uint8)), UserText("What is that?"), Respond())
        await harness.end()
    given = [type(frame) for frame in harness.frames if isinstance(frame, Image | UserText | Respond)]
    assert given == [Image, UserText, Respond]
    assert harness.of(Image)[0].format == "jpeg"
