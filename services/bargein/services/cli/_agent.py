"""The agent behind the commands: a chosen brain between a peer's two ends."""

from __future__ import annotations

from collections.abc import Callable

from bargein.pipeline import Pipeline, Processor
from bargein.processors import Spoken
from bargein.services.providers.brains import choice
from bargein.services.transports import RefusedError, Transport

__all__ = ["agent"]


def agent(brain: str = "auto", *watch: Processor) -> Callable[[Transport], Pipeline]:
    """What makes the pipeline for a peer: of the brain that it wishes, or else this one; `watch` stand below it."""

    def build(peer: Transport) -> Pipeline:
        try:
            chosen = choice(peer.peer.params.get("brain") or brain)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        return Pipeline(peer.source, chosen.make(), Spoken(), *watch, peer.sink)

    return build
