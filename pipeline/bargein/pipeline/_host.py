"""The task that owns a session's tasks.

It is not a child of the task that opened the session, because a parent must wait for its children, and a processor
stuck in an uncancellable call (a blocking function in a thread, a shielded wait) would keep the caller waiting with
it. A session that ends in time has waited for its host; only a stuck one leaves it behind, as the owner of what is
still running.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from anyio import CancelScope
from anyio.lowlevel import current_token

__all__ = ["close_scopes", "on_trio", "start_host"]

_hosts: set[Any] = set()  # asyncio keeps only weak references to tasks


def on_trio() -> bool:
    """Whether the running backend is trio; else it is asyncio."""
    return hasattr(current_token().native_token, "run_sync_soon")


def start_host(host: Callable[[], Awaitable[None]], name: str) -> None:
    """Start `host` beside the running tasks. It must handle its own exceptions."""
    if on_trio():
        import trio  # noqa: PLC0415 - importing the engine imports no backend

        trio.lowlevel.spawn_system_task(host, name=name, context=copy_context())
        return

    import asyncio  # noqa: PLC0415

    async def run() -> None:
        await host()

    task = asyncio.get_running_loop().create_task(run(), name=name)
    _hosts.add(task)
    task.add_done_callback(_hosts.discard)


def close_scopes(until: CancelScope) -> None:
    """Leave every cancel scope that the running task has entered since `until`, in order.

    For a coroutine that was abandoned in the middle of a scope: it will not leave it any more, and the task's own
    scopes cannot be left before. Neither backend offers this; both keep the task's innermost scope in one place.
    """
    if on_trio():
        import trio  # noqa: PLC0415

        task: Any = trio.lowlevel.current_task()
        outer = getattr(until, "_CancelScope__original")._cancel_status  # noqa: B009 - a mangled name
        while task._cancel_status is not outer:
            task._cancel_status._scope.__exit__(None, None, None)
        return
    import asyncio  # noqa: PLC0415

    from anyio._backends._asyncio import _task_states  # noqa: PLC0415

    state: Any = _task_states[asyncio.current_task()]  # type: ignore[index]
    while state.cancel_scope is not until:
        state.cancel_scope.__exit__(None, None, None)
