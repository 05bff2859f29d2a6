"""Drawings of a graph as Mermaid, DOT or SVG: fused groups, inboxes, declared latencies and the longest path."""

from ._latency import latency_ms
from ._svg import svg
from ._text import dot, mermaid

__all__ = ["dot", "latency_ms", "mermaid", "svg"]
