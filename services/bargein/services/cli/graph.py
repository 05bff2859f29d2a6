"""`bargein graph FILE`: a drawing of a pipeline."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from bargein.pipeline import Audio, Graph, Image, Inbox, Interrupt, Outlet, Pipeline, Played, Processor, UserText
from bargein.pipeline.draw import dot, mermaid, svg
from bargein.processors import Commit
from bargein.services.transports import Dtmf, MayBeSilent, Peer, PeerJoined, PeerLeft, Transport
from bargein.services.transports.control import SinkEvent

from ._console import console, errors
from .agents import AgentFile, required_parameters, returns_graph

__all__ = ["find_graph", "graph"]

DRAWINGS: dict[str, Callable[[Graph], str]] = {".svg": svg, ".dot": dot, ".gv": dot, ".mmd": mermaid, ".md": mermaid}


def graph(
    file: Annotated[
        str,
        typer.Argument(help="A Python file or module, or FILE:NAME for a graph in it, or a function that makes one."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The drawing: .svg, .dot, .mmd or .md. Without it, Mermaid is printed."),
    ] = None,
) -> None:
    """Draw a pipeline: its processors, tasks, threads and queues, and its longest path.

    The function that makes the graph is called. The graph itself does not run.
    """
    agent_file = AgentFile(file)
    found = find_graph(agent_file.load(), agent_file.name)
    if output is None:
        console.out(mermaid(found), end="")
        return
    draw = DRAWINGS.get(output.suffix.lower())
    if draw is None:
        suffixes = ", ".join(DRAWINGS)
        raise ValueError(f"{output}: the suffix is {output.suffix or 'missing'!r}; expected one of {suffixes}")
    drawn = draw(found)
    if output.suffix.lower() == ".md":
        drawn = f"```mermaid\n{drawn}```\n"
    output.write_text(drawn, encoding="utf-8")
    errors.print(f"{len(found.plan.processors)} processors drawn in {output}", markup=False, highlight=False)


def find_graph(module: ModuleType, name: str = "") -> Graph:
    """Return a module's graph, or the graph that one of its functions makes, for a peer if the function needs one.

    Args:
        module: The module to look in.
        name: The graph's or the function's name; an empty string for the only one in the module.

    Raises:
        ValueError: The module has no such name, no graph, or several.
    """
    if name:
        if not hasattr(module, name):
            raise ValueError(f"{module.__name__}: there is no {name!r} in it")
        return _make_graph(getattr(module, name), name)
    public = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    graphs = {key: value for key, value in public.items() if isinstance(value, Graph)}
    if not graphs and "agent" in public:
        return _make_graph(public["agent"], "agent")
    if not graphs:
        graphs = {key: value for key, value in public.items() if _returns_graph(value, module)}
    if len(graphs) != 1:
        which = f"several graphs: {', '.join(graphs)}" if graphs else "no graph, and no function that returns one"
        raise ValueError(f"{module.__name__} has {which}; name one: bargein graph FILE:NAME")
    ((key, value),) = graphs.items()
    return _make_graph(value, key)


def _returns_graph(value: object, module: ModuleType) -> bool:
    if not inspect.isfunction(value) or value.__module__ != module.__name__:
        return False
    return len(required_parameters(value)) <= 1 and returns_graph(value)


def _make_graph(value: object, name: str) -> Graph:
    made = value
    if callable(value) and not isinstance(value, Processor):
        required = required_parameters(value)
        if len(required) > 1:
            raise ValueError(
                f"{name}() needs {', '.join(required)}; a function that is drawn needs at most one argument, the peer"
            )
        made = value(_PlaceholderTransport()) if required else value()
    if isinstance(made, Graph):
        return made
    if isinstance(made, Processor):
        return Pipeline(made)
    raise ValueError(f"{name!r} is not a graph but {type(made).__name__}")


PeerFrame = PeerJoined | Audio | Image | UserText | Commit | Dtmf | Interrupt | PeerLeft


class _PlaceholderTransport(Transport):
    """Stands for any peer in a drawing: its two ends send and take what those of every peer do."""

    def __init__(self) -> None:
        self.peer = Peer(name="peer", params=defaultdict(str))  # every parameter is an empty string
        self.source = _PlaceholderSource()
        self.sink = Pipeline(MayBeSilent(), _PlaceholderSink())


class _PlaceholderSource(Processor):
    name = "source"

    async def run(self, out: Outlet[PeerFrame]) -> None:
        """Never run."""


class _PlaceholderSink(Processor):
    name = "sink"

    async def run(self, inbox: Inbox[Audio | SinkEvent], out: Outlet[Played]) -> None:
        """Never run."""
