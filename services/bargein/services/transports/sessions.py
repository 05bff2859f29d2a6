"""Many peers at once: one session for each peer, isolated from the others, within limits, and drained at the end."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Literal

import anyio
import msgspec

from bargein.pipeline import Failure, Frame, Graph, Pipeline, Processor, Session
from bargein.pipeline.lowlevel import (
    CheckedFields,
    check_instance,
    check_options,
    check_positive,
    stood_still,
    wait_at_most,
)
from bargein.processors import BargeInLatency, TurnLatency
from bargein.processors.observe.watch import Watch
from bargein.services.brain import Brain, find_brains
from bargein.services.sockets.rate_limiter import DEFAULT_MESSAGES_PER_SECOND

from ._resumption import ResumptionStore
from .transport import Transport

__all__ = [
    "BuildAgent",
    "Ending",
    "LiveSession",
    "RefusedError",
    "SessionLimits",
    "Sessions",
    "SessionsStatistics",
    "address_key",
]

log = logging.getLogger("bargein.sessions")

BuildAgent = Callable[[Transport], Graph | Processor]
"""A function that makes a new agent for each peer: the graph between the transport's source and its sink."""
Ending = Literal["left", "failed", "expired", "drained"]
"""How a session ended: the peer left or the graph was done, an exception, the time was up, the server stopped."""
MAX_FAILURES = 100
"""Number of exceptions that `Sessions.failures` keeps."""


class RefusedError(ConnectionError):
    """A peer gets no session. The text is sent to the peer."""


class SessionLimits(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The limits of a server and of each of its peers.

    Raises:
        ValueError: A limit is zero or negative. Only `max_wrong_messages` and `resume_seconds` may be 0.
    """

    max_sessions: int = 100
    """Sessions that may run at once. Further peers are refused."""
    max_per_address: int = 1000
    """Sessions that one network address may have at once. The same number of its connections may wait to begin. An IPv6
    address counts with its whole network (/64). Behind a proxy all peers have the proxy's address."""
    max_session_seconds: float = 3600.0
    """Longest time that a session lasts, in seconds."""
    idle_seconds: float = 60.0
    """Time in seconds without any message from a peer, and without anything said to it, after which the peer counts as
    gone."""
    open_seconds: float = 10.0
    """Time from the connection to the peer's first message, or to a WebRTC connection, in seconds."""
    max_message_bytes: int = 1 << 20
    """Largest message that a peer may send, in bytes."""
    max_messages_per_second: float = DEFAULT_MESSAGES_PER_SECOND
    """Messages that a peer may send in a second, sound included. A typed text, a commit or an interrupt counts as 10,
    since the agent acts on it. Further messages wait and are read later, so that one peer does not slow down the
    others. A burst may have a quarter of this number. Over WebRTC the datagrams have the same limit, or four times as
    much with a camera."""
    slow_seconds: float = 10.0
    """Time that a peer may take to read one message, in seconds. A slower peer counts as gone."""
    max_wrong_messages: int = 10
    """Malformed messages that a peer may send. Each is answered with an error; one more ends the session."""
    leave_seconds: float = 2.0
    """Time for which a session continues after its peer has left, in seconds, so that tools end and history is
    complete."""
    resume_seconds: float = 60.0
    """Time for which a conversation is kept after its peer's connection was lost, in seconds; 0 to keep none. At most
    `max_sessions` conversations are kept, in memory."""
    drain_seconds: float = 10.0
    """Time that a session has to finish what it is saying when the server stops, in seconds."""

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        zeros = [name for name in ("max_wrong_messages", "resume_seconds") if values[name] == 0]  # 0 means none
        check_positive("SessionLimits", infinite=True, **{name: values[name] for name in values if name not in zeros})


class SessionsStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one `Sessions`."""

    open: int = 0
    """Sessions that are open now."""
    opened: int = 0
    """Sessions that have begun."""
    refused: int = 0
    """Peers that got no session."""
    failed: int = 0
    """Sessions that an exception ended."""
    expired: int = 0
    """Sessions that lasted `max_session_seconds`."""


class LiveSession:
    """A running session and its peer.

    Args:
        transport: The peer's transport.
        graph: The graph that runs.
        session: The engine's session.
    """

    @check_options
    def __init__(self, transport: Transport, graph: Graph, session: Session) -> None:
        self.transport = transport
        """The peer's transport."""
        self.graph = graph
        """The graph that runs, for drawing."""
        self.session = session
        """The engine's session, for `statistics()` and `interrupt()`."""
        self.began = anyio.current_time()
        """When it began, by AnyIO's clock, in seconds."""
        self.ending: Ending = "left"
        """How it ends, unless an exception ends it."""
        self.replaced = False
        """Whether its peer has come back on another connection."""
        self.limit = anyio.CancelScope()
        """The cancel scope in which the session runs. At its deadline the session is cancelled."""

    def end_within(self, seconds: float) -> None:
        """Cancel the graph if it has not ended by itself within this time.

        Args:
            seconds: Maximum wait in seconds.
        """
        self.limit.deadline = min(self.limit.deadline, anyio.current_time() + seconds)


class Sessions:
    """Runs an agent for each peer, in the task that calls `run`.

    An exception in one session is logged, counted and kept in `failures`; it does not affect the others. Servers of
    several transports may share one `Sessions`, and then share its limits.

    Args:
        agent: Makes a new graph, of new processors, for each peer. It may raise `RefusedError`.
        limits: Limits of the server and of each peer.
        observe: Called with every `TurnLatency`, `BargeInLatency` and `Failure` of any session. It must not wait.
        show_errors: Whether a peer gets the exception that ended its session, and the text of each `Failure`. Set it
            only if the developer is the peer, because both may hold the texts of providers.
    """

    @check_options
    def __init__(
        self,
        agent: BuildAgent,
        *,
        limits: SessionLimits | None = None,
        observe: Callable[[Frame], None] | None = None,
        show_errors: bool = False,
    ) -> None:
        check_instance("Sessions", SessionLimits, limits=limits)
        self.agent = agent
        """The function that makes the graph for each peer. It may be replaced, which affects the next peers only."""
        self.limits = limits or SessionLimits()
        """Limits of the server and of each peer."""
        self.observe = observe
        """The function that is called with latencies and failures."""
        self.show_errors = show_errors
        """Whether a peer gets the exception that ended its session, and the text of each `Failure`."""
        self.failures: deque[Exception] = deque(maxlen=MAX_FAILURES)
        """The latest exceptions that ended sessions."""
        self.draining = False
        """Whether the server is stopping. Then it refuses new peers."""
        self._conversations = ResumptionStore(self.limits.resume_seconds, self.limits.max_sessions)
        self._live: dict[str, LiveSession | None] = {}  # None while the graph is being made
        self._holders: dict[str, str] = {}  # the name of the session that has a conversation, by its token
        self._returning: dict[str, Transport] = {}  # the latest peer that waits for a conversation, by its token
        self._addresses = Counter[str]()  # sessions by `address_key`
        self._counts = dict.fromkeys(("opened", "refused", "failed", "expired"), 0)
        self._changed = anyio.Event()  # replaced each time, because several tasks may drain at once

    @property
    def live(self) -> dict[str, LiveSession]:
        """The running sessions, by the name of their peer."""
        return {name: live for name, live in self._live.items() if live is not None}

    def statistics(self) -> SessionsStatistics:
        """Return the counters."""
        return SessionsStatistics(open=len(self._live), **self._counts)

    @property
    def refusal(self) -> str:
        """Why there is no room for one more peer, in a sentence for the peer; an empty string when there is room."""
        if self.draining:
            return "the server is going away; try another server, or try later"
        if len(self._live) >= self.limits.max_sessions:
            return f"the server has {self.limits.max_sessions} sessions, which is its limit; try again later"
        return ""

    def admit(self, address: str = "", resumes: str = "") -> None:
        """Check that there is room for one more peer.

        Args:
            address: The peer's network address, with its port; empty if unknown.
            resumes: The token that the peer presents, if any. A peer whose session still runs needs no room: the new
                session takes the place of that one.

        Raises:
            RefusedError: There is no room. The refusal is counted.
        """
        if resumes in self._holders and not self.draining:
            return
        reason = self.refusal
        if not reason and (key := address_key(address)) and self._addresses[key] >= self.limits.max_per_address:
            reason = f"your address has {self._addresses[key]} sessions, which is its limit; end one of them"
        if reason:
            self._counts["refused"] += 1
            raise RefusedError(reason)

    def admit_to_start(self, address: str = "") -> None:
        """Check that a peer may send its first message, in which it may present a token.

        A full server allows that while any running session has a token, because the new peer may be the one that
        returns to that session. If it is not, `run` refuses it.

        Args:
            address: The peer's network address, with its port; empty if unknown.

        Raises:
            RefusedError: There is no room, and there would be none with a token. The refusal is counted.
        """
        if self.draining or not self._holders:
            self.admit(address)

    async def run(self, transport: Transport) -> Ending:
        """Run one session until it has ended.

        Args:
            transport: The transport of the peer.

        Returns:
            How it ended. An exception of the session is in `failures`, and is not raised.

        Raises:
            RefusedError: There is no room, the agent function refuses this peer, or its conversation goes on over a
                newer connection.
            ValueError: A peer of this name has a session already.
        """
        if transport.resumes:
            await self._end_former_session(transport, transport.resumes)
        self.admit(transport.peer.address)
        name, address = transport.peer.name, address_key(transport.peer.address)
        if name in self._live:
            raise ValueError(f"{name!r} has a session already; give every peer its own name")
        transport.show_errors = self.show_errors
        self._addresses[address] += 1
        self._live[name] = None  # the place is taken before the graph is made, which may wait
        try:
            return await self._run(transport, name)
        except RefusedError:
            self._counts["refused"] += 1
            raise
        except Exception as error:
            self._counts["failed"] += 1
            self.failures.append(error)
            sentence = _describe(error)
            log.error("%s: the session failed: %s\n%s", name, sentence, _traceback(error))
            if self.show_errors:
                transport.failure = sentence
            return "failed"
        finally:
            del self._live[name]
            self._holders.pop(transport.resume_token, None)
            self._addresses[address] -= 1
            self._addresses += Counter()  # without those that have no session left
            self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _end_former_session(self, transport: Transport, token: str) -> None:
        """End the session that has the conversation of this token, because its peer has come back.

        The server may not have noticed yet that the old connection is lost. The latest connection gets the
        conversation, because a peer that did not receive the answer to its first attempt tries again with the same
        token.
        """
        self._returning[token] = transport
        self._note_change()  # an earlier attempt gives up
        try:
            while (name := self._holders.get(token)) is not None:
                if (live := self._live[name]) is not None:
                    live.replaced = True
                    live.end_within(0)
                await self._changed.wait()
                if self._returning.get(token) is not transport:
                    raise RefusedError("this conversation goes on over a newer connection")
        finally:
            if self._returning.get(token) is transport:
                del self._returning[token]

    def _take_conversation(self, transport: Transport, name: str, brains: Sequence[Brain]) -> None:
        """Load the conversation that the peer comes back to into the brains, if it is kept, and give the peer its
        token."""
        if transport.resumes is None:
            return
        histories = self._conversations.take(transport.resumes, anyio.current_time())
        transport.resumed = len(histories) == len(brains) > 0  # otherwise this is another agent
        if transport.resumed:
            for brain, history in zip(brains, histories, strict=True):
                brain.history = history
        transport.resume_token = transport.resumes if transport.resumed else self._conversations.issue()
        if transport.resume_token:
            self._holders[transport.resume_token] = name

    def _keep_conversation(self, transport: Transport, brains: Sequence[Brain]) -> None:
        """Keep the conversation for the time in which its peer may come back."""
        histories = [brain.history for brain in brains]
        if transport.resume_token and any(history.has_begun for history in histories):
            self._conversations.put(transport.resume_token, histories, anyio.current_time())

    async def _run(self, transport: Transport, name: str) -> Ending:
        graph = self._make_graph(transport)
        brains = find_brains(graph)
        self._take_conversation(transport, name, brains)
        before = [brain.history.last for brain in brains]
        try:
            return await self._run_graph(transport, name, graph, brains)
        except Exception:
            # If nothing was said, the conversation itself may be what makes the agent fail. The peer would meet the
            # same failure each time it comes back, so it gets a new conversation.
            if any(brain.history.last is not last for brain, last in zip(brains, before, strict=True)):
                self._keep_conversation(transport, brains)
            raise

    async def _run_graph(self, transport: Transport, name: str, graph: Graph, brains: Sequence[Brain]) -> Ending:
        self._counts["opened"] += 1
        async with graph.session(drain_seconds=self.limits.drain_seconds) as session:
            live = self._live[name] = LiveSession(transport, graph, session)
            self._note_change()
            transport.on_left = partial(self._on_left, live)
            live.end_within(self.limits.max_session_seconds)
            expires = live.limit.deadline
            if self.draining:
                self._end(live)
            with live.limit:
                await session.drained()
            if live.limit.cancelled_caught:
                if live.limit.deadline < expires:  # its time to finish is over
                    if stood_still(live.limit.deadline):
                        await wait_at_most(session.drained, self.limits.leave_seconds)
                    await session.cancel()
                else:  # leaving the block lets it finish
                    self._counts["expired"] += 1
                    live.ending = "expired"
        if live.ending == "left" and (live.replaced or transport.lost):
            self._keep_conversation(transport, brains)
        return live.ending

    def _make_graph(self, transport: Transport) -> Graph:
        made = _check_graph(self.agent, self.agent(transport))
        if self.observe is None:
            return made if isinstance(made, Graph) else Pipeline(made)
        return Pipeline(Watch[Frame](self.observe, Failure, TurnLatency, BargeInLatency), made)

    def _on_left(self, live: LiveSession) -> None:
        """End a session whose peer is gone: the peer no longer hears the agent."""
        live.end_within(0 if live.ending == "drained" else self.limits.leave_seconds)

    def _end(self, live: LiveSession) -> None:
        live.ending = "drained"
        live.end_within(self.limits.drain_seconds)
        live.session.end()

    def cancel(self) -> None:
        """Cancel all running sessions at once. What they are saying breaks off."""
        for live in self.live.values():
            live.ending = "drained"
            live.end_within(0)

    def finish(self) -> int:
        """Let every running session finish what it is saying, and then end it. New peers are still taken.

        Returns:
            Number of sessions that end.
        """
        for live in self.live.values():
            self._end(live)
        return len(self.live)

    async def drain(self) -> None:
        """Take no more peers, let every session finish what it is saying, and wait until all have ended.

        Every session ends within `drain_seconds` and the bound of its cancellation.
        """
        self.draining = True
        self.finish()
        while self._live:
            await self._changed.wait()


def address_key(address: str) -> str:
    """Return the part of an address by which peers are counted: the host, or the /64 network of an IPv6 address.

    Args:
        address: A network address with its port, `host:port`; also a Unix socket's path.

    Returns:
        An empty string for an address that is unknown.
    """
    host = address.rpartition(":")[0] or address
    try:
        found = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)


def _check_graph(agent: BuildAgent, made: object) -> Graph | Processor:
    """Return the result of an agent's function if it can run. The engine's own error would not name the function.

    Raises:
        TypeError: It is not a processor. The text names the function.
    """
    if isinstance(made, Processor):
        return made
    hint = ""
    if made is None:
        hint = "; is its `return` missing?"
    elif inspect.iscoroutine(made):
        made.close()  # otherwise Python warns that it was never awaited
        hint = "; write `def` and not `async def`, and await in a processor"
    name = getattr(agent, "__name__", type(agent).__name__)
    raise TypeError(f"the agent's function {name!r} returned {type(made).__name__}, and not a Pipeline{hint}")


def _describe(error: BaseException) -> str:
    """Return an exception's type and text, and the processor it came from, in one line.

    The text may hold what a peer or a provider sent, so line breaks are removed: in a log they would forge lines.
    """
    processor = next((note for note in getattr(error, "__notes__", ()) if note.startswith("in processor ")), "")
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" + (f" ({processor})" if processor else "")


def _traceback(error: BaseException) -> str:
    """Return the frames of an exception's traceback. Its text is left out, because it may hold a peer's words."""
    return "".join(traceback.format_tb(error.__traceback__)).rstrip()
