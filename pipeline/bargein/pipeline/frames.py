"""The frames: frozen pieces of media, text and news that travel through a graph.

A frame of your own is one small class::

    class Subtitle(Frame, frozen=True, kw_only=True):
        text: str

Frames are shared, never copied: two branches hold the same object, so its arrays must not be written to.
"""

from __future__ import annotations

import enum
import sys
from typing import Any, ClassVar, Final, Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt

from .errors import FrameError

__all__ = [
    "LIVE",
    "Audio",
    "Delivery",
    "End",
    "Failure",
    "Frame",
    "Hold",
    "Image",
    "Interrupt",
    "Played",
    "ResponseEnded",
    "ResponseStarted",
    "Resume",
    "SpeechStarted",
    "SpeechStopped",
    "Text",
    "ToolCall",
    "ToolResult",
    "Transcript",
    "Usage",
    "UserText",
    "Video",
]

LIVE: Final = sys.maxsize
"""The epoch of what never expires. The largest index, so that staleness stays one comparison."""

SECOND: Final = 1_000_000_000
_INT16: Final = np.dtype(np.int16)
_UINT8: Final = np.dtype(np.uint8)
_PLANES: Final = {"rgb24": 3, "bgr24": 3, "rgba": 4, "gray8": 0}
_ENCODED: Final = ("jpeg", "png", "webp")


class Delivery(enum.Enum):
    """How a class of frames moves through a graph. A class says it once, in its `delivery`."""

    STREAM = "stream"
    """Downstream, in order, with backpressure; expires with its epoch. Media and text."""
    EVENT = "event"
    """Downstream, in order, with backpressure; never expires. Transcripts, tool calls, boundaries, usage."""
    URGENT = "urgent"
    """To every processor downstream in one step, ahead of all that waits. The newest of a class replaces the older."""
    UPSTREAM = "upstream"
    """Against the stream, to every processor above that takes it. Never waits, never expires."""
    LAST = "last"
    """In order, through every processor, after everything else of its branch. Nothing flushes it."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What every frame has."""

    delivery: ClassVar[Delivery] = Delivery.STREAM

    pts: int = 0
    """Media time in nanoseconds: when the frame begins. Counted from samples, never summed from rounded durations."""
    epoch: int = LIVE
    """When it expires: stale once the session's epoch is greater. What is given no epoch inherits its cause's."""

    def __post_init__(self) -> None:
        if self.epoch != LIVE and self.delivery not in (Delivery.STREAM, Delivery.URGENT):
            raise FrameError(
                f"{type(self).__name__}(epoch={self.epoch}): {self.delivery.value} frames never expire. "
                "Leave the epoch out, or set `delivery = Delivery.STREAM` on the class"
            )

    def __repr__(self) -> str:
        """What differs from the defaults: `Text(text='Hello', epoch=3)`."""
        fields = ((name, getattr(self, name)) for name in self.__struct_fields__)
        defaults = dict(zip(reversed(self.__struct_fields__), reversed(self.__struct_defaults__), strict=False))
        told = (f"{name}={value!r}" for name, value in fields if name not in defaults or value != defaults[name])
        return f"{type(self).__name__}({', '.join(told)})"

    def stamped(self, epoch: int) -> Self:
        """The same frame, belonging to `epoch`. Skips validation: what was valid stays so."""
        copy: Self = self.__copy__()  # type: ignore[attr-defined]  # copy.copy without its detour
        msgspec.structs.force_setattr(copy, "epoch", epoch)
        return copy


def _same(one: Frame, other: object) -> bool:
    """Equality for frames that hold arrays: the same class, the same fields, the same contents."""
    if type(one) is not type(other):
        return False
    for name in one.__struct_fields__:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
            if not (type(mine) is type(theirs) and mine.dtype == theirs.dtype and np.array_equal(mine, theirs)):
                return False
        elif mine != theirs:
            return False
    return True


def _when(frame: Frame) -> str:
    epoch = "" if frame.epoch == LIVE else f", epoch={frame.epoch}"
    return f"pts={frame.pts / SECOND:.3f}s{epoch}"


def _what(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    return f"{type(value).__name__} {value!r:.60}"


class Audio(Frame, frozen=True, kw_only=True, eq=False):
    """A stretch of sound.

    Raises `FrameError` unless `samples` is a non-empty `int16` array of shape `(n,)` or `(n, channels)` and `rate` is
    a positive integer.
    """

    samples: npt.NDArray[np.int16]
    """`int16`, shape `(n,)` for mono or `(n, channels)`."""
    rate: int
    """Samples a second (Hz)."""
    response_id: str = ""
    """Which response it belongs to, when the agent speaks; empty for the user's own sound."""
    item_id: str = ""
    """Which item of the response."""

    def __post_init__(self) -> None:
        samples = self.samples
        if (
            not isinstance(samples, np.ndarray)
            or samples.dtype != _INT16
            or not samples.size
            or not 1 <= samples.ndim <= 2
        ):
            raise FrameError(
                f"Audio.samples is {_what(samples)}; expected a non-empty array of int16 with shape (n,) or "
                "(n, channels). Floats in -1..1: (x * 32767).astype(np.int16). Bytes: Audio.from_bytes(data, rate)"
            )
        if type(self.rate) is not int or self.rate <= 0:
            raise FrameError(f"Audio.rate is {_what(self.rate)}; expected samples a second as a positive int")

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, rate: int, channels: int = 1, pts: int = 0) -> Self:
        """Sound from little-endian 16-bit PCM, interleaved. Raises `FrameError` when samples are cut in half."""
        if channels < 1 or len(data) % (2 * channels):
            raise FrameError(
                f"{len(data)} bytes are not a whole number of 16-bit samples in {channels} channel(s); "
                "keep the remainder and put it before the next piece"
            )
        samples = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        return cls(samples=samples.reshape(-1, channels) if channels > 1 else samples, rate=rate, pts=pts)

    @property
    def channels(self) -> int:
        """How many channels."""
        return 1 if self.samples.ndim == 1 else self.samples.shape[1]

    @property
    def duration(self) -> int:
        """Its length in nanoseconds, rounded down. Never sum these: count samples."""
        return len(self.samples) * SECOND // self.rate

    @property
    def ms(self) -> float:
        """Its length in milliseconds, exactly `1000 * len(samples) / rate`."""
        return len(self.samples) * 1000 / self.rate

    def to_bytes(self) -> bytes:
        """Little-endian 16-bit PCM, interleaved."""
        return self.samples.astype("<i2", copy=False).tobytes()

    def with_samples(self, samples: npt.NDArray[np.int16]) -> Self:
        """The same frame with other sound."""
        return msgspec.structs.replace(self, samples=samples)

    def scaled(self, factor: float) -> Self:
        """Louder or softer by `factor`, saturating at full scale."""
        scaled = np.rint(self.samples * np.float32(factor))
        return self.with_samples(np.clip(scaled, -32768, 32767).astype(np.int16))

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def __ne__(self, other: object) -> bool:  # a Struct's own would compare identities
        return not _same(self, other)

    def __hash__(self) -> int:
        return hash((Audio, self.pts, self.rate, len(self.samples)))

    def __repr__(self) -> str:
        whose = f", response_id={self.response_id!r}" if self.response_id else ""
        return f"Audio({self.ms:g} ms, {self.rate} Hz, {self.channels} ch, {_when(self)}{whose})"


def _check_picture(frame: Video | Image) -> None:
    data, form = frame.data, frame.format
    if form in _ENCODED:
        if not isinstance(data, bytes) or not data:
            raise FrameError(f"{type(frame).__name__}.data is {_what(data)}; format {form!r} expects non-empty bytes")
    elif form in _PLANES:
        planes = _PLANES[form]
        shape = "(height, width)" if not planes else f"(height, width, {planes})"
        fits = isinstance(data, np.ndarray) and data.dtype == _UINT8 and data.size > 0
        if not fits or (data.ndim != 2 if not planes else data.ndim != 3 or data.shape[2] != planes):  # type: ignore[union-attr]
            raise FrameError(
                f"{type(frame).__name__}.data is {_what(data)}; format {form!r} expects an array of uint8 "
                f"with shape {shape}"
            )
    else:
        known = ", ".join([*_PLANES, *_ENCODED])
        raise FrameError(f"{type(frame).__name__}.format is {form!r}; expected one of {known}")


def _picture(frame: Video | Image) -> str:
    data = frame.data
    size = f"{len(data)} bytes" if isinstance(data, bytes) else f"{data.shape[1]}x{data.shape[0]}"
    return f"{type(frame).__name__}({size}, {frame.format}, {_when(frame)})"


class Video(Frame, frozen=True, kw_only=True, eq=False):
    """One picture of a moving stream. Raises `FrameError` when `data` does not fit `format`."""

    data: npt.NDArray[np.uint8] | bytes
    """Pixels, `uint8` of shape `(height, width, 3)` for rgb24 and bgr24, `(…, 4)` for rgba, `(height, width)` for
    gray8; or the bytes of one jpeg, png or webp."""
    format: str = "rgb24"
    """`rgb24`, `bgr24`, `rgba`, `gray8`, `jpeg`, `png` or `webp`."""
    response_id: str = ""
    """Which response it belongs to, when the agent shows it."""

    def __post_init__(self) -> None:
        _check_picture(self)

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def __ne__(self, other: object) -> bool:  # a Struct's own would compare identities
        return not _same(self, other)

    def __hash__(self) -> int:
        return hash((Video, self.pts, self.format))

    def __repr__(self) -> str:
        return _picture(self)


class Image(Frame, frozen=True, kw_only=True, eq=False):
    """A still picture that is part of the conversation. The same fields and errors as `Video`."""

    data: npt.NDArray[np.uint8] | bytes
    """As `Video.data`."""
    format: str = "rgb24"
    """As `Video.format`."""
    detail: str = ""
    """How closely a model should look, in its own words (`low`, `high`); empty for its default."""
    response_id: str = ""
    """Which response it belongs to, when the agent shows it."""

    def __post_init__(self) -> None:
        _check_picture(self)

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def __ne__(self, other: object) -> bool:  # a Struct's own would compare identities
        return not _same(self, other)

    def __hash__(self) -> int:
        return hash((Image, self.pts, self.format))

    def __repr__(self) -> str:
        return _picture(self)


class Text(Frame, frozen=True, kw_only=True):
    """A piece of what the agent says, as text."""

    text: str
    """The piece, spaces included: pieces are joined without adding any."""
    response_id: str = ""
    """Which response it belongs to."""
    item_id: str = ""
    """Which item of the response."""
    final: bool = False
    """No more pieces follow for this item."""


class UserText(Frame, frozen=True, kw_only=True):
    """What the user typed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    text: str
    """The whole message."""
    item_id: str = ""
    """Its id in the conversation, if it has one."""


class Transcript(Frame, frozen=True, kw_only=True):
    """What somebody was heard to say."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    text: str
    """All that is known of the item so far, not the difference."""
    final: bool = False
    """Whether the text may still change."""
    item_id: str = ""
    """Which item it belongs to: transcripts are joined by item, never by arrival."""
    speaker: str = "user"
    """Who spoke."""
    language: str = ""
    """BCP 47 tag (`en-GB`), when known."""


class SpeechStarted(Frame, frozen=True, kw_only=True):
    """The user began to speak; `pts` is when the speech began, not when it was noticed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    item_id: str = ""
    """The item that the speech will become, when known."""
    lag_ms: float = 0.0
    """How long it had lasted, in milliseconds of sound, when it was noticed."""


class SpeechStopped(Frame, frozen=True, kw_only=True):
    """The user stopped speaking; `pts` is when the speech ended, not when it was noticed."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    item_id: str = ""
    """The item that the speech became, when known."""
    lag_ms: float = 0.0
    """How long the silence had lasted, in milliseconds of sound, when it was noticed."""


class ResponseStarted(Frame, frozen=True, kw_only=True):
    """The agent began a response."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    response_id: str
    """Its id."""
    protected: bool = False
    """The user's speech must not interrupt it: an emergency notice, a legal sentence."""


class ResponseEnded(Frame, frozen=True, kw_only=True):
    """The agent's response is over. An interrupt does not flush it: it says how the response ended."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    response_id: str
    """Its id."""
    outcome: Literal["completed", "interrupted", "failed"] = "completed"
    """How it ended."""
    reason: str = ""
    """Why, in the provider's words."""


class ToolCall(Frame, frozen=True, kw_only=True):
    """The model asks for a tool."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    call_id: str
    """The id that the result must carry."""
    name: str
    """Which tool."""
    arguments: str = "{}"
    """JSON, as the model wrote it: it may be invalid, and then the model must be told."""
    response_id: str = ""
    """The response that asked."""
    handled: bool = False
    """Whoever gives it has the tool, and runs it: nobody else need answer."""


class ToolResult(Frame, frozen=True, kw_only=True):
    """What a tool answered. Delivery upstream, so that a tool runner stands below its model."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    call_id: str
    """The id of the call."""
    output: str
    """The answer, usually JSON."""
    error: bool = False
    """Whether `output` says why the tool failed."""


class Usage(Frame, frozen=True, kw_only=True):
    """What a response cost, in the provider's tokens."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    response_id: str = ""
    """The response it is for."""
    input_tokens: int = 0
    """Tokens read, all kinds."""
    output_tokens: int = 0
    """Tokens written, all kinds."""
    input_audio_tokens: int = 0
    """Those of `input_tokens` that are audio."""
    output_audio_tokens: int = 0
    """Those of `output_tokens` that are audio."""
    cached_tokens: int = 0
    """Those of `input_tokens` that came from a cache."""


class Played(Frame, frozen=True, kw_only=True):
    """How far a reply has been heard. Sent by whatever plays, to whoever keeps the conversation."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    response_id: str
    """The response that is playing."""
    item_id: str = ""
    """The item of it."""
    ms: float
    """Milliseconds of the item that left the sink, from its start."""
    done: bool = False
    """The item will not play any further."""


class Hold(Frame, frozen=True, kw_only=True):
    """Be silent now, and keep what you have: the user may be barging in."""

    delivery: ClassVar[Delivery] = Delivery.URGENT


class Resume(Frame, frozen=True, kw_only=True):
    """It was a cough: go on where the hold stopped you."""

    delivery: ClassVar[Delivery] = Delivery.URGENT


class Interrupt(Frame, frozen=True, kw_only=True):
    """The user barged in. The engine numbers it: `epoch` is the epoch that begins, and all that is older is stale.

    A processor yields `Interrupt()`. One that is about a certain response carries that response's epoch (or is sent
    through its outlet), so that a late one cannot end the next response.
    """

    delivery: ClassVar[Delivery] = Delivery.URGENT

    reason: str = ""
    """Why, for logs and timelines."""


class Failure(Frame, frozen=True, kw_only=True):
    """Something went wrong and the session goes on."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    message: str
    """What happened and what to do about it, in a sentence."""
    processor: str = ""
    """Where."""
    error: Any = None
    """The exception, when there was one."""
    fatal: bool = False
    """Whether the part that failed has given up."""


class End(Frame, frozen=True, kw_only=True):
    """Nothing more comes. Take it to give what you still hold; the engine passes it on, whatever you do."""

    delivery: ClassVar[Delivery] = Delivery.LAST

    reason: str = ""
    """Why, for logs."""
