"""`bargein talk`: a conversation with this machine's microphone and loudspeaker."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import anyio
import typer

from bargein.services.providers.brains import choice
from bargein.services.transports import Sessions, drain_on_signal
from bargein.services.transports.local import LocalTransport

from ._console import errors, run_async
from ._printer import ConversationPrinter
from .agents import make_agent

__all__ = ["talk"]


def talk(
    brain: Annotated[str, typer.Option(help="The brain; `bargein doctor` lists them.")] = "auto",
    microphone: Annotated[
        str | None, typer.Option(help="The microphone's name or number; `python -m sounddevice` lists them.")
    ] = None,
    speaker: Annotated[str | None, typer.Option(help="The loudspeaker's name or number.")] = None,
    echo_cancel: Annotated[
        bool | None,
        typer.Option(
            help="Remove the agent's own voice from the microphone. By default where the extra `echo` is installed.",
        ),
    ] = None,
) -> None:
    """Talk with an agent by this machine's microphone and loudspeaker. Ctrl+C ends the call.

    Without the extra `echo` wear headphones, or the agent hears itself.
    """
    if echo_cancel is None:
        echo_cancel = find_spec("pywebrtc_audio") is not None
    transport = LocalTransport(devices=(_parse_device(microphone), _parse_device(speaker)), echo_cancel=echo_cancel)
    run_async(_talk, brain, transport)


async def _talk(brain: str, transport: LocalTransport) -> None:
    errors.print(f"{choice(brain).title}. Speak; Ctrl+C ends it.", style="dim", markup=False, highlight=False)
    sessions = Sessions(make_agent(brain, ConversationPrinter()))
    async with anyio.create_task_group() as group:
        group.start_soon(drain_on_signal, sessions)
        ending = await sessions.run(transport)
        group.cancel_scope.cancel()
    if ending == "failed":
        raise sessions.failures[-1]


def _parse_device(text: str | None) -> str | int | None:
    """Return a device's number if the text is one, otherwise its name."""
    return int(text) if text is not None and text.isdigit() else text
