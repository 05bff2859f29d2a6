"""Scripted brains behind an endpoint, and the words and sound that go there."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from bargein.services.testing import ScriptedBrain

from .server_kit import Client

LONG = " ".join(["word"] * 50)


class Made:
    """Makes scripted brains, and keeps them."""

    def __init__(self, *replies: Any, **options: Any) -> None:
        self.brains: list[ScriptedBrain] = []
        self._make: Callable[[], ScriptedBrain] = lambda: ScriptedBrain(*replies, **options)

    def __call__(self) -> ScriptedBrain:
        self.brains.append(self._make())
        return self.brains[-1]


def sound(client: Client) -> bytes:
    deltas = client.of("response.output_audio.delta")
    return b"".join(base64.b64decode(each["delta"]) for each in deltas)
