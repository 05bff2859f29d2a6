"""`bargein ask question.wav -o answer.wav`: a conversation from a sound file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bargein.services.transports import FileTransport, Sessions

from ._agent import agent
from ._console import errors, run_async
from ._notes import Notes

__all__ = ["ask"]


def ask(
    question: Annotated[Path, typer.Argument(help="What the user says: any sound file.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write what the agent says.")] = None,
    both: Annotated[Path | None, typer.Option(help="Where to write both sides, in time with each other.")] = None,
    brain: Annotated[str, typer.Option(help="Which brain; `bargein doctor` lists them.")] = "auto",
    pace: Annotated[float, typer.Option(help="How many times as fast as it is spoken.", min=0.1, max=100)] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Hold a conversation from a sound file, and print what was said and how long the answers took."""
    for path in (output, both):
        if path is not None and path.exists() and question.exists() and path.samefile(question):
            raise ValueError(f"{path} is the question; choose another name for the answer")
        if path is not None and path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; choose another name, or --overwrite")
    run_async(_ask, question, output, both, brain, pace, overwrite)


async def _ask(
    question: Path, output: Path | None, both: Path | None, brain: str, pace: float, overwrite: bool
) -> None:
    notes = Notes()
    peer = FileTransport(question, output, both=both, pace=pace, overwrite=overwrite)
    sessions = Sessions(agent(brain, notes))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        bar = progress.add_task("listening", total=None)
        async with anyio.create_task_group() as group:

            async def show() -> None:
                while True:
                    total = peer.reader.seconds or None
                    said = "speaking" if notes.speaking else "listening"
                    progress.update(bar, total=total, completed=peer.read_ms / 1000, description=said)
                    await anyio.sleep(0.1)

            group.start_soon(show)
            ending = await sessions.run(peer)
            group.cancel_scope.cancel()
    if ending == "failed":
        raise sessions.failures[-1]
    for path in (output, both):
        if path is not None:
            errors.print(f"written: {path}", style="dim", markup=False, highlight=False)
