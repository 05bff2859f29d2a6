"""Frames of transports: a peer joins, leaves, or presses a key."""

from __future__ import annotations

from typing import ClassVar

from bargein.pipeline import Delivery, Frame

from .transport import Peer

__all__ = ["Dtmf", "PeerJoined", "PeerLeft"]


class PeerJoined(Frame, frozen=True, kw_only=True):
    """The peer is connected. This is the first frame of a source."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    peer: Peer
    """The peer that joined."""


class PeerLeft(Frame, frozen=True, kw_only=True):
    """The peer is gone. This is the last frame of a source before the graph ends."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    peer: Peer
    """The peer that left."""
    reason: str = ""
    """Why it left, in a sentence."""
    clean: bool = True
    """Whether the peer left by itself. False: its connection was lost, or the server ended it."""


class Dtmf(Frame, frozen=True, kw_only=True):
    """The peer pressed a key of its telephone."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    digit: str
    """The key: `0` to `9`, `*`, `#`, or `A` to `D`."""
