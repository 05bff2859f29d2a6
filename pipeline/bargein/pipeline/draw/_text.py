"""Drawings in text: Mermaid and DOT."""

from __future__ import annotations

from bargein.pipeline._contract import names
from bargein.pipeline._plan import Node, Plan
from bargein.pipeline.graph import Graph

from ._latency import describe_latency

__all__ = ["dot", "mermaid"]


def mermaid(graph: Graph, *, capacity: int = 64) -> str:
    """Return the graph as a Mermaid flowchart, for Markdown pages that render it.

    Boxes with round ends are fused, and share a frame with the boxes that they are fused with. Boxes with double sides
    have an inbox and a task.

    Args:
        graph: The graph.
        capacity: The session's default capacity of inboxes. Default 64.
    """
    plan = graph.plan
    lines = ["flowchart LR", "  n0([in])", f"  n{plan.exit.index}([out])"]
    for group, nodes in enumerate(_fused_groups(plan), 1):
        lines.append(f'  subgraph g{group}["fused"]')
        lines += [f'    n{node.index}("{_label(node, capacity, "<br/>")}")' for node in nodes]
        lines.append("  end")
    for node in plan.processors:
        if not node.fused:
            lines.append(f'  n{node.index}[["{_label(node, capacity, "<br/>")}"]]')
    lines += [f"  n{source.index} --> n{target.index}" for source, target in _links(plan)]
    lines.append(f'  total["{describe_latency(plan)}"]:::note')
    lines.append("  classDef note fill:none,stroke:none")
    return "\n".join(lines) + "\n"


def dot(graph: Graph, *, capacity: int = 64) -> str:
    """Return the graph in Graphviz's DOT language: the same picture as `mermaid`.

    Args:
        graph: The graph.
        capacity: The session's default capacity of inboxes. Default 64.
    """
    plan = graph.plan
    lines = ["digraph bargein {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    lines.append(f'  label="{describe_latency(plan)}";')
    lines += [f'  n{end.index} [shape=oval, label="{end.name}"];' for end in (plan.entry, plan.exit)]
    for group, nodes in enumerate(_fused_groups(plan), 1):
        lines.append(f'  subgraph cluster_{group} {{ label="fused"; style=rounded;')
        lines += [
            f'    n{node.index} [style=rounded, label="{_label(node, capacity, chr(92) + "n")}"];' for node in nodes
        ]
        lines.append("  }")
    for node in plan.processors:
        if not node.fused:
            lines.append(f'  n{node.index} [peripheries=2, label="{_label(node, capacity, chr(92) + "n")}"];')
    lines += [f"  n{source.index} -> n{target.index};" for source, target in _links(plan)]
    return "\n".join([*lines, "}"]) + "\n"


def _links(plan: Plan) -> list[tuple[Node, Node]]:
    return [(node, after) for node in plan.nodes for after in node.after]


def _label(node: Node, capacity: int, newline: str) -> str:
    processor, contract = node.processor, node.contract
    assert processor is not None
    assert contract is not None
    rows = [node.name, f"{names(contract.takes)} → {names(contract.gives)}"]
    if not node.fused:
        kind = "thread" if processor.blocking else contract.kind.value
        rows.append(f"{kind}, inbox {processor.capacity or capacity}")
    if processor.latency_ms:
        rows.append(f"{processor.latency_ms:g} ms")
    return newline.join(row.replace('"', "'") for row in rows)


def _fused_groups(plan: Plan) -> list[list[Node]]:
    """Return groups of fused processors that are linked with each other: one sweep runs through each group."""
    groups: list[list[Node]] = []
    seen: set[int] = set()
    for node in plan.processors:
        if not node.fused or node.index in seen:
            continue
        group: list[Node] = []
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if each.fused and each.index not in seen:
                seen.add(each.index)
                group.append(each)
                waiting += [*each.before, *each.after]
        groups.append(sorted(group, key=lambda each: each.index))
    return groups
