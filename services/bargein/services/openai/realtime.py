"""OpenAI's realtime models, over WebSocket; Azure's with the same protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args
from urllib.parse import quote

import msgspec

from .._keys import checked_key
from ..history import History
from ..realtime import Realtime, ReconnectPolicy, Settings
from ..sockets import dial
from ..tools import Tool, Toolbox
from .protocol import PROFILE, AudioForm, OpenAIProtocol

__all__ = ["OpenAIRealtime"]

TurnDetection = Literal["server_vad", "semantic_vad"] | Mapping[str, Any] | None


class OpenAIRealtime(Realtime):
    """A realtime model of OpenAI's: a brain that hears and speaks 24 kHz mono; 8 kHz with `audio="audio/pcmu"` or
    `"audio/pcma"`, which is G.711 on the wire, for telephones.

    `api_key` is taken from `OPENAI_API_KEY` when it is not given. `turn_detection` is `"server_vad"`,
    `"semantic_vad"`, either as a dictionary with its settings, or None for push to talk: then a `Commit`, or a `Turn`
    of a `Turns` above, ends the user's turn. With `output="text"` a voice of one's own can follow. `transcription` is
    the model that writes down what the user says, or a dictionary; None for none. `session` holds any other settings
    of the interface, and is merged over all of these.

    For Azure give `azure="https://name.openai.azure.com"` and the deployment as `model`; the key is then that of
    `AZURE_OPENAI_API_KEY`. `url` is any other server of the protocol. Raises `ValueError` without a key.
    """

    def __init__(
        self,
        model: str = "gpt-realtime",
        *,
        api_key: str | None = None,
        instructions: str = "",
        voice: str | None = None,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox = (),
        output: Literal["audio", "text"] = "audio",
        audio: AudioForm = "audio/pcm",
        turn_detection: TurnDetection = "server_vad",
        transcription: str | Mapping[str, Any] | None = "gpt-4o-mini-transcribe",
        session: Mapping[str, Any] | None = None,
        azure: str | None = None,
        url: str = "wss://api.openai.com/v1/realtime",
        headers: Mapping[str, str] | None = None,
        fps: float = 1.0,
        reconnect: ReconnectPolicy | None = None,
        history: History | None = None,
        connect: Any = dial,
    ) -> None:
        name = "AZURE_OPENAI_API_KEY" if azure else "OPENAI_API_KEY"
        key = api_key or os.environ.get(name, "")
        if not key:
            raise ValueError(f"OpenAIRealtime: no key; give api_key=..., or set {name}")
        checked_key("OpenAIRealtime", key, name)
        if azure:
            address = azure.replace("https://", "wss://").rstrip("/") + f"/openai/v1/realtime?model={quote(model)}"
        else:
            address = f"{url}{'&' if '?' in url else '?'}model={quote(model)}"
        sent = {"api-key": key} if azure else {"Authorization": f"Bearer {key}"}
        if audio not in get_args(AudioForm):
            raise ValueError(f"OpenAIRealtime(audio={audio!r}): expected one of {', '.join(get_args(AudioForm))}")
        profile = msgspec.structs.replace(PROFILE, provider="Azure OpenAI") if azure else PROFILE
        if audio != "audio/pcm":
            profile = msgspec.structs.replace(profile, input_rate=8000, output_rate=8000)
        settings = Settings(
            model=model,
            instructions=instructions,
            voice=voice,
            output=output,
            turn_detection={"type": turn_detection} if isinstance(turn_detection, str) else _plain(turn_detection),
            transcription={"model": transcription} if isinstance(transcription, str) else _plain(transcription),
            extra=dict(session or {}),
        )
        super().__init__(
            profile=profile,
            protocol=lambda: OpenAIProtocol(
                url=address, headers={**sent, **(headers or {})}, profile=profile, form=audio
            ),
            settings=settings,
            tools=tools,
            fps=fps,
            reconnect=reconnect,
            history=history,
            connect=connect,
        )


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)
