"""The sideband of a browser's call with OpenAI: tools, transcripts and interrupts run here, sound does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Unpack
from urllib.parse import urlencode

import msgspec

from bargein.pipeline import Inbox, Outlet
from bargein.pipeline.lowlevel import check_options, import_extra
from bargein.services.providers.openai.client.protocol import PROFILE, OpenAIProtocol
from bargein.services.providers.openai.options import (
    ModelOptions,
    find_key,
    model_settings,
)
from bargein.services.realtime import (
    Message,
    Realtime,
    RealtimeError,
    RealtimeInput,
    RealtimeOutput,
    Settings,
    driver_options,
)
from bargein.services.sockets import Endpoint, Socket, SocketRefusedError, dial
from bargein.services.sockets.secrets import hide_secrets

from ._side_socket import SideSocket

__all__ = ["OpenAISideband", "Secret", "mint_secret"]

CALL_PROFILE = msgspec.structs.replace(
    PROFILE, supports_truncation=False, supports_commit=False, supports_history_seeding=False, turn_detection=("call",)
)
"""What can be done beside a call: the server keeps and truncates the call's conversation by itself."""


class _SidebandProtocol(OpenAIProtocol):
    """The protocol beside a call: it sends only settings that differ from those that the browser has asked for."""

    def session(self, settings: Settings) -> dict[str, Any]:
        """Return the settings that are to change."""
        session: dict[str, Any] = {"type": "realtime"}
        if settings.instructions:
            session["instructions"] = settings.instructions
        if settings.tools:
            session["tools"] = [{"type": "function", **each} for each in settings.tools]
        return {**session, **settings.extra}

    def audio(self, pcm: bytes) -> Iterator[Message]:  # type: ignore[override]
        """Send nothing: the browser sends the user's sound."""
        return iter(())


class OpenAISideband(Realtime):
    """A brain beside a browser's call: it attaches to the call by its id, and the sound stays in the browser.

    The browser talks to the model directly, with a secret of `mint_secret`: the sound takes the shortest way, and the
    key stays on the server. The browser reports its call's id, the last part of the `Location` header that answered its
    offer. Tools run here; transcripts, text and usage come here, and an `Interrupt` silences the model in the browser.

    The `Audio` that it sends is silence of the same length, and at the same time, as the sound in the browser, so that
    captions can follow it; `history` keeps what was heard. Sound that is sent to it is dropped. It ends when the call
    is hung up.

    Args:
        call_id: The call's id: `rtc_...`.
        url: The server's address.
        headers: HTTP headers that are sent besides the key.
        options: `api_key` (by default that of `OPENAI_API_KEY`), `instructions` and `extra` change what the browser has
            asked for; `tools`, `reconnect`, `history` and `connect` are those of `Realtime`.

    Raises:
        ValueError: There is no key, or no call id.
        TypeError: There is no such option.
    """

    @check_options
    def __init__(
        self,
        call_id: str,
        *,
        url: str = "wss://api.openai.com/v1/realtime",
        headers: Mapping[str, str] | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        key = find_key("OpenAISideband", options.get("api_key"), "OPENAI_API_KEY")
        if not call_id:
            raise ValueError("OpenAISideband(call_id=''): expected the id of a call, such as 'rtc_u0'")
        self.call_id = call_id
        """The call's id."""
        driver = driver_options(options)
        self._dial = driver.get("connect", dial)
        driver["connect"] = self._attach
        self._over = False  # the call was hung up
        where = f"{url}?{urlencode({'call_id': call_id})}"
        sent = {"Authorization": f"Bearer {key}", **(headers or {})}
        super().__init__(
            profile=CALL_PROFILE,
            protocol=lambda: _SidebandProtocol(url=where, headers=sent, profile=CALL_PROFILE),
            settings=model_settings("", options, turn_detection="call"),
            **driver,
        )

    @asynccontextmanager
    async def _attach(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        if self._over:
            raise SocketRefusedError("the call is over", 404)
        async with self._dial(endpoint) as socket:
            side = SideSocket(socket, self.played)
            try:
                yield side
            finally:
                self._over = side.over

    async def run(self, inbox: Inbox[RealtimeInput], out: Outlet[RealtimeOutput]) -> None:
        """Run until the call is over or the graph ends."""
        try:
            await super().run(inbox, out)
        except* RealtimeError:
            if not self._over:
                raise


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A key for one browser, valid for a short time."""

    value: str
    """The key, `ek_...`, which the browser sends with its offer."""
    expires_at: float = 0.0
    """When it stops being valid for new calls, in seconds since 1970."""
    session: Mapping[str, Any] = {}
    """The session that a call begins with, as the provider has completed it."""

    def __repr__(self) -> str:
        return f"Secret(expires_at={self.expires_at:.0f})"  # never the value


async def mint_secret(
    session: Mapping[str, Any],
    *,
    seconds: int = 600,
    api_key: str | None = None,
    url: str = "https://api.openai.com/v1/realtime",
    headers: Mapping[str, str] | None = None,
) -> Secret:
    """Make a secret for a browser, so that it talks to the model directly and never sees the key.

    A secret starts a call at your expense, so give it only to users who may call. It needs the extra
    `http`.

    Args:
        session: What the call begins with: `{"model": "gpt-realtime-2.1", "instructions": "..."}` and other fields of a
            session.
        seconds: How long the secret is valid, 10 to 7200 seconds.
        api_key: The key; None for that of the environment variable `OPENAI_API_KEY`.
        url: The server's address; Azure's is `https://NAME.openai.azure.com/openai/v1/realtime`.
        headers: HTTP headers in place of the key's; Azure wants `{"api-key": "..."}`.

    Raises:
        ValueError: There is no key, or `seconds` is out of range.
        ConnectionError: The provider cannot be reached or refuses.
    """
    httpx = import_extra("httpx", "http", "mint_secret()")
    key = find_key("mint_secret", api_key, "OPENAI_API_KEY") if headers is None else ""
    sent = {"Authorization": f"Bearer {key}"} if headers is None else dict(headers)
    if not 10 <= seconds <= 7200:
        raise ValueError(f"mint_secret(seconds={seconds}): expected 10 to 7200")
    request = {
        "session": {"type": "realtime", **session},
        "expires_after": {"anchor": "created_at", "seconds": seconds},
    }
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            response = await client.post(f"{url}/client_secrets", headers=sent, json=request)
    except httpx.HTTPError as error:
        raise ConnectionError(f"OpenAI cannot be reached: {str(error) or type(error).__name__}") from None
    if response.status_code not in (200, 201):
        message = " ".join(hide_secrets(response.text, [*sent.values(), key]).split())[:300]
        raise ConnectionError(f"OpenAI answers {response.status_code}, and sends no secret: {message}")
    try:
        return msgspec.json.decode(response.content, type=Secret)
    except msgspec.MsgspecError as error:
        raise ConnectionError(f"OpenAI's answer is not a secret: {error}") from None
