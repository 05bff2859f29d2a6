"""`Brain`: the contract of every processor that turns the user's frames into the agent's, and the error for
capabilities that a brain lacks."""

from __future__ import annotations

from typing import Final, Protocol, Self, runtime_checkable

from bargein.pipeline import Graph, Processor, ProcessorLike
from bargein.services.frames import Respond, Say
from bargein.services.history import History
from bargein.services.tools import Toolbox

__all__ = ["ALTERNATIVES", "Brain", "Greeting", "UnsupportedError", "find_brain", "find_brains", "greeting_frame"]

Greeting = str | Say | Respond
"""What an agent says first: the words, a `Say` (which may be `protected`), or a `Respond` with instructions."""


@runtime_checkable
class Brain(ProcessorLike, Protocol):
    """A processor that holds one side of a conversation: a realtime model, a cascade, or a failover over several.

    All brains take and send the same frames in the same order, so that one can replace another without other changes.

    A brain takes `Audio` of the user, `Image` and `Video`, `UserText`, `SpeechStarted` and `SpeechStopped`, `Turn` and
    `Commit`, `Respond` and `Say`, `Configure` and `Remember`, `ToolResult`, `Interrupt`, and from below `Played`,
    `Heard` and `AgentActivity`.

    A brain sends `ResponseStarted`, the reply's `Audio` or `Text`, and `ResponseEnded`; `Transcript` of the user's
    words; `SpeechStarted` and `SpeechStopped` when it detects speech itself; `ToolCall`, `ToolStarted`, `ToolProgress`
    and `ToolFinished`; `Usage`, `Interrupt` and `Failure`.

    A class needs no other base class than `Processor` to be a brain: `isinstance(processor, Brain)` looks for the
    three attributes. Use `find_brain()` to find the brain in a graph.
    """

    @property
    def history(self) -> History:
        """The conversation. Of the agent's words it keeps those that were heard. To continue an earlier conversation,
        assign its history before a session starts."""

    @history.setter
    def history(self, history: History) -> None: ...

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


def find_brain(processor: Processor | Brain) -> Brain | None:
    """Return the brain of a graph: the first one from the top, or the processor itself if it is a brain.

    Args:
        processor: A brain, or a graph such as `Pipeline(Resample(16_000), brain)`.

    Returns:
        The brain, or None if there is none.
    """
    return processor if isinstance(processor, Brain) else next(iter(find_brains(processor)), None)


def greeting_frame(owner: str, greeting: Greeting | None) -> Say | Respond | None:
    """Return the frame that makes a brain say its greeting.

    Args:
        owner: Name of the brain's class, for error messages.
        greeting: The words, or a `Say` or `Respond`; None for no greeting.

    Raises:
        TypeError: `greeting` is something else.
    """
    if greeting is None or isinstance(greeting, Say | Respond):
        return greeting
    if not isinstance(greeting, str) or not greeting.strip():
        raise TypeError(
            f"{owner}(greeting={greeting!r}): expected what the agent says first, such as 'Hello!', "
            "or a Respond(instructions=...), or None"
        )
    return Say(greeting)


ALTERNATIVES: Final = {
    "supports_images": "use a model that takes pictures, or describe them in text",
    "supports_text_output": "let it speak with its own voice",
    "supports_cancel": "the rest of its reply is dropped here instead",
    "supports_commit": "let it find the end of a turn itself",
    "supports_out_of_band": "ask a separate model",
    "supports_verbatim_speech": "use respond(instructions='Say exactly: ...'), if it supports response requests",
    "supports_updates": "begin another session",
    "supports_history_seeding": "put what matters of the history into the instructions",
    "supports_response_requests": "it answers by itself what it hears and reads",
    "supports_text_input": "say it, or use a model that reads text",
    "supports_resumption": "the conversation is given to the new session as text",
    "supports_truncation": "it remembers its whole reply; `history` keeps what was heard, and seeds the next session",
    "emits_speech_events": "put a Vad above it where speech events are needed",
}
"""What to do instead, by the name of the capability that is missing (a field of `Profile`)."""


class UnsupportedError(ValueError):
    """A brain or its provider does not support a request. Raised before anything is sent; says what to use instead."""

    @classmethod
    def of(cls, owner: str, capability: str, what: str) -> Self:
        """Return the error for a capability that is missing.

        Args:
            owner: Name of the provider or the model.
            capability: The capability, a key of `ALTERNATIVES`.
            what: The capability that was requested, such as `say()`.
        """
        return cls(f"{owner} cannot do {what}; {ALTERNATIVES[capability]}")
