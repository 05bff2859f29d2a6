"""Draining on a signal: sessions finish what they are saying before the program ends."""

from __future__ import annotations

import signal

import anyio

from .sessions import Sessions

__all__ = ["drain_on_signal"]


async def drain_on_signal(
    *sessions: Sessions, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
) -> signal.Signals:
    """Wait for a signal, then let all sessions finish what they are saying. No new peers are taken meanwhile.

    A second signal cancels the sessions that are still open.

    Args:
        sessions: The sessions to drain.
        signals: The signals to wait for.

    Returns:
        The signal that came first.
    """
    with anyio.open_signal_receiver(*signals) as received:
        first = await anext(aiter(received))
        async with anyio.create_task_group() as group:

            async def cancel_on_second_signal() -> None:
                await anext(aiter(received))
                for each in sessions:
                    each.cancel()

            group.start_soon(cancel_on_second_signal)
            async with anyio.create_task_group() as drains:
                for each in sessions:
                    drains.start_soon(each.drain)
            group.cancel_scope.cancel()
    return signal.Signals(first)
