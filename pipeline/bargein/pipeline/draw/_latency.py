"""The declared latency of a graph: the longest path through it."""

from __future__ import annotations

from bargein.pipeline._plan import Node, Plan
from bargein.pipeline.graph import Graph

__all__ = ["describe_latency", "latency_ms"]


def latency_ms(graph: Graph) -> float:
    """Return the longest latency of all paths through the graph, in milliseconds, as its processors declare it.

    Args:
        graph: The graph. It is checked first.
    """
    return _longest_path(graph.plan)[0]


def describe_latency(plan: Plan) -> str:
    """Return the declared latency in words, with the processors that add to it."""
    total, path = _longest_path(plan)
    parts = [
        f"{node.name} {node.processor.latency_ms:g}" for node in path if node.processor and node.processor.latency_ms
    ]
    return f"declared latency: {total:g} ms" + (f" ({' + '.join(parts)})" if total else "")


def _longest_path(plan: Plan) -> tuple[float, list[Node]]:
    best: dict[int, tuple[float, list[Node]]] = {}
    for node in plan.nodes:
        before = max((best[each.index] for each in node.before), key=lambda pair: pair[0], default=(0.0, []))
        own = node.processor.latency_ms if node.processor else 0.0
        best[node.index] = (before[0] + own, [*before[1], node])
    return best[plan.exit.index]
