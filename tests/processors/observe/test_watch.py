"""`Watch` sees upstream frames once, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bargein.pipeline import Failure, Frame, Usage, UserText
from bargein.pipeline.testing import Harness
from bargein.processors.observe.watch import Watch

pytestmark = pytest.mark.virtual


def failing(frame: UserText) -> Iterator[Failure | UserText]:
    yield Failure(frame.text)
    yield frame


async def test_watch_sees_its_classes_once() -> None:
    """Processors above it get the frame as well. Frames that go down bypass it."""
    above: list[Frame] = []
    seen: list[Frame] = []
    async with Harness(Watch(above.append, Failure), Watch(seen.append, Failure, Usage), failing) as harness:
        await harness.send(UserText("no"))
        await harness.end()
        assert [frame.text for frame in harness.of(UserText)] == ["no"]
    assert [frame.message for frame in seen if isinstance(frame, Failure)] == ["no"]
    assert len(above) == 1
