"""`Metrics`: the server's counters in Prometheus' format."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bargein.pipeline import Failure, Frame
from bargein.pipeline.lowlevel import import_extra
from bargein.processors import BargeInLatency, TurnLatency
from bargein.services.transports import Sessions

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Metrics"]

TURN_BUCKETS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Bounds of the histogram of answer latencies, in seconds. An answer within half a second feels like a person's."""
BARGE_IN_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Bounds of the histogram of barge-in latencies, in seconds."""


class Metrics:
    """Counters over all sessions. Pass `observe` to `Sessions`, and then `watch` them.

    Raises:
        ModuleNotFoundError: prometheus-client is not installed (extra `server`).
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"
    """The content type of `text()`."""

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
        self._barge_in = prometheus.Histogram(
            "bargein_barge_in_seconds",
            "From the beginning of the user's speech to the agent's silence.",
            buckets=BARGE_IN_BUCKETS,
            registry=self._registry,
        )
        self._failures = prometheus.Counter(
            "bargein_failures", "Failures that sessions survived.", registry=self._registry
        )
        self._sessions: Sessions | None = None

    def observe(self, frame: Frame) -> None:
        """Count a latency or a failure of some session.

        Args:
            frame: A frame that passed in a session. Frames of other classes are ignored.
        """
        if isinstance(frame, TurnLatency):
            self._turn.observe(frame.ms / 1000)
        elif isinstance(frame, BargeInLatency):
            self._barge_in.observe(frame.ms / 1000)
        elif isinstance(frame, Failure):
            self._failures.inc()

    def watch(self, sessions: Sessions) -> None:
        """Add the counters of these sessions to the text.

        Args:
            sessions: The sessions of a server.
        """
        self._sessions = sessions
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are read from the sessions on demand. The Prometheus registry calls this."""
        assert self._sessions is not None
        gauge, counter = self._families.GaugeMetricFamily, self._families.CounterMetricFamily
        counts = self._sessions.statistics()
        yield gauge("bargein_sessions", "Sessions at this moment.", value=counts.open)
        yield counter("bargein_sessions_opened", "Sessions that have begun.", value=counts.opened)
        yield counter("bargein_sessions_refused", "Peers that got no session.", value=counts.refused)
        yield counter("bargein_sessions_failed", "Sessions that an exception ended.", value=counts.failed)
        yield counter("bargein_sessions_expired", "Sessions whose time was up.", value=counts.expired)
        running = [live.session.statistics() for live in self._sessions.live.values()]
        stale = sum(each.stale_dropped for each in running)
        overflow = sum(each.overflow_dropped for each in running)
        yield gauge("bargein_stale_dropped", "Stale frames dropped in the sessions at this moment.", value=stale)
        about = "Frames dropped for lack of room in the sessions at this moment."
        yield gauge("bargein_overflow_dropped", about, value=overflow)

    def text(self) -> bytes:
        """Return all metrics as text for Prometheus."""
        text: bytes = self._prometheus.generate_latest(self._registry)
        return text
