"""`rehearse`: connect a realtime model to a scripted server, to try a program without a key or a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, cast

import msgspec

from bargein.pipeline import ToolCall
from bargein.pipeline.lowlevel import CheckedFields
from bargein.services.providers.catalog import find_provider, load
from bargein.services.realtime import Realtime
from bargein.services.sockets import Endpoint, Socket

__all__ = ["STAND_INS", "Reply", "StandIn", "rehearse"]

Reply = str | Sequence[str | ToolCall]
"""The text that a model speaks, or a sequence of texts and tool calls. The next reply follows the tools' results."""
Connect = Callable[[Endpoint], AbstractAsyncContextManager[Socket]]


class StandIn(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The stand-in of one provider: a scripted server in memory."""

    peer: str
    """Path of a function that takes replies and returns an async context manager, which yields a `connect=`."""
    dialect: str = ""
    """Path of the dialect that the peer speaks; empty for a peer that speaks only one."""
    options: Mapping[str, Any] = {}
    """Arguments that the model needs to be created without a key."""

    def serve(self, *replies: Reply, hears: Sequence[str] = ()) -> AbstractAsyncContextManager[Connect]:
        """Return a context manager that runs the peer and yields a function for `connect=` of the model.

        Args:
            *replies: The replies, in order, repeated from the first after the last.
            hears: Transcripts of the user's spoken turns, in order, repeated; empty for the peer's own.
        """
        options: dict[str, object] = {"dialect": load(self.dialect)} if self.dialect else {}
        if hears:
            options["hears"] = hears
        make = cast("Callable[..., AbstractAsyncContextManager[Connect]]", load(self.peer))
        return make(*replies, **options)


async def _create_call(call: Mapping[str, Any]) -> str:
    return "wss://call.invalid"  # the stand-in's `connect` ignores the address


_OPENAI: Final = "bargein.services.testing.openai:rehearsal"
_KEY: Final = {"api_key": "any"}
STAND_INS: Final[Mapping[str, StandIn]] = {
    "OpenAI": StandIn(peer=_OPENAI, options=_KEY),
    "Azure OpenAI": StandIn(
        peer=_OPENAI,
        dialect="bargein.services.providers.azure:AZURE",
        options={**_KEY, "deployment": "gpt-realtime-2.1", "url": "https://name.openai.azure.com"},
    ),
    "Voice Live": StandIn(
        peer=_OPENAI,
        dialect="bargein.services.providers.azure:VOICE_LIVE",
        options={**_KEY, "model": "gpt-realtime-2.1", "url": "https://name.services.ai.azure.com"},
    ),
    "Gemini": StandIn(peer="bargein.services.testing.gemini:ScriptedGemini.rehearsal", options=_KEY),
    "Nova Sonic": StandIn(peer="bargein.services.testing.nova:ScriptedNova.rehearsal"),
    "Qwen Omni": StandIn(peer=_OPENAI, dialect="bargein.services.providers.qwen:QWEN", options=_KEY),
    "Ultravox": StandIn(
        peer=_OPENAI, dialect="bargein.services.providers.ultravox:ULTRAVOX", options={"create_call": _create_call}
    ),
    "xAI Grok": StandIn(peer=_OPENAI, dialect="bargein.services.providers.xai:XAI", options=_KEY),
}
"""The stand-in of each provider, by the provider's name."""


@asynccontextmanager
async def rehearse(name: str, *replies: Reply, hears: Sequence[str] = (), **options: object) -> AsyncIterator[Realtime]:
    """Create a provider's model and connect it to a stand-in, which runs in memory while the block runs.

    Args:
        name: The provider's name in the table, such as `"OpenAI"`.
        *replies: The model's replies, in order, repeated from the first after the last.
        hears: Transcripts of the user's spoken turns, in order, repeated; empty for the stand-in's own, if it has any.
        **options: Arguments of the model, such as `tools=`.

    Raises:
        ValueError: No provider has this name; the message lists all names.
    """
    provider, stand_in = find_provider(name), STAND_INS.get(name)
    if stand_in is None:
        raise ValueError(f"rehearse({name!r}): there is no stand-in; there are {', '.join(STAND_INS)}")
    async with stand_in.serve(*replies, hears=hears) as connect:
        yield provider.create(**{**stand_in.options, **options, "connect": connect})
