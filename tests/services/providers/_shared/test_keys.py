"""Tokens: from a function of any kind, and never in the way of the loop."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from bargein.services.providers._shared.keys import check_token, fetch_token
from bargein.services.sockets import SocketRefusedError


async def test_as_it_stands_or_by_a_function() -> None:
    """Async, or one that gives something to await, or one that blocks: that runs in another thread."""
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
async def test_what_is_no_token(given: object) -> None:
    """The value is refused, so that it is requested again. It is not printed."""
    with pytest.raises(SocketRefusedError, match="X: no token: ") as refused:
        await fetch_token("X", lambda: given)  # type: ignore[arg-type, return-value]
    assert "two words" not in str(refused.value)


async def test_what_it_raises_is_the_reason() -> None:
    """With its class."""

    def fails() -> str:
        raise KeyError("credentials")

    with pytest.raises(SocketRefusedError, match="X: no token: KeyError: 'credentials'"):
        await fetch_token("X", fails)


def test_what_cannot_be_is_refused_at_once() -> None:
    """A token that is none would be refused with each attempt; and of a key and a token, one is not meant."""
    with pytest.raises(ValueError, match="the token is empty"):
        check_token("X", "", None)
    with pytest.raises(ValueError, match="characters that no key has"):
        check_token("X", "s3cret\n", None)
    with pytest.raises(TypeError, match="of type int; expected a string"):
        check_token("X", 5, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="both api_key and token"):
        check_token("X", "token", "key")
    assert check_token("X", "token", None) == "token"
