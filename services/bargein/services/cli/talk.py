"""`bargein talk`: a conversation with this machine's microphone and loudspeaker."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from bargein.services.providers.brains import choice
from bargein.services.transports import Sessions, drain_on_signal
from bargein.services.transports.local import LocalTransport

from ._agent import agent
from ._console import errors, run_async
from ._notes import Notes

__all__ = ["talk"]


def talk(
    brain: Annotated[str, typer.Option(help="Which brain; `bargein doctor` lists them.")] = "auto",
    microphone: Annotated[str | None, typer.Option(help="Its name or number; see `python -m sounddevice`.")] = None,
    speaker: Annotated[str | None, typer.Option(help="The loudspeaker's.")] = None,
) -> None:
    """Talk with this machine's microphone and loudspeaker, best with headphones. Ctrl+C ends it."""
    run_async(_talk, brain, _device(microphone), _device(speaker))


async def _talk(brain: str, microphone: str | int | None, speaker: str | int | None) -> None:
    errors.print(f"{choice(brain).title}. Speak; Ctrl+C ends it.", style="dim", markup=False, highlight=False)
    sessions = Sessions(agent(brain, Notes()))
    async with anyio.create_task_group() as group:
        group.start_soon(drain_on_signal, sessions)
        ending = await sessions.run(LocalTransport(devices=(microphone, speaker)))
        group.cancel_scope.cancel()
    if ending == "failed":
        raise sessions.failures[-1]


def _device(named: str | None) -> str | int | None:
    return int(named) if named is not None and named.isdigit() else named
