"""An end without a broken word, when the machine says stop."""

from __future__ import annotations

import signal

import anyio

from .sessions import Sessions

__all__ = ["drain_on_signal"]


async def drain_on_signal(
    *sessions: Sessions, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
) -> signal.Signals:
    """Wait for a signal, let all sessions finish what they are saying, and say which signal it was.

    Nobody new is taken meanwhile. At a second signal they break off.
    """
    with anyio.open_signal_receiver(*signals) as received:
        first = await anext(aiter(received))
        async with anyio.create_task_group() as group:

            async def hurry() -> None:
                await anext(aiter(received))
                for each in sessions:
                    each.hurry()

            group.start_soon(hurry)
            async with anyio.create_task_group() as drains:
                for each in sessions:
                    drains.start_soon(each.drain)
            group.cancel_scope.cancel()
    return signal.Signals(first)
