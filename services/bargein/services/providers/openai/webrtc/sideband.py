"""Beside a call that a browser has made with OpenAI: tools, transcripts and interrupts run here, the sound does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Unpack
from urllib.parse import urlencode

import msgspec

from bargein.pipeline import Inbox, Outlet
from bargein.pipeline.lowlevel import import_extra
from bargein.services.providers.openai.client.protocol import PROFILE, OpenAIProtocol
from bargein.services.providers.openai.options import Shared, found_key
from bargein.services.realtime import Message, Realtime, RealtimeError, RealtimeInput, RealtimeOutput, Settings
from bargein.services.sockets import Endpoint, Socket, SocketRefusedError, dial

from ._side_socket import SideSocket

__all__ = ["OpenAISideband", "Secret", "mint_secret"]

CALL_PROFILE = msgspec.structs.replace(
    PROFILE, supports_truncation=False, supports_commit=False, supports_history_seeding=False, turn_detection=("call",)
)
"""The server remembers the call's conversation, and cuts it by itself."""


class _Protocol(OpenAIProtocol):
    """What is said beside a call: only what is to be different from what the browser has asked for."""

    def session(self, settings: Settings) -> dict[str, Any]:
        """The session's changes."""
        session: dict[str, Any] = {"type": "realtime"}
        if settings.instructions:
            session["instructions"] = settings.instructions
        if settings.tools:
            session["tools"] = [{"type": "function", **each} for each in settings.tools]
        return {**session, **settings.extra}

    def audio(self, pcm: bytes) -> Iterator[Message]:  # type: ignore[override]
        """The user's sound goes to the server from the browser."""
        return iter(())


class OpenAISideband(Realtime):
    """A brain whose sound goes elsewhere: it attaches to the call with that id, `rtc_…`, beside the browser.

    The browser talks to the model directly, with a secret of `mint_secret`, so that the sound takes the shortest way
    and the key stays here. It tells its call's id, the last part of the `Location` that it got for its offer. Here run
    the `tools`; transcripts, text and usage come, and an `Interrupt` silences the model in the browser. `Audio` that
    comes is silence, as long as what is heard in the browser, at the same time, so that captions can run with it; and
    `history` has what was heard. Sound that is given to it goes nowhere.

    `instructions` and `session` change what the browser has asked for; the other options are those of `Realtime`. It
    ends when the call is hung up. Raises `ValueError` without a key.
    """

    def __init__(
        self,
        call: str,
        *,
        api_key: str | None = None,
        instructions: str = "",
        session: Mapping[str, Any] | None = None,
        url: str = "wss://api.openai.com/v1/realtime",
        headers: Mapping[str, str] | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        key = found_key("OpenAISideband", api_key, "OPENAI_API_KEY")
        if not call:
            raise ValueError("OpenAISideband(call=''): expected the id of a call, such as 'rtc_u0'")
        self.call = call
        """The call's id."""
        self._dial = shared.get("connect", dial)
        shared["connect"] = self._beside
        self._over = False  # the call was hung up
        where = f"{url}?{urlencode({'call_id': call})}"
        sent = {"Authorization": f"Bearer {key}", **(headers or {})}
        super().__init__(
            profile=CALL_PROFILE,
            protocol=lambda: _Protocol(url=where, headers=sent, profile=CALL_PROFILE),
            settings=Settings(
                model="", instructions=instructions, turn_detection={"type": "call"}, extra=dict(session or {})
            ),
            **shared,
        )

    @asynccontextmanager
    async def _beside(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        if self._over:
            raise SocketRefusedError("the call is over", 404)
        async with self._dial(endpoint) as socket:
            side = SideSocket(socket, self.played)
            try:
                yield side
            finally:
                self._over = side.over

    async def run(self, inbox: Inbox[RealtimeInput], out: Outlet[RealtimeOutput]) -> None:
        """Until the call is over, or nobody is there any more to hear of it."""
        try:
            await super().run(inbox, out)
        except* RealtimeError:
            if not self._over:
                raise


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A key for one browser, for a short time."""

    value: str
    """`ek_…`, which the browser shows when it posts its offer."""
    expires_at: float = 0.0
    """When it cannot begin a call any more: seconds since 1970."""
    session: Mapping[str, Any] = {}
    """The session that it begins, as the provider has completed it."""

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
    """A secret for a browser, so that it talks to the model directly and never sees the key. Needs the extra `http`.

    `session` is what the browser gets: `{"model": "gpt-realtime", "instructions": …}` and whatever else there is.
    Give a secret only to whom you would give a call. `headers` stand in place of the key's: Azure wants
    `{"api-key": …}`, at `https://….openai.azure.com/openai/v1/realtime`.

    Raises `ValueError` without a key, or for `seconds` that are not within 10 and 7200, and `ConnectionError` when the
    provider cannot be reached or refuses.
    """
    httpx = import_extra("httpx", "http", "mint_secret()")
    key = found_key("mint_secret", api_key, "OPENAI_API_KEY") if headers is None else ""
    sent = {"Authorization": f"Bearer {key}"} if headers is None else dict(headers)
    if not 10 <= seconds <= 7200:
        raise ValueError(f"mint_secret(seconds={seconds}): expected 10 to 7200")
    asked = {
        "session": {"type": "realtime", **session},
        "expires_after": {"anchor": "created_at", "seconds": seconds},
    }
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            response = await client.post(f"{url}/client_secrets", headers=sent, json=asked)
    except httpx.HTTPError as error:
        raise ConnectionError(f"OpenAI cannot be reached: {str(error) or type(error).__name__}") from None
    if response.status_code not in (200, 201):
        said = " ".join(_without(response.text, *sent.values(), key).split())[:300]
        raise ConnectionError(f"OpenAI answers {response.status_code}, and gives no secret: {said}")
    try:
        return msgspec.json.decode(response.content, type=Secret)
    except msgspec.MsgspecError as error:
        raise ConnectionError(f"OpenAI's answer is no secret: {error}") from None


def _without(text: str, *secrets: str) -> str:
    """What a server said, should it repeat a key."""
    for secret in secrets:
        text = text.replace(secret, "…") if secret else text
    return text
