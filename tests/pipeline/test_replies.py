"""Replies: finished before the end, and reported when they fail."""

from __future__ import annotations

import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Inbox,
    Outlet,
    Processor,
    Text,
)
from bargein.pipeline.testing import Harness, Reply, Scripted

from .kit import audio


@pytest.mark.virtual
async def test_replies_are_finished_before_the_end() -> None:
    """A graceful end lets a response finish; `End` comes after its last frame."""
    script = Scripted(Audio, Reply(Text(text="a"), 0.5, Text(text="b")))
    async with Harness(script) as harness:
        await harness.send(audio())
        await harness.end()
    assert [frame.text for frame in harness.of(Text)] == ["a", "b"]


async def test_a_lost_reply_is_reported_once() -> None:
    """The loop continues with on_error="drop" and with "restart"."""

    class Speaks(Processor):
        async def run(self, inbox: Inbox[Audio], out: Outlet[Text]) -> None:
            async for _ in inbox:
                out.respond(self.answer)

        async def answer(self, reply: Outlet[Text]) -> None:
            raise ValueError("hiccup")

    async with Harness(Speaks().options(on_error="restart", max_restarts=0)) as harness:
        await harness.send(audio(), audio())
        await harness.end()
    assert [failure.message for failure in harness.of(Failure)] == ["Speaks lost a reply: ValueError: hiccup"] * 2
