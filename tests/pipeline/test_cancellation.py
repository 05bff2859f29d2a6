"""Letting go of a coroutine that will not be cancelled."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from bargein.pipeline._cancellation import MAX_AWAITS_AFTER_CANCEL, CancellationIgnored, run_cancellable


async def test_run_cancellable_is_transparent() -> None:
    """Values, exceptions and waits pass through."""

    async def work(value: int) -> int:
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        if value < 0:
            raise ValueError(value)
        return value

    with anyio.CancelScope() as scope:
        assert await run_cancellable(work(3), scope, lambda: False) == 3
        with pytest.raises(ValueError, match="-1"):
            await run_cancellable(work(-1), scope, lambda: False)


async def test_a_clean_up_is_let_finish() -> None:
    """Being cancelled leaves time for some more awaits."""
    cleaned: list[bool] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(MAX_AWAITS_AFTER_CANCEL // 2):
                    await anyio.lowlevel.checkpoint()
            cleaned.append(True)

    with anyio.move_on_after(0) as scope:
        await run_cancellable(work(), scope, lambda: scope.cancel_called)
    assert cleaned == [True]


async def test_coroutine_that_never_stops_is_closed() -> None:
    """It gets a `GeneratorExit`, and its awaiter a `CancellationIgnored`."""
    seen: list[str] = []

    async def work() -> None:
        while True:
            try:
                await anyio.sleep_forever()
            except GeneratorExit:
                seen.append("closed")
                raise
            except BaseException:
                seen.append("swallowed")

    with anyio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(CancellationIgnored):
            await run_cancellable(work(), scope, lambda: scope.cancel_called)
    assert seen[-1] == "closed"
    assert len(seen) <= MAX_AWAITS_AFTER_CANCEL + 2
