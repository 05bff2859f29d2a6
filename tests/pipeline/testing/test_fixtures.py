"""The pytest fixture, used as the guide says, in a project of its own."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

CONFTEST = """
import pytest

pytest_plugins = ["bargein.pipeline.testing.fixtures"]


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time
"""

TEST = """
import anyio
import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("again", [1, 2])
async def test_an_hour(again):
    assert anyio.current_time() < 1
    await anyio.sleep(3600)
    assert anyio.current_time() >= 3600
"""


@pytest.mark.slow
def test_the_guides_conftest_works(tmp_path: pathlib.Path) -> None:
    """Two tests of an hour each, with a clock of their own, take a moment."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False, cwd=tmp_path)
    assert "2 passed" in run.stdout, run.stdout + run.stderr
