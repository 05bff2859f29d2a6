"""Drawings: fused groups, inboxes, latencies, and the whole path's."""

from __future__ import annotations

import subprocess

from bargein.pipeline import Branch, Pipeline
from bargein.pipeline.draw import dot, latency_ms, mermaid
from tests.environment import need
from tests.pipeline.kit import InThread, Loops, Plain, Waits


def graph() -> Pipeline:
    slow, deep = Waits().options(capacity=9), Loops()
    slow.latency_ms, deep.latency_ms = 30, 12.5
    return Pipeline(Plain(), Plain(), slow, Branch(deep, InThread()), Plain())


def test_latency_of_the_slowest_branch() -> None:
    """Declared delays are summed along the slowest branch."""
    assert latency_ms(graph()) == 42.5


def test_mermaid() -> None:
    """Two fused groups, three inboxes, and the total."""
    drawn = mermaid(graph(), capacity=64)
    assert drawn == MERMAID


MERMAID = """flowchart LR
  n0([in])
  n7([out])
  subgraph g1["fused"]
    n1("Plain<br/>Audio → Audio")
    n2("Plain-2<br/>Audio → Audio")
  end
  subgraph g2["fused"]
    n6("Plain-3<br/>Audio → Audio")
  end
  n3[["Waits<br/>Audio → Audio<br/>async, inbox 9<br/>30 ms"]]
  n4[["Loops<br/>Audio → Audio<br/>loop, inbox 64<br/>12.5 ms"]]
  n5[["InThread<br/>Audio → Audio<br/>thread, inbox 64"]]
  n0 --> n1
  n1 --> n2
  n2 --> n3
  n3 --> n4
  n3 --> n5
  n4 --> n6
  n5 --> n6
  n6 --> n7
  total["declared latency: 42.5 ms (Waits 30 + Loops 12.5)"]:::note
  classDef note fill:none,stroke:none
"""


def test_dot_is_understood_by_graphviz() -> None:
    """Every node and link is in it; Graphviz reads it where it is installed."""
    drawn = dot(graph())
    for part in (
        "digraph",
        "cluster_1",
        "peripheries=2",
        "n0 -> n1;",
        "declared latency: 42.5 ms (Waits 30 + Loops 12.5)",
    ):
        assert part in drawn
    need("graphviz")
    subprocess.run(["dot", "-Tsvg"], input=drawn.encode(), check=True, capture_output=True, timeout=20)
