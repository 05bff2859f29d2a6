"""Azure's realtime models: OpenAI's models on Azure, in both dialects, and Azure Voice Live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, Unpack

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers._shared.keys import Token, check_token
from bargein.services.providers.openai.client.protocol import PROFILE as OPENAI
from bargein.services.providers.openai.client.protocol import AudioForm, OpenAIProtocol
from bargein.services.providers.openai.dialect import BETA, GA, Dialect, Move
from bargein.services.providers.openai.options import (
    OpenAIOptions,
    endpoint_url,
    find_key,
    model_settings,
    with_audio_format,
    with_path,
)
from bargein.services.realtime import Message, Realtime, Settings, driver_options
from bargein.services.realtime.settings import named_setting

__all__ = [
    "AZURE",
    "AZURE_BETA",
    "BETA_VERSION",
    "PROFILE",
    "VOICE_LIVE",
    "AzureRealtime",
    "VoiceLive",
    "VoiceLiveProtocol",
]

replace = msgspec.structs.replace

AZURE: Final = replace(GA, path="/openai/v1/realtime", key_header="api-key")
"""The dialect of Azure OpenAI: OpenAI's GA dialect at an address of Azure."""
AZURE_BETA: Final = replace(BETA, path="/openai/realtime", model="deployment", key_header="api-key")
"""The dialect of Azure OpenAI with an `api-version`: OpenAI's beta dialect."""
VOICE_LIVE: Final = replace(
    BETA,
    path="/voice-live/realtime",
    key_header="api-key",
    session=(*BETA.session, Move("audio.input.format.rate", "input_audio_sampling_rate")),
    # Recordings show both `conversation.item.created` and `conversation.item.done`.
    events={name: here for name, here in BETA.events.items() if here},
    # Both are in the vendor's typed package, and a recorded session shows metadata coming back.
    metadata=True,
    names_cancelled=True,
)
"""The dialect of Voice Live: OpenAI's beta dialect with further settings."""

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
    answers_during_tool_calls=False,  # not known to work
)
"""What Voice Live can do. The server says in `expires_at` how long a session may last."""
VERBATIM_FIELD: Final = "pre_generated_assistant_message"
"""The field of a response that holds a text to speak word for word, by the vendor's typed package."""
BETA_VERSION: Final = "2024-10-01-preview"
"""An `api_version` of Azure OpenAI that speaks the beta dialect."""
VOICE_LIVE_VERSION: Final = "2026-04-10"
"""The default `api_version` of Voice Live. Earlier ones are 2025-05-01-preview and 2025-10-01."""


class AzureRealtime(Realtime):
    """A realtime model of OpenAI on Azure: a brain that takes and speaks 24 kHz mono audio.

    Example::

        AzureRealtime("deployment", "https://name.openai.azure.com")

    Args:
        deployment: The name of the deployment.
        url: The address of the Azure resource.
        token: A bearer token of Entra in place of the key, or a function that returns one and is called for each
            connection, such as `azure.identity`'s `get_bearer_token_provider(...)`.
        api_version: The `api-version` of a preview deployment, which speaks the beta dialect; None for the GA dialect.
        audio: The audio format on the wire: `"audio/pcm"`, or `"audio/pcmu"` or `"audio/pcma"` (G.711 at 8 kHz).
        **options: The options of `OpenAIRealtime`. The key is by default that of `AZURE_OPENAI_API_KEY`.
            `transcription` names a *deployment* and is None by default: a deployment that does not exist causes a
            `Failure` in each turn.

    Raises:
        ValueError: There is no key or token, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        deployment: str,
        url: str,
        *,
        token: Token | None = None,
        api_version: str | None = None,
        audio: AudioForm = "audio/pcm",
        **options: Unpack[OpenAIOptions],
    ) -> None:
        dialect = AZURE_BETA if api_version else AZURE
        version = {"api-version": api_version} if api_version else {}
        address = endpoint_url("AzureRealtime", with_path(url, dialect), dialect, deployment, **version)
        headers = _authorization("AzureRealtime", dialect, options.get("api_key"), "AZURE_OPENAI_API_KEY", token)
        profile = with_audio_format("AzureRealtime", replace(OPENAI, provider="Azure OpenAI"), audio)
        if api_version:  # the beta has neither pictures nor out-of-band responses
            profile = replace(
                profile, supports_images=False, supports_out_of_band=False, turn_detection=("server_vad",)
            )
        super().__init__(
            profile=profile,
            protocol=lambda: OpenAIProtocol(
                url=address, headers=headers, profile=profile, form=audio, dialect=dialect, token=token
            ),
            settings=model_settings(deployment, options),
            **driver_options(options),
        )


class VoiceLiveProtocol(OpenAIProtocol):
    """The protocol of one connection to Voice Live. A voice is an object whose type follows from its name."""

    def session(self, settings: Settings) -> dict[str, Any]:
        """Return the session object of some settings."""
        voice = settings.voice
        if voice is not None:
            kind = "azure-standard" if is_azure_voice(voice) else "openai"
            settings = replace(settings, voice=None, extra={"voice": {"type": kind, "name": voice}, **settings.extra})
        return super().session(settings)

    def say(self, text: str, *, protected: bool = False) -> Iterator[Message]:
        """Speak a text word for word: request a response whose message is already written."""
        message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
        yield self._ask({VERBATIM_FIELD: message})


def is_azure_voice(voice: str) -> bool:
    """Return whether a voice is Azure's own. Those begin with a language, as in `en-US-AvaNeural`; OpenAI's do not."""
    return "-" in voice


class VoiceLive(Realtime):
    """Azure Voice Live: a brain that takes 24 or 16 kHz mono audio and speaks 24 kHz mono.

    Example::

        VoiceLive("gpt-realtime-2.1", "https://name.services.ai.azure.com", voice="en-US-AvaNeural")

    Args:
        model: The model's name.
        url: The address of the Azure resource.
        token: A bearer token of Entra in place of the key, or a function that returns one, as with `AzureRealtime`.
        input_rate: The rate of the user's audio in Hz, 24000 or 16000.
        noise_reduction: The server's noise reduction, such as `"azure_deep_noise_suppression"`; None for none.
        echo_cancellation: The server's echo cancellation, such as `"server_echo_cancellation"`; None for none.
        word_timestamps: Whether the server sends the time of each word, which arrives as `Timing` and makes the record
            of what was heard exact; None to ask for them if the voice is Azure's, which has them.
        auto_truncate: Whether the server cuts its memory by itself when it is interrupted. It then assumes that all
            audio was played in real time as it was sent. By default it gets the position up to which the user has heard
            it.
        api_version: The `api-version` of the interface.
        **options: The options of `OpenAIRealtime`. The key is by default that of `AZURE_VOICELIVE_API_KEY`,
            `turn_detection` `"azure_semantic_vad"`, and `transcription` `"azure-speech"`. `voice` is a voice of OpenAI
            or of Azure; voices of another type are objects in `extra`.

    Raises:
        ValueError: There is no key or token, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str,
        url: str,
        *,
        token: Token | None = None,
        input_rate: Literal[16_000, 24_000] = 24_000,
        noise_reduction: str | None = None,
        echo_cancellation: str | None = None,
        word_timestamps: bool | None = None,
        auto_truncate: bool = False,
        api_version: str = VOICE_LIVE_VERSION,
        **options: Unpack[OpenAIOptions],
    ) -> None:
        if input_rate not in (16_000, 24_000):
            raise ValueError(f"VoiceLive(input_rate={input_rate}): expected 16000 or 24000")
        address = endpoint_url(
            "VoiceLive", with_path(url, VOICE_LIVE), VOICE_LIVE, model, **{"api-version": api_version}
        )
        headers = _authorization("VoiceLive", VOICE_LIVE, options.get("api_key"), "AZURE_VOICELIVE_API_KEY", token)
        profile = replace(PROFILE, input_rate=input_rate, supports_truncation=not auto_truncate)
        fields: dict[str, Any] = {}
        if noise_reduction is not None:
            fields["input_audio_noise_reduction"] = {"type": noise_reduction}
        if echo_cancellation is not None:
            fields["input_audio_echo_cancellation"] = {"type": echo_cancellation}
        if word_timestamps or (word_timestamps is None and is_azure_voice(options.get("voice") or "")):
            fields["output_audio_timestamp_types"] = ["word"]
        turn_detection = named_setting("turn_detection", options.get("turn_detection", "azure_semantic_vad"))
        if auto_truncate:
            if turn_detection is None:
                raise ValueError("VoiceLive(auto_truncate=True): it needs a turn_detection, which is what interrupts")
            options["turn_detection"] = {**turn_detection, "auto_truncate": True}
        super().__init__(
            profile=profile,
            protocol=lambda: VoiceLiveProtocol(
                url=address, headers=headers, profile=profile, dialect=VOICE_LIVE, token=token
            ),
            settings=model_settings(
                model,
                options,
                turn_detection="azure_semantic_vad",
                transcription="azure-speech",
                extra=fields,
            ),
            **driver_options(options),
        )


def _authorization(
    owner: str, dialect: Dialect, api_key: str | None, variable: str, token: Token | None
) -> dict[str, str]:
    """Return the headers with the key; none if a token is fetched for each connection."""
    if token is None:
        return dialect.authorization(find_key(owner, api_key, variable))
    check_token(owner, token, api_key)
    return {}
