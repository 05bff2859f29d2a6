"""`make_agent`: the agent behind the commands, a chosen brain between the two ends of a peer."""

from __future__ import annotations

from collections.abc import Callable

from bargein.pipeline import Pipeline, Processor
from bargein.processors import Spoken
from bargein.services.providers.brains import choice
from bargein.services.transports import RefusedError, Transport

__all__ = ["make_agent"]


def make_agent(brain: str = "auto", *watchers: Processor) -> Callable[[Transport], Pipeline]:
    """Return a function that makes the pipeline for a peer.

    Args:
        brain: The brain's name. A peer may choose another one by its parameter `brain`.
        *watchers: Processors that stand between the brain and the sink.
    """

    def agent(peer: Transport) -> Pipeline:
        try:
            chosen = choice(peer.peer.params.get("brain") or brain)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        return Pipeline(peer.source, chosen.make(), Spoken(), *watchers, peer.sink)

    return agent
