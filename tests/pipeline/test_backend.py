"""What AnyIO does not offer: hosts, and scopes that an abandoned coroutine left open."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline._backend import close_scopes, on_trio, start_host

from .kit import until


async def test_the_backend_is_known(anyio_backend_name: str) -> None:
    """It is one of two."""
    assert on_trio() is (anyio_backend_name == "trio")


async def test_a_host_is_not_a_child() -> None:
    """It runs on although the scope in which it was started is cancelled, and AnyIO works inside of it."""
    log: list[str] = []
    go = anyio.Event()

    async def host() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(go.wait)
            log.append("begun")
        log.append("ended")

    with anyio.CancelScope() as scope:
        start_host(host, "host")
        await until(lambda: log == ["begun"])
        scope.cancel()
    await anyio.lowlevel.checkpoint()
    assert log == ["begun"]
    go.set()
    await until(lambda: log == ["begun", "ended"])


async def test_scopes_left_open_are_closed() -> None:
    """Scopes are closed in order, down to the named one. The task's own scopes stay open."""
    with anyio.CancelScope() as outer:
        for _ in range(3):
            anyio.CancelScope().__enter__()
        close_scopes(outer)
        with anyio.move_on_after(0) as inner:
            await anyio.sleep_forever()
        assert inner.cancelled_caught
        outer.cancel()
        await anyio.lowlevel.checkpoint()
    assert outer.cancelled_caught


UPGRADED = (
    "has changed in this version of AnyIO or trio. `close_scopes` in bargein/pipeline/_backend.py reads it: find where "
    "the task's innermost cancel scope is kept now, change `close_scopes`, and list the versions in the docstring of "
    "its module"
)


async def test_the_private_parts_that_close_scopes_reads_are_there(anyio_backend_name: str) -> None:
    """An upgrade that moves one of them is named here, and not found in a session that does not end."""
    with anyio.CancelScope() as scope:
        await anyio.lowlevel.checkpoint()
        if anyio_backend_name == "trio":
            import trio  # noqa: PLC0415

            status = getattr(trio.lowlevel.current_task(), "_cancel_status", None)
            assert status is not None, f"trio.lowlevel.Task._cancel_status {UPGRADED}"
            inner = getattr(status, "_scope", None)
            assert isinstance(inner, trio.CancelScope), f"trio's CancelStatus._scope {UPGRADED}"
            assert getattr(scope, "_CancelScope__original", None) is inner, f"anyio.CancelScope.__original {UPGRADED}"
        else:
            import asyncio  # noqa: PLC0415

            backend = pytest.importorskip("anyio._backends._asyncio")
            states = getattr(backend, "_task_states", None)
            assert states is not None, f"anyio._backends._asyncio._task_states {UPGRADED}"
            state = states.get(asyncio.current_task())
            assert getattr(state, "cancel_scope", None) is scope, f"AnyIO's TaskState.cancel_scope {UPGRADED}"
