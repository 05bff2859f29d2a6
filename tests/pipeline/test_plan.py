"""Graphs laid flat: order, reach, and where frames go."""

from __future__ import annotations

from bargein.pipeline import Audio, Branch, Graph, Pass, Pipeline, Processor, Transcript, Video
from bargein.pipeline._plan import Node, Plan

from .kit import Answers, Plain, Sink, Waits


def plan(graph: Graph) -> tuple[Plan, dict[str, Node]]:
    return graph.plan, {node.name: node for node in graph.plan.nodes}


def test_every_link_points_forward() -> None:
    """The order is topological, whatever the order of linking."""
    a, b, c = (Plain().options(name=name) for name in "abc")
    laid, _ = plan(Graph(c).link(b, c).link(a, b))
    assert [node.name for node in laid.nodes] == ["in", "a", "b", "c", "out"]
    assert all(node.index < after.index for node in laid.nodes for after in node.after)


def test_reach() -> None:
    """A node knows the nodes that it reaches and those that reach it."""
    laid, by = plan(Pipeline(Plain(), Branch(Waits(), Sink()), Pass()))
    assert [node.name for node in laid.below(by["Plain"])] == ["Waits", "Sink", "Pass", "out"]
    assert [node.name for node in laid.above(by["Pass"])] == ["in", "Plain", "Waits", "Sink"]
    assert [node.name for node in laid.above(by["in"])] == []


def test_takers_are_the_nearest() -> None:
    """Passing by reaches as far as the next that takes it; a shorter way does not double it."""
    laid, by = plan(Pipeline(Plain(), Branch(Answers(), Waits()), Pass(Audio), Sink(), inputs=Transcript))

    def takers(kind: type) -> list[str]:
        return [node.name for node in laid.takers(by["Plain"], kind)]

    assert takers(Audio) == ["Waits"]
    assert takers(Video) == ["out"]
    routes = laid.routes([by["Answers"]], Audio)
    assert {node.name: [each.name for each in passed] for node, passed in routes.items()} == {"Pass": ["Answers"]}


def test_links_are_made_once() -> None:
    """Linking twice is linking once."""
    a, b = Plain(), Sink()
    laid, by = plan(Graph().link(a, b).link(a, b))
    assert len(by["Plain"].after) == 1
    assert laid.entry.after == [by["Plain"]]


def test_processors_keep_their_identity() -> None:
    """The plan holds the very processors that were given."""
    a: Processor = Plain()
    assert Pipeline(a).plan.processors[0].processor is a
