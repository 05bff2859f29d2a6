"""What every transport is: where one peer's frames come from, and where its frames go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec

from bargein.pipeline import Delivery, Frame, Processor
from bargein.pipeline.frames import check_text, payload

__all__ = ["Dtmf", "Peer", "PeerJoined", "PeerLeft", "Transport"]


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the other end."""

    name: str
    """Tells this peer from all others of its server: `websocket-7`."""
    address: str = ""
    """Where it is, as far as that is known."""
    params: Mapping[str, str] = {}
    """What it asked for when it came: the parameters of its address, or of its `start` message."""

    def __repr__(self) -> str:
        return f"Peer({self.name}{f', {self.address}' if self.address else ''})"  # wishes may hold a token


class PeerJoined(Frame, frozen=True):
    """The peer is there: the first frame of a source."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    peer: Peer
    """Who."""


class PeerLeft(Frame, frozen=True):
    """The peer is gone: the last frame of a source, before the graph ends."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    peer: Peer
    """Who."""
    reason: str = ""
    """Why, in a sentence."""
    clean: bool = True
    """It said goodbye."""


class Dtmf(Frame, frozen=True):
    """The peer pressed a key of its telephone."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    digit: str = payload()
    """`0` to `9`, `*`, `#`, or `A` to `D`."""

    def __post_init__(self) -> None:
        check_text(self, "digit")


class Transport:
    """One peer on one connection. Its two ends stand first and last in a graph::

        Pipeline(peer.source, brain, Spoken(), peer.sink)

    A transport serves one session; the next peer has another. It is made by what accepts peers (a server), or by hand
    for what has but one (a file, a sound device), and lives as long as its connection.
    """

    peer: Peer
    """Who is at the other end."""
    source: Processor
    """What comes from the peer: `PeerJoined`, then the user's `Audio`, and as the peer likes `Video`, `Image`,
    `UserText`, `Commit` and `Interrupt`; `PeerLeft` at last. When it returns, the session ends. Sound that nobody
    takes in time is dropped, the oldest first, and counted as `overflow_dropped` of who should have taken it. It takes
    what comes up and concerns a peer that can read (`control.Noted`): failures, and how long answers took."""
    sink: Processor
    """What goes to the peer. It plays: it takes reply `Audio` as fast as it comes and releases it at the pace at which
    it is heard (no `Pacer` is needed above it), reports `Played`, is silent on `Hold`, and on `Interrupt` flushes all
    that is older, down to the peer's own buffers. A peer that can read is told the news as well: what `control` has a
    message for."""
    on_left: Callable[[], None] | None = None
    """To be called when the peer is gone. `Sessions` sets it: a session whose peer is gone must end soon."""
