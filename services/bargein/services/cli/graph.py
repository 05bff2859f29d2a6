"""`bargein graph FILE`: a pipeline, drawn."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from bargein.pipeline import Audio, Graph, Image, Inbox, Interrupt, Outlet, Pipeline, Played, Processor, UserText
from bargein.pipeline.draw import dot, mermaid, svg
from bargein.processors import Commit
from bargein.services.transports import Dtmf, Peer, PeerJoined, PeerLeft, Transport
from bargein.services.transports._silent import MayBeSilent
from bargein.services.transports.control import Told

from ._console import console, errors

__all__ = ["find_graph", "graph"]

FORMS: dict[str, Callable[[Graph], str]] = {".svg": svg, ".dot": dot, ".gv": dot, ".mmd": mermaid, ".md": mermaid}


def graph(
    file: Annotated[
        str,
        typer.Argument(help="A Python file, or FILE:NAME for a graph or what makes one."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to draw it: .svg, .dot, .mmd. Else Mermaid is printed.")
    ] = None,
) -> None:
    """Draw a pipeline: its processors, tasks, threads and queues, and its longest way."""
    path, _, name = file.partition(":") if not Path(file).exists() else (file, "", "")
    found = find_graph(load(Path(path)), name)
    if output is None:
        console.out(mermaid(found), end="")
        return
    draw = FORMS.get(output.suffix.lower())
    if draw is None:
        raise ValueError(f"{output}: a graph can be drawn as {', '.join(FORMS)}, not as {output.suffix or 'that'!r}")
    drawn = draw(found)
    if output.suffix.lower() == ".md":
        drawn = f"```mermaid\n{drawn}```\n"
    output.write_text(drawn, encoding="utf-8")
    errors.print(f"{len(found.plan.processors)} processors drawn in {output}", markup=False, highlight=False)


def load(path: Path) -> ModuleType:
    """Import a Python file as what it is, not as a program."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: this is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[spec.name] = module  # what it defines may be looked up by its module's name
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def find_graph(module: ModuleType, name: str = "") -> Graph:
    """The graph of that name, or what a function of that name makes, for a peer if it needs one.

    Without a name it is the only one there is.
    """
    if name:
        if not hasattr(module, name):
            raise ValueError(f"{module.__name__}: there is no {name!r} in it")
        return _graph(getattr(module, name), name)
    own = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    graphs = {key: value for key, value in own.items() if isinstance(value, Graph)}
    if not graphs:
        graphs = {key: value for key, value in own.items() if _makes_graph(value, module)}
    if len(graphs) != 1:
        which = f"several graphs: {', '.join(graphs)}" if graphs else "no graph, and no function annotated to give one"
        raise ValueError(f"{module.__name__} has {which}; name one: bargein graph FILE:NAME")
    ((key, value),) = graphs.items()
    return _graph(value, key)


def _makes_graph(value: Any, module: ModuleType) -> bool:
    if not inspect.isfunction(value) or value.__module__ != module.__name__:
        return False
    given = inspect.signature(value).return_annotation
    return len(_needed(value)) <= 1 and str(getattr(given, "__name__", given)) in ("Graph", "Pipeline")


def _needed(function: Any) -> list[str]:
    """The parameters that it must be given."""
    return [name for name, each in inspect.signature(function).parameters.items() if each.default is each.empty]


def _graph(value: Any, name: str) -> Graph:
    made = value
    if callable(value) and not isinstance(value, Processor):
        needed = _needed(value)
        if len(needed) > 1:
            raise ValueError(
                f"{name}() must be given {', '.join(needed)}; a graph is drawn of one that needs a peer at most"
            )
        made = value(_Peer()) if needed else value()
    if isinstance(made, Graph):
        return made
    if isinstance(made, Processor):
        return Pipeline(made)
    raise ValueError(f"{name!r} is no graph but {type(made).__name__}")


Gives = PeerJoined | Audio | Image | UserText | Commit | Dtmf | Interrupt | PeerLeft


class _Peer(Transport):
    """Stands for whoever will come: what every peer's two ends give and take."""

    def __init__(self) -> None:
        self.peer = Peer(name="peer", params=defaultdict(str))  # it wishes nothing in particular
        self.source = _Source()
        self.sink = Pipeline(MayBeSilent(), _Sink())


class _Source(Processor):
    name = "source"

    async def run(self, out: Outlet[Gives]) -> None:
        """Never runs: it is drawn."""


class _Sink(Processor):
    name = "sink"

    async def run(self, inbox: Inbox[Audio | Told], out: Outlet[Played]) -> None:
        """Never runs: it is drawn."""
