"""Sessions with a scripted service: what is said in them, and what is sent."""

from __future__ import annotations

from typing import Any

from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import Pacer, Spoken
from bargein.services.providers.nova import NovaSonic

from .peer import Peer


def session(model: NovaSonic, **options: Any) -> Harness:
    return Harness(model, Spoken(), Pacer(), **options)


def written(peer: Peer, number: int = -1) -> list[tuple[str, str]]:
    """What stands in the blocks of text of a connection, with their roles."""
    blocks = {fields.get("contentName"): fields for name, fields in peer.sessions[number].events[::-1]}
    roles = {
        fields["contentName"]: fields["role"] for name, fields in peer.sessions[number].events if name == "contentStart"
    }
    assert blocks
    return [
        (roles[fields["contentName"]], fields["content"])
        for name, fields in peer.sessions[number].events
        if name == "textInput"
    ]


async def say(harness: Harness, ms: int = 500) -> None:
    """Speak, and fall silent."""
    await harness.play(list(framed(tone(440, ms, rate=16_000), rate=16_000)))
