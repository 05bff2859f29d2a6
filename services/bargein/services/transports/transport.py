"""`Transport`: the base of every transport, with the source and the sink of one peer's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from bargein.pipeline import Audio, Interrupt, Processor
from bargein.pipeline.lowlevel import CheckedFields

__all__ = ["MayBeSilent", "Peer", "Transport"]


class Peer(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The other end of a connection: a browser, a program, a telephone, a file or a sound device."""

    name: str
    """A name that no other peer of the server has, such as `websocket-7`."""
    address: str = ""
    """The peer's network address, as far as it is known."""
    params: Mapping[str, str] = {}
    """Parameters that the peer sent when it connected: the query of its URL, and the `params` of its first message."""

    def __repr__(self) -> str:
        # Without the parameters, which may hold a token and must not reach a log.
        return f"Peer({self.name}{f', {self.address}' if self.address else ''})"


class Transport:
    """One peer on one connection. Its two ends stand first and last in a graph::

        Pipeline(peer.source, brain, Spoken(), peer.sink)

    A transport serves one session and lives as long as its connection. Servers make one for every peer; transports
    with a single peer (a file, a sound device) are constructed directly.
    """

    peer: Peer
    """The other end of the connection."""
    source: Processor
    """Sends the peer's frames: `PeerJoined`, then the user's `Audio`, and depending on the peer `Video`, `Image`,
    `UserText`, `Commit` and `Interrupt`, and at last `PeerLeft`. When it returns, the session ends.

    Sound that the graph does not take in time is dropped, the oldest first, and counted as `overflow_dropped` of the
    processor that should have taken it. The source takes frames that come up and that a peer can read
    (`control.SourceEvent`): failures and latencies."""
    sink: Processor
    """Plays the agent's sound: takes reply `Audio` as fast as it comes and releases it at the speed at which it is
    heard, so no `Pacer` is needed above it. It reports `Played`, is silent on `Hold`, and on `Interrupt` drops all that
    is older, down to the peer's own buffers. A peer that can read also gets a message for each `control.SinkEvent`."""
    failure: str = ""
    """The exception that ended the session, in one line; empty unless the peer may know it (`Sessions.show_errors`)."""
    resumes: str | None = None
    """The token that the peer presented to go on with a conversation; empty for a new one. None for a peer that cannot
    come back, such as a telephone."""
    resume_token: str = ""
    """The token of this conversation, for a peer that comes back after a lost connection. `Sessions` sets it; empty if
    the conversation is not kept."""
    resumed: bool = False
    """Whether this session goes on with an earlier conversation. `Sessions` sets it."""
    lost: bool = False
    """Whether the peer's connection was lost, so that it may come back. The transport sets it."""
    show_errors: bool = False
    """Whether the peer may read what a `Failure` says. If not, it reads a general sentence. `Sessions` sets it."""
    on_left: Callable[[], None] | None = None
    """The function that a transport calls when its peer is gone. `Sessions` sets it, to end the session soon."""


class MayBeSilent(Processor):
    """Stands first in a sink and declares that sound may come, so that a graph without sound passes the link check.

    An agent may be silent: one that only writes, or only listens. This processor sends no sound itself. It takes
    `Interrupt`, which every graph may send.
    """

    def process(self, frame: Interrupt) -> Iterator[Audio]:
        """Yield nothing."""
        yield from ()
