"""Many peers at once: a session for each, apart from each other, within limits, and an end for all."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal

import anyio
import msgspec

from bargein.pipeline import Failure, Frame, Graph, Pipeline, Processor, Session
from bargein.processors import BargeInLatency, TurnLatency

from .transport import Transport

__all__ = ["Ending", "LiveSession", "RefusedError", "SessionLimits", "Sessions", "SessionsStatistics"]

log = logging.getLogger("bargein.sessions")

Ending = Literal["left", "failed", "expired", "drained"]
"""How a session ended: the peer left (or the graph was done), something failed, the time was up, the server stopped."""
KEPT = 100
"""How many failures are remembered."""


class RefusedError(ConnectionError):
    """No session for this peer; the message is for its eyes."""


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one server, and one peer, may have."""

    sessions: int = 100
    """Sessions at once; more are refused."""
    session_seconds: float = 3600.0
    """How long a session may last."""
    idle_seconds: float = 60.0
    """How long a peer may send nothing at all, while nothing is said to it, before it counts as gone."""
    open_seconds: float = 10.0
    """How long a peer may take to say what it wants, once it is connected."""
    message_bytes: int = 1 << 20
    """How long one message may be."""
    slow_seconds: float = 10.0
    """How long a peer may take to read one message, before it counts as gone."""
    wrong_messages: int = 10
    """How many messages may be wrong; each is answered with what was wrong, and one more ends the session."""
    leave_seconds: float = 2.0
    """How long a session may go on without its peer: the last words are written down, and tools end."""
    drain_seconds: float = 10.0
    """How long a session may take to finish what it is saying, when it should end."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) >= (0 if name == "wrong_messages" else 1e-3):
                raise ValueError(f"SessionLimits({name}={getattr(self, name)}): expected a positive number")


class SessionsStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What has been counted so far."""

    open: int = 0
    """Sessions at this moment."""
    opened: int = 0
    """Sessions that have begun."""
    refused: int = 0
    """Peers that got none."""
    failed: int = 0
    """Sessions that an exception ended."""
    expired: int = 0
    """Sessions whose time was up."""


class LiveSession:
    """A session that runs, and whose it is."""

    def __init__(self, transport: Transport, graph: Graph, session: Session) -> None:
        self.transport = transport
        """Its peer's transport."""
        self.graph = graph
        """What runs, to be drawn."""
        self.session = session
        """The session itself, for `statistics()` and `interrupt()`."""
        self.began = anyio.current_time()
        """When it began, by AnyIO's clock."""
        self.ending: Ending = "left"
        """How it is going to end."""
        self.limit = anyio.CancelScope()
        """Around the wait for its end."""

    def end_within(self, seconds: float) -> None:
        """Do not wait for its graph any longer than that."""
        self.limit.deadline = min(self.limit.deadline, anyio.current_time() + seconds)


class _Head(Processor):
    """Stands above a session's graph, and hears how it is going."""

    name = "head"

    def __init__(self, tell: Callable[[Frame], None]) -> None:
        self._tell = tell

    def process(self, frame: Failure | TurnLatency | BargeInLatency) -> None:
        self._tell(frame)


class Sessions:
    """Runs `build(transport)` for each peer, in the task that brought it.

    What fails in one session is logged, counted and kept in `failures`, and harms no other. Servers of different
    transports may share one `Sessions`, and then share its limits.
    """

    def __init__(
        self,
        build: Callable[[Transport], Graph],
        *,
        limits: SessionLimits | None = None,
        observe: Callable[[Frame], None] | None = None,
    ) -> None:
        self.build = build
        """Makes the graph for a peer: a new one, of new processors, each time. May raise `RefusedError`."""
        self.limits = limits or SessionLimits()
        """What is allowed."""
        self.observe = observe
        """Is told of every `TurnLatency`, `BargeInLatency` and `Failure` in any session. It must not wait."""
        self.failures: deque[Exception] = deque(maxlen=KEPT)
        """The exceptions that ended sessions, the latest of them."""
        self.draining = False
        """No more peers are taken."""
        self._live: dict[str, LiveSession | None] = {}
        self._counts = dict.fromkeys(("opened", "refused", "failed", "expired"), 0)
        self._changed = anyio.Event()

    @property
    def live(self) -> dict[str, LiveSession]:
        """The sessions that run, by the name of their peer."""
        return {name: live for name, live in self._live.items() if live is not None}

    def statistics(self) -> SessionsStatistics:
        """What has been counted so far."""
        return SessionsStatistics(open=len(self._live), **self._counts)

    @property
    def refusal(self) -> str:
        """Why there is no room for one more, for the peer's eyes; empty when there is."""
        if self.draining:
            return "the server is going away; try another, or later"
        if len(self._live) >= self.limits.sessions:
            return f"the server has {self.limits.sessions} sessions, as many as it may; try again later"
        return ""

    def admit(self) -> None:
        """Raise `RefusedError`, and count it, if there is no room for one more."""
        if why := self.refusal:
            self._counts["refused"] += 1
            raise RefusedError(why)

    async def run(self, transport: Transport) -> Ending:
        """One session, until it has ended. Raises `RefusedError`, and nothing that fails in the session."""
        self.admit()
        name = transport.peer.name
        if name in self._live:
            raise ValueError(f"{name!r} has a session already; give every peer a name of its own")
        self._live[name] = None  # it has its place while it is being built
        try:
            return await self._run(transport, name)
        except RefusedError:  # who builds the graph may refuse, too
            self._counts["refused"] += 1
            raise
        except Exception as error:
            self._counts["failed"] += 1
            self.failures.append(error)
            said = " ".join(str(error).split())  # in one line, as it may hold what a stranger sent
            log.error("%s: the session failed: %s: %s", name, type(error).__name__, said)  # and not what hangs on it
            return "failed"
        finally:
            del self._live[name]
            self._changed.set()
            self._changed = anyio.Event()

    async def _run(self, transport: Transport, name: str) -> Ending:
        graph = self.build(transport)
        self._counts["opened"] += 1
        if self.observe is not None:
            graph = Pipeline(_Head(self.observe), graph)
        async with graph.session(drain_within=self.limits.drain_seconds) as session:
            live = self._live[name] = LiveSession(transport, graph, session)
            transport.on_left = partial(self._left, live)
            live.end_within(self.limits.session_seconds)
            expires = live.limit.deadline
            if self.draining:
                self._end(live)
            with live.limit:
                await session.drained()
            if live.limit.cancelled_caught:
                if live.limit.deadline < expires:  # it has had its time to finish
                    await session.cancel()
                else:  # leaving the block ends it gracefully
                    self._counts["expired"] += 1
                    live.ending = "expired"
        return live.ending

    def _left(self, live: LiveSession) -> None:
        """Its peer is gone, and nobody hears what it might still say."""
        live.end_within(0 if live.ending == "drained" else self.limits.leave_seconds)

    def _end(self, live: LiveSession) -> None:
        live.ending = "drained"
        live.end_within(self.limits.drain_seconds)
        live.session.end()

    def hurry(self) -> None:
        """Who is being drained has had time enough: its session is cancelled, and what it is saying breaks off."""
        for live in self.live.values():
            live.ending = "drained"
            live.end_within(0)

    async def drain(self) -> None:
        """Take no more peers, let every session finish what it is saying, and wait until all have ended.

        Every session ends within `drain_seconds` and the bound of its cancellation.
        """
        self.draining = True
        for live in self.live.values():
            self._end(live)
        while self._live:
            await self._changed.wait()
