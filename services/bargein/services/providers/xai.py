"""Grok's voice, of xAI: OpenAI's GA dialect but for where a voice and turn detection stand, and ways of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Unpack
from urllib.parse import urlencode

import msgspec

from bargein.services.realtime import Event, Message, Realtime, Resumable, SessionReady, Settings, WordTimed

from .openai import wire
from .openai.client.protocol import PROFILE as OPENAI
from .openai.client.protocol import AudioForm, OpenAIProtocol
from .openai.dialect import Dialect, Move
from .openai.options import Shared, TurnDetection, address, found_key, settings, sounding

__all__ = ["PROFILE", "XAI", "GrokVoice", "GrokVoiceProtocol"]

XAI: Final = Dialect(
    session=(Move("audio.output.voice", "voice"), Move("audio.input.turn_detection", "turn_detection")),
    lacks=frozenset({"type", "output_modalities"}),
    events={"conversation.item.done": ""},
    metadata=False,
)
"""The dialect of xAI's realtime interface."""
PROFILE: Final = msgspec.structs.replace(
    OPENAI,
    provider="xAI",
    supports_images=False,
    supports_text_output=False,
    supports_truncation=False,
    turn_detection=("server_vad",),
    supports_out_of_band=False,
    supports_verbatim_speech=True,
    supports_resumption=True,
    max_session_seconds=None,
)
"""What it can do. It always speaks; a conversation is kept for about half an hour, a connection has no known limit."""
CONVERSATION: Final = "conversation_id"
"""The parameter of the address that takes a conversation up."""
GROWTH: Final = wire.SessionUpdated | wire.Committed | wire.ItemAdded | wire.TranscriptDelta | wire.ResponseDone
"""Events with which a conversation grows."""


class GrokVoiceProtocol(OpenAIProtocol):
    """One connection's protocol. `built_in` are tools that run at xAI; with `resumes` conversations can be taken up."""

    def __init__(self, *, built_in: Sequence[Mapping[str, Any]] = (), resumes: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self._built_in = [dict(tool) for tool in built_in]
        self._resumes = resumes
        self._conversation = self._handle = ""
        self._piece = "", "", 0.0  # of a transcript, the latest: its item, its text, and where it begins in seconds

    def resume(self, handle: str) -> None:
        """Take up a conversation by its id."""
        self._conversation = self._handle = handle
        self._endpoint = msgspec.structs.replace(
            self._endpoint, url=f"{self._endpoint.url}&{urlencode({CONVERSATION: handle})}"
        )

    def session(self, settings: Settings) -> dict[str, Any]:
        """The session object of some settings."""
        session = super().session(settings)
        session["tools"] = [*session["tools"], *self._built_in]
        if self._resumes:
            session.setdefault("resumption", {"enabled": True})
        return session

    def say(self, text: str, *, protected: bool = False) -> Iterator[Message]:
        """Say these words, without the model; the response begins by itself."""
        part = wire.WirePart(type="output_text", text=text)
        item = wire.WireItem(type="force_message", role="assistant", content=[part])
        item.interruptible = False if protected else None  # by the vendor's pages
        yield self._create(item)

    def _meaning(self, event: wire.ServerEvent) -> Iterator[Event]:
        if isinstance(event, wire.ConversationCreated):
            self._conversation = str(event.conversation.get("id") or "")
        if isinstance(event, wire.TranscriptDelta) and event.start_time is not None:
            yield from self._timed(event, event.start_time)
        yield from super()._meaning(event)
        # The conversation has grown there, and all of it is there when it is taken up. The items of one that is taken
        # up are told again before the session is ready: they are known here, and mean nothing.
        if isinstance(event, GROWTH) and self._resumes and self._ready and self._conversation:
            yield Resumable(handle=self._conversation)

    def _timed(self, event: wire.TranscriptDelta, start: float) -> Iterator[Event]:
        """Where a piece of the transcript begins, the one before it ends. Where the last one ends, its sound tells."""
        item, text, began = self._piece
        if item == event.item_id:
            yield WordTimed(
                response_id=event.response_id, item_id=item, text=text, start_ms=1000 * began, end_ms=1000 * start
            )
        self._piece = event.item_id or "", event.delta, start

    def _updated(self, session: dict[str, Any]) -> Iterator[Event]:
        for event in super()._updated(session):
            # Another conversation than the one that was asked for has begun: that one is no more.
            taken_up = bool(self._handle) and self._handle == self._conversation
            yield msgspec.structs.replace(event, resumed=taken_up) if isinstance(event, SessionReady) else event


class GrokVoice(Realtime):
    """Grok's voice: a brain that hears and speaks 24 kHz mono, or another `rate` of 8,000 to 48,000 Hz, or, with
    `audio="audio/pcmu"` or `"audio/pcma"`, 8 kHz as G.711, for telephones.

    `api_key` is taken from `XAI_API_KEY` when it is not given. `built_in` are tools that run at xAI, such as
    `{"type": "web_search"}`. `Say` makes it speak given words. A connection that is lost is taken up where it was, with
    `resumes`: xAI keeps the conversation for about half an hour.

    `truncates` says that its memory of what it said can be cut to what was heard, which is not certain: by default it
    is not told. `session` and the other options are those of `OpenAIRealtime`.
    """

    def __init__(
        self,
        model: str = "grok-voice-latest",
        *,
        api_key: str | None = None,
        instructions: str = "",
        voice: str | None = None,
        audio: AudioForm = "audio/pcm",
        rate: int = 24_000,
        turn_detection: TurnDetection = "server_vad",
        transcription: str | Mapping[str, Any] | None = "grok-transcribe",
        built_in: Sequence[Mapping[str, Any]] = (),
        resumes: bool = True,
        truncates: bool = False,
        session: Mapping[str, Any] | None = None,
        url: str = "wss://api.x.ai/v1/realtime",
        **shared: Unpack[Shared],
    ) -> None:
        if not 8_000 <= rate <= 48_000:
            raise ValueError(f"GrokVoice(rate={rate}): expected 8000 to 48000")
        where = address("GrokVoice", url, XAI, model)
        sent = XAI.authorization(found_key("GrokVoice", api_key, "XAI_API_KEY"))
        profile = msgspec.structs.replace(
            sounding("GrokVoice", PROFILE, audio, rate), supports_truncation=truncates, supports_resumption=resumes
        )
        super().__init__(
            profile=profile,
            protocol=lambda: GrokVoiceProtocol(
                url=where,
                headers=sent,
                profile=profile,
                form=audio,
                dialect=XAI,
                built_in=built_in,
                resumes=resumes,
            ),
            settings=settings(
                model,
                instructions=instructions,
                voice=voice,
                output="audio",
                turn_detection=turn_detection,
                transcription=transcription,
                session=session,
            ),
            **shared,
        )
