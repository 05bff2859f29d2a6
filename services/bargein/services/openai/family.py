"""What the constructors of all who speak a dialect of OpenAI's have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypedDict
from urllib.parse import urlencode

from .._keys import checked_key
from ..history import History
from ..realtime import ReconnectPolicy, Settings
from ..sockets import Endpoint, Socket
from ..tools import Tool, Toolbox
from .dialect import Dialect

__all__ = ["Shared", "TurnDetection", "address", "found_key", "settings"]

TurnDetection = str | Mapping[str, Any] | None


class Shared(TypedDict, total=False):
    """Options of `Realtime` that every provider takes as they are."""

    tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox
    fps: float
    reconnect: ReconnectPolicy | None
    history: History | None
    connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]]
    resume: str


def found_key(who: str, given: str | None, variable: str) -> str:
    """The key that was given, or that of an environment variable. Raises `ValueError` when there is none."""
    key = given or os.environ.get(variable, "")
    if not key:
        raise ValueError(f"{who}: no key; give api_key=..., or set {variable}")
    return checked_key(who, key, variable)


def address(endpoint: str, dialect: Dialect, model: str, **query: str) -> str:
    """Where a model is, at an endpoint such as `https://name.openai.azure.com` or the address of a server."""
    scheme, _, rest = endpoint.rpartition("://")
    secure = scheme not in ("http", "ws")
    root = rest.rstrip("/").removesuffix(dialect.path)
    return f"{'wss' if secure else 'ws'}://{root}{dialect.path}?{urlencode({**query, dialect.model: model})}"


def settings(
    model: str,
    *,
    instructions: str,
    voice: str | None,
    output: Literal["audio", "text"],
    turn_detection: TurnDetection,
    transcription: str | Mapping[str, Any] | None,
    session: Mapping[str, Any] | None,
) -> Settings:
    """The settings of a session; of turn detection and transcription a name will do."""
    return Settings(
        model=model,
        instructions=instructions,
        voice=voice,
        output=output,
        turn_detection={"type": turn_detection} if isinstance(turn_detection, str) else _plain(turn_detection),
        transcription={"model": transcription} if isinstance(transcription, str) else _plain(transcription),
        extra=dict(session or {}),
    )


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)
