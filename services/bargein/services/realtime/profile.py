"""What a provider can do, as data."""

from __future__ import annotations

import msgspec

from bargein.services.errors import UnsupportedError

__all__ = ["Profile", "UnsupportedError"]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The capabilities of a provider. What is not said, it cannot do."""

    provider: str
    """Its name, as users know it."""
    input_rate: int
    """Samples a second (Hz) that it hears, mono."""
    output_rate: int
    """Samples a second that it speaks, mono."""
    supports_images: bool = False
    """Pictures can be shown to it."""
    max_image_bytes: int | None = None
    """Bytes of a picture, at most; None where no limit is known."""
    image_formats: tuple[str, ...] = ()
    """How a picture may be encoded: `jpeg`, …; empty where several ways will do."""
    supports_text_output: bool = False
    """It can answer in text only, so that a voice of one's own can follow."""
    sends_response_ids: bool = True
    """Its audio names the response it belongs to; where not, staleness is decided by order."""
    supports_cancel: bool = False
    """A response can be stopped."""
    supports_truncation: bool = False
    """Its memory of what it said can be cut to what was heard."""
    turn_detection: tuple[str, ...] = ()
    """How it can find the end of a turn by itself: `server_vad`, `semantic_vad`, …"""
    supports_commit: bool = False
    """The application can say when the user's turn is over."""
    supports_out_of_band: bool = False
    """It can answer apart from the conversation."""
    supports_verbatim_speech: bool = False
    """It can be made to say given words."""
    supports_response_requests: bool = True
    """A response can, and must, be asked for; where not, it answers what it hears, reads, and learns of tools."""
    supports_text_input: bool = True
    """It reads what the user writes."""
    needs_continuous_audio: bool = False
    """It must hear without a break: silence is sent where the user's source gives nothing."""
    responds_to_commit: bool = False
    """It answers a commit without being asked."""
    responds_to_tool_results: bool = False
    """It goes on by itself when a tool has answered; where not, another response is asked for."""
    emits_speech_events: bool = False
    """It tells when the user begins and ceases to speak."""
    supports_updates: bool = False
    """Instructions and tools can change within a session."""
    reconnects_to_update: bool = False
    """Such a change takes a new connection, which is made in the next pause."""
    supports_history_seeding: bool = False
    """An earlier conversation can be given to it."""
    supports_resumption: bool = False
    """A new connection can take up the session of one that was lost."""
    max_session_seconds: float | None = None
    """How long a session may last; None when there is no limit."""

    @staticmethod
    def instead(capability: str) -> str:
        """What to do where a provider has not a capability; empty where that says itself."""
        return UnsupportedError.instead(capability)

    def require(self, capability: str, what: str) -> None:
        """Raise `UnsupportedError` unless the provider has a capability; `what` is what was asked for."""
        if not getattr(self, capability):
            raise UnsupportedError.of(self.provider, capability, what)
