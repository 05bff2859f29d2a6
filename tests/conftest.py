"""Which backends a test runs on, which tests must not run side by side, and which programs they need.

A test that is `async` runs on an event loop, of which there are four here: trio and asyncio with a clock that jumps to
the next deadline (virtual time), and asyncio and uvloop with the clock of the machine (real time). A test marked
`virtual` runs in virtual time only, one marked `real` in real time only, and one without a mark in both.

* In `tests/pipeline`, where the engine is what a loop can change, every such test runs on both loops of each kind.
* Elsewhere it runs on one loop of each kind. A hash of its name says which, so that it is the same one in every run,
  and so that about half of the tests run on either. `every_backend` marks those that must run on both all the same.
* A test that is named on the command line (`pytest tests/x.py::test_y`) runs on all.
* With `BARGEIN_EXTENDED=1` every test runs on all.

Under pytest-xdist, the tests that need real time share one worker, so that no two of them compete for the machine.
Those that need a browser share another, with its start.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop

from bargein.pipeline.testing import virtual_asyncio, virtual_trio

from .environment import EXTENDED, need
from .timeouts import pytest_pyfunc_call, pytest_timeout_cancel_timer, pytest_timeout_set_timer

__all__ = ["pytest_pyfunc_call", "pytest_timeout_cancel_timer", "pytest_timeout_set_timer"]

Backend = tuple[str, dict[str, Any]]

VIRTUAL: dict[str, Callable[[], Backend]] = {"trio": virtual_trio, "asyncio-virtual": virtual_asyncio}
REAL: dict[str, Callable[[], Backend]] = {
    "asyncio": lambda: ("asyncio", {}),
    "uvloop": lambda: ("asyncio", {"loop_factory": uvloop.new_event_loop}),
}
BACKENDS = VIRTUAL | REAL
ENGINE = Path(__file__).parent / "pipeline"
"""The folder whose tests run on every backend."""

# GNU readline, which pytest imports, puts the size of the terminal into the environment of the workers. What a command
# prints must not depend on it.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# How long an example takes depends on what else the machine does, and says nothing about the code. On CI the examples
# are the same each time: a run that fails is a run that can be repeated.
hypothesis.settings.register_profile("bargein", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("bargein")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize an async test by its backends."""
    if "anyio_backend" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker
        chosen = VIRTUAL if marked("virtual") else REAL if marked("real") else BACKENDS
        metafunc.parametrize("anyio_backend", list(chosen), indirect=True)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the backends that a test need not run on, and put those that need real time into one group."""
    named = any("::" in str(each) for each in config.args)
    left_out = set() if EXTENDED or named else _find_spares(items)
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if any("chromium" in mark.args for mark in item.iter_markers("needs")):
                item.add_marker(pytest.mark.xdist_group("browser"))
            elif item.get_closest_marker("real"):
                item.add_marker(pytest.mark.xdist_group("real-time"))


def _find_spares(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return the tests that run on another backend of the same kind of time, which is enough."""
    groups: dict[tuple[str, bool], list[pytest.Item]] = defaultdict(list)
    for item in items:
        call = getattr(item, "callspec", None)
        backend = call and call.params.get("anyio_backend")
        if call is None or backend is None:
            continue
        if ENGINE not in item.path.parents and not item.get_closest_marker("every_backend"):
            function = item.nodeid.partition("[")[0]
            groups[f"{function}[{call.id.replace(backend, '', 1)}", backend in VIRTUAL].append(item)
    spares: set[pytest.Item] = set()
    for (name, _), group in groups.items():
        chosen = hashlib.sha256(name.encode()).digest()[0] % len(group)
        spares.update(item for at, item in enumerate(group) if at != chosen)
    return spares


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not installed."""
    for mark in item.iter_markers("needs"):
        need(*mark.args)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """A backend made for this one test: clocks and loops are never shared."""
    return BACKENDS[request.param]()
