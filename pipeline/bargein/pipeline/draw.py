"""Drawing a graph, as Mermaid, DOT or SVG: fused groups, inboxes, declared latencies and the longest path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ._contract import names
from ._plan import Node, Plan
from ._svg import picture
from .graph import Graph
from .statistics import SessionStatistics

__all__ = ["dot", "latency_ms", "mermaid", "svg"]


def mermaid(graph: Graph, *, capacity: int = 64) -> str:
    """The graph as a Mermaid flowchart, for Markdown pages that render it.

    Boxes with round ends run fused, inside one frame with those they are fused with; boxes with double sides have an
    inbox and a task. `capacity` is the session's default for inboxes.
    """
    plan = graph.plan
    lines = ["flowchart LR", "  n0([in])", f"  n{plan.exit.index}([out])"]
    for group, nodes in enumerate(_fused_groups(plan), 1):
        lines.append(f'  subgraph g{group}["fused"]')
        lines += [f'    n{node.index}("{_label(node, capacity, "<br/>")}")' for node in nodes]
        lines.append("  end")
    for node in plan.processors:
        if not node.plain:
            lines.append(f'  n{node.index}[["{_label(node, capacity, "<br/>")}"]]')
    lines += [f"  n{source.index} --> n{target.index}" for source, target in _links(plan)]
    lines.append(f'  total["{_total(plan)}"]:::note')
    lines.append("  classDef note fill:none,stroke:none")
    return "\n".join(lines) + "\n"


def dot(graph: Graph, *, capacity: int = 64) -> str:
    """The graph in Graphviz's DOT language; the same picture as `mermaid`."""
    plan = graph.plan
    lines = ["digraph bargein {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    lines.append(f'  label="{_total(plan)}";')
    lines += [f'  n{end.index} [shape=oval, label="{end.name}"];' for end in (plan.entry, plan.exit)]
    for group, nodes in enumerate(_fused_groups(plan), 1):
        lines.append(f'  subgraph cluster_{group} {{ label="fused"; style=rounded;')
        lines += [
            f'    n{node.index} [style=rounded, label="{_label(node, capacity, chr(92) + "n")}"];' for node in nodes
        ]
        lines.append("  }")
    for node in plan.processors:
        if not node.plain:
            lines.append(f'  n{node.index} [peripheries=2, label="{_label(node, capacity, chr(92) + "n")}"];')
    lines += [f"  n{source.index} -> n{target.index};" for source, target in _links(plan)]
    return "\n".join([*lines, "}"]) + "\n"


def svg(graph: Graph, statistics: SessionStatistics | None = None) -> str:
    """The graph as an SVG picture that needs no other program; with `statistics`, what a session has counted so far.

    White boxes are fused, green ones have a task, amber ones a thread of their own.
    """
    return picture(graph.plan, _total(graph.plan), statistics)


def latency_ms(graph: Graph) -> float:
    """The longest way through the graph, in milliseconds, as its processors declare their delays."""
    return _longest(graph.plan)[0]


def _links(plan: Plan) -> list[tuple[Node, Node]]:
    return [(node, after) for node in plan.nodes for after in node.after]


def _label(node: Node, capacity: int, newline: str) -> str:
    processor, contract = node.processor, node.contract
    assert processor is not None
    assert contract is not None
    rows = [node.name, f"{names(contract.takes)} → {names(contract.gives)}"]
    if not node.plain:
        kind = "thread" if processor.blocking else contract.kind.value
        rows.append(f"{kind}, inbox {processor.capacity or capacity}")
    if processor.latency_ms:
        rows.append(f"{processor.latency_ms:g} ms")
    return newline.join(row.replace('"', "'") for row in rows)


def _fused_groups(plan: Plan) -> list[list[Node]]:
    """Plain processors that are linked with each other: one sweep runs through all of them."""
    groups: list[list[Node]] = []
    seen: set[int] = set()
    for node in plan.processors:
        if not node.plain or node.index in seen:
            continue
        group: list[Node] = []
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if each.plain and each.index not in seen:
                seen.add(each.index)
                group.append(each)
                waiting += [*each.before, *each.after]
        groups.append(sorted(group, key=lambda each: each.index))
    return groups


def _longest(plan: Plan) -> tuple[float, Sequence[Node]]:
    best: dict[int, tuple[float, list[Node]]] = {}
    for node in plan.nodes:
        before = max((best[each.index] for each in node.before), key=lambda pair: pair[0], default=(0.0, []))
        own = node.processor.latency_ms if node.processor else 0.0
        best[node.index] = (before[0] + own, [*before[1], node])
    return best[plan.exit.index]


def _total(plan: Plan) -> str:
    total, way = _longest(plan)
    slow: Iterable[str] = (
        f"{node.name} {node.processor.latency_ms:g}" for node in way if _slow(node) and node.processor
    )
    return f"declared latency: {total:g} ms" + (f" ({' + '.join(slow)})" if total else "")


def _slow(node: Node) -> bool:
    return bool(node.processor and node.processor.latency_ms)
