"""Composing processors: graphs, pipelines, branches and switches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypedDict, Unpack

from ._check import check, emitted, has_source
from ._contract import Contract, Kinds, ProcessorKind
from ._options import check_options
from ._plan import Node, Plan
from ._router import Route, Router
from .errors import LinkError
from .frames import Frame
from .processor import Processor, ProcessorLike, as_processor
from .session import Session

__all__ = ["Branch", "Graph", "Pipeline", "Route", "SessionOptions", "Step", "Switch"]

Step = Processor | ProcessorLike | Callable[..., object]
"""A part of a graph: a processor, which may be a graph or a brain, or an annotated function."""


class SessionOptions(TypedDict, total=False):
    """The options of `Graph.session` and `Graph.run`."""

    capacity: int
    output_capacity: int
    cancel_seconds: float
    drain_seconds: float
    fused: bool


class Graph(Processor):
    """Processors and links, checked before they run.

    Its parts stand side by side until `link` joins them. A graph is itself a processor. Inside another graph, incoming
    frames go to its heads (the parts without a link before them), and its tails (the parts without a link after them)
    lead on.

    Args:
        parts: Processors, graphs and annotated functions.
        name: Prefix of its processors' names in errors, statistics and drawings.
        inputs: Frame classes that the application will send, beyond those that the heads take. Only the link check
            reads them.

    Raises:
        LinkError: A processor is used twice.
        ContractError: A part is not a processor.
    """

    @check_options
    def __init__(self, *parts: Step, name: str = "", inputs: type[Frame] | tuple[type[Frame], ...] = ()) -> None:
        self.name = name
        self.inputs: Kinds = frozenset(inputs if isinstance(inputs, tuple) else (inputs,))
        """Frame classes that the application will send, beyond those that the heads take."""
        self._leaves: list[Processor] = []
        self._groups: list[tuple[str, ...]] = []
        self._links: list[tuple[int, int]] = []
        self._parts: dict[int, tuple[Processor, list[int]]] = {}  # by identity of the step as written, with its leaves
        self._plan: Plan | None = None
        self._inside: Graph | None = None
        for part in parts:
            self._add(part)

    def link(self, *chain: Step) -> Graph:
        """Join parts in a row, adding those that are new. Every tail of one leads to every head of the next.

        Args:
            chain: Processors, graphs and annotated functions.

        Returns:
            The graph itself.
        """
        if self._inside is not None:
            raise LinkError(f"{self!r} has become a part of {self._inside!r}; link it before, or link the parts there")
        steps = [self._add(part) for part in chain]
        for before, after in pairwise(steps):
            self._links += [(tail, head) for tail in self._tails(before) for head in self._heads(after)]
        self._plan = None
        return self

    @property
    def processors(self) -> tuple[Processor, ...]:
        """The processors, with nested graphs laid flat."""
        return tuple(self._leaves)

    @property
    def contract(self) -> Contract:
        """The classes that its heads take, and those that may come out at its tails."""
        plan = self.plan
        return Contract(
            kind=ProcessorKind.LOOP, takes=_union(plan.entry.after, "takes"), gives=emitted(plan, self.inputs)
        )

    @property
    def plan(self) -> Plan:
        """The graph laid flat and checked.

        Raises:
            LinkError: The graph cannot work.
            ContractError: The annotations of a processor cannot be read.
        """
        if self._plan is None:
            if not self._leaves:
                raise LinkError(
                    f"{type(self).__name__}() has no processors; to let frames through unchanged use Pass()"
                )
            names = _unique_names(self._leaves, self._groups)
            plan = Plan(list(zip(names, self._leaves, self._groups, strict=True)), self._links)
            check(plan, self.inputs)
            self._plan = plan
        return self._plan

    @check_options
    def session(
        self,
        *,
        capacity: int = 64,
        output_capacity: int = 1024,
        cancel_seconds: float = 1.0,
        drain_seconds: float = 30.0,
        fused: bool = True,
    ) -> Session:
        """Return a session that runs this graph: `async with graph.session() as session`.

        Args:
            capacity: How many frames an inbox holds, at least 1. Default 64.
            output_capacity: How many frames that have left the graph wait for a reader, at least 1. Default 1024.
            cancel_seconds: How long a cancelled session may take to stop. Default 1.
            drain_seconds: How long a session that ends gracefully may take to drain. Default 30.
            fused: Whether sync processors run in the task of their sender. Default True. False is for comparisons.
        """
        return Session(
            self,
            capacity=capacity,
            output_capacity=output_capacity,
            cancel_seconds=cancel_seconds,
            drain_seconds=drain_seconds,
            fused=fused,
        )

    async def run(self, **options: Unpack[SessionOptions]) -> None:
        """Run until every source has ended and everything has drained. What leaves the graph is discarded.

        Args:
            options: The options of `session`.

        Raises:
            LinkError: No processor is a source, so that nothing would ever come in.
            Exception: What a processor raised.
        """
        if not has_source(self.plan):
            raise LinkError(
                f"{self!r} has no source, so run() would wait for ever. Put a source first, "
                "or send frames yourself: `async with graph.session() as session: await session.send(frame)`"
            )
        async with self.session(**options) as session:
            await session.drained()

    def __repr__(self) -> str:
        name = f"{self.name!r}: " if self.name else ""
        return f"<{type(self).__name__} {name}{', '.join(each.name or type(each).__name__ for each in self._leaves)}>"

    def _add(self, step: Step) -> list[int]:
        """Return the indexes of a step's processors, after adding them if they are new."""
        if (known := self._parts.get(id(step))) is not None:
            return known[1]
        part = as_processor(step)
        if isinstance(part, Graph):
            if not part.processors:
                raise LinkError(f"{part!r} has no processors; to let frames through unchanged use Pass()")
            part._inside = self
        first = len(self._leaves)
        adapters = () if isinstance(part, Graph) else part.adapters()
        for adapter in adapters:
            adapter.is_adapter = True
        leaves = part.processors if isinstance(part, Graph) else (*adapters, part)
        for leaf in leaves:
            if any(leaf is other for other in self._leaves):
                raise LinkError(
                    f"{leaf!r} is used twice in {type(self).__name__}; a processor keeps state and stands in one "
                    "place. Make a second one, or branch and merge around this one"
                )
            self._leaves.append(leaf)
        if isinstance(part, Graph):
            prefix = (part.name,) if part.name else ()
            self._groups += [prefix + group for group in part._groups]
            self._links += [(first + source, first + target) for source, target in part._links]
            self.inputs |= part.inputs
        else:
            self._groups += [()] * len(leaves)
            self._links += pairwise(range(first, first + len(leaves)))
        added = list(range(first, len(self._leaves)))
        self._parts[id(step)] = self._parts[id(part)] = part, added
        self._plan = None
        return added

    def _heads(self, part: list[int]) -> list[int]:
        inside = set(part)
        targets = {target for source, target in self._links if source in inside}
        return [at for at in part if at not in targets]

    def _tails(self, part: list[int]) -> list[int]:
        inside = set(part)
        sources = {source for source, target in self._links if target in inside}
        return [at for at in part if at not in sources]


class Pipeline(Graph):
    """The linear graph: each step leads to the next.

    Args:
        steps: Processors, annotated functions and other graphs, in order.
        name: Prefix of its processors' names in errors, statistics and drawings.
        inputs: Frame classes that the application will send, beyond those that the heads take.

    Raises:
        LinkError: A step is used twice.
        ContractError: A step is not a processor.
    """

    @check_options
    def __init__(self, *steps: Step, name: str = "", inputs: type[Frame] | tuple[type[Frame], ...] = ()) -> None:
        super().__init__(name=name, inputs=inputs)
        if len({id(step) for step in steps}) < len(steps):
            twice = next(step for at, step in enumerate(steps) if any(step is other for other in steps[:at]))
            raise LinkError(
                f"{twice!r} is used twice in {type(self).__name__}; a processor keeps state. Make a second one"
            )
        self.link(*steps)


class Branch(Graph):
    """Steps side by side. A frame goes to every branch that takes it; a frame that no branch takes passes once.

    Behind the branches their tails merge, in the order in which frames arrive. To keep an unprocessed path beside a
    processed one, make `Pass()` a branch.
    """


class Switch(Graph):
    """Branches of which each frame takes one. The choice may change while the session runs.

    ::

        voice = Switch("warm", warm=warm_chain, brisk=brisk_chain)      # all frames, until changed
        voice.route = "brisk"
        Switch({Audio: "sound", Frame: "rest"}, sound=a, rest=b)        # by class
        Switch(lambda frame: "loud" if ... else "soft", loud=a, soft=b) # by predicate

    A frame that the chosen branch does not take bypasses it and goes on behind the switch. Frames that are already
    inside a branch finish there.

    Args:
        route: One branch's name for all frames, a branch for each frame class, or a function from frame to name.
        branches: The branches by name.

    Raises:
        LinkError: There are no branches, or a route names a branch that does not exist.
    """

    @check_options
    def __init__(self, route: Route, /, **branches: Step) -> None:
        if not branches:
            raise LinkError("Switch(route) has no branches; name them: Switch(route, left=a, right=b)")
        parts = {name: as_processor(step) for name, step in branches.items()}
        self._router = Router(route, parts).options(name="switch")
        super().__init__()
        for part in parts.values():
            self.link(self._router, part)

    @property
    def route(self) -> Route:
        """How it chooses now. Assign to change it; the next frame takes the new route."""
        return self._router.route

    @route.setter
    def route(self, route: Route) -> None:
        self._router.check(route)
        self._router.route = route


def _union(nodes: list[Node], side: str) -> Kinds:
    return frozenset().union(*(getattr(node.contract, side) for node in nodes if node.contract))


def _unique_names(leaves: list[Processor], groups: list[tuple[str, ...]]) -> list[str]:
    """Return what each processor is called in this graph: `Gain`, `Gain-2`, `front/Gain`."""
    names: dict[str, None] = {}
    for leaf, group in zip(leaves, groups, strict=True):
        name = base = "/".join([*group, leaf.name or type(leaf).__name__])
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names[name] = None
    return list(names)
