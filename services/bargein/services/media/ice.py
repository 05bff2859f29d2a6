"""STUN and TURN servers, for WebRTC peers that are not on the same network."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from bargein.pipeline.lowlevel import CheckedFields, import_extra

if TYPE_CHECKING:
    from aiortc import RTCConfiguration

__all__ = ["IceServer", "configuration"]


class IceServer(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """A STUN or TURN server, for peers that are not on the same network."""

    url: str
    """`stun:host:port`, `turn:host:port?transport=udp`, or `turns:host:port?transport=tcp`."""
    username: str = ""
    """The user name for TURN."""
    credential: str = ""
    """The password for TURN."""

    def __repr__(self) -> str:
        return f"IceServer({self.url})"  # reprs end up in logs, so this one leaves the credential out


def configuration(servers: Iterable[tuple[str, str, str]]) -> RTCConfiguration:
    """Return aiortc's configuration for these ICE servers.

    Without servers it has none, while aiortc's own default is a public STUN server.

    Args:
        servers: URL, user name and password of each server; the latter two may be empty.

    Raises:
        ValueError: A URL is not the URL of a STUN or TURN server.
        ModuleNotFoundError: aiortc is not installed (extra `webrtc`).
    """
    aiortc = import_extra("aiortc", "webrtc", "WebRTC")
    # aiortc reads the URLs only when a connection looks for its addresses. Its own reader, which is not documented, is
    # called here, so that a mistake shows where the server is configured.
    transport = importlib.import_module("aiortc.rtcicetransport")
    ice_servers = [aiortc.RTCIceServer(url, user or None, password or None) for url, user, password in servers]
    for server in ice_servers:
        try:
            transport.connection_kwargs([server])
        except ValueError as error:
            raise ValueError(
                f"ICE server {server.urls!r}: {error}; expected stun:host:port, or turn:host:port?transport=udp"
            ) from None
    result: RTCConfiguration = aiortc.RTCConfiguration(iceServers=ice_servers)
    return result
