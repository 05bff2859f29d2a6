"""`ConversationPrinter`: a conversation, printed as it goes."""

from __future__ import annotations

from collections.abc import Iterator

from bargein.pipeline import Failure, Processor, Transcript
from bargein.processors import BargeInLatency, TurnLatency
from bargein.services.frames import ToolFinished

from ._console import console

__all__ = ["ConversationPrinter"]


class ConversationPrinter(Processor):
    """Stands before a sink and prints what was said, by whom, and how long the answers took."""

    name = "notes"

    def __init__(self) -> None:
        self.agent_speaks = False
        """Whether the agent is being heard."""
        self.printed = 0
        """Number of utterances printed, of the user and of the agent."""

    def process(
        self, frame: Transcript | ToolFinished | TurnLatency | BargeInLatency | Failure
    ) -> Iterator[Transcript | ToolFinished]:
        """Print what goes down, and the events that come up."""
        if isinstance(frame, Transcript):
            self.agent_speaks = frame.speaker == "agent" and not frame.final
            if frame.final and frame.text.strip():
                self.printed += 1
                _print(f"{'agent' if frame.speaker == 'agent' else 'you':>6}: {frame.text.strip()}")
        elif isinstance(frame, ToolFinished):
            _print(f"        {frame.name} -> {frame.output}")
        elif isinstance(frame, TurnLatency):
            _print(f"        (answer after {frame.ms:.0f} ms)")
        elif isinstance(frame, BargeInLatency):
            _print(f"        (interrupted, silent after {frame.ms:.0f} ms)")
        else:
            _print(f"        (failure: {frame.message})")
        if isinstance(frame, Transcript | ToolFinished):
            yield frame


def _print(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
