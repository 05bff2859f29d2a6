"""The brains there are: who may run, who is left alone for a while, and what all of them take and give."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import anyio

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
from bargein.services.cascade import Cascade
from bargein.services.frames import BrainSwitched

from ._brain_session import BrainSession

__all__ = ["Brain", "Breaker", "Candidate", "contract", "sound_out"]

Brain = Processor | Callable[[], Processor]
"""A brain, or a function that makes one."""


class Breaker:
    """Open for `cooldown` seconds after `failures` failures within `window` seconds."""

    def __init__(self, failures: int, window: float, cooldown: float) -> None:
        self.count = 0
        """How often it has failed."""
        self.reason = ""
        """Why it failed last."""
        self.until = 0.0
        """When it may be tried again."""
        self._failures: deque[float] = deque(maxlen=failures)
        self._window = window
        self._cooldown = cooldown

    @property
    def open(self) -> bool:
        """It is left alone."""
        return anyio.current_time() < self.until

    def failed(self, reason: str) -> None:
        """It has failed."""
        now, self.reason = anyio.current_time(), reason
        self.count += 1
        self._failures.append(now)
        if len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window:
            self.until = now + self._cooldown
            self._failures.clear()


class Candidate:
    """One of the brains: the processor that runs next, and how it has done."""

    def __init__(self, brain: Brain) -> None:
        self.breaker = Breaker(1, 1.0, 1.0)
        self.run: BrainSession | None = None
        """The latest."""
        self._make = None if isinstance(brain, Processor) else brain
        self.processor = as_processor(brain if isinstance(brain, Processor) else brain())
        self.name = self.processor.name or type(self.processor).__name__
        self._used = False

    def begin(self, breaker: Breaker) -> None:
        """A session begins."""
        self.breaker = breaker

    def brain(self) -> Processor:
        """The processor for another run."""
        if self._used and self._make is not None:
            self.processor = as_processor(self._make())
        elif self._used and isinstance(self.processor, Cascade):
            self.processor = self.processor.fresh()  # its processors keep the state of a call
        self._used = True
        return self.processor


def contract(everybody: Sequence[Processor]) -> Contract:
    """What all the processors of all brains take and give, and what a failover adds."""
    kinds = {kind for leaf in everybody for kind in leaf.contract.takes}
    takes = {kind for kind in kinds if kind.delivery not in (Delivery.URGENT, Delivery.LAST)}
    gives = {kind for leaf in everybody for kind in leaf.contract.gives if kind.delivery is not Delivery.LAST}
    own: set[type[Frame]] = {Interrupt, Failure, ResponseEnded, SpeechStopped, BrainSwitched}
    passing = {kind for kind in takes if kind.delivery is not Delivery.UPSTREAM}
    heard: set[type[Frame]] = {Played, Heard, AgentActivity, ToolResult, Interrupt}
    return Contract(
        kind=ProcessorKind.LOOP,
        takes=frozenset(takes - {Failure} | heard),
        gives=frozenset(gives | own | passing),
        ports=("inbox", "out"),
    )


def sound_out(brains: Sequence[Sequence[Processor]]) -> AudioFormat | None:
    """The sound that comes out of brains: of one rate, or of several; None for any."""
    voices = [
        next((leaf.audio_out for leaf in reversed(leaves) if leaf.contract.promises(Audio)), None) for leaves in brains
    ]
    known = [voice for voice in voices if voice is not None]
    if len(known) < len(voices):
        return None
    rates = [rate for each in known for rate in ((each.rates,) if isinstance(each.rates, int) else each.rates or ())]
    channels = {each.channels for each in known}
    distinct = tuple(dict.fromkeys(rates))
    return AudioFormat(
        rates=distinct[0] if len(distinct) == 1 else distinct or None,
        channels=channels.pop() if len(channels) == 1 else None,
    )
