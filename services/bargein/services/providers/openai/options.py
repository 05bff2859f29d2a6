"""Options that constructors of realtime models share, and how they become settings, addresses and profiles.

`OpenAIRealtime`, `AzureRealtime`, `VoiceLive`, `QwenOmni`, `GrokVoice` and `Ultravox` take the same options by the same
names. They are written down once, as `TypedDict`s for `Unpack`, so that an editor completes them for each class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from bargein.services.providers._shared.keys import check_key
from bargein.services.realtime import DriverOptions, Profile, Settings
from bargein.services.realtime.settings import named_setting

from .client.protocol import AudioForm
from .dialect import Dialect

__all__ = [
    "ModelOptions",
    "OpenAIOptions",
    "TurnDetection",
    "endpoint_url",
    "find_key",
    "model_settings",
    "with_audio_format",
    "with_path",
]

TurnDetection = str | Mapping[str, Any] | None
"""A kind of turn detection, a dictionary of its settings with the kind as `type`, or None for push to talk."""


class ModelOptions(DriverOptions, total=False):
    """Options that the constructors of all providers' models have."""

    api_key: str | None
    """The provider's key; None for that of the provider's environment variable."""
    instructions: str
    """The description of the model's task (the system prompt). Default empty."""
    voice: str | None
    """The name of the voice; None for the provider's default."""
    output: Literal["audio", "text"]
    """What the model answers with. Default `"audio"`; with `"text"` another voice can follow."""
    extra: Mapping[str, Any] | None
    """Other settings, in the provider's own words, merged over all that other options say."""


class OpenAIOptions(ModelOptions, total=False):
    """Options that the constructors of all models of OpenAI's family have."""

    turn_detection: TurnDetection
    """How the provider finds the end of the user's turn; None for push to talk. Default `"server_vad"`."""
    transcription: str | Mapping[str, Any] | None
    """The model that transcribes the user, or a dictionary with it as `model`; None for no transcripts."""


def model_settings(
    model: str,
    options: OpenAIOptions | ModelOptions,
    *,
    voice: str | None = None,
    turn_detection: TurnDetection = "server_vad",
    transcription: str | Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings of a session.

    Args:
        model: The model's name.
        options: What the user gave to the constructor.
        voice: The voice where the options do not name one.
        turn_detection: The turn detection where the options do not say.
        transcription: The transcription where the options do not say.
        extra: Settings of the constructor's own. `options["extra"]` is merged over them.

    Raises:
        TypeError: Turn detection or transcription is neither a name, a dictionary nor None.
    """
    chosen = cast(OpenAIOptions, options)
    return Settings(
        model=model,
        instructions=chosen.get("instructions", ""),
        voice=chosen.get("voice", voice),
        output=chosen.get("output", "audio"),
        turn_detection=named_setting("turn_detection", chosen.get("turn_detection", turn_detection)),
        transcription=named_setting("transcription", chosen.get("transcription", transcription), "model"),
        extra={**(extra or {}), **(chosen.get("extra") or {})},
    )


def find_key(owner: str, api_key: str | None, variable: str) -> str:
    """Return the key that was given, or that of an environment variable.

    Args:
        owner: The class or function that needs the key, for the error.
        api_key: The key that the user gave, if any.
        variable: The environment variable that may hold the key.

    Raises:
        ValueError: There is no key, or it has characters that keys do not have.
    """
    key = api_key or os.environ.get(variable, "")
    if not key:
        raise ValueError(f"{owner}: there is no API key; give api_key=..., or set {variable}")
    return check_key(owner, key, variable)


def endpoint_url(owner: str, url: str, dialect: Dialect, model: str, **query: str) -> str:
    """Return the address of a model on a server: `url` as a WebSocket URL with the model in its query.

    Args:
        owner: The class that connects, for the error.
        url: The server's address. `https` becomes `wss`, `http` becomes `ws`; without a scheme it is `wss`.
        dialect: Names the parameter that holds the model.
        model: The model's name.
        query: More parameters.

    Raises:
        ValueError: `url` is not an address.
    """
    parts = urlsplit(url if "://" in url else f"wss://{url}")
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    if scheme not in ("wss", "ws") or not parts.hostname:
        raise ValueError(f"{owner}(url={url!r}): this is not an address; expected one such as wss://host{dialect.path}")
    added = urlencode({**query, dialect.model: model}, quote_via=quote)
    return urlunsplit((scheme, parts.netloc, parts.path, "&".join(filter(None, (parts.query, added))), ""))


def with_path(url: str, dialect: Dialect) -> str:
    """Return a server's address, such as `https://name.openai.azure.com`, with the path of the dialect at its end.

    Args:
        url: The server's address, with or without the path.
        dialect: The dialect of the server.
    """
    return url.rstrip("/").removesuffix(dialect.path) + dialect.path


def with_audio_format(owner: str, profile: Profile, audio: AudioForm, rate: int | None = None) -> Profile:
    """Return the profile of a model with an audio format on the wire.

    Args:
        owner: The class that connects, for the error.
        profile: The model's profile with its usual format.
        audio: The format. G.711 (`"audio/pcmu"`, `"audio/pcma"`) is 8 kHz.
        rate: Samples per second (Hz) of `"audio/pcm"`; None for that of the profile.

    Raises:
        ValueError: `audio` is not a format of the protocol.
    """
    if audio not in get_args(AudioForm):
        raise ValueError(f"{owner}(audio={audio!r}): expected one of {', '.join(get_args(AudioForm))}")
    rate = rate if audio == "audio/pcm" else 8_000
    return msgspec.structs.replace(profile, input_rate=rate, output_rate=rate) if rate is not None else profile
