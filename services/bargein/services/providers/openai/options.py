"""What the constructors of all who speak a dialect of OpenAI's have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from bargein.services.history import History
from bargein.services.providers._shared.keys import checked_key
from bargein.services.realtime import Profile, ReconnectPolicy, Settings
from bargein.services.realtime.settings import named_setting
from bargein.services.sockets import Endpoint, Socket
from bargein.services.tools import Tool, Toolbox

from .client.protocol import AudioForm
from .dialect import Dialect

__all__ = ["Shared", "TurnDetection", "address", "at_endpoint", "found_key", "settings", "sounding"]

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


def address(who: str, url: str, dialect: Dialect, model: str, **query: str) -> str:
    """Where a model is, at the address of a server. Raises `ValueError` for what is none."""
    parts = urlsplit(url if "://" in url else f"wss://{url}")
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    if scheme not in ("wss", "ws") or not parts.hostname:
        raise ValueError(f"{who}: {url!r} is no address; expected one such as wss://host{dialect.path}")
    told = urlencode({**query, dialect.model: model}, quote_via=quote)
    return urlunsplit((scheme, parts.netloc, parts.path, "&".join(filter(None, (parts.query, told))), ""))


def at_endpoint(endpoint: str, dialect: Dialect) -> str:
    """The address of a server at an endpoint such as `https://name.openai.azure.com`."""
    return endpoint.rstrip("/").removesuffix(dialect.path) + dialect.path


def sounding(who: str, profile: Profile, form: AudioForm, rate: int | None = None) -> Profile:
    """The profile of a model whose sound has a form: G.711 has 8 kHz. Raises `ValueError` for a form that is none."""
    if form not in get_args(AudioForm):
        raise ValueError(f"{who}(audio={form!r}): expected one of {', '.join(get_args(AudioForm))}")
    rate = rate if form == "audio/pcm" else 8_000
    return msgspec.structs.replace(profile, input_rate=rate, output_rate=rate) if rate is not None else profile


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
        turn_detection=named_setting("turn_detection", turn_detection),
        transcription=named_setting("transcription", transcription, "model"),
        extra=dict(session or {}),
    )
