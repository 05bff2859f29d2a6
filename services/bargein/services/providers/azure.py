"""Azure's realtime models: those of OpenAI that it serves, in both dialects, and Voice Live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Unpack

import msgspec

from bargein.services.realtime import Message, Realtime, Settings
from bargein.services.realtime.settings import named_setting

from ._shared.tokens import Token, checked_token
from .openai.client.protocol import PROFILE as OPENAI
from .openai.client.protocol import AudioForm, OpenAIProtocol
from .openai.dialect import BETA, GA, Dialect, Move
from .openai.options import Shared, TurnDetection, address, at_endpoint, found_key, settings, sounding

__all__ = ["AZURE", "AZURE_BETA", "PROFILE", "VOICE_LIVE", "AzureRealtime", "VoiceLive", "VoiceLiveProtocol"]

replace = msgspec.structs.replace

AZURE: Final = replace(GA, path="/openai/v1/realtime", key_header="api-key")
"""Azure OpenAI as it is: OpenAI's own words at an address of Azure's."""
AZURE_BETA: Final = replace(BETA, path="/openai/realtime", model="deployment", key_header="api-key")
"""Azure OpenAI as it was, by `api-version`."""
VOICE_LIVE: Final = replace(
    BETA,
    path="/voice-live/realtime",
    key_header="api-key",
    session=(*BETA.session, Move("audio.input.format.rate", "input_audio_sampling_rate")),
    # It was seen to say both `conversation.item.created` and `conversation.item.done`.
    events={name: here for name, here in BETA.events.items() if here},
    # Both by the vendor's typed package, and the metadata come back in a recorded session.
    metadata=True,
    names_cancelled=True,
)
"""Voice Live: the beta, and settings of its own."""

PROFILE: Final = replace(
    OPENAI,
    provider="Azure Voice Live",
    supports_images=False,
    turn_detection=(
        "server_vad",
        "azure_semantic_vad",
        "azure_semantic_vad_en",
        "azure_semantic_vad_multilingual",
    ),
    supports_out_of_band=False,
    supports_verbatim_speech=True,
)
"""What Voice Live can do. How long a session may last is what its `expires_at` says."""
WRITTEN: Final = "pre_generated_assistant_message"
"""Under this name of a response's stands what is to be said, by the vendor's typed package."""
BETA_VERSION: Final = "2024-10-01-preview"
VOICE_LIVE_VERSION: Final = "2026-04-10"
"""Earlier ones are 2025-05-01-preview and 2025-10-01."""


class AzureRealtime(Realtime):
    """A realtime model of OpenAI's that Azure serves: `AzureRealtime("deployment", "https://name.openai.azure.com")`.

    `api_key` is taken from `AZURE_OPENAI_API_KEY` when it is not given; `token` takes its place: a bearer token of
    Entra's, or a function that gets one for each connection, such as `azure.identity`'s `get_bearer_token_provider`.
    `api_version` chooses the dialect of before, which preview deployments still speak. `transcription` is the name of
    a *deployment*: where there is none, each turn is answered, and yet gives a `Failure`, so by default there is none.
    The other options are those of `OpenAIRealtime`.
    """

    def __init__(
        self,
        deployment: str,
        endpoint: str,
        *,
        api_key: str | None = None,
        token: Token | None = None,
        api_version: str | None = None,
        instructions: str = "",
        voice: str | None = None,
        output: Literal["audio", "text"] = "audio",
        audio: AudioForm = "audio/pcm",
        turn_detection: TurnDetection = "server_vad",
        transcription: str | Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        dialect = AZURE_BETA if api_version else AZURE
        version = {"api-version": api_version} if api_version else {}
        where = address("AzureRealtime", at_endpoint(endpoint, dialect), dialect, deployment, **version)
        sent = _authorization("AzureRealtime", dialect, api_key, "AZURE_OPENAI_API_KEY", token)
        profile = sounding("AzureRealtime", replace(OPENAI, provider="Azure OpenAI"), audio)
        if api_version:  # pictures, and answers apart, came later
            profile = replace(
                profile, supports_images=False, supports_out_of_band=False, turn_detection=("server_vad",)
            )
        super().__init__(
            profile=profile,
            protocol=lambda: OpenAIProtocol(
                url=where, headers=sent, profile=profile, form=audio, dialect=dialect, token=token
            ),
            settings=settings(
                deployment,
                instructions=instructions,
                voice=voice,
                output=output,
                turn_detection=turn_detection,
                transcription=transcription,
                session=session,
            ),
            **shared,
        )


class VoiceLiveProtocol(OpenAIProtocol):
    """One connection's protocol: a voice is an object, and its kind is told by its name."""

    def session(self, settings: Settings) -> dict[str, Any]:
        """The session object of some settings."""
        voice = settings.voice
        if voice is not None:
            # Azure's own are named by their language: `en-US-AvaNeural`; OpenAI's by one word.
            kind = "azure-standard" if is_azure_voice(voice) else "openai"
            own = {"voice": {"type": kind, "name": voice}}
            settings = replace(settings, voice=None, extra={**own, **settings.extra})
        return super().session(settings)

    def say(self, text: str, *, protected: bool = False) -> Iterator[Message]:
        """Say these words, without the model: a response whose message is there already."""
        message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
        yield self._ask({WRITTEN: message})


def is_azure_voice(voice: str) -> bool:
    """A voice is Azure's own, and not one of OpenAI's."""
    return "-" in voice


class VoiceLive(Realtime):
    """Azure's Voice Live: `VoiceLive("gpt-realtime", "https://name.services.ai.azure.com", voice="en-US-AvaNeural")`.

    `api_key` is taken from `AZURE_VOICELIVE_API_KEY` when it is not given; `token` takes its place, as with
    `AzureRealtime`. `voice` is one of OpenAI's or of Azure's; one of another kind stands in `session`, as an object.
    `turn_detection` may be `"azure_semantic_vad"`, or a dictionary with its settings. `rate` is what it hears, 24 or 16
    kHz. `noise_reduction` and `echo_cancellation` are done at the server; None for neither.

    `word_timestamps` asks for the time of each word, which makes what was heard exact, and comes as `Timing`; None is
    for where the voice is Azure's, which has them. `auto_truncate` lets the server cut its memory by itself when it is
    interrupted: it assumes that all was played as it was sent, in real time. By default it is told what was heard.
    """

    def __init__(
        self,
        model: str,
        endpoint: str,
        *,
        api_key: str | None = None,
        token: Token | None = None,
        instructions: str = "",
        voice: str | None = None,
        output: Literal["audio", "text"] = "audio",
        rate: Literal[16_000, 24_000] = 24_000,
        turn_detection: TurnDetection = "azure_semantic_vad",
        transcription: str | Mapping[str, Any] | None = "azure-speech",
        noise_reduction: str | None = None,
        echo_cancellation: str | None = None,
        word_timestamps: bool | None = None,
        auto_truncate: bool = False,
        api_version: str = VOICE_LIVE_VERSION,
        session: Mapping[str, Any] | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        if rate not in (16_000, 24_000):
            raise ValueError(f"VoiceLive(rate={rate}): expected 16000 or 24000")
        where = address(
            "VoiceLive", at_endpoint(endpoint, VOICE_LIVE), VOICE_LIVE, model, **{"api-version": api_version}
        )
        sent = _authorization("VoiceLive", VOICE_LIVE, api_key, "AZURE_VOICELIVE_API_KEY", token)
        profile = replace(PROFILE, input_rate=rate, supports_truncation=not auto_truncate)
        own: dict[str, Any] = {}
        if noise_reduction is not None:
            own["input_audio_noise_reduction"] = {"type": noise_reduction}
        if echo_cancellation is not None:
            own["input_audio_echo_cancellation"] = {"type": echo_cancellation}
        if word_timestamps or (word_timestamps is None and voice is not None and is_azure_voice(voice)):
            own["output_audio_timestamp_types"] = ["word"]
        turns = named_setting("turn_detection", turn_detection)
        if auto_truncate:
            if turns is None:
                raise ValueError("VoiceLive(auto_truncate=True): it needs a turn_detection, which is what interrupts")
            turns = {**turns, "auto_truncate": True}
        super().__init__(
            profile=profile,
            protocol=lambda: VoiceLiveProtocol(
                url=where, headers=sent, profile=profile, dialect=VOICE_LIVE, token=token
            ),
            settings=settings(
                model,
                instructions=instructions,
                voice=voice,
                output=output,
                turn_detection=turns,
                transcription=transcription,
                session={**own, **(session or {})},
            ),
            **shared,
        )


def _authorization(
    who: str, dialect: Dialect, api_key: str | None, variable: str, token: Token | None
) -> dict[str, str]:
    """The headers that say who asks; none where a token is to be had for each connection."""
    if token is None:
        return dialect.authorization(found_key(who, api_key, variable))
    checked_token(who, token, api_key)
    return {}
