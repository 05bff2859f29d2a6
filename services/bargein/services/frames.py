"""Frames between a brain and its application: requests to the brain, and reports of its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import msgspec

from bargein.pipeline import Delivery, Failure, Frame
from bargein.pipeline.frames import ItemFrame, check_text, payload
from bargein.processors import Commit

__all__ = [
    "BrainSwitched",
    "ClearAudio",
    "Commit",
    "Configure",
    "Connected",
    "Disconnected",
    "OutOfBand",
    "RateLimits",
    "Remember",
    "Respond",
    "Say",
    "ToolFinished",
    "ToolProgress",
    "ToolStarted",
    "without_details",
]

FAILURE_SENTENCE = "a part of the agent failed; the call goes on"
FATAL_SENTENCE = "a part of the agent failed and has given up"


class Respond(Frame, frozen=True):
    """Have the brain answer now, without waiting for the user, or at the end of the response in progress.

    The instructions are for the model, and the user does not hear them: `Respond("Ask for the order number.")`. They
    apply to this response only, where they replace the brain's own `instructions=`; so repeat all that should still
    apply. They are not part of the conversation, and the next response has the brain's instructions again. To change
    these for the rest of the call, send a `Configure`. To have exact words spoken, send a `Say`.

    Gemini Live has no instructions for one response. It reads them as one more message, beside the brain's own.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    instructions: str = ""
    """What the model should do in this response, in place of the brain's instructions; empty to keep those."""
    protected: bool = False
    """Whether the user's speech must not interrupt it."""
    out_of_band: str = ""
    """Name of a question beside the conversation; empty for a response in the conversation.

    The answer to such a question is text. It comes as an `OutOfBand` frame of that name, and is not spoken.
    """


class OutOfBand(Frame, frozen=True, kw_only=True):
    """The answer to a `Respond` with a name in `out_of_band`."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    name: str
    """Name of the question."""
    text: str
    """The whole answer; empty if it failed."""
    reason: str = ""
    """Why it failed, if it did."""


class RateLimits(Frame, frozen=True, kw_only=True):
    """The remaining rate limits at the provider."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    provider: str
    """Name of the provider."""
    remaining: dict[str, float]
    """The amount that is left of each limit, by the limit's name, such as `requests` and `tokens`."""
    reset_seconds: dict[str, float]
    """Seconds until each limit is full again, by the limit's name."""


class Say(Frame, frozen=True):
    """Have the brain say these words exactly."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    text: str = payload()
    """The words."""
    protected: bool = False
    """Whether the user's speech must not interrupt it."""

    def __post_init__(self) -> None:
        check_text(self, "text")


class ClearAudio(Frame, frozen=True, kw_only=True):
    """Discard the audio of the user that has not been committed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT


class Configure(Frame, frozen=True, kw_only=True):
    """Change the session. A setting that is None stays as it is."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    instructions: str | None = None
    """New instructions for the model; empty for the instructions that the brain was created with."""
    tools: tuple[Callable[..., object], ...] | None = None
    """Tools that the brain runs, in place of all earlier ones: each a `Tool`, or a function that `tool()` accepts."""
    schemas: tuple[dict[str, Any], ...] | None = None
    """Further tools, whose calls the application answers: each with `name`, `description` and `parameters`."""
    voice: str | None = None
    """Name of the voice, as the provider calls it."""


class _Remembered(ItemFrame, frozen=True, kw_only=True):
    """The keyword-only fields of `Remember`."""

    call_id: str = ""
    """Id of the call."""


class Remember(_Remembered, frozen=True):
    """An entry to add to the conversation, such as one of an earlier conversation. The brain does not answer it."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    role: Literal["system", "user", "assistant", "call", "result"] = payload()
    """The speaker; `call` for a tool call, `result` for the result of one."""
    text: str = payload()
    """The words, the arguments of the call (JSON), or its result."""
    name: str = ""
    """Name of the tool."""

    def __post_init__(self) -> None:
        check_text(self, "role", "text")


class Connected(Frame, frozen=True, kw_only=True):
    """A session with the provider is ready."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    provider: str
    """Name of the provider."""
    session_id: str = ""
    """The session's id at the provider."""
    reconnected: bool = False
    """Whether the session replaces one that was lost or had to end."""
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    """Configuration of the session, as the provider states it; empty if it states none."""


class Disconnected(Frame, frozen=True, kw_only=True):
    """The connection with the provider is gone."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    provider: str
    """Name of the provider."""
    reason: str = ""
    """Why, in a sentence."""
    clean: bool = True
    """Whether the end was intended."""
    final: bool = True
    """Whether the brain gives up and does not reconnect."""


class BrainSwitched(Frame, frozen=True, kw_only=True):
    """Another brain has taken over the conversation."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    name: str
    """Name of the brain that takes over."""
    before: str
    """Name of the brain before."""
    reason: str = ""
    """Why, in a sentence."""
    failed: bool = False
    """Whether the brain before has failed."""


class ToolStarted(Frame, frozen=True, kw_only=True):
    """A tool has started."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str
    """Id of the call."""
    name: str
    """Name of the tool."""
    arguments: str = "{}"
    """The arguments of the call, as JSON."""


class ToolProgress(Frame, frozen=True, kw_only=True):
    """A tool reports its progress."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str
    """Id of the call."""
    name: str
    """Name of the tool."""
    message: str = ""
    """The tool's report, in words."""
    share: float | None = None
    """Share of the work that is done, from 0 to 1; None if unknown."""


class ToolFinished(Frame, frozen=True, kw_only=True):
    """A tool has answered, failed, or was cancelled."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str
    """Id of the call."""
    name: str
    """Name of the tool."""
    output: str = ""
    """The result that the model gets, as text."""
    error: bool = False
    """Whether the tool has failed. Then `output` says why."""
    cancelled: bool = False
    """Whether the tool was cancelled. Then the model gets no result."""
    seconds: float = 0.0
    """Time that the tool took, in seconds."""


def without_details(failure: Failure) -> Failure:
    """Return a failure for a peer that is not the developer: with a general sentence, and without its cause.

    The message of a `Failure` may be a provider's text, or that of any exception.

    Args:
        failure: The failure as the developer sees it.
    """
    return Failure(FATAL_SENTENCE if failure.fatal else FAILURE_SENTENCE, fatal=failure.fatal)
