"""`bargein demo`: a page to talk to an agent, the built-in one or one's own."""

from __future__ import annotations

import importlib
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from bargein.services.providers.brains import choice, choices
from bargein.services.providers.offline import preload_offline

from ._console import console, errors, run_async, show_log
from .agents import AgentFile, FolderWatch, load_when_ready, make_agent, reload_agent

if TYPE_CHECKING:
    from bargein.services.server import PageOptions, PageServer

__all__ = ["demo"]

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def demo(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="AGENT",
            help="Your own agent: a file, FILE:FUNCTION or package.module:FUNCTION. The function takes a Transport and "
            "returns a Pipeline; by default it is the one called `agent`.",
            show_default=False,
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Load your agent again when a .py file in its folder changes.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="The host to listen at; 0.0.0.0 for all machines that can reach this one.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(help="The port; by default 8080, or the next free one. 0 takes any free one.", min=0, max=65535),
    ] = None,
    brain: Annotated[
        str | None,
        typer.Option(
            help="The brain of the built-in agent, unless the page chooses another; `bargein doctor` lists them. By "
            "default the first that can be used.",
            show_default=False,
        ),
    ] = None,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="A certificate file (PEM), for https.")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's private key (PEM).")] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Another URL of the page, such as a proxy's: https://agent.example. May be repeated."),
    ] = None,
) -> None:
    """Serve a page to talk to an agent, over WebRTC or WebSocket, with captions, timings and a timeline.

    Without AGENT it is the built-in agent, which needs no key and no network.
    """
    if target is None and reload:
        raise ValueError("--reload loads your own agent again; name its file: bargein demo agent.py --reload")
    if target is not None and brain is not None:
        raise ValueError(f"--brain is for the built-in agent; {target} makes its own brain, so change it there")
    errors.print("Starting ...", style="dim")
    options: PageOptions = {
        "host": host,
        "port": port,
        "origins": origin or [],
        "video_fps": 1,
        "certificate": certificate,
        "key": key,
    }
    if target is None:
        run_async(_serve_built_in, brain or "auto", browse, options)
    else:
        show_log()  # the errors of one's own code, with the line
        run_async(_serve_own, AgentFile(target), reload, browse, options)


async def _serve_built_in(brain: str, browse: bool, options: PageOptions) -> None:
    chosen = choice(brain)
    options["brains"] = sorted(choices(), key=lambda each: each.name != chosen.name)  # the chosen one first
    # Imported only here: it needs the extra `server`, which the other commands do not.
    server_module = importlib.import_module("bargein.services.server")
    async with server_module.serve_page(make_agent(brain), **options) as server:
        _print_addresses(server, options, f"Brain:           {chosen.title}", browse)
        async with anyio.create_task_group() as group:
            if chosen.name == "offline":
                group.start_soon(preload_offline)
            await server.wait()
            group.cancel_scope.cancel()
        console.print("Finishing ...", style="dim")


async def _serve_own(file: AgentFile, reload: bool, browse: bool, options: PageOptions) -> None:
    folder = FolderWatch(file.folder) if reload else None
    agent = file.load_agent() if folder is None else await load_when_ready(file, folder)
    server_module = importlib.import_module("bargein.services.server")
    async with server_module.serve_page(agent, **options) as server:
        watched = f", and reloads when a .py file in {file.folder} changes" if reload else ""
        _print_addresses(server, options, f"Agent:           {getattr(agent, '__name__', agent)}{watched}", browse)
        async with anyio.create_task_group() as group:
            if folder is not None:
                group.start_soon(reload_agent, file, folder, server.sessions)
            await server.wait()
            group.cancel_scope.cancel()
        console.print("Finishing ...", style="dim")


def _print_addresses(server: PageServer, options: PageOptions, about: str, browse: bool) -> None:
    """Print where the page is and what it serves, and open it if that is wanted."""
    console.print(f"Talk to it:      [bold]{server.url}[/]", soft_wrap=True)
    console.print(f"Its pipelines:   {server.url}graph", soft_wrap=True)
    console.print(about, markup=False, highlight=False, soft_wrap=True)
    if options["host"] not in LOCAL_HOSTS and options["certificate"] is None:
        console.print(
            "Browsers on other machines give their microphone to https pages only: use --certificate and --key."
        )
    console.print("Ctrl+C ends it.", style="dim")
    if browse:
        webbrowser.open(server.url)
