"""The frames between a brain and its application, beyond those of the engine: what to do, and how it is going."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from bargein.pipeline import Delivery, Frame
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
]


class Respond(Frame, frozen=True):
    """Answer now, whoever's turn it is. While a response is being made, it waits for its end."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    instructions: str = ""
    """In place of the session's, for this response."""
    protected: bool = False
    """The user's speech must not interrupt it."""
    out_of_band: str = ""
    """A name for an answer that is no part of the conversation: text, which comes as an `OutOfBand` of that name."""


class OutOfBand(Frame, frozen=True, kw_only=True):
    """The answer to a `Respond` that was asked `apart`."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    name: str
    """The name it was asked by."""
    text: str
    """All of it; empty when it failed."""
    reason: str = ""
    """Why it failed, if it did."""


class RateLimits(Frame, frozen=True, kw_only=True):
    """What is left of the provider's limits."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    provider: str
    """Whose."""
    remaining: dict[str, float]
    """What is left, by the limit's name, such as `requests` and `tokens`."""
    reset_seconds: dict[str, float]
    """In how many seconds it is full again."""


class Say(Frame, frozen=True):
    """Say this, word for word."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    text: str = payload()
    """The words."""
    protected: bool = False
    """The user's speech must not interrupt it."""

    def __post_init__(self) -> None:
        check_text(self, "text")


class ClearAudio(Frame, frozen=True, kw_only=True):
    """Forget the user's sound that has not been committed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT


class Configure(Frame, frozen=True, kw_only=True):
    """Change the session; what is None stays as it is."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    instructions: str | None = None
    """What the model should do and be; empty for what it was made with."""
    tools: tuple[Any, ...] | None = None
    """Tools, each a `Tool` or what `tool()` makes one of."""
    schemas: tuple[dict[str, Any], ...] | None = None
    """Tools that the application answers, beside those: of each `name`, `description` and `parameters`."""
    voice: str | None = None
    """Which voice it has, in the provider's words."""


class _Remembered(ItemFrame, frozen=True, kw_only=True):
    """The keyword-only fields of `Remember`."""

    call_id: str = ""
    """The id of the call."""


class Remember(_Remembered, frozen=True):
    """Part of the conversation that was not said in it, such as the history of an earlier one. Nobody answers it."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    role: Literal["system", "user", "assistant", "call", "result"] = payload()
    """Whose words; `call` and `result` are of a tool."""
    text: str = payload()
    """The words, the arguments of the call, or its result."""
    name: str = ""
    """Which tool."""

    def __post_init__(self) -> None:
        check_text(self, "role", "text")


class Connected(Frame, frozen=True, kw_only=True):
    """A session with the provider is ready."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    provider: str
    """Whose."""
    session_id: str = ""
    """Its id there."""
    reconnected: bool = False
    """It replaces one that was lost or had to end."""
    config: Any = None
    """The session's configuration, as the provider states it."""
    profile: Any = None
    """What the provider can do."""


class Disconnected(Frame, frozen=True, kw_only=True):
    """The connection with the provider is gone."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    provider: str
    """Whose."""
    reason: str = ""
    """Why, in a sentence."""
    clean: bool = True
    """It was meant to end."""
    final: bool = True
    """Nobody will try again."""


class BrainSwitched(Frame, frozen=True, kw_only=True):
    """Another brain has taken over the conversation."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    name: str
    """Which."""
    before: str
    """Which it was until then."""
    reason: str = ""
    """Why, in a sentence."""
    failed: bool = False
    """The one before had failed."""


class ToolStarted(Frame, frozen=True, kw_only=True):
    """A tool runs."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str
    """The call's id."""
    name: str
    """The tool."""
    arguments: str = "{}"
    """What it was called with: JSON."""


class ToolProgress(Frame, frozen=True, kw_only=True):
    """A tool tells how far it has come."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str
    """The call's id."""
    name: str
    """The tool."""
    message: str = ""
    """What it says."""
    share: float | None = None
    """How much of it is done, 0 to 1, if it knows."""


class ToolFinished(Frame, frozen=True, kw_only=True):
    """A tool has answered, failed, or was called off."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str
    """The call's id."""
    name: str
    """The tool."""
    output: str = ""
    """What the model is told."""
    error: bool = False
    """It failed, and `output` says how."""
    cancelled: bool = False
    """It was called off, and the model is told nothing."""
    seconds: float = 0.0
    """How long it took."""
