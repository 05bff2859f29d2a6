"""Calls of tools, run by a runner, and what it told of them."""

from __future__ import annotations

import json
from typing import Any

import anyio

from bargein.pipeline import Frame, ToolCall, ToolResult
from bargein.services.frames import ToolFinished, ToolProgress
from bargein.services.tools import Toolbox, ToolRunner


class Told(list[Frame]):
    """What a runner emitted."""

    async def emit(self, frame: Frame) -> None:
        await anyio.lowlevel.checkpoint()
        self.append(frame)

    @property
    def finished(self) -> ToolFinished:
        assert isinstance(self[-1], ToolFinished)
        return self[-1]

    @property
    def progress(self) -> list[tuple[str, float | None]]:
        return [(frame.message, frame.share) for frame in self if isinstance(frame, ToolProgress)]


def call(name: str, id: str = "c", **arguments: Any) -> ToolCall:
    return ToolCall(call_id=id, name=name, arguments=json.dumps(arguments))


async def answer(function: Any, told: Told | None = None, **arguments: Any) -> ToolResult | None:
    """Run one tool once."""
    box = Toolbox([function])
    return await ToolRunner(box).run(call(box.names[0], **arguments), (told if told is not None else Told()).emit)
