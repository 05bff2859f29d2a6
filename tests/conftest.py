"""Every async test runs on all backends; those marked `virtual` or `real` on the two whose time is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from bargein.pipeline.testing import virtual_asyncio, virtual_trio

Backend = tuple[str, dict[str, Any]]

VIRTUAL: dict[str, Callable[[], Backend]] = {"trio": virtual_trio, "asyncio-virtual": virtual_asyncio}
REAL: dict[str, Callable[[], Backend]] = {
    "asyncio": lambda: ("asyncio", {}),
    "uvloop": lambda: ("asyncio", {"loop_factory": uvloop.new_event_loop}),
}
BACKENDS = VIRTUAL | REAL


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "anyio_backend" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker
        chosen = VIRTUAL if marked("virtual") else REAL if marked("real") else BACKENDS
        metafunc.parametrize("anyio_backend", list(chosen), indirect=True)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """A backend made for this one test: clocks and loops are never shared."""
    return BACKENDS[request.param]()
