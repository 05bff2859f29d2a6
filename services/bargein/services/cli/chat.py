"""`bargein chat`: a conversation in writing."""

from __future__ import annotations

import sys
from typing import Annotated

import anyio
import typer
from anyio import to_thread

from bargein.pipeline import Frame, Pipeline, ResponseEnded, Text, UserText
from bargein.services.frames import ToolFinished
from bargein.services.providers.brains import choice

from ._console import console, errors, run_async

__all__ = ["chat", "converse"]


def chat(brain: Annotated[str, typer.Option(help="The brain; `bargein doctor` lists them.")] = "auto") -> None:
    """Write with the agent in the terminal. An empty line or the end of the input ends the conversation."""
    run_async(_chat, brain)


async def _chat(brain: str) -> None:
    chosen = choice(brain)
    errors.print(f"{chosen.title}. An empty line ends it.", style="dim", markup=False, highlight=False)
    await converse(Pipeline(chosen.write(), inputs=Frame), interactive=sys.stdin.isatty())


async def converse(pipeline: Pipeline, *, interactive: bool = True) -> None:
    """Read lines from standard input, and print the answer to each as it is written.

    Args:
        pipeline: Takes `UserText` and sends `Text` and `ResponseEnded`.
        interactive: Whether to print a prompt.
    """
    async with pipeline.session() as session, anyio.create_task_group() as group:
        answered = anyio.Event()

        async def print_answers() -> None:
            async for frame in session:
                if isinstance(frame, Text):
                    console.out(frame.text, end="", highlight=False)
                elif isinstance(frame, ToolFinished):
                    errors.print(f"  {frame.name} → {frame.output}", style="dim", markup=False, highlight=False)
                elif isinstance(frame, ResponseEnded):
                    console.out("")
                    answered.set()

        group.start_soon(print_answers)
        while line := await _read_line("> " if interactive else ""):
            answered = anyio.Event()
            await session.send(UserText(text=line))
            await answered.wait()
        session.end()


async def _read_line(prompt: str) -> str:
    """Return a line of standard input, without blocking the event loop; an empty string at its end."""
    console.file.write(prompt)
    console.file.flush()
    if sys.platform == "win32" or not sys.stdin.isatty():
        return await to_thread.run_sync(_read, abandon_on_cancel=True)
    # After Ctrl+C a thread would go on waiting for a line, and the program would wait for the thread.
    await anyio.wait_readable(sys.stdin)
    return _read()


def _read() -> str:
    return sys.stdin.readline().strip()
