"""Ultravox's realtime models: a call that is created by HTTP and joined over a WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Unpack
from urllib.parse import quote

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers._shared.http import HttpClient, HttpFault
from bargein.services.providers._shared.keys import clean_text
from bargein.services.providers.openai.options import ModelOptions, find_key, model_settings
from bargein.services.realtime import Realtime, driver_options
from bargein.services.sockets import Endpoint, SocketRefusedError

from .protocol import PROFILE, UltravoxProtocol, agent_call_request, call_request

__all__ = ["Ultravox"]

MAX_CALL_SECONDS = 3600.0
"""How long a call may last, by the provider."""
CREATE_SECONDS = 10.0
"""How long the creation of a call may take."""
MAX_RESPONSE_BYTES = 2**20


class Ultravox(Realtime):
    """An Ultravox model: a brain that detects turns by itself and takes and speaks mono audio. Needs the extra `http`.

    Args:
        model: The model's name.
        create_call: Creates a call in place of the key, for applications whose key is kept elsewhere. It gets the body
            of the request and returns the `joinUrl`.
        agent: The id of an agent that is set up at Ultravox. The agent has its own model and greeting.
        input_rate: The rate of the user's audio in Hz.
        output_rate: The rate of the agent's audio in Hz.
        first_speaker: `"user"` or `"agent"`: who speaks first in a new conversation.
        max_call_seconds: How long one call may last, in seconds, up to an hour. Before that a new call takes over in a
            pause, and is told the conversation.
        buffer_ms: How far ahead of playback the server may send, in milliseconds.
        url: The address of the API.
        **options: `api_key` (by default that of `ULTRAVOX_API_KEY`), `instructions`, `voice`, `output`, `tools`,
            `history`, `reconnect`, `connect`, as for `OpenAIRealtime`. `extra` holds other fields of the request that
            creates a call (`temperature`, `languageHint`, `vadSettings`), merged over all of the above.

    Raises:
        ValueError: There is no key, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str = "fixie-ai/ultravox",
        *,
        create_call: Callable[[dict[str, Any]], Awaitable[str]] | None = None,
        agent: str | None = None,
        input_rate: int = 16_000,
        output_rate: int = 24_000,
        first_speaker: Literal["user", "agent"] = "user",
        max_call_seconds: float = MAX_CALL_SECONDS,
        buffer_ms: int = 30_000,
        url: str = "https://api.ultravox.ai",
        **options: Unpack[ModelOptions],
    ) -> None:
        if not 0 < max_call_seconds <= MAX_CALL_SECONDS:
            raise ValueError(f"Ultravox(max_call_seconds={max_call_seconds:g}): expected up to {MAX_CALL_SECONDS:g}")
        if create_call is None:
            key = find_key("Ultravox", options.get("api_key"), "ULTRAVOX_API_KEY")
            create_call = _CallApi(url.rstrip("/"), key, agent).create
        profile = msgspec.structs.replace(
            PROFILE, input_rate=input_rate, output_rate=output_rate, max_session_seconds=max_call_seconds
        )

        async def join() -> Endpoint:
            body = call_request(
                self.settings,
                profile=profile,
                buffer_ms=buffer_ms,
                first_speaker="user" if len(self.history) else first_speaker,
                max_call_seconds=max_call_seconds,
            )
            try:
                return Endpoint(url=await create_call(body))
            except SocketRefusedError:
                raise
            except Exception as error:  # the application's function can raise anything
                raise SocketRefusedError(f"no call: {type(error).__name__}: {error}") from error

        super().__init__(
            profile=profile,
            protocol=lambda: UltravoxProtocol(join=join, profile=profile),
            settings=model_settings(model, options),
            **driver_options(options),
        )


class _CallApi:
    """Creates calls of a model or of an agent by HTTP."""

    def __init__(self, url: str, key: str, agent: str | None) -> None:
        self._url = f"{url}/api/agents/{quote(agent, safe='')}/calls" if agent else f"{url}/api/calls"
        self._agent = agent
        self._key = key
        self._http = HttpClient("Ultravox", url, first_byte_seconds=CREATE_SECONDS, silence_seconds=CREATE_SECONDS)

    async def create(self, body: dict[str, Any]) -> str:
        """Create a call and return its `joinUrl`. Raises `SocketRefusedError` with the reason."""
        query: dict[str, str] = {}
        if self._agent:
            query, body = agent_call_request(body)
        headers = {"X-API-Key": self._key}
        await self._http.open()
        try:
            async with self._http.post(self._url, headers=headers, params=query, json=body) as response:
                content = await response.read(MAX_RESPONSE_BYTES)
        except HttpFault as fault:
            reason = (
                f"does not answer within {fault.detail} s"
                if fault.cause == "slow"
                else f"cannot be reached: {fault.detail}"
            )
            raise SocketRefusedError(f"{self._url} {reason}") from None
        finally:
            await self._http.close()
        if response.status not in (200, 201):
            text = clean_text(content.decode("utf-8", "replace"), self._key)
            raise SocketRefusedError(f"{self._url} answers {response.status}", response.status, text)
        try:
            return msgspec.json.decode(content, type=_CreatedCall).join_url
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SocketRefusedError(f"{self._url} returned no call that can be joined: {error}") from None


class _CreatedCall(msgspec.Struct, rename="camel"):
    join_url: str
