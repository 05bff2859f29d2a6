"""A processor that plays a script: a source, or a brain without a model or a network."""

from __future__ import annotations

from functools import partial

import anyio

from bargein.pipeline._contract import Contract, ProcessorKind
from bargein.pipeline._inbox import Inbox
from bargein.pipeline._outlet import Outlet
from bargein.pipeline.errors import ContractError
from bargein.pipeline.frames import Frame
from bargein.pipeline.lowlevel import check_options
from bargein.pipeline.processor import Processor

__all__ = ["Reply", "Scripted"]


class Reply:
    """A response in a script: frames and pauses that run in their own task, until an interrupt.

    Media and text in it belong to the epoch in which it began. The script continues at once.

    Args:
        steps: Frames to send, and pauses in seconds.
    """

    def __init__(self, *steps: float | Frame) -> None:
        self.steps = steps

    def __repr__(self) -> str:
        return f"Reply({', '.join(map(repr, self.steps))})"


class Scripted(Processor):
    """Plays its steps in order, and then ends::

        Scripted(UserText, Reply(Text("Hello"), 0.5, Text(" there")))

    Without a frame class among its steps it is a source.

    Args:
        steps: A number is a pause in seconds. A frame is sent. A frame *class* waits until such a frame arrives. A
            `Reply` begins a response.
        loop: Whether to begin again at the end. Default False.

    Raises:
        ContractError: A step is something else.
    """

    name = "scripted"

    @check_options
    def __init__(self, *steps: float | Frame | type[Frame] | Reply, loop: bool = False) -> None:
        for step in steps:
            if not isinstance(step, int | float | Frame | Reply) and not _is_kind(step):
                raise ContractError(f"a script is made of seconds, frames, frame classes and replies, not of {step!r}")
        self.steps = steps
        self.loop = loop
        takes = frozenset(step for step in steps if isinstance(step, type))
        self.contract_ = Contract(  # type: ignore[misc]
            kind=ProcessorKind.LOOP, takes=takes, gives=frozenset((Frame,)), ports=("inbox", "out")
        )

    async def run(self, inbox: Inbox[Frame], out: Outlet[Frame]) -> None:
        """Play the script."""
        while True:
            for step in self.steps:
                await _play(step, inbox, out)
            if not self.loop:
                return


async def _play(step: float | Frame | type[Frame] | Reply, inbox: Inbox[Frame], out: Outlet[Frame]) -> None:
    if isinstance(step, Frame):
        await out.send(step)
    elif isinstance(step, Reply):
        out.respond(partial(_reply, steps=step.steps))
    elif isinstance(step, type):
        while not isinstance(await inbox.receive(), step):
            pass
    else:
        await anyio.sleep(step)


async def _reply(out: Outlet[Frame], *, steps: tuple[float | Frame, ...]) -> None:
    for step in steps:
        if isinstance(step, Frame):
            await out.send(step)
        else:
            await anyio.sleep(step)


def _is_kind(step: object) -> bool:
    return isinstance(step, type) and issubclass(step, Frame)
