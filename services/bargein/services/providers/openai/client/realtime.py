"""OpenAI's realtime models, over WebSocket, and whatever else speaks their protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack

from bargein.services.providers.openai.dialect import GA, Dialect
from bargein.services.providers.openai.options import Shared, TurnDetection, address, found_key, settings, sounding
from bargein.services.realtime import Realtime

from .protocol import PROFILE, AudioForm, OpenAIProtocol

__all__ = ["OpenAIRealtime"]


class OpenAIRealtime(Realtime):
    """A realtime model of OpenAI's: a brain that hears and speaks 24 kHz mono; 8 kHz with `audio="audio/pcmu"` or
    `"audio/pcma"`, which is G.711 on the wire, for telephones.

    `api_key` is taken from `OPENAI_API_KEY` when it is not given. `turn_detection` is `"server_vad"`,
    `"semantic_vad"`, either as a dictionary with its settings, or None for push to talk: then a `Commit`, or a `Turn`
    of a `Turns` above, ends the user's turn. With `output="text"` a voice of one's own can follow. `transcription` is
    the model that writes down what the user says, or a dictionary; None for none. `session` holds any other settings
    of the interface, and is merged over all of these. The other options are those of `Realtime`.

    `connect=dial_call` talks over WebRTC in place of a WebSocket. `url` is any other server of the protocol, and
    `dialect=BETA` for one that still speaks as OpenAI did before; Azure is in `bargein.services.providers.azure`. Raises
    `ValueError` without a key.
    """

    def __init__(
        self,
        model: str = "gpt-realtime",
        *,
        api_key: str | None = None,
        instructions: str = "",
        voice: str | None = None,
        output: Literal["audio", "text"] = "audio",
        audio: AudioForm = "audio/pcm",
        turn_detection: TurnDetection = "server_vad",
        transcription: str | Mapping[str, Any] | None = "gpt-4o-mini-transcribe",
        session: Mapping[str, Any] | None = None,
        url: str = "wss://api.openai.com/v1/realtime",
        headers: Mapping[str, str] | None = None,
        dialect: Dialect = GA,
        **shared: Unpack[Shared],
    ) -> None:
        key = found_key("OpenAIRealtime", api_key, "OPENAI_API_KEY")
        profile = sounding("OpenAIRealtime", PROFILE, audio)
        where, sent = address("OpenAIRealtime", url, dialect, model), dialect.authorization(key)
        super().__init__(
            profile=profile,
            protocol=lambda: OpenAIProtocol(
                url=where, headers={**sent, **(headers or {})}, profile=profile, form=audio, dialect=dialect
            ),
            settings=settings(
                model,
                instructions=instructions,
                voice=voice,
                output=output,
                turn_detection=turn_detection,
                transcription=transcription,
                session=session,
            ),
            **shared,
        )
