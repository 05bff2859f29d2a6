"""Agents that are asked over a WebSocket, and how much of their answer is heard."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from bargein.pipeline import Audio, Frame, Pipeline, ResponseEnded, UserText
from bargein.pipeline.testing import tone
from bargein.services.transports import Transport, connect_websocket
from tests.services.transports.kit import Brain, until

SECOND = Audio(samples=tone(200, 1000), rate=16_000)


def heard(frames: list[Frame]) -> float:
    """Milliseconds of sound."""
    return sum(frame.ms for frame in frames if isinstance(frame, Audio))


BOTH = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def brief(transport: Transport) -> Pipeline:
    """An agent of few words."""
    return Pipeline(transport.source, Brain(ms=60), transport.sink)


async def ask(url: str, **options: Any) -> float:
    """How much sound an answer has, in milliseconds."""
    async with connect_websocket(url, **options) as client:
        await client.send(UserText(text="Hello."))
        return heard(await until(client, ResponseEnded))


def run(backend: str, function: Any, *args: Any) -> None:
    async def bounded() -> None:
        with anyio.fail_after(60):
            await function(*args)

    anyio.run(bounded, backend=backend)
