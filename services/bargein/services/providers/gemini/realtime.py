"""Google's Gemini Live models, of AI Studio by a key or an ephemeral token, and of Vertex AI."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, Unpack
from uuid import uuid4

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers._shared.keys import Token, check_key, check_token, fetch_token
from bargein.services.realtime import DriverOptions, Profile, Realtime, Settings
from bargein.services.realtime.settings import named_setting
from bargein.services.sockets import Endpoint

from ._turns import Continuity
from .protocol import PROFILE, GeminiProtocol, Scheduling

__all__ = ["GeminiLive"]

STUDIO: Final = "wss://generativelanguage.googleapis.com"
STUDIO_PATH: Final = "/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent{constrained}"
VERTEX_PATH: Final = "/ws/google.cloud.aiplatform.{version}.LlmBidiService/BidiGenerateContent"
PONG_SECONDS: Final = 60.0
"""How long an answer to a ping may take. Under load the server needs 8 to 30 s; other projects have observed this."""
SCHEDULINGS: Final = ("WHEN_IDLE", "INTERRUPT", "SILENT")

GetAddress = Callable[[], Endpoint | Awaitable[Endpoint]]


class GeminiLive(Realtime):
    """A Gemini Live model: a brain that takes 16 kHz mono audio and speaks 24 kHz mono.

    Access works in one of three ways: `api_key` for AI Studio, `token` for AI Studio (an ephemeral token), or
    `token` together with `project` for Vertex AI (a bearer token of Google Cloud).

    Args:
        model: The model's name.
        api_key: A key of AI Studio; by default that of `GEMINI_API_KEY` or `GOOGLE_API_KEY`.
        token: A token, or a function that returns one and is called before each connection. The function may be async.
            A plain function runs in a thread, so that it may refresh `google.auth` credentials.
        project: The Google Cloud project; selects Vertex AI.
        location: The region on Vertex AI, or `"global"`.
        instructions: The system instructions.
        voice: The name of the voice; None for the server's default.
        background: Names of tools that the model does not wait for, each with when it speaks about the result:
            `"WHEN_IDLE"`, `"INTERRUPT"` or `"SILENT"`.
        output: `"audio"`, or `"text"` for models that answer in text.
        turn_detection: `"server_vad"`; a dictionary of that `type` with the settings of `automaticActivityDetection`
            and `interrupt_response`; or None for push to talk, where a `Commit` or a `Turn` ends the user's turn.
        transcription: Whether the user's words are transcribed.
        compression: Whether old turns are dropped when the context is full, or the settings of
            `contextWindowCompression`. Without it a session ends after about 15 minutes, with video after two.
        extra: Other fields of the setup message, merged over all of the above. Its `tools`, such as
            `[{"googleSearch": {}}]`, are added to yours.
        api_version: The version of the API; None for the newest that supports what is used.
        url: The full address of another server of the protocol.
        headers: Other HTTP headers for the connection.
        **options: The options of every model, see `DriverOptions`: `tools`, `fps`, `reconnect`, `history`, `greeting`,
            `resume`, `connect`.

    Raises:
        ValueError: There is no key or token, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str = "gemini-3.8-live",
        *,
        api_key: str | None = None,
        token: Token | None = None,
        project: str | None = None,
        location: str = "us-central1",
        instructions: str = "",
        voice: str | None = None,
        background: Mapping[str, Scheduling] | None = None,
        output: Literal["audio", "text"] = "audio",
        turn_detection: Literal["server_vad"] | Mapping[str, Any] | None = "server_vad",
        transcription: bool = True,
        compression: bool | Mapping[str, Any] = True,
        extra: Mapping[str, Any] | None = None,
        api_version: str | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[DriverOptions],
    ) -> None:
        _check_arguments(background or {}, token, api_key)
        profile = _profile(on_vertex=project is not None, manual=turn_detection is None)
        if project is not None:
            path = f"projects/{project}/locations/{location}/publishers/google/models/"
            address = _vertex_address(location, token, api_version, url, headers or {})
        else:
            path = "models/"
            address = _studio_address(_find_key(api_key, token), token, api_version, url, headers or {})
        ids = Continuity(uuid4().hex[:8] + "-")
        super().__init__(
            profile=profile,
            protocol=lambda: GeminiProtocol(
                address=address,
                profile=profile,
                continuity=ids,
                background=background,
                seeded=bool(self.history.remembered),
            ),
            settings=Settings(
                model=model if "/" in model else path + model,
                instructions=instructions,
                voice=voice,
                output=output,
                turn_detection=named_setting("turn_detection", turn_detection),
                transcription={} if transcription else None,
                extra=_compression(compression) | dict(extra or {}),
            ),
            **options,
        )


def _profile(*, on_vertex: bool, manual: bool) -> Profile:
    profile = PROFILE
    if manual:  # only a client that marks the user's turns can stop a response, by beginning one
        profile = msgspec.structs.replace(profile, supports_cancel=True)
    return msgspec.structs.replace(profile, provider="Gemini on Vertex AI") if on_vertex else profile


def _compression(compression: bool | Mapping[str, Any]) -> dict[str, Any]:
    if not compression:
        return {}
    return {
        "contextWindowCompression": dict(compression) if isinstance(compression, Mapping) else {"slidingWindow": {}}
    }


def _check_arguments(background: Mapping[str, str], token: Token | None, api_key: str | None) -> None:
    for name, scheduling in background.items():
        if scheduling not in SCHEDULINGS:
            expected = "'WHEN_IDLE', 'INTERRUPT' or 'SILENT'"
            raise ValueError(f"GeminiLive(background={{{name!r}: {scheduling!r}}}): expected {expected}")
    if token is not None:
        check_token("GeminiLive", token, api_key)


def _find_key(api_key: str | None, token: Token | None) -> str:
    if token is not None:
        return ""
    key = api_key or os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY") or ""
    if not key:
        raise ValueError("GeminiLive: no key; give api_key=..., or set GEMINI_API_KEY or GOOGLE_API_KEY")
    return check_key("GeminiLive", key, "GEMINI_API_KEY")


def _studio_address(
    key: str, token: Token | None, api_version: str | None, url: str | None, headers: Mapping[str, str]
) -> GetAddress:
    def endpoint(credentials: Mapping[str, str], version: str, constrained: str) -> Endpoint:
        path = STUDIO_PATH.format(version=version, constrained=constrained)
        return Endpoint(url=url or STUDIO + path, headers={**credentials, **headers}, pong_seconds=PONG_SECONDS)

    if token is None:
        return lambda: endpoint({"x-goog-api-key": key}, api_version or "v1beta", "")

    async def with_token() -> Endpoint:
        value = await fetch_token("Gemini", token)
        return endpoint({"Authorization": f"Token {value}"}, api_version or "v1alpha", "Constrained")

    return with_token


def _vertex_address(
    location: str, token: Token | None, api_version: str | None, url: str | None, headers: Mapping[str, str]
) -> GetAddress:
    if token is None:
        raise ValueError(
            "GeminiLive(project=...): no token; give token=a function that returns a bearer token of Google Cloud, "
            "such as one that refreshes google.auth's default credentials"
        )
    host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"

    async def address() -> Endpoint:
        value = await fetch_token("Gemini on Vertex AI", token)
        return Endpoint(
            url=url or f"wss://{host}{VERTEX_PATH.format(version=api_version or 'v1beta1')}",
            headers={"Authorization": f"Bearer {value}", **headers},
            pong_seconds=PONG_SECONDS,
        )

    return address
