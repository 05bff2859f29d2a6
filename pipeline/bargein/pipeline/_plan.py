"""A graph laid flat: its nodes in topological order, which node reaches which, and where each frame class goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from ._contract import Contract, ProcessorKind
from .errors import LinkError
from .frames import Frame
from .processor import Processor

__all__ = ["Node", "Plan"]


class Node:
    """The place of one processor in a graph.

    Two more nodes stand for the application: `in` above all heads, `out` below all tails.
    """

    __slots__ = ("above", "after", "before", "below", "contract", "group", "index", "name", "processor")

    def __init__(self, index: int, name: str, processor: Processor | None) -> None:
        self.index = index
        self.name = name
        self.processor = processor
        self.contract: Contract | None = processor.contract if processor else None
        self.before: list[Node] = []
        self.after: list[Node] = []
        self.below = 0  # bit mask of the indexes of the nodes that it reaches
        self.above = 0  # bit mask of the indexes of the nodes that reach it
        self.group: tuple[str, ...] = ()  # names of the nested graphs that contain it, outermost first

    @property
    def fused(self) -> bool:
        """Whether it is fused by default: a sync processor that does not block."""
        contract = self.contract
        return (
            contract is not None
            and contract.kind is ProcessorKind.SYNC
            and not (self.processor and self.processor.blocking)
        )

    @property
    def source(self) -> bool:
        """Whether data begins here."""
        return self.contract is not None and self.contract.source

    def accepts(self, kind: type[Frame]) -> bool:
        """Return whether frames of this class are delivered here and do not bypass it."""
        if self.contract is None:
            return not self.after  # `out` takes everything that comes down to it
        return self.contract.accepts(kind)

    def __repr__(self) -> str:
        return f"<Node {self.index} {self.name}>"


class Plan:
    """The nodes of a graph in an order in which every link points forward, with `in` first and `out` last."""

    def __init__(
        self, processors: Sequence[tuple[str, Processor, tuple[str, ...]]], links: Sequence[tuple[int, int]]
    ) -> None:
        order = _sorted(processors, links)
        self.entry = Node(0, "in", None)
        self.exit = Node(len(order) + 1, "out", None)
        placed = {old: Node(new, processors[old][0], processors[old][1]) for new, old in enumerate(order, 1)}
        for old, node in placed.items():
            node.group = processors[old][2]
        self.nodes = [self.entry, *placed.values(), self.exit]
        for source, target in links:
            self._join(placed[source], placed[target])
        for node in placed.values():
            if not node.before:
                self._join(self.entry, node)
            if not node.after:
                self._join(node, self.exit)
        self._reach()

    @property
    def processors(self) -> list[Node]:
        """The nodes that are processors."""
        return self.nodes[1:-1]

    def below(self, node: Node) -> Iterator[Node]:
        """Return the nodes that a node reaches, in order."""
        return (each for each in self.nodes if node.below >> each.index & 1)

    def above(self, node: Node) -> Iterator[Node]:
        """Return the nodes that reach a node, in order."""
        return (each for each in self.nodes if node.above >> each.index & 1)

    def takers(self, node: Node, kind: type[Frame]) -> list[Node]:
        """Return the nodes to which a frame of this class goes when `node` emits it: the nearest that take it."""
        return list(self.routes(node.after, kind))

    def routes(self, heads: Iterable[Node], kind: type[Frame]) -> dict[Node, tuple[Node, ...]]:
        """Return the nodes to which a frame of this class goes from `heads`, each with the nodes that it bypasses.

        A frame bypasses the nodes that do not take it. Where branches run side by side it goes to each that takes it. A
        taker behind another taker gets the frame only from that one: otherwise bypassing one branch would double what
        another branch has taken.
        """
        takers: dict[Node, tuple[Node, ...]] = {}
        waiting: deque[tuple[Node, tuple[Node, ...]]] = deque((head, ()) for head in heads)
        seen = hidden = 0
        while waiting:
            each, passed = waiting.popleft()
            if seen >> each.index & 1:
                continue
            seen |= 1 << each.index
            if each.accepts(kind):
                takers[each] = passed
                hidden |= each.below
            else:
                waiting.extend((after, (*passed, each)) for after in each.after)
        return {each: passed for each, passed in takers.items() if not hidden >> each.index & 1}

    def _join(self, source: Node, target: Node) -> None:
        # Two links between the same nodes would deliver each frame twice.
        if target not in source.after:
            source.after.append(target)
            target.before.append(source)

    def _reach(self) -> None:
        # In topological order the masks of the neighbours are complete when they are needed. One pass in each direction
        # is enough.
        for node in reversed(self.nodes):
            for after in node.after:
                node.below |= after.below | 1 << after.index
        for node in self.nodes:
            for before in node.before:
                node.above |= before.above | 1 << before.index


def _sorted(
    processors: Sequence[tuple[str, Processor, tuple[str, ...]]], links: Sequence[tuple[int, int]]
) -> list[int]:
    """Return the indexes in an order in which every link points forward (Kahn's algorithm, stable).

    Raises:
        LinkError: The links form a cycle.
    """
    incoming = [0] * len(processors)
    outgoing: list[list[int]] = [[] for _ in processors]
    for source, target in dict.fromkeys(links):
        incoming[target] += 1
        outgoing[source].append(target)
    # From the front: of nodes that could come next, the one that was named first does. So the drawing and the
    # statistics keep the order in which the graph was written.
    ready = [at for at, count in enumerate(incoming) if not count]
    order: list[int] = []
    while ready:
        at = ready.pop(0)
        order.append(at)
        for target in outgoing[at]:
            incoming[target] -= 1
            if not incoming[target]:
                ready.append(target)
    if len(order) < len(processors):
        circle = _find_cycle([at for at in range(len(processors)) if at not in set(order)], outgoing)
        path = " -> ".join(repr(processors[at][0]) for at in [*circle, circle[0]])
        raise LinkError(
            f"a cycle: {path}. To send something back, drop the last link and give its frame class "
            "`delivery = Delivery.UPSTREAM`: such frames find the processors above that take them"
        )
    return order


def _find_cycle(unsorted: list[int], outgoing: list[list[int]]) -> list[int]:
    """Return one cycle among the nodes that could not be sorted."""
    remaining = set(unsorted)
    # Nodes behind a cycle could not be sorted either, but they are not to blame.
    while dead := {at for at in remaining if not remaining.intersection(outgoing[at])}:
        remaining -= dead  # these lie behind the cycle
    at = next(each for each in unsorted if each in remaining)
    walked: list[int] = []
    while at not in walked:
        walked.append(at)
        at = next(target for target in outgoing[at] if target in remaining)
    return walked[walked.index(at) :]
