"""Servers import what calls need before they open."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from bargein.pipeline import Pipeline
from bargein.services.media import preload
from bargein.services.providers.openai import serve
from bargein.services.testing import ScriptedBrain
from bargein.services.transports import serve_websocket

SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[Any]]] = {
    "websocket": lambda: serve_websocket(lambda peer: Pipeline(peer.source, peer.sink)),
    "realtime": lambda: serve(ScriptedBrain),
}


@pytest.mark.real
@pytest.mark.parametrize("server", SERVERS)
async def test_a_library_is_there_before_the_first_call(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not installed is left out."""
    pytest.importorskip("websockets", reason="the extra 'websockets' is not installed")
    monkeypatch.setattr(preload, "LIBRARIES", ("no_such_library", "colorsys"))  # a small module that nobody imports
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    async with SERVERS[server]():
        assert "colorsys" in sys.modules
