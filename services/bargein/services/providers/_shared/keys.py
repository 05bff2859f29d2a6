"""Keys and tokens of providers: checked before they are sent, fetched when they are needed, and never printed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable, iscoroutinefunction
from typing import Any

import anyio

from bargein.pipeline.lowlevel import Worker
from bargein.services.sockets import SocketRefusedError
from bargein.services.sockets.secrets import hide_secrets

__all__ = ["MAX_PROVIDER_TEXT", "Token", "check_key", "check_token", "clean_text", "fetch_token", "resolve"]

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that returns one. The function may be async; a plain one runs in a thread and may block."""
MAX_PROVIDER_TEXT = 300
"""Characters of a provider's message that errors repeat."""


def check_key(owner: str, key: str, source: str) -> str:
    """Return the key if it can be one.

    Args:
        owner: The class that takes the key, for errors.
        key: The key. It never appears in an error.
        source: Where the key may come from besides `api_key`, usually an environment variable; for errors.

    Raises:
        TypeError: The key is not a string.
        ValueError: The key has spaces, control characters or characters beyond ASCII.
    """
    if not isinstance(key, str):
        raise TypeError(f"{owner}: the key is of type {type(key).__name__}; expected a string")
    if not key.isascii() or (key and not key.isprintable()) or " " in key:
        raise ValueError(f"{owner}: the key has characters that no key has; look at api_key or {source}")
    return key


def check_token(owner: str, token: Token, api_key: str | None) -> Token:
    """Return the token, or the function that returns one, if it can be used.

    Raises:
        TypeError: The token is neither a string nor a function.
        ValueError: The token is empty or has impossible characters, or there is a key as well.
    """
    if api_key:
        raise ValueError(f"{owner}: both api_key and token; give the one that is to be used")
    if isinstance(token, str) and not token:
        raise ValueError(f"{owner}: the token is empty; give a token, or a function that gets one")
    if not callable(token):
        check_key(owner, token, "token")
    return token


async def fetch_token(owner: str, token: Token) -> str:
    """Return a token as a string, calling the function that returns it if it is one.

    Raises:
        SocketRefusedError: The function failed or returned no token. The driver tries again.
    """
    try:
        value = token if isinstance(token, str) else await resolve(token)
        if not isinstance(value, str) or not value:
            raise TypeError(f"it gave {type(value).__name__}, where a token was expected")
        return check_key(owner, value, "token")
    except Exception as error:
        raise SocketRefusedError(f"{owner}: no token: {type(error).__name__}: {error}") from error


async def resolve(function: Callable[[], Any]) -> Any:
    """Call a function of the application and return its result, awaited if it is awaitable.

    A function that is not async may block, so it runs in its own thread.
    """
    if iscoroutinefunction(function):
        return await function()
    worker = Worker("bargein token")
    try:
        value = await worker.call(function)
    finally:
        with anyio.CancelScope() as scope:  # tell the thread to end after the call, without waiting for it
            scope.cancel()
            await worker.close()
    return await value if isawaitable(value) else value


def clean_text(text: str, secret: str = "") -> str:
    """Return a provider's text for an error: in one line, shortened, and without the secret.

    Args:
        text: What the provider has sent.
        secret: The key, which some providers repeat.
    """
    return " ".join(hide_secrets(text, [secret]).split())[:MAX_PROVIDER_TEXT]
