"""One entry of a conversation: a message, or a tool call with its result."""

from __future__ import annotations

from typing import Literal, Self

import msgspec

from bargein.pipeline import Image, Video
from bargein.pipeline.lowlevel import CheckedFields

__all__ = ["Entry", "Picture", "Role"]

Role = Literal["system", "user", "assistant", "call"]


class Picture(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """An encoded picture."""

    media: str
    """Its media type, such as `image/jpeg`."""
    data: bytes
    """The encoded picture; empty when the conversation has dropped it."""
    detail: str = ""
    """How closely a model should look, in the model's own words (`low`, `high`); empty for its default."""

    @classmethod
    def from_frame(cls, frame: Image | Video, receiver: str) -> Self:
        """Return the picture of a frame.

        Args:
            frame: The frame, encoded.
            receiver: What takes the picture; named in the error.

        Raises:
            ValueError: The frame is not encoded.
        """
        if not isinstance(frame.data, bytes):
            raise ValueError(f"{receiver} takes encoded pictures, and got {frame!r}; insert EncodeJpeg()")
        detail = frame.detail if isinstance(frame, Image) else ""
        return cls(media=f"image/{frame.format}", data=frame.data, detail=detail)


class Entry(msgspec.Struct, metaclass=CheckedFields, kw_only=True, omit_defaults=True):
    """One message, or one tool call with its result."""

    role: Role
    item_id: str = ""
    """The item's id. Transcripts and corrections find the entry by it."""
    text: str = ""
    """The words. Of the agent: as far as they were written, even those that were not heard."""
    heard: str | None = None
    """The part of the agent's text that the user heard; None until it is reported."""
    pictures: tuple[Picture, ...] = ()
    """What the user showed."""
    response_id: str = ""
    """The response that the entry belongs to."""
    call_id: str = ""
    """The id of the tool call."""
    name: str = ""
    """The tool that was called."""
    arguments: str = "{}"
    """The arguments of the call, as JSON."""
    output: str | None = None
    """The result of the call; None until there is one."""
    summarises: int = 0
    """How many entries this one stands for, if it is a summary."""

    @property
    def remembered(self) -> str:
        """The text that a model should remember: the heard part, if that is known."""
        return self.text if self.heard is None else self.heard

    @property
    def available_pictures(self) -> tuple[Picture, ...]:
        """The pictures whose data is still there."""
        return tuple(picture for picture in self.pictures if picture.data)

    @property
    def worth(self) -> bool:
        """Whether a model learns anything from it: words, a picture, or a call that has a result."""
        return (
            self.output is not None if self.role == "call" else bool(self.remembered.strip() or self.available_pictures)
        )

    def worth_to(self, *, images: bool) -> bool:
        """Return whether a model learns anything from it.

        Args:
            images: Whether the model can look at pictures.
        """
        return self.worth and (images or self.role == "call" or bool(self.remembered.strip()))

    @property
    def open(self) -> bool:
        """Whether it is a call that has no result yet."""
        return self.role == "call" and self.output is None

    @property
    def characters(self) -> int:
        """How many characters a model has to read; in English about four are one token."""
        return len(self.remembered) + (len(self.arguments) + len(self.output or "")) * (self.role == "call")
