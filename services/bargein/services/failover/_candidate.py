"""`Candidate`: one of the brains of a failover. Also the contract and the audio format of all brains together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from bargein.pipeline import (
    Audio,
    AudioFormat,
    Delivery,
    Failure,
    Frame,
    Interrupt,
    Played,
    Processor,
    ResponseEnded,
    SpeechStopped,
    ToolResult,
)
from bargein.pipeline.lowlevel import Contract, ProcessorKind, as_processor
from bargein.processors import AgentActivity, Heard
from bargein.services.brain import Brain
from bargein.services.cascade import Cascade
from bargein.services.frames import BrainSwitched

from ._brain_session import BrainSession
from ._breaker import Breaker

__all__ = ["BrainSource", "Candidate", "output_format", "union_contract"]

BrainSource = Processor | Brain | Callable[[], Processor | Brain]
"""A brain, or a function that creates one."""


class Candidate:
    """One of the brains of a failover.

    Args:
        source: The brain, or a function that creates one for each run.
    """

    def __init__(self, source: BrainSource) -> None:
        self.breaker = Breaker(1, 1.0, 1.0)
        """The circuit breaker of this brain. It is replaced at the start of each session."""
        self.run: BrainSession | None = None
        """The latest run."""
        # A source that is not a processor is a function. Every `Brain` is a processor, but type checkers do not know
        # that.
        self._make = None if isinstance(source, Processor) else cast("Callable[[], object]", source)
        self.processor = as_processor(source if self._make is None else self._make())
        self.name = self.processor.name or type(self.processor).__name__
        self._used = False

    def take_processor(self) -> Processor:
        """Return the processor for the next run."""
        # The constructor created a processor, because the graph can be linked only with its contract. It serves the
        # first run.
        if self._used and self._make is not None:
            self.processor = as_processor(self._make())
        elif self._used and isinstance(self.processor, Cascade):
            self.processor = self.processor.fresh()  # a cascade's processors keep the state of a call
        self._used = True
        return self.processor


def union_contract(parts: Sequence[Processor]) -> Contract:
    """Return the contract of all processors of all brains together, with what a failover adds."""
    kinds = {kind for part in parts for kind in part.contract.takes}
    # The brain's session has its own interrupts and its own end. The failover handles those of the outer graph.
    takes = {kind for kind in kinds if kind.delivery not in (Delivery.URGENT, Delivery.LAST)}
    gives = {kind for part in parts for kind in part.contract.gives if kind.delivery is not Delivery.LAST}
    own: set[type[Frame]] = {Interrupt, Failure, ResponseEnded, SpeechStopped, BrainSwitched}
    passing = {kind for kind in takes if kind.delivery is not Delivery.UPSTREAM}
    needed: set[type[Frame]] = {Played, Heard, AgentActivity, ToolResult, Interrupt}
    return Contract(
        kind=ProcessorKind.LOOP,
        takes=frozenset(takes - {Failure} | needed),
        gives=frozenset(gives | own | passing),
        ports=("inbox", "out"),
    )


def output_format(brains: Sequence[Sequence[Processor]]) -> AudioFormat | None:
    """Return the format of the sound that several brains send.

    Args:
        brains: The processors of each brain, from the top down.

    Returns:
        The rates and channels of all brains; None if the format of a brain is not known.
    """
    voices = [
        next((part.audio_out for part in reversed(parts) if part.contract.promises(Audio)), None) for parts in brains
    ]
    known = [voice for voice in voices if voice is not None]
    # A wrong format would be refused when the graph is linked, while an unknown format is checked when sound comes.
    if len(known) < len(voices):
        return None
    rates = [rate for each in known for rate in ((each.rates,) if isinstance(each.rates, int) else each.rates or ())]
    channels = {each.channels for each in known}
    distinct = tuple(dict.fromkeys(rates))
    return AudioFormat(
        rates=distinct[0] if len(distinct) == 1 else distinct or None,
        channels=channels.pop() if len(channels) == 1 else None,
    )
