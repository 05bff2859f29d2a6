"""Sessions with a scripted peer that leaves nothing to chance, and what was sent in them."""

from __future__ import annotations

from typing import Any

import anyio

from bargein.pipeline.testing import Harness
from bargein.processors import Pacer, Spoken
from bargein.services.providers.openai.client.realtime import OpenAIRealtime

from .peer import Peer


class Settled(Peer):
    """A peer without chance: no pauses, no stragglers, four words."""

    def __init__(self, **options: Any) -> None:
        super().__init__(words=(4, 4), pace=0.0, **options)
        self.stragglers = False


def session(model: OpenAIRealtime, **options: Any) -> Harness:
    return Harness(model, Spoken(), Pacer(), **options)


def sent(peer: Peer, *but: str) -> list[str]:
    """The types of what the client sent, after the settings."""
    return [event["type"] for event in peer.received[1:] if event["type"] not in but]


async def until_sent(peer: Peer, kind: str, times: int = 1) -> None:
    with anyio.fail_after(30):
        while len(peer.of(kind)) < times:  # noqa: ASYNC110 - in virtual time
            await anyio.sleep(0.01)
