"""What type checkers see: mypy runs over this file, so each `assert_type` is a test."""

from __future__ import annotations

from typing import assert_type

from bargein.pipeline import Audio, Frame, Inbox, Interrupt, Outlet, Pipeline, Processor, Text, Transcript
from bargein.pipeline.testing import Harness

from .kit import Plain, audio


class Speaks(Processor):
    async def process(self, frame: Transcript, out: Outlet[Text]) -> None:
        assert_type(out.respond(self.say, frame.text, 3), Outlet[Text])
        out.respond(self.say, frame.text, "three")  # type: ignore[arg-type]

    async def say(self, out: Outlet[Text], text: str, times: int) -> None:
        await out.send(audio())  # type: ignore[arg-type]


class Narrows(Processor):
    async def run(self, inbox: Inbox[Audio | Interrupt], out: Outlet[Audio]) -> None:
        async for frame in inbox:
            assert_type(frame, Audio | Interrupt)
            if isinstance(frame, Audio):
                await out.send(frame.scaled(2))


async def test_frames_keep_their_types() -> None:
    """Out of a session comes `Frame`; a harness narrows by class."""
    async with Pipeline(Plain(), Narrows()).session() as session:
        session.end()
        async for frame in session:
            assert_type(frame, Frame)
        async for sound in session.of(Audio):
            assert_type(sound, Audio)
    async with Harness(Plain()) as harness:
        await harness.send(audio())
        assert_type(harness.of(Audio), list[Audio])
        assert_type(await harness.next(Audio), Audio)
