"""`bargein demo`: a page to talk to the agent."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from bargein.services.providers.brains import choice, choices

from ._agent import agent
from ._console import console, errors, run_async

__all__ = ["demo"]

LOCAL = ("127.0.0.1", "localhost", "::1")


def demo(
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 for all that can reach this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="At which port; 0 takes a free one.", min=0, max=65535)] = 8080,
    brain: Annotated[str, typer.Option(help="Which brain, if the page does not say; `bargein doctor` lists them.")] = (
        "auto"
    ),
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="A certificate file, for https.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Where else its page is opened, as behind a proxy: https://agent.example.")
    ] = None,
) -> None:
    """Open a page to talk to the agent: over WebRTC or WebSocket, with captions, timings and a timeline."""
    errors.print("Starting ...", style="dim")
    run_async(_demo, host, port, brain, browse, certificate, key, origin or [])


async def _demo(
    host: str, port: int, brain: str, browse: bool, certificate: Path | None, key: Path | None, origins: list[str]
) -> None:
    from bargein.services.server import serve_page

    chosen = choice(brain)
    offered = sorted(choices(), key=lambda each: each.name != chosen.name)  # the chosen one first
    async with serve_page(
        agent(brain),
        host=host,
        port=port,
        brains=offered,
        origins=origins,
        video_fps=1,
        certificate=certificate,
        key=key,
    ) as server:
        console.print(f"Talk to it:      [bold]{server.url}[/]", soft_wrap=True)
        console.print(f"Its pipelines:   {server.url}graph", soft_wrap=True)
        console.print(f"Brain:           {chosen.title}", markup=False, highlight=False, soft_wrap=True)
        if host not in LOCAL and certificate is None:
            console.print("From other machines browsers give their microphone to https only: --certificate, --key.")
        console.print("Ctrl+C ends it.", style="dim")
        if browse:
            webbrowser.open(server.url)
        await server.wait()
        console.print("Finishing ...", style="dim")
