"""What AnyIO has no word for: hosts, and scopes that an abandoned coroutine left open."""

from __future__ import annotations

import anyio

from bargein.pipeline._host import close_scopes, on_trio, start_host

from .kit import until


async def test_the_backend_is_known(anyio_backend_name: str) -> None:
    """It is one of two."""
    assert on_trio() is (anyio_backend_name == "trio")


async def test_a_host_is_nobodys_child() -> None:
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
    """In order, down to the one that is named; the task's own go on working."""
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
