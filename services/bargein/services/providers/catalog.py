"""The table of realtime providers: where each model is, what it needs, and what it can do.

A provider that is added to `PROVIDERS` appears in the documentation, in `bargein doctor --models` and in the tests.
Modules are named by path and imported when they are used, so that importing this table needs no extra.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, cast

import msgspec

from bargein.pipeline.lowlevel import CheckedFields
from bargein.services.realtime import Profile, Realtime

__all__ = ["PROVIDERS", "ROWS", "Provider", "find_provider", "load", "markdown", "rows", "table"]


class Provider(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """One realtime model of the table."""

    name: str
    """The provider's name for people, in one or two words."""
    model: str
    """Path of the class, such as `bargein.services.providers.openai:OpenAIRealtime`."""
    profile: str
    """Path of its `Profile`."""
    keys: Sequence[str] = ()
    """Environment variables that can hold its key; one of them suffices. Empty if it needs more than a key."""
    needs: tuple[tuple[str, str], ...] = (("websockets", "websockets"),)
    """The modules it imports, each with the extra that installs it."""

    def create(self, **options: object) -> Realtime:
        """Return a model of this provider.

        Args:
            **options: Arguments of the class named by `model`.
        """
        return cast("Callable[..., Realtime]", load(self.model))(**options)

    @property
    def capabilities(self) -> Profile:
        """The provider's `Profile`."""
        return cast(Profile, load(self.profile))


_PACKAGE: Final = "bargein.services.providers"
PROVIDERS: Final = (
    Provider(
        name="OpenAI",
        model=f"{_PACKAGE}.openai:OpenAIRealtime",
        profile=f"{_PACKAGE}.openai:PROFILE",
        keys=("OPENAI_API_KEY",),
    ),
    Provider(
        name="Azure OpenAI",
        model=f"{_PACKAGE}.azure:AzureRealtime",
        profile=f"{_PACKAGE}.openai:PROFILE",
    ),
    Provider(
        name="Voice Live",
        model=f"{_PACKAGE}.azure:VoiceLive",
        profile=f"{_PACKAGE}.azure:PROFILE",
    ),
    Provider(
        name="Gemini",
        model=f"{_PACKAGE}.gemini:GeminiLive",
        profile=f"{_PACKAGE}.gemini:PROFILE",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    Provider(
        name="Nova Sonic",
        model=f"{_PACKAGE}.nova:NovaSonic",
        profile=f"{_PACKAGE}.nova:PROFILE",
        keys=("AWS_PROFILE", "AWS_ACCESS_KEY_ID"),
        needs=(("h2", "nova"), ("botocore", "nova")),
    ),
    Provider(
        name="Qwen Omni",
        model=f"{_PACKAGE}.qwen:QwenOmni",
        profile=f"{_PACKAGE}.qwen:PROFILE",
        keys=("DASHSCOPE_API_KEY",),
    ),
    Provider(
        name="Ultravox",
        model=f"{_PACKAGE}.ultravox:Ultravox",
        profile=f"{_PACKAGE}.ultravox:PROFILE",
        keys=("ULTRAVOX_API_KEY",),
        needs=(("websockets", "websockets"), ("httpx", "http")),
    ),
    Provider(
        name="xAI Grok",
        model=f"{_PACKAGE}.xai:GrokVoice",
        profile=f"{_PACKAGE}.xai:PROFILE",
        keys=("XAI_API_KEY",),
    ),
)
"""All realtime providers, in the order of the table."""

ROWS: Final = {
    "input_rate": "input rate, Hz",
    "output_rate": "output rate, Hz",
    "supports_images": "takes pictures and video",
    "supports_text_input": "takes typed text",
    "supports_text_output": "answers in text, for another voice",
    "turn_detection": "detects the end of a turn by",
    "supports_commit": "push to talk",
    "emits_speech_events": "reports when the user speaks",
    "sends_response_ids": "its audio names its response",
    "supports_cancel": "a response can be cancelled",
    "supports_truncation": "its memory can be cut to what was heard",
    "supports_response_requests": "a response can be requested",
    "supports_out_of_band": "out-of-band responses",
    "supports_verbatim_speech": "speaks a given text word for word",
    "supports_updates": "instructions and tools can change",
    "supports_history_seeding": "takes an earlier conversation",
    "supports_resumption": "resumes a lost session",
    "max_session_seconds": "longest connection, minutes",
}
"""The fields of a profile that the table shows, each with its title."""


def find_provider(name: str) -> Provider:
    """Return the provider of this name.

    Args:
        name: A `Provider.name`, such as `"OpenAI"`.

    Raises:
        ValueError: No provider has this name; the message lists all names.
    """
    for provider in PROVIDERS:
        if provider.name == name:
            return provider
    raise ValueError(f"there is no provider {name!r}; there are {', '.join(each.name for each in PROVIDERS)}")


def load(path: str) -> object:
    """Import a module and return one of its names.

    Args:
        path: Module and name, such as `bargein.services.providers.openai:PROFILE`. The name may have dots.
    """
    module, _, name = path.partition(":")
    found: object = attrgetter(name)(importlib.import_module(module))
    return found


def rows(profiles: Sequence[Profile]) -> list[list[str]]:
    """Return the table of these profiles, without its heading.

    Args:
        profiles: One column each.

    Returns:
        One row for each capability: its title, a value for each profile, and what to do where it is missing.
    """
    return [
        [title, *(_cell(profile, field) for profile in profiles), profiles[0].instead(field)]
        for field, title in ROWS.items()
    ]


def table() -> list[list[str]]:
    """Return the table of all providers, the heading first.

    Its last column says what to do where a provider lacks the capability.
    """
    return [
        ["", *(provider.name for provider in PROVIDERS), "where not"],
        *rows([provider.capabilities for provider in PROVIDERS]),
    ]


def markdown() -> str:
    """Return the table of all providers as Markdown."""
    heading, *body = table()
    lines = [heading, ["---"] * len(heading), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(profile: Profile, field: str) -> str:
    value = getattr(profile, field)
    if field == "max_session_seconds":
        return "no limit known" if value is None else f"{value / 60:g}"
    if field == "supports_updates" and value and profile.reconnects_to_update:
        return "yes, by a new connection"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "no" if isinstance(value, tuple) else str(value)
