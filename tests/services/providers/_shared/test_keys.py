"""Tokens: from a value or any kind of function, without blocking the event loop."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from bargein.services.providers._shared.keys import check_token, fetch_token
from bargein.services.sockets import SocketRefusedError


async def test_token_from_a_value_or_a_function() -> None:
    """The function may be async, return an awaitable, or block: then it runs in a thread."""
    threads: list[threading.Thread] = []

    async def later() -> str:
        await anyio.lowlevel.checkpoint()
        return "later"

    def blocking() -> str:
        threads.append(threading.current_thread())
        return "blocking"

    assert await fetch_token("X", "fixed") == "fixed"
    assert await fetch_token("X", later) == "later"
    assert await fetch_token("X", lambda: later()) == "later"
    assert await fetch_token("X", blocking) == "blocking"
    assert threads != [threading.current_thread()]


@pytest.mark.parametrize("given", ["", "two words", "über", 7, None])
async def test_malformed_token_is_refused(given: object) -> None:
    """It is requested again later, and not printed."""
    with pytest.raises(SocketRefusedError, match="X: no token: ") as refused:
        await fetch_token("X", lambda: given)  # type: ignore[arg-type, return-value]
    assert "two words" not in str(refused.value)


async def test_exception_of_the_function_is_the_reason() -> None:
    """With its class."""

    def fails() -> str:
        raise KeyError("credentials")

    with pytest.raises(SocketRefusedError, match="X: no token: KeyError: 'credentials'"):
        await fetch_token("X", fails)


def test_impossible_options_are_refused_at_once() -> None:
    """An empty token, or a key together with a token."""
    with pytest.raises(ValueError, match="the token is empty"):
        check_token("X", "", None)
    with pytest.raises(ValueError, match="characters that no key has"):
        check_token("X", "s3cret\n", None)
    with pytest.raises(TypeError, match="of type int; expected a string"):
        check_token("X", 5, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="both api_key and token"):
        check_token("X", "token", "key")
    assert check_token("X", "token", None) == "token"
