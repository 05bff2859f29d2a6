"""A graph as a picture: rows from the source down to the sink, branches side by side, counters if there are some."""

from __future__ import annotations

from collections import defaultdict
from html import escape

from bargein.pipeline._contract import names
from bargein.pipeline._plan import Node, Plan
from bargein.pipeline.graph import Graph
from bargein.pipeline.statistics import ProcessorStatistics, SessionStatistics

from ._latency import describe_latency

__all__ = ["svg"]

WIDE, TALL = 300, 54
"""Size of a box, in pixels."""
GAP_X, GAP_Y = 44, 40
"""Distance between boxes, in pixels."""
MARGIN = 28
"""Distance from the edge of the picture, in pixels."""
MAX_LETTERS = 46
"""Maximum number of letters of small print in a box."""
STYLE = """
  .bargein { font: 13px system-ui, sans-serif; }
  .bargein text { fill: #1d1f24; }
  .bargein .small { font-size: 10.5px; fill: #62666f; }
  .bargein .hot { fill: #c4314b; font-weight: 600; }
  .bargein .box { fill: #fff; stroke: #8b8f98; }
  .bargein .task { fill: #eaf5f4; stroke: #0f8f86; }
  .bargein .thread { fill: #fdf3e2; stroke: #b26a00; }
  .bargein .end { fill: #1d1f24; }
  .bargein .end + text { fill: #fff; }
  .bargein .link { fill: none; stroke: #8b8f98; stroke-width: 1.4; }
  .bargein .frame { fill: none; stroke: #c9c5bc; stroke-dasharray: 4 4; }
"""


def svg(graph: Graph, statistics: SessionStatistics | None = None) -> str:
    """Return the graph as a self-contained SVG picture.

    White boxes are fused, green boxes have a task, amber boxes have a thread.

    Args:
        graph: The graph.
        statistics: What a session has counted so far, to show in the boxes. Default: no counters.
    """
    plan = graph.plan
    places = _places(plan)
    width = max(x for x, _ in places.values()) + WIDE + MARGIN
    height = max(y for _, y in places.values()) + TALL + MARGIN + 20
    counted = statistics.processors if statistics is not None else {}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bargein" role="img" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<title>{escape(' → '.join(node.name for node in plan.processors))}</title>",
        f"<style>{STYLE}</style>",
        *_group_frames(plan, places),
        *(_link(places[node.index], places[after.index]) for node in plan.nodes for after in node.after),
        *(_end(node, places[node.index]) for node in (plan.entry, plan.exit)),
        *(_box(node, places[node.index], counted.get(node.name)) for node in plan.processors),
        f'<text class="small" x="{MARGIN}" y="{height - 10}">{escape(_caption(plan, statistics))}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _places(plan: Plan) -> dict[int, tuple[int, int]]:
    """Return the upper left corner of each node.

    The row is the length of the longest path to the node. The lane is that of a node before it, if it is free.
    """
    rows: dict[int, int] = {}
    for node in plan.nodes:
        rows[node.index] = max((rows[each.index] + 1 for each in node.before), default=0)
    lanes: dict[int, int] = {}
    taken: set[tuple[int, int]] = set()
    for node in sorted(plan.nodes, key=lambda node: rows[node.index]):
        row = rows[node.index]
        preferred = [lanes[each.index] for each in node.before]
        lane = next(lane for lane in (*preferred, *range(len(plan.nodes))) if (row, lane) not in taken)
        lanes[node.index] = lane
        end = max((rows[each.index] for each in node.after), default=row + 1)
        taken.update((each, lane) for each in range(row, end))  # a link that skips rows keeps its lane free
    return {
        index: (MARGIN + lane * (WIDE + GAP_X), MARGIN + rows[index] * (TALL + GAP_Y)) for index, lane in lanes.items()
    }


def _group_frames(plan: Plan, places: dict[int, tuple[int, int]]) -> list[str]:
    """Return a frame with its name around the processors of each nested graph."""
    groups: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for node in plan.processors:
        for depth in range(1, len(node.group) + 1):
            groups[node.group[:depth]].append(places[node.index])
    shapes = []
    for group, inside in groups.items():
        pad = max(4, 12 - 4 * (len(group) - 1))
        x, y = min(x for x, _ in inside) - pad, min(y for _, y in inside) - pad
        wide = max(x for x, _ in inside) + WIDE + pad - x
        tall = max(y for _, y in inside) + TALL + pad - y
        shapes.append(f'<rect class="frame" x="{x}" y="{y}" width="{wide}" height="{tall}" rx="10"/>')
        if group[-1]:
            shapes.append(f'<text class="small" x="{x + 6}" y="{y - 3}">{escape(group[-1])}</text>')
    return shapes


def _link(source: tuple[int, int], target: tuple[int, int]) -> str:
    x, y = source[0] + WIDE // 2, source[1] + TALL
    to_x, to_y = target[0] + WIDE // 2, target[1]
    bend = max(12, (to_y - y) // 2)
    tip = f"M{to_x - 4} {to_y - 6}L{to_x} {to_y}L{to_x + 4} {to_y - 6}"
    return f'<path class="link" d="M{x} {y}C{x} {y + bend} {to_x} {to_y - bend} {to_x} {to_y}{tip}"/>'


def _end(node: Node, place: tuple[int, int]) -> str:
    x, y = place[0] + WIDE // 2, place[1] + (TALL - 22 if not node.before else 0)
    return (
        f'<rect class="end" x="{x - 26}" y="{y}" width="52" height="22" rx="11"/>'
        f'<text x="{x}" y="{y + 15}" text-anchor="middle">{node.name}</text>'
    )


def _box(node: Node, place: tuple[int, int], counted: ProcessorStatistics | None) -> str:
    (x, y), processor, contract = place, node.processor, node.contract
    assert processor is not None
    assert contract is not None
    kind, what = "box", "fused"
    if not node.fused:
        kind, what = ("thread", "thread") if processor.blocking else ("task", contract.kind.value)
    if processor.latency_ms:
        what += f", {processor.latency_ms:g} ms"
    whole = f"{names(contract.takes)} → {names(contract.gives)}"
    classes = _short(whole)
    if counted is not None and counted.own is not None:
        whole += f"\n{counted.own}"
    rows = [
        f"<g><title>{escape(whole)}</title>"
        f'<rect class="{kind}" x="{x}" y="{y}" width="{WIDE}" height="{TALL}" rx="{8 if node.fused else 2}"/>',
        f'<text x="{x + 10}" y="{y + 19}" font-weight="600">{escape(node.name)}</text>',
        f'<text class="small" x="{x + WIDE - 10}" y="{y + 19}" text-anchor="end">{what}</text>',
    ]
    if counted is None:
        rows.append(f'<text class="small" x="{x + 10}" y="{y + 40}">{escape(classes)}</text></g>')
        return "".join(rows)
    lost = counted.overflow_dropped + counted.late_dropped + counted.error_dropped
    counters = f"{counted.frames_in} in, {counted.frames_out} out"
    for number, what in ((counted.waiting, "waiting"), (counted.stale_dropped, "stale")):
        if number:  # a zero says nothing
            counters += f", {number} {what}"
    rows.append(f'<text class="small" x="{x + 10}" y="{y + 40}">{counters}</text>')
    if lost:
        rows.append(f'<text class="small hot" x="{x + WIDE - 10}" y="{y + 40}" text-anchor="end">{lost} lost</text>')
    return "".join([*rows, "</g>"])


def _short(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else text[: MAX_LETTERS - 1] + "…"


def _caption(plan: Plan, statistics: SessionStatistics | None) -> str:
    total = describe_latency(plan)
    if statistics is None:
        return total
    return f"{total}; epoch {statistics.epoch}, {statistics.interrupts} interrupts, {statistics.tasks} tasks"
