"""What a server counts, in Prometheus' format."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from bargein.pipeline import Failure, Frame
from bargein.pipeline.lowlevel import import_extra
from bargein.processors import BargeInLatency, TurnLatency
from bargein.services.transports import Sessions

__all__ = ["Metrics"]

TURN_BUCKETS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Seconds. An answer within half a second feels like a person's."""
REACTION_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Seconds."""
COUNTED = ("stale_dropped", "overflow_dropped")


class Metrics:
    """Counts over all sessions: give `observe` to `Sessions`, and `watch` them."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"
    """How the text should be announced."""

    def __init__(self) -> None:
        prometheus = import_extra("prometheus_client", "server", "Metrics")
        self._prometheus = prometheus
        self._families = importlib.import_module("prometheus_client.core")
        self._registry = prometheus.CollectorRegistry()
        self._turn = prometheus.Histogram(
            "bargein_turn_seconds",
            "From the end of the user's speech to the first audible sound of the answer.",
            buckets=TURN_BUCKETS,
            registry=self._registry,
        )
        self._reaction = prometheus.Histogram(
            "bargein_barge_in_seconds",
            "From the beginning of the user's speech to the agent's silence.",
            buckets=REACTION_BUCKETS,
            registry=self._registry,
        )
        self._failures = prometheus.Counter(
            "bargein_failures", "Failures that sessions survived.", registry=self._registry
        )
        self._sessions: Sessions | None = None

    def observe(self, frame: Frame) -> None:
        """Count a frame that came up in some session."""
        if isinstance(frame, TurnLatency):
            self._turn.observe(frame.ms / 1000)
        elif isinstance(frame, BargeInLatency):
            self._reaction.observe(frame.ms / 1000)
        elif isinstance(frame, Failure):
            self._failures.inc()

    def watch(self, sessions: Sessions) -> None:
        """Tell of these sessions, too."""
        self._sessions = sessions
        self._registry.register(self)

    def collect(self) -> Iterator[Any]:
        """What is known only when it is asked: called by the registry."""
        assert self._sessions is not None
        core, told = self._families, self._sessions.statistics()
        yield core.GaugeMetricFamily("bargein_sessions", "Sessions at this moment.", value=told.open)
        for name, about in {
            "opened": "Sessions that have begun.",
            "refused": "Peers that got no session.",
            "failed": "Sessions that an exception ended.",
            "expired": "Sessions whose time was up.",
        }.items():
            yield core.CounterMetricFamily(f"bargein_sessions_{name}", about, value=getattr(told, name))
        live = [each.session.statistics() for each in self._sessions.live.values()]
        for name in COUNTED:
            about = f"Frames {name.replace('_', ' ')} in the sessions at this moment."
            yield core.GaugeMetricFamily(f"bargein_{name}", about, value=sum(getattr(each, name) for each in live))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        text: bytes = self._prometheus.generate_latest(self._registry)
        return text
