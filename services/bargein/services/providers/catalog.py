"""All realtime models in one table: what each can do, and a local stand-in for each, to try a program without a key.

A provider that is added to `PROVIDERS` is in the table, in the documents and in the tests.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from bargein.pipeline import ToolCall
from bargein.services.realtime import Profile, Realtime

__all__ = ["PROVIDERS", "Provider", "markdown", "rehearse", "table"]

Reply = str | Sequence[str | ToolCall]
"""What a model says, or the tools that it calls; the next reply is then its answer to theirs."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A realtime model. What is named by its path is imported when it is used."""

    name: str
    """What it is called, in one word or two."""
    model: str
    """Path of the class, such as `bargein.services.providers.openai:OpenAIRealtime`."""
    profile: str
    """Path of its `Profile`."""
    peer: str = ""
    """Path of its stand-in: called with replies, an async context manager that gives what to `connect` with. May be
    empty: there is none."""
    dialect: str = ""
    """Path of what the stand-in must speak, where it speaks several; it is then its option `dialect`."""
    options: dict[str, Any] = {}
    """What a model must be given to talk to a stand-in."""
    keys: Sequence[str] = ()
    """Environment variables one of which holds what it needs to be used as it is; none if it must be told more."""
    needs: tuple[tuple[str, str], ...] = (("websockets", "websockets"),)
    """Each module that it imports, and the extra that brings it."""

    def make(self, **options: Any) -> Realtime:
        """A model of it."""
        made: Realtime = _named(self.model)(**options)
        return made

    @property
    def capabilities(self) -> Profile:
        """What it can do."""
        found: Profile = _named(self.profile)
        return found


async def _joined(call: dict[str, Any]) -> str:
    """Where a call to a stand-in is joined: nowhere else than where the model connects anyway."""
    return "wss://call.invalid"


KEY: Final = {"api_key": "any"}
PROVIDERS: Final = (
    Provider(
        name="OpenAI",
        model="bargein.services.providers.openai:OpenAIRealtime",
        profile="bargein.services.providers.openai:PROFILE",
        peer="bargein.services.testing.openai:rehearsal",
        options=KEY,
        keys=("OPENAI_API_KEY",),
    ),
    Provider(
        name="Azure OpenAI",
        model="bargein.services.providers.azure:AzureRealtime",
        profile="bargein.services.providers.openai:PROFILE",
        peer="bargein.services.testing.openai:rehearsal",
        dialect="bargein.services.providers.azure:AZURE",
        options={**KEY, "deployment": "gpt-realtime", "endpoint": "https://name.openai.azure.com"},
    ),
    Provider(
        name="Voice Live",
        model="bargein.services.providers.azure:VoiceLive",
        profile="bargein.services.providers.azure:PROFILE",
        peer="bargein.services.testing.openai:rehearsal",
        dialect="bargein.services.providers.azure:VOICE_LIVE",
        options={**KEY, "model": "gpt-realtime", "endpoint": "https://name.services.ai.azure.com"},
    ),
    Provider(
        name="Gemini",
        model="bargein.services.providers.gemini:GeminiLive",
        profile="bargein.services.providers.gemini:PROFILE",
        peer="bargein.services.testing.gemini:rehearsal",
        options=KEY,
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    Provider(
        name="Nova Sonic",
        model="bargein.services.providers.nova:NovaSonic",
        profile="bargein.services.providers.nova:PROFILE",
        peer="bargein.services.testing.nova:rehearsal",
        keys=("AWS_PROFILE", "AWS_ACCESS_KEY_ID"),
        needs=(("h2", "nova"), ("botocore", "nova")),
    ),
    Provider(
        name="Qwen Omni",
        model="bargein.services.providers.qwen:QwenOmni",
        profile="bargein.services.providers.qwen:PROFILE",
        peer="bargein.services.testing.openai:rehearsal",
        dialect="bargein.services.providers.qwen:QWEN",
        options=KEY,
        keys=("DASHSCOPE_API_KEY",),
    ),
    Provider(
        name="Ultravox",
        model="bargein.services.providers.ultravox:Ultravox",
        profile="bargein.services.providers.ultravox:PROFILE",
        peer="bargein.services.testing.openai:rehearsal",
        dialect="bargein.services.providers.ultravox:SPOKEN",
        options={"join": _joined},
        keys=("ULTRAVOX_API_KEY",),
        needs=(("websockets", "websockets"), ("httpx", "http")),
    ),
    Provider(
        name="xAI Grok",
        model="bargein.services.providers.xai:GrokVoice",
        profile="bargein.services.providers.xai:PROFILE",
        peer="bargein.services.testing.openai:rehearsal",
        dialect="bargein.services.providers.xai:XAI",
        options=KEY,
        keys=("XAI_API_KEY",),
    ),
)

ROWS: Final = {
    "input_rate": "hears, Hz",
    "output_rate": "speaks, Hz",
    "supports_images": "sees pictures and video",
    "supports_text_input": "reads what is typed",
    "supports_text_output": "answers in text, for another voice",
    "turn_detection": "finds the end of a turn by",
    "supports_commit": "push to talk",
    "emits_speech_events": "tells when the user speaks",
    "sends_response_ids": "its sound names its response",
    "supports_cancel": "a response can be stopped",
    "supports_truncation": "its memory is cut to what was heard",
    "supports_response_requests": "a response can be asked for",
    "supports_out_of_band": "answers apart from the conversation",
    "supports_verbatim_speech": "says given words",
    "supports_updates": "instructions and tools can change",
    "supports_history_seeding": "can be given an earlier conversation",
    "supports_resumption": "a lost session is taken up again",
    "max_session_seconds": "a connection lasts, minutes",
}
"""Fields of a profile, and what they are called in the table."""


def rows(profiles: Sequence[Profile]) -> list[list[str]]:
    """The table of some profiles, without its heading: each row a capability, its values, and what to do without it."""
    return [
        [title, *(_told(profile, field) for profile in profiles), Profile.instead(field)]
        for field, title in ROWS.items()
    ]


def table() -> list[list[str]]:
    """Provider by capability, the heading first; the last column says what to use where one cannot do a thing."""
    profiles: list[Profile] = [provider.capabilities for provider in PROVIDERS]
    return [["", *(provider.name for provider in PROVIDERS), "where not"], *rows(profiles)]


def markdown() -> str:
    """The table for a document."""
    heading, *body = table()
    lines = [heading, ["---"] * len(heading), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@asynccontextmanager
async def rehearse(name: str, *replies: Reply, **options: Any) -> AsyncIterator[Realtime]:
    """A model of that provider, connected with a stand-in that gives these replies, in order, over and over.

    The options are the model's. Raises `ValueError` for one that has none.
    """
    provider = next((each for each in PROVIDERS if each.name == name and each.peer), None)
    if provider is None:
        names = ", ".join(each.name for each in PROVIDERS if each.peer)
        raise ValueError(f"rehearse({name!r}): there is no stand-in of that name; there are {names}")
    spoken = {"dialect": _named(provider.dialect)} if provider.dialect else {}
    async with _named(provider.peer)(*replies, **spoken) as connect:
        yield provider.make(**{**provider.options, **options, "connect": connect})


def _told(profile: Profile, field: str) -> str:
    value = getattr(profile, field)
    if field == "max_session_seconds":
        return "no limit known" if value is None else f"{value / 60:g}"
    if field == "supports_updates" and value and profile.reconnects_to_update:
        return "yes, by a new connection"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "no" if isinstance(value, tuple) else str(value)


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
