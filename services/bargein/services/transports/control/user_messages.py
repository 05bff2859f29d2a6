"""The messages that a peer sends to an agent, both ways: decoded by the agent, encoded by a client. No I/O."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec

from bargein.pipeline import Frame, FrameError, Image, Interrupt, UserText
from bargein.processors import Commit

__all__ = ["ControlError", "Finish", "Start", "decode_user_message", "encode_start", "encode_user_message"]


class ControlError(ValueError):
    """A message that cannot be understood. Its text says what is wrong and is sent to the peer.

    Args:
        message: What is wrong, in a sentence.
        code: The same for programs.
    """

    def __init__(self, message: str, code: str = "wrong_message") -> None:
        super().__init__(message)
        self.code = code
        """What is wrong, for programs."""


class _UserMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    pass


class Start(_UserMessage, frozen=True, kw_only=True):
    """The peer's first message: what it sends, what it wants to hear, and parameters for its session."""

    rate: int = 16_000
    """The rate of the sound that the peer sends, in samples a second (Hz)."""
    channels: int = 1
    """The number of channels of that sound."""
    output_rate: int = 0
    """The rate of the agent's sound that the peer wants, in samples a second; 0 for the agent's own rate."""
    token: str = ""
    """The peer's token, for clients that cannot set a header."""
    resume: str = ""
    """The token of the latest `ready`, to go on with its conversation after a lost connection; empty for a new one."""
    params: Mapping[str, str] = {}
    """Parameters for the code that builds the session, such as `{"brain": "openai"}`; see `Peer.params`."""

    def __repr__(self) -> str:
        # Without the token and the parameters, which may be secret and must not reach a log.
        return f"Start(rate={self.rate}, channels={self.channels}, output_rate={self.output_rate})"


class _TypedText(_UserMessage, frozen=True, kw_only=True, tag="text"):
    text: str


class _PictureMessage(_UserMessage, frozen=True, kw_only=True, tag="image"):
    data: str
    format: str = "jpeg"
    detail: str = ""


class _InterruptRequest(_UserMessage, frozen=True, kw_only=True, tag="interrupt"):
    reason: str = "asked to"


class _CommitRequest(_UserMessage, frozen=True, kw_only=True, tag="commit"):
    pass


class Finish(_UserMessage, frozen=True, kw_only=True, tag="end"):
    """The last message of either side: the conversation is over."""

    reason: str = ""
    """Why, in a sentence."""


_DECODER = msgspec.json.Decoder(Start | _TypedText | _PictureMessage | _InterruptRequest | _CommitRequest | Finish)


def decode_user_message(data: str | bytes) -> Start | Finish | Frame:
    """Return what a peer's message means: a frame for the graph, or `Start` or `Finish` for the transport.

    Args:
        data: The message as JSON.

    Raises:
        ControlError: The message cannot be understood. Nothing else is raised, whatever a peer sends.
    """
    try:
        message = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ControlError(f"this is not a message of the protocol: {error}") from None
    if isinstance(message, Start | Finish):
        return message
    if isinstance(message, _TypedText):
        return UserText(text=message.text)
    if isinstance(message, _InterruptRequest):
        return Interrupt(reason=message.reason)
    if isinstance(message, _CommitRequest):
        return Commit()
    try:
        picture = base64.b64decode(message.data, validate=True)
        return Image(data=picture, format=message.format, detail=message.detail)
    except (binascii.Error, ValueError, FrameError) as error:
        raise ControlError(f"this is not a picture: {error}") from None


def encode_start(message: Start) -> str:
    """Return a peer's first message as JSON.

    Args:
        message: The first message of a peer.
    """
    return msgspec.json.encode(message).decode()


def encode_user_message(frame: UserText | Commit | Interrupt | Image) -> str:
    """Return the message that `decode_user_message` turns into this frame.

    Args:
        frame: A frame of the user.

    Raises:
        ValueError: The frame is a picture of raw pixels; encode it first.
    """
    message: _UserMessage
    if isinstance(frame, UserText):
        message = _TypedText(text=frame.text)
    elif isinstance(frame, Interrupt):
        message = _InterruptRequest(reason=frame.reason)
    elif isinstance(frame, Commit):
        message = _CommitRequest()
    elif isinstance(frame.data, bytes):
        data = base64.b64encode(frame.data).decode()
        message = _PictureMessage(data=data, format=frame.format, detail=frame.detail)
    else:
        raise ValueError(f"{frame!r} cannot be sent as {frame.format}; encode it first, as jpeg, png or webp")
    return msgspec.json.encode(message).decode()
