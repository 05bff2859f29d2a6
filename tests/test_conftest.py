"""On which backends the tests run."""

from __future__ import annotations

from collections import Counter

import pytest

from .conftest import VIRTUAL, spare_backends

VALUES = [1, "one", "trio", "asyncio", None, 2, 3, 4]
FEW = VALUES[:4]


@pytest.mark.parametrize("value", VALUES)
async def test_the_first_example(value: object) -> None:
    """A test with a parameter, for the test below."""


@pytest.mark.virtual
@pytest.mark.parametrize("first", FEW)
@pytest.mark.parametrize("second", FEW)
async def test_the_second_example(first: object, second: object) -> None:
    """A test with two parameters, for the test below."""


def test_every_value_of_a_parameter_runs_on_one_backend_of_each_kind(request: pytest.FixtureRequest) -> None:
    """None of them is left out on all backends, and none runs on two."""
    module = request.node.parent
    assert isinstance(module, pytest.Module)
    items = [item for item in module.collect() if isinstance(item, pytest.Function) and "example" in item.name]
    spare = set(spare_backends(list(items)))
    chosen = [item for item in items if item not in spare]
    runs: Counter[tuple[object, ...]] = Counter()
    for item in chosen:
        params = dict(item.callspec.params)
        runs[item.originalname, params.pop("anyio_backend") in VIRTUAL, *params.values()] += 1
    assert len(runs) == 2 * len(VALUES) + len(FEW) ** 2
    assert set(runs.values()) == {1}
    backends = {item.callspec.params["anyio_backend"] for item in chosen}
    assert backends == {"trio", "asyncio-virtual", "asyncio", "uvloop"}, "the tests are spread over all"


@pytest.mark.real
def test_tests_in_real_time_share_a_worker(request: pytest.FixtureRequest) -> None:
    """The group is a part of the id, by which pytest-xdist deals out the tests."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("this is not a worker of pytest-xdist")
    assert request.node.nodeid.endswith("@real-time")
