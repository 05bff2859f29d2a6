"""Calls to OpenAI's realtime models over WebRTC."""

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
    """Open a call over WebRTC in place of a WebSocket, for the same model::

        OpenAIRealtime(connect=dial_call)
        OpenAIRealtime(connect=partial(dial_call, ice_servers=["stun:stun.example.com:3478"]))

    Sound goes on tracks, as Opus, and everything else on a data channel. It copes with a bad network better than a
    WebSocket. The server plays the sound at the pace at which it is heard, so no `Pacer` has anything to hold back, and
    the server itself cuts its memory to what it has sent when the user interrupts.

    It needs the extras `webrtc` and `http`, and asyncio.

    Args:
        endpoint: The WebSocket's address and headers; the call's address is found from them.
        ice_servers: STUN and TURN servers, as `IceServer` or as addresses.
        video: Send pictures on a track. They do not become items of the conversation then, except an `Image` with a
            `detail`. Only one known client does this [P], so a server may not take it.

    Raises:
        SocketRefusedError: There is no call; the message says why.
        RuntimeError: The backend is not asyncio.
    """
    httpx = import_extra("httpx", "http", "dial_call()")
    import_extra("aiortc", "webrtc", "dial_call()")
    if (backend := sniffio.current_async_library()) != "asyncio":
        raise RuntimeError(f"WebRTC runs on asyncio only, as aiortc does; this is {backend}: use anyio.run(main)")
    module = importlib.import_module("._call_socket", __package__)
    servers = [IceServer(url=each) if isinstance(each, str) else each for each in ice_servers]
    # The group is entered by hand: as `async with` around a yield it would wrap what the block raises in a group.
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    socket = module.CallSocket(tasks, [(each.url, each.username, each.credential) for each in servers], video=video)
    try:
        with anyio.move_on_after(endpoint.open_seconds):
            await _call(socket, endpoint, httpx)
        if not socket.open:
            raise SocketRefusedError(f"{endpoint!r}: no connection within {endpoint.open_seconds:g} s")
        yield socket
    finally:
        await socket.close()
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)


async def _call(socket: Any, endpoint: Endpoint, httpx: Any) -> None:
    """Post an offer, take the answer, and wait until the data channel is open."""
    url, model = _call_url(endpoint.url)
    session = msgspec.json.encode({"type": "realtime", "model": model})  # session.update sends the rest
    parts = {
        "sdp": (None, await socket.offer(), "application/sdp"),
        "session": (None, session, "application/json"),
    }
    verify = {} if endpoint.ssl is None else {"verify": endpoint.ssl}
    try:
        async with httpx.AsyncClient(timeout=None, **verify) as client:
            response = await client.post(url, headers=dict(endpoint.headers), files=parts)
    except httpx.HTTPError as error:
        why = endpoint.hide_secrets(str(error)) or type(error).__name__
        raise SocketRefusedError(f"{endpoint!r} cannot be reached: {why}") from None
    if response.status_code not in (200, 201):
        raise SocketRefusedError(
            f"{endpoint!r} answers {response.status_code}",
            response.status_code,
            endpoint.hide_secrets(response.text)[:1000],
        )
    try:
        await socket.accept(response.text)
    except Exception as error:  # aiortc raises many kinds for a bad answer
        raise SocketRefusedError(f"{endpoint!r} does not answer the offer: {error}") from None
    await socket.opened.wait()


def _call_url(url: str) -> tuple[str, str]:
    """Return the address for calls, found from that of the WebSocket, and the model."""
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    model = parse_qs(parts.query).get("model", [""])[0]
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/calls", "", "")), model
