"""ICE servers, as aiortc takes them."""

from __future__ import annotations

import pytest

from bargein.services.media.ice import IceServer, configuration

pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")


def test_no_server_means_none() -> None:
    """aiortc's own default is a public STUN server, which nobody asked for."""
    assert configuration([]).iceServers == []


def test_servers() -> None:
    servers = configuration([("stun:a:1", "", ""), ("turn:b:2?transport=udp", "me", "secret")]).iceServers
    assert servers is not None
    stun, turn = servers
    assert (stun.urls, stun.username, stun.credential) == ("stun:a:1", None, None)
    assert (turn.urls, turn.username, turn.credential) == ("turn:b:2?transport=udp", "me", "secret")


def test_a_wrong_url_is_named() -> None:
    with pytest.raises(ValueError, match=r"ICE server 'http://a': .*; expected stun:host:port"):
        configuration([("http://a", "", "")])


def test_a_credential_is_not_shown() -> None:
    assert repr(IceServer(url="turn:b:2", username="me", credential="secret")) == "IceServer(turn:b:2)"
