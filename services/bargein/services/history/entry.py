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
    """Level of detail at which a model should look, as the model calls it (`low`, `high`); empty for its default."""

    @classmethod
    def from_frame(cls, frame: Image | Video, receiver: str) -> Self:
        """Return the picture of a frame.

        Args:
            frame: The frame, encoded.
            receiver: Name of the class that takes the picture, for the error message.

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
    """Id of the item. Transcripts and corrections refer to it."""
    text: str = ""
    """The words. For the agent: all words that were written, including those that were not heard."""
    heard: str | None = None
    """The part of the agent's text that the user heard; None until it is reported."""
    pictures: tuple[Picture, ...] = ()
    """The pictures that the user showed."""
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
    """Number of entries that this one replaces, if it is a summary; otherwise 0."""

    @property
    def remembered(self) -> str:
        """The text that a model should remember: the heard part if it is known, or else the whole text."""
        return self.text if self.heard is None else self.heard

    @property
    def available_pictures(self) -> tuple[Picture, ...]:
        """The pictures whose data is still there."""
        return tuple(picture for picture in self.pictures if picture.data)

    @property
    def worth(self) -> bool:
        """Whether the entry tells a model anything: words, a picture, or a call that has a result."""
        return (
            self.output is not None if self.role == "call" else bool(self.remembered.strip() or self.available_pictures)
        )

    def worth_to(self, *, images: bool) -> bool:
        """Return whether the entry tells a model anything.

        Args:
            images: Whether the model can look at pictures.
        """
        return self.worth and (images or self.role == "call" or bool(self.remembered.strip()))

    @property
    def open(self) -> bool:
        """Whether the entry is a call that has no result yet."""
        return self.role == "call" and self.output is None

    @property
    def characters(self) -> int:
        """Number of characters that a model has to read. In English, a token is about four characters."""
        return len(self.remembered) + (len(self.arguments) + len(self.output or "")) * (self.role == "call")
