"""WebRTC is for asyncio, and says so."""

from __future__ import annotations

import pytest
import sniffio

from bargein.pipeline import Pass, Pipeline
from bargein.services.transports import Sessions
from bargein.services.transports.webrtc import IceServer, WebRtcServer


@pytest.mark.every_backend
async def test_another_backend_is_refused() -> None:
    """With what to do instead."""
    server = WebRtcServer(Sessions(lambda _: Pipeline(Pass())))
    if sniffio.current_async_library() == "asyncio":
        async with server:
            return
    with pytest.raises(RuntimeError, match="asyncio only"):
        await server.__aenter__()


@pytest.mark.real
async def test_addresses_of_servers_are_checked() -> None:
    """Before any peer comes."""
    with pytest.raises(ValueError, match=r"'http://a'.*expected stun:host:port"):
        await WebRtcServer(Sessions(lambda _: Pipeline(Pass())), ice_servers=["http://a"]).__aenter__()


def test_settings_are_checked_and_credentials_are_not_shown() -> None:
    """An address alone is a server."""
    sessions = Sessions(lambda _: Pipeline(Pass()))
    with pytest.raises(ValueError, match="video_fps=-1"):
        WebRtcServer(sessions, video_fps=-1)
    server = WebRtcServer(
        sessions, ice_servers=["stun:a:1", IceServer(url="turn:b", username="u", credential="secret")]
    )
    assert [each.url for each in server.ice_servers] == ["stun:a:1", "turn:b"]
    assert "secret" not in repr(server.ice_servers)
