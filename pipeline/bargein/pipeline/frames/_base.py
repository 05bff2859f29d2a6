"""The base class of all frames: when a frame expires, and how it travels."""

from __future__ import annotations

import enum
import sys
from typing import TYPE_CHECKING, ClassVar, Final, Self

import msgspec

from bargein.pipeline._fields import CheckedFields
from bargein.pipeline.errors import FrameError

__all__ = ["LIVE", "Delivery", "Frame", "ItemFrame", "ReplyFrame", "check_text", "describe", "payload"]

LIVE: Final = sys.maxsize
"""The epoch of frames that never expire. The largest index, so that one comparison decides whether a frame is stale."""


class _Missing:
    """The default of a payload field, replaced by an error when the frame is built."""

    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()

if TYPE_CHECKING:
    # Type checkers know that a field made by `msgspec.field()` is required.
    from msgspec import field as payload
else:

    def payload() -> _Missing:
        """Return the default of a required payload field, so that `check_text` can name the class that lacks it.

        msgspec's own error for a missing argument is a `TypeError`. A missing payload is a `FrameError`, like a payload
        of the wrong type.
        """
        return MISSING


class Delivery(enum.Enum):
    """How the frames of a class move through a graph. A class states it in its `delivery`."""

    STREAM = "stream"
    """Downstream, in order, with backpressure. Expires with its epoch. For media and text."""
    EVENT = "event"
    """Downstream, in order, with backpressure. Never expires. For transcripts, tool calls, boundaries, usage."""
    URGENT = "urgent"
    """To every processor downstream in one step, ahead of all that waits. The newest of a class replaces the older."""
    UPSTREAM = "upstream"
    """Against the stream, to every processor above that takes it. Never waits for room, never expires."""
    LAST = "last"
    """In order, through every processor, after everything else of its branch. No interrupt drops it."""


class Frame(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The fields that every frame has. Subclasses add their payload, which is given by position.

    Args:
        pts: Media time in nanoseconds. Default 0.
        epoch: The epoch with which the frame expires. Default `LIVE`.

    Raises:
        FrameError: `epoch` was set on a class of frames that never expire.
        TypeError: There is no field of that name. The message names the class and the nearest field.
    """

    delivery: ClassVar[Delivery] = Delivery.STREAM
    """How frames of this class travel."""
    missing_giver: ClassVar[str] = ""
    """For upstream classes: what to insert when no processor below sends them. The link check warns with it."""

    pts: int = 0
    """Media time in nanoseconds at which the frame begins. Count it from samples; sums of rounded durations drift."""
    epoch: int = LIVE
    """The epoch it belongs to. The frame is stale once the session's epoch is greater. A frame that a processor emits
    without an epoch inherits the epoch of the frame that caused it."""

    def __post_init__(self) -> None:
        if self.epoch != LIVE and self.delivery not in (Delivery.STREAM, Delivery.URGENT):
            raise FrameError(
                f"{type(self).__name__}(epoch={self.epoch}): {self.delivery.value} frames never expire. "
                "Leave the epoch out, or set `delivery = Delivery.STREAM` on the class"
            )

    def __repr__(self) -> str:
        """Return the fields that differ from their defaults: `Text(text='Hello', epoch=3)`."""
        fields = ((name, getattr(self, name)) for name in self.__struct_fields__)
        defaults = dict(zip(reversed(self.__struct_fields__), reversed(self.__struct_defaults__), strict=False))
        shown = (f"{name}={value!r}" for name, value in fields if name not in defaults or value != defaults[name])
        return f"{type(self).__name__}({', '.join(shown)})"

    def stamped(self, epoch: int) -> Self:
        """Return the same frame, belonging to `epoch`.

        Args:
            epoch: The epoch with which the new frame expires.
        """
        # Without validation, as the fields were valid already, and without the detour of copy.copy: this is the hot
        # path of every frame that inherits an epoch.
        copy: Self = self.__copy__()  # type: ignore[attr-defined]
        msgspec.structs.force_setattr(copy, "epoch", epoch)
        return copy


class ReplyFrame(Frame, frozen=True, kw_only=True):
    """The fields of media and text that may be part of the agent's reply.

    They stand in a base class because msgspec makes fields keyword-only class by class.
    """

    response_id: str = ""
    """The id of the response that it belongs to. Empty for the user's own media."""
    item_id: str = ""
    """The id of the item of that response."""


class ItemFrame(Frame, frozen=True, kw_only=True):
    """The field of frames that belong to one item of the conversation."""

    item_id: str = ""
    """The id of the item in the conversation, when known."""


def check_text(frame: Frame, *fields: str) -> None:
    """Check that each of `fields` holds a string, and check the epoch. Call it in `__post_init__`.

    Args:
        frame: The frame that is being built.
        fields: Names of the fields to check.

    Raises:
        FrameError: A field is missing or not a string. The message names the class, the field and the value.
    """
    Frame.__post_init__(frame)
    for field in fields:
        value = getattr(frame, field)
        if isinstance(value, str):
            continue
        name = type(frame).__name__
        if value is MISSING:
            raise FrameError(f"{name}() lacks its {field}; write {name}({'..., ' * (field != fields[0])}{field}='...')")
        hint = ", or decode it: value.decode()" if isinstance(value, bytes) else ""
        raise FrameError(f"{name}.{field} is {describe(value)}; expected a str{hint}")


def describe(value: object) -> str:
    """Return the type of a wrong value and the beginning of its repr, for an error message."""
    return "missing" if value is MISSING else f"{type(value).__name__} {value!r:.60}"
