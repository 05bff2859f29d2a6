"""Connecting to a WebSocket server."""

from __future__ import annotations

import importlib
import ssl as tls
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ._websocket import MAX_BYTES, WebSocket, import_websockets, log
from .addresses import is_loopback_url
from .retry import retry_after_seconds
from .socket import Endpoint, Socket, SocketRefusedError

__all__ = ["dial"]

MAX_BODY_CHARACTERS = 1000
"""Characters of a refusal that errors keep."""


@asynccontextmanager
async def dial(endpoint: Endpoint) -> AsyncIterator[Socket]:
    """Open a WebSocket for the time of the block, on asyncio or trio.

    A proxy in the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) is used, except for addresses on this machine.

    Args:
        endpoint: Where to connect to.

    Raises:
        SocketRefusedError: The connection could not be opened. The message says why.
    """
    client, exceptions = import_websockets("client", "dial()")
    options: dict[str, Any] = {
        "additional_headers": dict(endpoint.headers),
        "subprotocols": list(endpoint.subprotocols) or None,
        "max_size": MAX_BYTES,
        "open_timeout": endpoint.open_seconds,
        "ping_timeout": endpoint.pong_seconds,
        "close_timeout": 1,
        "compression": None,  # it costs more than it saves on base64 of noise
        "logger": log,
    }
    if endpoint.ssl is not None:
        options["ssl"] = endpoint.ssl
    if is_loopback_url(endpoint.url):
        options["proxy"] = None  # else taken from the environment, where NO_PROXY may not name this machine
    async with AsyncExitStack() as stack:
        socket = WebSocket(await _open(stack, client.connect, endpoint, options, exceptions), exceptions)
        try:
            yield socket
        finally:
            await socket.close()


async def _open(
    stack: AsyncExitStack, connect: Any, endpoint: Endpoint, options: dict[str, Any], exceptions: Any
) -> Any:
    """Return an open connection, or raise `SocketRefusedError` for any way in which opening it fails."""
    where = repr(endpoint)
    try:
        return await stack.enter_async_context(connect(endpoint.url, **options))
    except exceptions.InvalidStatus as error:
        response = error.response
        # Secrets are hidden before the text is cut, so that no half of a key is left at the end.
        body = endpoint.hide_secrets(bytes(response.body or b"").decode("utf-8", "replace"))[:MAX_BODY_CHARACTERS]
        wait = retry_after_seconds({name.lower(): value for name, value in response.headers.raw_items()})
        raise SocketRefusedError(f"{where} answers {response.status_code}", response.status_code, body, wait) from None
    except (exceptions.InvalidHandshake, exceptions.InvalidURI) as error:  # these may quote the server's `Location`
        raise SocketRefusedError(f"{where} is not a WebSocket: {endpoint.hide_secrets(str(error))}") from None
    except TimeoutError:
        raise SocketRefusedError(f"{where} does not answer within {endpoint.open_seconds:g} s") from None
    except tls.SSLError as error:
        raise SocketRefusedError(f"{where}: {error}") from None
    except (OSError, EOFError) as error:
        raise SocketRefusedError(f"{where} cannot be reached: {error}") from None
    except importlib.import_module("trio").BrokenResourceError as error:  # trio's wrapper of an OSError or EOFError
        raise SocketRefusedError(f"{where}: {error.__cause__ or 'the connection broke'}") from None
