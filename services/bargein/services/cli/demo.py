"""`bargein demo`: a page to talk to the agent."""

from __future__ import annotations

import importlib
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bargein.services.providers.brains import choice, choices

from ._agent import make_agent
from ._console import console, errors, run_async

if TYPE_CHECKING:
    from bargein.services.server import PageOptions

__all__ = ["demo"]

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def demo(
    host: Annotated[
        str, typer.Option(help="The host to listen at; 0.0.0.0 for all machines that can reach this one.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(help="The port; by default 8080, or the next free one. 0 takes any free one.", min=0, max=65535),
    ] = None,
    brain: Annotated[
        str, typer.Option(help="The brain, unless the page chooses another; `bargein doctor` lists them.")
    ] = "auto",
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="A certificate file (PEM), for https.")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's private key (PEM).")] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Another URL of the page, such as a proxy's: https://agent.example. May be repeated."),
    ] = None,
) -> None:
    """Serve a page to talk to the agent, over WebRTC or WebSocket, with captions, timings and a timeline."""
    errors.print("Starting ...", style="dim")
    options: PageOptions = {
        "host": host,
        "port": port,
        "origins": origin or [],
        "video_fps": 1,
        "certificate": certificate,
        "key": key,
    }
    run_async(_demo, brain, browse, options)


async def _demo(brain: str, browse: bool, options: PageOptions) -> None:
    chosen = choice(brain)
    options["brains"] = sorted(choices(), key=lambda each: each.name != chosen.name)  # the chosen one first
    # Imported only here: it needs the extra `server`, which the other commands do not.
    server_module = importlib.import_module("bargein.services.server")
    async with server_module.serve_page(make_agent(brain), **options) as server:
        console.print(f"Talk to it:      [bold]{server.url}[/]", soft_wrap=True)
        console.print(f"Its pipelines:   {server.url}graph", soft_wrap=True)
        console.print(f"Brain:           {chosen.title}", markup=False, highlight=False, soft_wrap=True)
        if options["host"] not in LOCAL_HOSTS and options["certificate"] is None:
            console.print(
                "Browsers on other machines allow the microphone on https pages only: use --certificate and --key."
            )
        console.print("Ctrl+C ends it.", style="dim")
        if browse:
            webbrowser.open(server.url)
        await server.wait()
        console.print("Finishing ...", style="dim")
