"""Gemini's live models: of AI Studio by a key or an ephemeral token, and of Vertex AI."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal
from uuid import uuid4

import msgspec

from bargein.services.history import History
from bargein.services.providers._shared.keys import checked_key
from bargein.services.providers._shared.tokens import Token, checked_token, token_of
from bargein.services.realtime import Realtime, ReconnectPolicy, Settings
from bargein.services.realtime.settings import named_setting
from bargein.services.sockets import Endpoint, dial
from bargein.services.tools import Tool, Toolbox

from .protocol import PROFILE, Continuity, GeminiProtocol, Scheduling

__all__ = ["GeminiLive"]

STUDIO: Final = "wss://generativelanguage.googleapis.com"
STUDIO_PATH: Final = "/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent{constrained}"
VERTEX_PATH: Final = "/ws/google.cloud.aiplatform.{version}.LlmBidiService/BidiGenerateContent"
PONG_S: Final = 60.0
"""Under load the server answers a ping only after 8 to 30 s: seen by others, and not documented."""


class GeminiLive(Realtime):
    """A live model of Google's: a brain that hears 16 kHz mono and speaks 24 kHz mono.

    Who may use it is said in one of three ways. `api_key`, which is taken from `GEMINI_API_KEY` or `GOOGLE_API_KEY`
    when nothing is given; `token`, an ephemeral token of AI Studio (`auth_tokens/…`) or a function that gets one; or,
    with `project` and `location`, a bearer token of Google Cloud for Vertex AI, best by a function, as it lasts an
    hour. The function may be async; one that is not runs in a thread, so a `google.auth` credential may refresh
    itself in it. It is called before each connection.

    `turn_detection` is `"server_vad"`, or a dictionary of that `type` with the settings of Google's
    `automaticActivityDetection` and `interrupt_response`; or None for push to talk: then a `Commit`, or a `Turn` of a
    `Turns` above, ends the user's turn. `transcription=False` leaves out the words of the user. `background` names
    tools that the model goes on talking beside, and when it speaks of their answers: `WHEN_IDLE`, `INTERRUPT`,
    `SILENT`. `compression` lets old turns go when the context is full; without it, a session ends after about 15
    minutes, and after two with video. `setup` holds any other settings of the interface, and is merged over all of
    these; its tools, such as `{"googleSearch": {}}`, stand beside yours.

    `resume` takes up a session by the `resumption` that an earlier model had. `url` is any other server of the
    protocol. Raises `ValueError` where nothing says who may use it.
    """

    def __init__(
        self,
        model: str = "gemini-2.5-flash-native-audio-preview-12-2025",
        *,
        api_key: str | None = None,
        token: Token | None = None,
        project: str | None = None,
        location: str = "us-central1",
        instructions: str = "",
        voice: str | None = None,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox = (),
        background: Mapping[str, Scheduling] | None = None,
        output: Literal["audio", "text"] = "audio",
        turn_detection: Literal["server_vad"] | Mapping[str, Any] | None = "server_vad",
        transcription: bool = True,
        compression: bool | Mapping[str, Any] = True,
        setup: Mapping[str, Any] | None = None,
        version: str | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        fps: float = 1.0,
        reconnect: ReconnectPolicy | None = None,
        history: History | None = None,
        resume: str = "",
        connect: Any = dial,
    ) -> None:
        for name, when in (background or {}).items():
            if when not in ("WHEN_IDLE", "INTERRUPT", "SILENT"):
                raise ValueError(
                    f"GeminiLive(background={{{name!r}: {when!r}}}): expected 'WHEN_IDLE', 'INTERRUPT' or 'SILENT'"
                )
        profile = PROFILE
        if turn_detection is None:  # whoever says when the user speaks can stop the model, and only they can
            profile = msgspec.structs.replace(profile, supports_cancel=True)
        if token is not None:
            checked_token("GeminiLive", token, api_key)
        if project is not None:
            profile = msgspec.structs.replace(profile, provider="Gemini on Vertex AI")
            if token is None:
                raise ValueError(
                    "GeminiLive(project=...): no token; give token=a function that returns a bearer token of Google "
                    "Cloud, such as one that refreshes google.auth's default credentials"
                )
            address: Callable[[], Endpoint | Awaitable[Endpoint]] = _vertex(
                location, token, version or "v1beta1", url, headers or {}
            )
            path = f"projects/{project}/locations/{location}/publishers/google/models/{model}"
        else:
            address = _studio(_key(api_key, token), token, version, url, headers or {})
            path = f"models/{model}"
        extra: dict[str, Any] = {}
        if compression:
            extra["contextWindowCompression"] = (
                dict(compression) if isinstance(compression, Mapping) else {"slidingWindow": {}}
            )
        settings = Settings(
            model=model if "/" in model else path,
            instructions=instructions,
            voice=voice,
            output=output,
            turn_detection=named_setting("turn_detection", turn_detection),
            transcription={} if transcription else None,
            extra={**extra, **(setup or {})},
        )
        continuity = Continuity(f"{uuid4().hex[:8]}-")
        super().__init__(
            profile=profile,
            protocol=lambda: GeminiProtocol(
                address=address,
                profile=profile,
                continuity=continuity,
                background=background,
                seeded=bool(self.history.remembered),
            ),
            settings=settings,
            tools=tools,
            fps=fps,
            reconnect=reconnect,
            history=history,
            resume=resume,
            connect=connect,
        )


def _key(api_key: str | None, token: Token | None) -> str:
    if token is not None:
        return ""
    key = api_key or os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY") or ""
    if not key:
        raise ValueError("GeminiLive: no key; give api_key=..., or set GEMINI_API_KEY or GOOGLE_API_KEY")
    return checked_key("GeminiLive", key, "GEMINI_API_KEY")


def _studio(
    key: str, token: Token | None, version: str | None, url: str | None, headers: Mapping[str, str]
) -> Callable[[], Endpoint | Awaitable[Endpoint]]:
    def address(sent: Mapping[str, str], version: str, constrained: str) -> Endpoint:
        path = STUDIO_PATH.format(version=version, constrained=constrained)
        return Endpoint(url=url or STUDIO + path, headers={**sent, **headers}, pong_seconds=PONG_S)

    async def by_token() -> Endpoint:
        assert token is not None
        found = await token_of("Gemini", token)
        return address({"Authorization": f"Token {found}"}, version or "v1alpha", "Constrained")

    if token is not None:
        return by_token
    return lambda: address({"x-goog-api-key": key}, version or "v1beta", "")


def _vertex(
    location: str, token: Token, version: str, url: str | None, headers: Mapping[str, str]
) -> Callable[[], Awaitable[Endpoint]]:
    host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"

    async def address() -> Endpoint:
        found = await token_of("Gemini on Vertex AI", token)
        return Endpoint(
            url=url or f"wss://{host}{VERTEX_PATH.format(version=version)}",
            headers={"Authorization": f"Bearer {found}", **headers},
            pong_seconds=PONG_S,
        )

    return address
