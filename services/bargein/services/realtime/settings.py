"""What a session is configured with, and the options of `Realtime` that every provider passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypedDict, cast

import msgspec

from bargein.pipeline.lowlevel import CheckedFields
from bargein.services.brain import Greeting
from bargein.services.history import History
from bargein.services.sockets import Endpoint, Socket
from bargein.services.tools import Toolbox, ToolLike

from .policy import ReconnectPolicy

__all__ = ["DriverOptions", "Settings", "deep_merge", "driver_options", "named_setting"]


class Settings(msgspec.Struct, metaclass=CheckedFields, kw_only=True):
    """What a session is configured with. Each protocol translates it for its provider."""

    model: str
    """Name of the model, as the provider calls it."""
    instructions: str = ""
    """What the model should do and be."""
    voice: str | None = None
    """Name of the voice, as the provider calls it; None for the provider's default."""
    output: Literal["audio", "text"] = "audio"
    """Whether the model speaks, or only writes."""
    tools: Sequence[dict[str, Any]] = ()
    """Tools, each with `name`, `description` and `parameters` (a JSON schema)."""
    turn_detection: dict[str, Any] | None = None
    """How the provider detects turns, such as `{"type": "server_vad"}`, in its own fields; None for push to talk."""
    transcription: dict[str, Any] | None = None
    """How the user's audio is transcribed, in the provider's own fields; None for no transcription."""
    extra: dict[str, Any] = {}
    """Further fields of the provider. They replace those that the protocol writes."""

    def with_extra(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that a protocol has written, with `extra` merged over them, nested dictionaries too.

        Args:
            base: The fields that the protocol has written.
        """
        return deep_merge(base, self.extra)


class DriverOptions(TypedDict, total=False):
    """Options of `Realtime` that every provider passes on unchanged."""

    tools: Iterable[ToolLike] | Toolbox
    """Functions that the model may call."""
    fps: float
    """Pictures of a video that are sent per second, at most. Default 1."""
    reconnect: ReconnectPolicy | None
    """How lost connections are restored; None for the default policy."""
    history: History | None
    """The conversation to go on with; None for a new one."""
    connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]]
    """Opens the connection. Default `bargein.services.sockets.dial`, a WebSocket."""
    greeting: Greeting | None
    """The agent's first words: the words, or a `Say` or `Respond`; None for nothing."""
    resume: str
    """The handle of an earlier session that is to be taken up, where the provider supports it."""
    dead_air_seconds: float
    """Maximum silence while the user waits for an answer, in seconds. Default 5; infinite for no limit."""
    wait_reply: str
    """What is said while a tool keeps the user waiting, where the provider can speak then. Empty: nothing."""


def driver_options(options: Mapping[str, object]) -> DriverOptions:
    """Return the options that belong to `Realtime` itself.

    Args:
        options: Options of a provider's class.
    """
    own = DriverOptions.__optional_keys__
    return cast(DriverOptions, {name: value for name, value in options.items() if name in own})


def named_setting(option: str, value: str | Mapping[str, Any] | None, field: str = "type") -> dict[str, Any] | None:
    """Return a setting as a dictionary. The user may give it as one, or as a name alone.

    Args:
        option: Name of the option, for the error message.
        value: What the user gave: a name, a dictionary, or None.
        field: The field of the dictionary that holds the name.

    Raises:
        TypeError: The value is something else.
    """
    if isinstance(value, str):
        return {field: value}
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{option}={value!r}: expected a name, a dictionary with its {field}, or None")
    return None if value is None else dict(value)


def deep_merge(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the fields of `more` over it. Dictionaries in both are merged the same way.

    Args:
        base: The dictionary with the defaults. It is not changed.
        more: The fields that replace or extend those of `base`.
    """
    merged = dict(base)
    for key, value in more.items():
        old = merged.get(key)
        merged[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
