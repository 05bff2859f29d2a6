"""The frames that the processors define, beside those of the engine: turns, speech, what was heard, measurements."""

from __future__ import annotations

from typing import ClassVar, Literal

from bargein.pipeline import Audio, Delivery, Frame
from bargein.pipeline.frames import ItemFrame, ReplyFrame, check_text, payload
from bargein.pipeline.lowlevel import Samples

__all__ = [
    "AgentActivity",
    "BargeInLatency",
    "Commit",
    "Heard",
    "Level",
    "PauseRequest",
    "PlayedSound",
    "SpeechContinued",
    "SpeechPaused",
    "SpeechProbability",
    "Timing",
    "Turn",
    "TurnControl",
    "TurnEnd",
    "TurnLatency",
    "UserIdle",
]

TurnEnd = Literal["silence", "transcript", "commit", "model", "typed", "length", "end"]
"""What ended a turn: one of the ways of `Turns`, typed text, the maximum length, or the end of the stream."""


class Commit(Frame, frozen=True, kw_only=True):
    """The user's turn is over now, for example because a push-to-talk key was released."""

    delivery: ClassVar[Delivery] = Delivery.EVENT


class Turn(Frame, frozen=True, kw_only=True):
    """The user's words in one turn. `pts` is the time at which the turn began."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    turn: int
    """Number of the turn in the session, starting at 1. A corrected turn keeps its number."""
    text: str
    """All transcripts of the turn, joined by spaces."""
    item_ids: tuple[str, ...] = ()
    """Ids of the items that the turn consists of."""
    reason: TurnEnd = "silence"
    """What ended the turn."""
    end_pts: int = 0
    """End of the user's speech in nanoseconds of media time, as far as it is known."""
    final: bool = True
    """Whether all its transcripts are final."""
    revision: int = 0
    """How often the turn has been sent before. A turn is sent again when a late transcript changes its text."""


class UserIdle(Frame, frozen=True, kw_only=True):
    """Neither the user nor the agent has said anything for a while."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    ms: float
    """Length of the silence in milliseconds."""
    count: int
    """How often this has been sent since the user last spoke, starting at 1."""


class TurnControl(Frame, frozen=True):
    """Tells the processors below whether the user's turns are decided above them.

    `Vad`, `BargeIn`, `Turns` and brains then stop deciding by themselves and follow `SpeechStarted`, `SpeechStopped`,
    `Commit` and `Interrupt` from above.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    external: bool = True
    """True: turns are decided above. False: the processors below decide again."""


class SpeechContinued(ItemFrame, frozen=True):
    """The user is still speaking. Sent with `SpeechStarted` and after every 50 ms of speech.

    `pts` is the time at which the speech began.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    ms: float
    """Amount of speech so far in milliseconds, without pauses. A cough stays short, however late its end is noticed."""


class SpeechPaused(ItemFrame, frozen=True, kw_only=True):
    """The user pauses, and may go on. Sent once for each pause, where a `PauseRequest` asked for it.

    A `SpeechStopped` follows if the silence lasts. `pts` is the time at which the pause began.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    audio: Audio
    """The latest sound of the user, mono, up to now: with the silence at its end and with earlier pauses."""


class PauseRequest(Frame, frozen=True, kw_only=True):
    """Asks the `Vad` above for a `SpeechPaused` in each pause from now on. `Turns` sends it for its detectors."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    ms: float
    """Silence in milliseconds after which it is sent."""
    audio_seconds: float
    """Length of the sound that comes with it, in seconds."""


class SpeechProbability(Frame, frozen=True, kw_only=True):
    """The probability that one window of the user's audio is speech. `pts` is the start of the window."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    probability: float
    """Probability of the detector, from 0 to 1."""
    speaking: bool
    """Whether the `Vad` takes the user to be speaking after this window."""
    ms: float
    """Length of the window in milliseconds."""


class Timing(ReplyFrame, frozen=True):
    """When a piece of an item's text sounds in its audio.

    A voice sends one for each word, or for each sentence if it knows no more. It becomes stale with its response.
    """

    text: str
    """The piece, spelled as in the item's text."""
    start_ms: float
    """Start of its sound, in milliseconds from the beginning of the item."""
    end_ms: float
    """End of its sound, in milliseconds from the beginning of the item."""
    spoken: bool = True
    """Whether it sounds at all. False: the voice failed, and nobody will hear this piece."""

    def __post_init__(self) -> None:
        check_text(self, "text")


class _HeardItem(Frame, frozen=True, kw_only=True):
    """The keyword-only fields of `Heard`."""

    response_id: str
    """Id of the response."""
    item_id: str = ""
    """Id of the item."""


class Heard(_HeardItem, frozen=True):
    """The words of an item that the listener has heard so far."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM
    missing_giver: ClassVar[str] = "Spoken()"

    text: str = payload()
    """All words that have been heard, up to the last complete one."""
    remaining: str = ""
    """The known text that has not been heard. With `done` it never will be."""
    done: bool = False
    """Whether nothing more of the item will be heard."""

    def __post_init__(self) -> None:
        check_text(self, "text")


class AgentActivity(Frame, frozen=True, kw_only=True):
    """What the agent is doing from now on."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    response_id: str = ""
    """Id of the newest response that is being made or heard; empty if there is none."""
    protected: bool = False
    """Whether a response that is being made or heard must not be interrupted."""
    call_ids: tuple[str, ...] = ()
    """Ids of the unanswered tool calls of the latest response."""


class TurnLatency(Frame, frozen=True, kw_only=True):
    """How long the user waited for an answer."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    ms: float
    """Milliseconds from the end of the user's speech or the typed text to the first audible sound of the answer."""
    response_id: str = ""
    """Id of the response."""


class PlayedSound(Frame, frozen=True, eq=False):
    """The sound that a player sends to the listener, and when it is heard there.

    A player sends it only in graphs where a processor above takes it, such as `EchoCancel`.

    A player knows this a little ahead of time. Each report replaces all earlier ones from its `start_seconds` on. So
    after an interrupt a report without samples says that what was announced will not sound. Between reports there is
    silence.
    """

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM
    missing_giver: ClassVar[str] = "Pacer(), or end with a sink that has one"

    samples: Samples
    """The sound as `int16`, of shape `(n,)` for mono or `(n, channels)`. It may be empty."""
    rate: int
    """Samples a second (Hz)."""
    start_seconds: float
    """Time of the first sample in seconds, on AnyIO's clock."""


class BargeInLatency(Frame, frozen=True, kw_only=True):
    """How long the agent went on after the user began to interrupt it."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    ms: float
    """Milliseconds from the beginning of the user's speech to the agent's silence."""
    interrupted: int = 0
    """The epoch that the interrupt began."""


class Level(Frame, frozen=True, kw_only=True):
    """The level of a stretch of audio. `pts` is the start of the stretch."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    rms_dbfs: float
    """Root mean square in decibels, at least -120; 0 is the level of a full-scale sine."""
    peak_dbfs: float
    """Greatest sample in decibels relative to full scale, at least -120."""
    clipped: int
    """Number of samples at full scale. Several in a row are heard as distortion."""
    silent: bool
    """Whether the level stayed below the meter's threshold."""
    ms: float
    """Length of the stretch in milliseconds."""
