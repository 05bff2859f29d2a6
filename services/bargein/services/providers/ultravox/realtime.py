"""Ultravox's models: a call by HTTP, and then a WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Unpack
from urllib.parse import quote

import msgspec

from bargein.services.providers._shared.http import Http, HttpFault
from bargein.services.providers.openai.options import Shared, found_key
from bargein.services.realtime import Realtime, Settings
from bargein.services.sockets import Endpoint, SocketRefusedError

from .protocol import PROFILE, UltravoxProtocol, call, of_agent

__all__ = ["Ultravox"]

MOST_SECONDS = 3600.0
"""How long a call may last, at most."""
ANSWER_SECONDS = 10.0
"""How long making a call may take."""
LARGEST = 2**20
"""Bytes of an answer that are read."""


class Ultravox(Realtime):
    """A model of Ultravox's: a brain that finds turns by itself, and hears and speaks mono at rates of one's choice.

    `api_key` is taken from `ULTRAVOX_API_KEY` when it is not given. `agent` makes the call for an agent that was set up
    there, which has its own model. `first` says who speaks first; the agent only does so in a conversation that has
    just begun. `seconds` is how long a call may last, an hour at most: before that, another one takes its place, in a
    pause, and is told what was said. `buffer_ms` is how far the server may send ahead of what is heard. `session` holds
    other fields of a call (`temperature`, `languageHint`, `vadSettings`, ...), and is merged over all of these.

    `join` takes the place of the key, where that is kept elsewhere: a function that is given what a call is to be made
    with, has it made, and gives its `joinUrl`.

    The needed extra is `http`. Raises `ValueError` without a key.
    """

    def __init__(
        self,
        model: str = "fixie-ai/ultravox",
        *,
        api_key: str | None = None,
        join: Callable[[dict[str, Any]], Awaitable[str]] | None = None,
        agent: str | None = None,
        instructions: str = "",
        voice: str | None = None,
        output: Literal["audio", "text"] = "audio",
        input_rate: int = 16_000,
        output_rate: int = 24_000,
        first: Literal["user", "agent"] = "user",
        seconds: float = MOST_SECONDS,
        buffer_ms: int = 30_000,
        session: Mapping[str, Any] | None = None,
        url: str = "https://api.ultravox.ai",
        **shared: Unpack[Shared],
    ) -> None:
        if not 0 < seconds <= MOST_SECONDS:
            raise ValueError(f"Ultravox(seconds={seconds:g}): expected up to {MOST_SECONDS:g}")
        if join is None:
            key = found_key("Ultravox", api_key, "ULTRAVOX_API_KEY")
            join = _Calls(url.rstrip("/"), key, agent).make
        profile = msgspec.structs.replace(
            PROFILE, input_rate=input_rate, output_rate=output_rate, max_session_seconds=seconds
        )

        async def joined() -> Endpoint:
            speaks = "user" if len(self.history) else first
            told = call(self.settings, profile=profile, buffer_ms=buffer_ms, first=speaks, seconds=seconds)
            try:
                return Endpoint(url=await join(told))
            except SocketRefusedError:
                raise
            except Exception as error:  # whatever the application's own function meets
                raise SocketRefusedError(f"no call: {type(error).__name__}: {error}") from error

        super().__init__(
            profile=profile,
            protocol=lambda: UltravoxProtocol(join=joined, profile=profile),
            settings=Settings(
                model=model,
                instructions=instructions,
                voice=voice,
                output=output,
                turn_detection={"type": "server_vad"},
                extra=dict(session or {}),
            ),
            **shared,
        )


class _Calls:
    """Where calls are made, of models or of an agent."""

    def __init__(self, url: str, key: str, agent: str | None) -> None:
        self._url = f"{url}/api/agents/{quote(agent, safe='')}/calls" if agent else f"{url}/api/calls"
        self._agent = agent
        self._key = key
        self._http = Http("Ultravox", url, first_byte_seconds=ANSWER_SECONDS, silent_seconds=ANSWER_SECONDS)

    async def make(self, told: dict[str, Any]) -> str:
        """Make a call; gives its `joinUrl`. Raises `SocketRefusedError`, which says why, when there is none."""
        query: dict[str, str] = {}
        if self._agent:
            query, told = of_agent(told)
        await self._http.open()
        try:
            async with self._http.post(self._url, headers={"X-API-Key": self._key}, params=query, json=told) as answer:
                body = await answer.whole(LARGEST)
        except HttpFault as fault:
            why = (
                f"does not answer within {fault.said} s" if fault.kind == "slow" else f"cannot be reached: {fault.said}"
            )
            raise SocketRefusedError(f"{self._url} {why}") from None
        finally:
            await self._http.close()
        if answer.status not in (200, 201):
            said = body[:1000].decode("utf-8", "replace")
            raise SocketRefusedError(f"{self._url} answers {answer.status}", answer.status, said)
        try:
            return msgspec.json.decode(body, type=_Call).join_url
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SocketRefusedError(f"{self._url} made no call that can be joined: {error}") from None


class _Call(msgspec.Struct, rename="camel"):
    join_url: str
