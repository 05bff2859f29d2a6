"""A graph laid flat: its nodes in topological order, who reaches whom, and who gets which frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from ._contract import Contract, ProcessorKind
from .errors import LinkError
from .frames import Frame
from .processor import Processor

__all__ = ["Node", "Plan"]


class Node:
    """One processor's place in a graph. Two more stand for the application: `in` above all heads, `out` below."""

    __slots__ = ("above", "after", "before", "below", "contract", "group", "index", "name", "processor")

    def __init__(self, index: int, name: str, processor: Processor | None) -> None:
        self.index = index
        self.name = name
        self.processor = processor
        self.contract: Contract | None = processor.contract if processor else None
        self.before: list[Node] = []
        self.after: list[Node] = []
        self.below = 0  # bit masks over indexes: whom it reaches, and who reaches it
        self.above = 0
        self.group: tuple[str, ...] = ()  # names of the nested graphs it stands in, outermost first

    @property
    def plain(self) -> bool:
        """Whether it is fused by default: a generator that does not block."""
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
        """Whether frames of this class are delivered here rather than passing by."""
        if self.contract is None:
            return not self.after  # `out` takes whatever comes down to it
        return self.contract.accepts(kind)

    def __repr__(self) -> str:
        return f"<Node {self.index} {self.name}>"


class Plan:
    """The nodes in an order in which every link points forward; `in` first, `out` last."""

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
        """Everything a node reaches, in order."""
        return (each for each in self.nodes if node.below >> each.index & 1)

    def above(self, node: Node) -> Iterator[Node]:
        """Everything that reaches a node, in order."""
        return (each for each in self.nodes if node.above >> each.index & 1)

    def takers(self, node: Node, kind: type[Frame]) -> list[Node]:
        """Who gets a frame of this class that `node` emits: the nearest that take it."""
        return list(self.ways(node.after, kind))

    def ways(self, heads: Iterable[Node], kind: type[Frame]) -> dict[Node, tuple[Node, ...]]:
        """Who gets a frame of this class that comes to `heads`, and whom it passes on its way there.

        A frame passes by whoever does not take it. Where branches run side by side it goes to each that takes it;
        one that lies behind another of them gets it only from that one, so that passing by one branch never doubles
        what another has taken.
        """
        found: dict[Node, tuple[Node, ...]] = {}
        waiting: deque[tuple[Node, tuple[Node, ...]]] = deque((head, ()) for head in heads)
        seen = hidden = 0
        while waiting:
            each, passed = waiting.popleft()
            if seen >> each.index & 1:
                continue
            seen |= 1 << each.index
            if each.accepts(kind):
                found[each] = passed
                hidden |= each.below
            else:
                waiting.extend((after, (*passed, each)) for after in each.after)
        return {each: passed for each, passed in found.items() if not hidden >> each.index & 1}

    def _join(self, source: Node, target: Node) -> None:
        if target not in source.after:
            source.after.append(target)
            target.before.append(source)

    def _reach(self) -> None:
        for node in reversed(self.nodes):
            for after in node.after:
                node.below |= after.below | 1 << after.index
        for node in self.nodes:
            for before in node.before:
                node.above |= before.above | 1 << before.index


def _sorted(
    processors: Sequence[tuple[str, Processor, tuple[str, ...]]], links: Sequence[tuple[int, int]]
) -> list[int]:
    """The processors so that every link points forward (Kahn's algorithm, stable). Raises on a cycle."""
    incoming = [0] * len(processors)
    outgoing: list[list[int]] = [[] for _ in processors]
    for source, target in dict.fromkeys(links):
        incoming[target] += 1
        outgoing[source].append(target)
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
        circle = _circle([at for at in range(len(processors)) if at not in set(order)], outgoing)
        way = " -> ".join(repr(processors[at][0]) for at in [*circle, circle[0]])
        raise LinkError(
            f"a cycle: {way}. To send news back, drop the last link and give the frame a class that travels upstream "
            "(`delivery = Delivery.UPSTREAM`): it finds the processors above that take it by itself"
        )
    return order


def _circle(left: list[int], outgoing: list[list[int]]) -> list[int]:
    """One cycle among the nodes that could not be sorted."""
    remaining = set(left)
    while dead := {at for at in remaining if not remaining.intersection(outgoing[at])}:
        remaining -= dead  # these lie behind the cycle
    at = next(each for each in left if each in remaining)
    walked: list[int] = []
    while at not in walked:
        walked.append(at)
        at = next(target for target in outgoing[at] if target in remaining)
    return walked[walked.index(at) :]
