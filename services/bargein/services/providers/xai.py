"""Grok's voice models by xAI: OpenAI's GA dialect with a few differences, resumption, and verbatim speech."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Unpack
from urllib.parse import urlencode

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.client.protocol import PROFILE as OPENAI
from bargein.services.providers.openai.client.protocol import AudioForm, OpenAIProtocol
from bargein.services.providers.openai.dialect import Dialect, Move
from bargein.services.providers.openai.options import (
    OpenAIOptions,
    endpoint_url,
    find_key,
    model_settings,
    with_audio_format,
)
from bargein.services.realtime import (
    Event,
    Message,
    Profile,
    Realtime,
    Resumable,
    SessionReady,
    Settings,
    WordTimed,
    driver_options,
)

__all__ = ["PROFILE", "XAI", "GrokVoice", "GrokVoiceProtocol"]

XAI: Final = Dialect(
    session=(Move("audio.output.voice", "voice"), Move("audio.input.turn_detection", "turn_detection")),
    lacks=frozenset({"type", "output_modalities"}),
    events={"conversation.item.done": ""},
    metadata=False,
)
"""The dialect of xAI's realtime API."""
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
    answers_during_tool_calls=False,  # not known to work
)
"""What Grok's voice can do. The server keeps a conversation for about half an hour; connections have no known limit."""
CONVERSATION: Final = "conversation_id"
"""The query parameter that resumes a conversation."""
GROWTH: Final = wire.SessionUpdated | wire.Committed | wire.ItemAdded | wire.TranscriptDelta | wire.ResponseDone
"""Events with which a conversation grows."""


class GrokVoiceProtocol(OpenAIProtocol):
    """The protocol of one connection.

    Args:
        url: Address of the WebSocket.
        headers: Headers of its HTTP request, among them the key.
        profile: What the provider can do. Default: what xAI's model can do.
        form: Encoding of the sound in both directions. Default 16-bit PCM.
        server_tools: Tools that run at xAI.
        supports_resumption: Whether the server is asked to keep the conversation.
    """

    @check_options
    def __init__(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        profile: Profile = PROFILE,
        form: AudioForm = "audio/pcm",
        server_tools: Sequence[Mapping[str, Any]] = (),
        supports_resumption: bool = True,
    ) -> None:
        super().__init__(url=url, headers=headers, profile=profile, form=form, dialect=XAI)
        self._server_tools = [dict(tool) for tool in server_tools]
        self._resumption = supports_resumption
        self._conversation = self._handle = ""
        self._piece = "", "", 0.0  # the latest piece of a transcript: its item, its text, and its start in seconds

    def resume(self, handle: str) -> None:
        """Resume a conversation by its id. Call it before the session opens."""
        self._conversation = self._handle = handle
        self._endpoint = msgspec.structs.replace(
            self._endpoint, url=f"{self._endpoint.url}&{urlencode({CONVERSATION: handle})}"
        )

    def session(self, settings: Settings) -> dict[str, Any]:
        """Return the session object of some settings."""
        session = super().session(settings)
        session["tools"] = [*session["tools"], *self._server_tools]
        if self._resumption:
            session.setdefault("resumption", {"enabled": True})
        return session

    def say(self, text: str, *, protected: bool = False) -> Iterator[Message]:
        """Speak a text word for word. The server begins the response by itself."""
        part = wire.WirePart(type="output_text", text=text)
        item = wire.WireItem(type="force_message", role="assistant", content=[part])
        item.interruptible = False if protected else None  # by the vendor's pages
        yield self._create(item)

    def _meaning(self, event: wire.ServerEvent) -> Iterator[Event]:
        if isinstance(event, wire.ConversationCreated):
            self._conversation = str(event.conversation.get("id") or "")
        if isinstance(event, wire.TranscriptDelta) and event.start_time is not None:
            yield from self._time_words(event, event.start_time)
        yield from super()._meaning(event)
        # The conversation has grown at the server, and resuming it replays all of it. When a conversation is resumed,
        # its items are repeated before the session is ready; they are known here, so they are not reported.
        if isinstance(event, GROWTH) and self._resumption and self._ready and self._conversation:
            yield Resumable(handle=self._conversation)

    def _time_words(self, event: wire.TranscriptDelta, start: float) -> Iterator[Event]:
        """Time the piece before this one: it ends where this one begins. The audio shows where the last one ends."""
        item, text, previous_start = self._piece
        if item == event.item_id:
            yield WordTimed(
                response_id=event.response_id,
                item_id=item,
                text=text,
                start_ms=1000 * previous_start,
                end_ms=1000 * start,
            )
        self._piece = event.item_id or "", event.delta, start

    def _updated(self, session: dict[str, Any]) -> Iterator[Event]:
        for event in super()._updated(session):
            # A server that no longer has the conversation begins another one.
            resumed = bool(self._handle) and self._handle == self._conversation
            yield msgspec.structs.replace(event, resumed=resumed) if isinstance(event, SessionReady) else event


class GrokVoice(Realtime):
    """Grok's voice: a brain that takes and speaks 24 kHz mono audio, other rates, or G.711 for telephones.

    Args:
        model: The model's name.
        audio: The audio format on the wire: `"audio/pcm"`, or `"audio/pcmu"` or `"audio/pcma"` (G.711 at 8 kHz).
        rate: The sample rate of `"audio/pcm"` in both directions, 8,000 to 48,000 Hz.
        server_tools: Tools that run at xAI, such as `{"type": "web_search"}`.
        supports_resumption: Whether a lost connection is resumed. The server keeps a conversation for about half an
            hour.
        supports_truncation: Whether the server gets the position up to which the user has heard a reply, and cuts its
            memory there. It is not certain that every model takes this, so it is off by default.
        url: The address of the server.
        **options: The options of `OpenAIRealtime`. The key is by default that of `XAI_API_KEY`, and `transcription` is
            `"grok-transcribe"`. `output` must be `"audio"`.

    Raises:
        ValueError: There is no key, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str = "grok-voice-latest",
        *,
        audio: AudioForm = "audio/pcm",
        rate: int = 24_000,
        server_tools: Sequence[Mapping[str, Any]] = (),
        supports_resumption: bool = True,
        supports_truncation: bool = False,
        url: str = "wss://api.x.ai/v1/realtime",
        **options: Unpack[OpenAIOptions],
    ) -> None:
        if not 8_000 <= rate <= 48_000:
            raise ValueError(f"GrokVoice(rate={rate}): expected 8000 to 48000")
        address = endpoint_url("GrokVoice", url, XAI, model)
        headers = XAI.authorization(find_key("GrokVoice", options.get("api_key"), "XAI_API_KEY"))
        profile = msgspec.structs.replace(
            with_audio_format("GrokVoice", PROFILE, audio, rate),
            supports_truncation=supports_truncation,
            supports_resumption=supports_resumption,
        )
        super().__init__(
            profile=profile,
            protocol=lambda: GrokVoiceProtocol(
                url=address,
                headers=headers,
                profile=profile,
                form=audio,
                server_tools=server_tools,
                supports_resumption=supports_resumption,
            ),
            settings=model_settings(model, options, transcription="grok-transcribe"),
            **driver_options(options),
        )
