"""A provider's HTTP interface: one client, whose answers are read as they come."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import anyio
import msgspec
from anyio.abc import TaskStatus

from .._need import need
from .._remote import Remote

__all__ = ["Http", "complaint"]

OPEN_SECONDS: Final = 10.0
"""How long a connection may take."""
GRACE: Final = 0.1
"""Seconds that an answer may take to end after its last words."""


class Http(Remote):
    """A client that is open while the part is, so that only the first request waits for a connection."""

    service = "OpenAI"

    def __init__(self, api_key: str | None, base_url: str, silence_seconds: float) -> None:
        super().__init__(api_key, "OPENAI_API_KEY", silence_seconds)
        self._httpx = need("httpx", "http", f"{type(self).__name__}()")
        self._base = base_url.rstrip("/")
        self._client: Any = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._secret}"}
        timeout = self._httpx.Timeout(self._silence, connect=OPEN_SECONDS)
        client = self._httpx.AsyncClient(headers=headers, timeout=timeout)
        await super().__aenter__()
        self._client = client
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            await self._client.aclose()

    @asynccontextmanager
    async def _post(self, path: str, **content: Any) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """The type of the answer, and its bytes. Raises `ConnectionError` where its status is an error.

        They are read by a task that does nothing else. httpx reads through generators within generators, which Trio
        warns of if they are left between two pieces; so nobody waits there, and what is not taken yet is kept.
        """
        give, take = anyio.create_memory_object_stream[bytes](math.inf)  # an answer is as large as what was asked for
        fault: Exception | None = None

        async def read_all(*, task_status: TaskStatus[str]) -> None:
            nonlocal fault
            with give:
                async with self._client.stream("POST", self._base + path, **content) as response:
                    if response.status_code != 200:
                        body = (await response.aread()).decode("utf-8", "replace")
                        # A refused key is repeated in part by what is said of it.
                        said = "" if response.status_code == 401 else complaint(body) or body
                        raise ConnectionError(self._refusal(response.status_code, said))
                    task_status.started(response.headers.get("content-type", ""))
                    try:
                        async for data in response.aiter_bytes():
                            give.send_nowait(data)
                    except Exception as error:
                        fault = error  # told after what came before it

        async def pieces() -> AsyncGenerator[bytes]:
            async for data in take:
                yield data
            if fault is not None:
                raise fault

        with give, take:
            async with anyio.create_task_group() as group, aclosing(pieces()) as body:
                yield await group.start(read_all), body
                with anyio.move_on_after(GRACE):  # a connection that is read to its end can be used again
                    async for _ in body:
                        pass
                group.cancel_scope.cancel()

    def _meaning(self, error: Exception) -> Exception:
        error = super()._meaning(error)
        if isinstance(error, self._httpx.ConnectError | self._httpx.ConnectTimeout):
            return ConnectionError(f"{self._base} cannot be reached: {self._clean(str(error)) or type(error).__name__}")
        if isinstance(error, self._httpx.TimeoutException):
            return self._silent()
        if isinstance(error, self._httpx.HTTPError | self._httpx.InvalidURL):
            return ConnectionError(f"{self.service} broke off in the middle: {self._clean(str(error))}")
        return error


def complaint(body: str | bytes) -> str:
    """What an error says, if it is one of the interface's."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or error or "")
