"""Tokens that do not last: asked for anew before each connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable, iscoroutinefunction
from typing import Any

import anyio

from bargein.pipeline.lowlevel import Worker
from bargein.services.sockets import SocketRefusedError

from .keys import checked_key

__all__ = ["Token", "asked", "checked_token", "token_of"]

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that gives one. One that is not async may block: it runs in a thread of its own."""


def checked_token(who: str, source: Token, api_key: str | None) -> Token:
    """A token, or what gives one. Raises `ValueError` for what cannot be one, and where there is a key as well."""
    if api_key:
        raise ValueError(f"{who}: both api_key and token; give the one that is to be used")
    if isinstance(source, str) and not source:
        raise ValueError(f"{who}: the token is empty; give a token, or a function that gets one")
    if not callable(source):
        checked_key(who, source, "token")
    return source


async def token_of(who: str, source: Token) -> str:
    """The token. Raises `SocketRefusedError` where there is none to be had: it may be had at the next attempt."""
    try:
        found = source if isinstance(source, str) else await asked(source)
        if not isinstance(found, str) or not found:
            raise TypeError(f"it gave {type(found).__name__}, where a token was expected")
        return checked_key(who, found, "token")
    except Exception as error:
        raise SocketRefusedError(f"{who}: no token: {type(error).__name__}: {error}") from error


async def asked(source: Callable[[], Any]) -> Any:
    """What a function gives. One that is not async may block: it runs in a thread of its own."""
    if iscoroutinefunction(source):
        return await source()
    worker = Worker("bargein token")
    try:
        value = await worker.call(source)
    finally:
        with anyio.CancelScope() as scope:  # tell the thread to end after the call, and do not wait for that
            scope.cancel()
            await worker.close()
    return await value if isawaitable(value) else value
