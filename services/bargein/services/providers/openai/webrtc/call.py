"""Calls to OpenAI's realtime models: over WebRTC from here, or beside a call that a browser has made."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import anyio
import msgspec
import sniffio

from bargein.pipeline.lowlevel import import_extra
from bargein.services.media.ice import IceServer
from bargein.services.sockets import Endpoint, Socket, SocketRefusedError

__all__ = ["dial_call"]


@asynccontextmanager
async def dial_call(
    endpoint: Endpoint, *, ice_servers: Sequence[IceServer | str] = (), video: bool = False
) -> AsyncIterator[Socket]:
    """A call over WebRTC in place of a WebSocket, for the same driver::

        OpenAIRealtime(connect=dial_call)
        OpenAIRealtime(connect=partial(dial_call, ice_servers=["stun:stun.example.com:3478"]))

    The sound goes on tracks, as Opus, and everything else on a data channel. It bears a bad network better than a
    WebSocket. The server plays, as fast as the sound is heard: so no `Pacer` has anything to hold back, and when the
    user interrupts, the server cuts its memory to what it has sent.

    With `video`, pictures are shown on a track and are not kept as items of the conversation, but for an `Image` with
    a `detail`. [P] That a server takes such a track is told by one client only.

    Extras `webrtc` and `http`. Raises `SocketRefusedError`, which says why, when no call comes about, and
    `RuntimeError` on another backend than asyncio.
    """
    httpx = import_extra("httpx", "http", "dial_call()")
    import_extra("aiortc", "webrtc", "dial_call()")
    if (backend := sniffio.current_async_library()) != "asyncio":
        raise RuntimeError(f"WebRTC runs on asyncio only, as aiortc does; this is {backend}: use anyio.run(main)")
    library = importlib.import_module("._call_socket", __package__)
    servers = [IceServer(url=each) if isinstance(each, str) else each for each in ice_servers]
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    socket = library.CallSocket(tasks, [(each.url, each.username, each.credential) for each in servers], video=video)
    try:
        with anyio.move_on_after(endpoint.open_seconds):
            await _call(socket, endpoint, httpx)
        if not socket.open:
            raise SocketRefusedError(f"{endpoint!r}: no connection within {endpoint.open_seconds:g} s")
        yield socket
    finally:
        await socket.close()
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)  # what is raised passes as it is, and not in a group


async def _call(socket: Any, endpoint: Endpoint, httpx: Any) -> None:
    """Post an offer, take the answer, and wait for the channel."""
    url, model = _address(endpoint.url)
    session = msgspec.json.encode({"type": "realtime", "model": model})  # the driver tells the rest
    parts = {
        "sdp": (None, await socket.offer(), "application/sdp"),
        "session": (None, session, "application/json"),
    }
    verify = {} if endpoint.ssl is None else {"verify": endpoint.ssl}
    try:
        async with httpx.AsyncClient(timeout=None, **verify) as client:
            response = await client.post(url, headers=dict(endpoint.headers), files=parts)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise SocketRefusedError(f"{endpoint!r} cannot be reached: {why}") from None
    if response.status_code not in (200, 201):
        said = response.text[:1000]
        raise SocketRefusedError(f"{endpoint!r} answers {response.status_code}", response.status_code, said)
    try:
        await socket.accept(response.text)
    except Exception as error:  # aiortc, of what is no answer
        raise SocketRefusedError(f"{endpoint!r} gives no answer to the offer: {error}") from None
    await socket.opened.wait()


def _address(url: str) -> tuple[str, str]:
    """Where calls are made, at the address of a WebSocket; and the model."""
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    model = parse_qs(parts.query).get("model", [""])[0]
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/calls", "", "")), model
