"""The brain contract: what everything has that turns the user's frames into the agent's."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from bargein.pipeline import Graph, Processor
from bargein.services.history import History
from bargein.services.tools import Toolbox

__all__ = ["Brain", "find_brain", "find_brains"]


@runtime_checkable
class Brain(Protocol):
    """A processor that holds one side of a conversation: a realtime model, a cascade, or a failover over several.

    All brains take and give the same frames in the same order, so that one can replace another without other changes.

    A brain takes `Audio` of the user, `Image` and `Video`, `UserText`, `SpeechStarted` and `SpeechStopped`, `Turn` and
    `Commit`, `Respond` and `Say`, `Configure` and `Remember`, `ToolResult`, `Interrupt`, and from below `Played`,
    `Heard` and `AgentActivity`.

    A brain gives `ResponseStarted`, the reply's `Audio` or `Text`, and `ResponseEnded`; `Transcript` of the user's
    words; `SpeechStarted` and `SpeechStopped` when it detects speech itself; `ToolCall`, `ToolStarted`, `ToolProgress`
    and `ToolFinished`; `Usage`, `Interrupt` and `Failure`.

    A class needs no base class to be a brain: `isinstance(processor, Brain)` looks for the three attributes. Use
    `find_brain()` to find the brain in a graph.
    """

    history: History
    """The conversation. It keeps of the agent's words those that were heard. Assign another one before a session
    starts, to go on with that conversation."""

    @property
    def toolbox(self) -> Toolbox:
        """The tools that the brain runs itself."""

    @property
    def ready(self) -> bool:
        """Whether the brain can act on the user's input now. False while it has no session with its provider."""


def find_brains(processor: Processor) -> tuple[Brain, ...]:
    """Return the brains among the processors of a graph, from the top down.

    Args:
        processor: A graph, at any depth of nesting, or a single processor.

    Returns:
        The brains; empty if there is none. A `Cascade` is represented by its `Answer`.
    """
    parts = processor.processors if isinstance(processor, Graph) else (processor,)
    return tuple(part for part in parts if isinstance(part, Brain))


def find_brain(processor: Processor) -> Brain | None:
    """Return a processor's brain: the processor itself, or the first one in its graph.

    Args:
        processor: A brain, or a graph such as `Pipeline(Resample(16_000), brain)`.

    Returns:
        The brain, or None if there is none.
    """
    return processor if isinstance(processor, Brain) else next(iter(find_brains(processor)), None)
