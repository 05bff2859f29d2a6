"""`bargein ask question.wav -o answer.wav`: a conversation from a sound file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bargein.services.transports import FileTransport, Sessions

from ._console import errors, run_async
from ._printer import ConversationPrinter
from .agents import make_agent

__all__ = ["ask"]


def ask(
    question: Annotated[Path, typer.Argument(help="The sound file with what the user says.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the agent's sound to this file.")] = None,
    both: Annotated[Path | None, typer.Option(help="Write both sides to this file, in time with each other.")] = None,
    brain: Annotated[str, typer.Option(help="The brain; `bargein doctor` lists them.")] = "auto",
    pace: Annotated[float, typer.Option(help="The speed, as a multiple of real time.", min=0.1, max=100)] = 1.0,
    wait: Annotated[float, typer.Option(help="Seconds to wait for an answer after the file has ended.", min=0)] = 15.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Ask what is said in a sound file. Print the conversation, and how long the answers took.

    The exit code is 1 if nothing was heard in the file.
    """
    for path in (output, both):
        if path is not None and path.exists() and question.exists() and path.samefile(question):
            raise ValueError(f"{path} is the question; choose another name for the answer")
        if path is not None and path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; choose another name, or --overwrite")
    peer = FileTransport(question, output, both=both, pace=pace, wait_seconds=wait, overwrite=overwrite)
    run_async(_ask, peer, brain)
    for path in (output, both):
        if path is not None:
            errors.print(f"written: {path}", style="dim", markup=False, highlight=False)


async def _ask(peer: FileTransport, brain: str) -> None:
    printer = ConversationPrinter()
    sessions = Sessions(make_agent(brain, printer))
    async with anyio.create_task_group() as group:
        group.start_soon(_show_progress, peer, printer)
        ending = await sessions.run(peer)
        group.cancel_scope.cancel()
    if ending == "failed":
        raise sessions.failures[-1]
    if not printer.printed:
        raise ValueError(f"I heard nothing in {peer.peer.name}: it has no speech that was recognised")


async def _show_progress(peer: FileTransport, printer: ConversationPrinter) -> None:
    """Show how far the file has been read, and what is happening, until it is cancelled."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        bar = progress.add_task("listening", total=None)
        while True:
            total = peer.reader.seconds or None
            read = peer.read_ms / 1000
            waiting = "listening" if total is None or read < total else "waiting for an answer"
            activity = "speaking" if printer.agent_speaks else waiting
            progress.update(bar, total=total, completed=read, description=activity)
            await anyio.sleep(0.1)
