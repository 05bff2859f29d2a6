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
from collections.abc import Callable, Hashable
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
    left_out = set[pytest.Item]() if EXTENDED or named else set(spare_backends(items))
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if any("chromium" in mark.args for mark in item.iter_markers("needs")):
                item.add_marker(pytest.mark.xdist_group("browser"))
            elif item.get_closest_marker("real"):
                item.add_marker(pytest.mark.xdist_group("real-time"))


def spare_backends(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the items whose test runs on another backend of the same kind of time, which is enough.

    Of the items of one test that differ in nothing but the backend, all are spare but one. They have the same objects
    as parameters. Pytest's own indices do not tell: it numbers the values of a parameter anew for each backend.
    """
    groups: dict[Hashable, list[pytest.Item]] = {}
    for item in items:
        params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
        backend = params.get("anyio_backend")
        if backend is None or ENGINE in item.path.parents or item.get_closest_marker("every_backend"):
            continue
        others = tuple(sorted((name, id(value)) for name, value in params.items() if name != "anyio_backend"))
        test = item.nodeid.partition("[")[0]
        groups.setdefault((test, others, backend in VIRTUAL), []).append(item)
    spare: list[pytest.Item] = []
    for group in groups.values():
        digest = hashlib.sha256(group[0].nodeid.encode()).digest()
        del group[digest[0] % len(group)]
        spare += group
    return spare


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not installed."""
    for mark in item.iter_markers("needs"):
        need(*mark.args)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """A backend made for this one test: clocks and loops are never shared."""
    return BACKENDS[request.param]()
