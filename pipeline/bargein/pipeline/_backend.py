"""What AnyIO does not offer: the dangerous room of the engine.

This module uses private parts of AnyIO and trio. Keep such code here and nowhere else. It relies on:

* trio 0.31 to 0.35: `Task._cancel_status`, `CancelStatus._scope`; `trio.lowlevel.spawn_system_task` is public.
* AnyIO 4.11 to 4.16 on asyncio: `anyio._backends._asyncio._task_states`, `TaskState.cancel_scope`.
* AnyIO 4.11 to 4.16 on trio: `CancelScope._CancelScope__original`, the trio scope that AnyIO's scope wraps.

`tests/pipeline/test_backend.py` checks each of these by name, so an upgrade that changes one fails there with a
sentence that says what to do.
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
    """Return whether the running backend is trio. Otherwise it is asyncio."""
    return hasattr(current_token().native_token, "run_sync_soon")


def start_host(host: Callable[[], Awaitable[None]], name: str) -> None:
    """Start the task that owns a session's tasks, beside the running tasks.

    It is not a child of the task that opened the session, because a parent must wait for its children: a processor
    that is stuck in a call that cannot be cancelled would keep the caller waiting too. A session that ends in time has
    waited for its host. Only a stuck session leaves its host behind, as the owner of what still runs.

    Args:
        host: The task's function. It must handle its own exceptions.
        name: The task's name, for debuggers.
    """
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
    """Leave every cancel scope that the running task has entered since `until`, innermost first.

    For a coroutine that was abandoned inside of a scope. It will never leave that scope itself, and the task cannot
    leave its own scopes before. Neither backend offers this. Both keep the task's innermost scope in one place, from
    which it is read here; the scopes are left by their own `__exit__`.

    Args:
        until: A scope that the running task is in. It stays open.
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
