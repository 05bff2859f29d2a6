"""OpenAI's realtime models, over WebSocket or WebRTC, and other servers that speak the same protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers.openai.dialect import GA, Dialect
from bargein.services.providers.openai.options import (
    OpenAIOptions,
    endpoint_url,
    find_key,
    model_settings,
    with_audio_format,
)
from bargein.services.realtime import Realtime, driver_options

from .protocol import PROFILE, AudioForm, OpenAIProtocol

__all__ = ["OpenAIRealtime"]


class OpenAIRealtime(Realtime):
    """A realtime model of OpenAI: a brain that hears and speaks 24 kHz mono, or G.711 at 8 kHz for telephones.

    Args:
        model: The model's name.
        audio: The format of sound on the wire, both ways: `"audio/pcm"` (24 kHz), `"audio/pcmu"` or `"audio/pcma"`
            (G.711, 8 kHz).
        url: The server's address. Any server of the protocol will do.
        headers: HTTP headers that are sent besides the key.
        dialect: How the server differs from OpenAI's protocol of today; `BETA` for servers that speak the protocol
            of before 2025. Azure has its own classes in `bargein.services.providers.azure`.
        options: Those of `OpenAIOptions`:

            * `api_key`: the key; by default that of the environment variable `OPENAI_API_KEY`;
            * `instructions`: the description of the model's task;
            * `voice`: the name of the voice;
            * `output`: `"audio"` (the default), or `"text"`, so that another voice can follow;
            * `turn_detection`: `"server_vad"` (the default), `"semantic_vad"`, a dictionary with the settings of
              either, or None for push to talk, where a `Commit` frame or a `Turns` processor above ends the turn;
            * `transcription`: the model that transcribes the user (default `"gpt-live-transcribe"`), a dictionary
              with its settings, or None for no transcripts;
            * `extra`: other fields of the session, merged over all of these;
            * `tools`, `fps`, `reconnect`, `history`, `connect`, `resume`: as in `Realtime`. `connect=dial_call` talks
              over WebRTC in place of a WebSocket.

    Raises:
        ValueError: There is no key, or an option has a value that the model does not support.
        TypeError: There is no such option.
    """

    @check_options
    def __init__(
        self,
        model: str = "gpt-realtime-2.1",
        *,
        audio: AudioForm = "audio/pcm",
        url: str = "wss://api.openai.com/v1/realtime",
        headers: Mapping[str, str] | None = None,
        dialect: Dialect = GA,
        **options: Unpack[OpenAIOptions],
    ) -> None:
        key = find_key("OpenAIRealtime", options.get("api_key"), "OPENAI_API_KEY")
        profile = with_audio_format("OpenAIRealtime", PROFILE, audio)
        address = endpoint_url("OpenAIRealtime", url, dialect, model)
        sent = {**dialect.authorization(key), **(headers or {})}
        super().__init__(
            profile=profile,
            protocol=lambda: OpenAIProtocol(url=address, headers=sent, profile=profile, form=audio, dialect=dialect),
            settings=model_settings(model, options, transcription="gpt-live-transcribe"),
            **driver_options(options),
        )
