"""Draining on a signal: sessions finish what they are saying before the program ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

import anyio

from .sessions import Sessions

__all__ = ["drain_on_signal"]


async def drain_on_signal(
    *sessions: Sessions, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
) -> signal.Signals:
    """Wait for a signal, then let all sessions finish what they are saying. No new peers are taken meanwhile.

    A second signal cancels the sessions that are still open. Call it in the main thread: signals do not reach others.

    Args:
        sessions: The sessions to drain.
        signals: The signals to wait for.

    Returns:
        The signal that came first.
    """
    with _receive_signals(*signals) as received:
        first = await anext(received)
        async with anyio.create_task_group() as group:

            async def cancel_on_second_signal() -> None:
                await anext(received)
                for each in sessions:
                    each.cancel()

            group.start_soon(cancel_on_second_signal)
            async with anyio.create_task_group() as drains:
                for each in sessions:
                    drains.start_soon(each.drain)
            group.cancel_scope.cancel()
    return signal.Signals(first)


@contextmanager
def _receive_signals(*signals: signal.Signals) -> Iterator[AsyncIterator[int]]:
    """Yield the signals that come while the block runs."""
    with ExitStack() as stack:
        try:
            received: AsyncIterator[int] = stack.enter_context(anyio.open_signal_receiver(*signals))
        except NotImplementedError:  # it uses loop.add_signal_handler, which the event loops of Windows do not have
            received = stack.enter_context(_receive_in_handler(*signals))
        yield aiter(received)


@contextmanager
def _receive_in_handler(*signals: signal.Signals) -> Iterator[AsyncIterator[int]]:
    """Yield the signals by handlers of the interpreter.

    The interpreter runs handlers in the main thread between two instructions. `call_soon_threadsafe` then wakes the
    loop. A signal ends the loop's wait only because of `signal.set_wakeup_fd`, which asyncio sets on Windows since 3.8.
    """
    loop = asyncio.get_running_loop()
    send, receive = anyio.create_memory_object_stream[int](len(signals) * 16)

    def deliver(number: int) -> None:
        with suppress(anyio.WouldBlock):  # two are taken; more change nothing
            send.send_nowait(number)

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(deliver, number)

    previous = {number: signal.signal(number, handle) for number in signals}
    try:
        yield receive
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        send.close()
        receive.close()
