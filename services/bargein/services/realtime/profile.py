"""What a realtime provider can do, as data."""

from __future__ import annotations

import msgspec

from bargein.pipeline.lowlevel import CheckedFields
from bargein.services.brain import ALTERNATIVES, UnsupportedError

__all__ = ["Profile"]


class Profile(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The capabilities of a provider. A capability that is not named here is one that it does not have.

    Each field is an argument of the constructor; its own docstring says what it means.
    """

    provider: str
    """Name of the provider, as its users know it."""
    input_rate: int
    """Sample rate of the audio that it takes, in Hz (mono)."""
    output_rate: int
    """Sample rate of the audio that it sends, in Hz (mono)."""
    supports_images: bool = False
    """Pictures can be shown to it."""
    max_id_characters: int | None = None
    """Maximum length of the ids of items and tool calls that are sent to it; None if no limit is known."""
    max_image_bytes: int | None = None
    """Maximum size of an encoded picture, in bytes; None if no limit is known."""
    image_formats: tuple[str, ...] = ()
    """Accepted encodings of a picture, such as `jpeg`; empty if the usual ones are accepted."""
    supports_text_output: bool = False
    """It can answer in text only, so that a separate voice can speak the answer."""
    sends_response_ids: bool = True
    """Its audio names the response that it belongs to. If not, order decides which audio is stale."""
    supports_cancel: bool = False
    """A response can be stopped."""
    supports_truncation: bool = False
    """What it remembers of its reply can be cut to what was heard."""
    turn_detection: tuple[str, ...] = ()
    """Ways in which it finds the end of a turn itself: `server_vad`, `semantic_vad`, ..."""
    supports_commit: bool = False
    """The application can say that the user's turn is over."""
    supports_out_of_band: bool = False
    """It can answer a question that is not part of the conversation."""
    supports_verbatim_speech: bool = False
    """It can say given words exactly."""
    supports_response_requests: bool = True
    """A response is requested by the client. If not, it answers by itself what it hears, reads and gets from tools."""
    supports_text_input: bool = True
    """It reads what the user writes."""
    needs_continuous_audio: bool = False
    """It needs audio without a break: silence is sent while the user's source sends nothing."""
    responds_to_commit: bool = False
    """It answers a commit without a request."""
    responds_to_tool_results: bool = False
    """It continues by itself once a tool has answered. If not, another response is requested."""
    answers_during_tool_calls: bool = False
    """It answers another question of the user while a tool of an interrupted response still runs. If not, the answer
    waits for the tool."""
    emits_speech_events: bool = False
    """It reports when the user starts and stops speaking."""
    supports_updates: bool = False
    """Instructions and tools can change during a session."""
    reconnects_to_update: bool = False
    """A change of the settings needs a new connection, which is opened in the next pause."""
    supports_history_seeding: bool = False
    """An earlier conversation can be sent to it."""
    supports_resumption: bool = False
    """A new connection can take up the session of a lost one."""
    max_session_seconds: float | None = None
    """Maximum length of a session, in seconds; None if there is no limit."""

    @staticmethod
    def instead(capability: str) -> str:
        """Return what to do where a provider lacks a capability; empty for a capability that needs no advice.

        Args:
            capability: Name of a field of this class.
        """
        return ALTERNATIVES.get(capability, "")

    def require(self, capability: str, what: str) -> None:
        """Raise `UnsupportedError` unless the provider has a capability.

        Args:
            capability: Name of a field of this class.
            what: The capability that was requested, for the message.
        """
        if not getattr(self, capability):
            raise UnsupportedError.of(self.provider, capability, what)
