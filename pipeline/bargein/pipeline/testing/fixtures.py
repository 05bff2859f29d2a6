"""Pytest fixtures. In a conftest: `pytest_plugins = ["bargein.pipeline.testing.fixtures"]`."""

from __future__ import annotations

from typing import Any

import pytest

from .clock import virtual_trio

__all__ = ["virtual_time"]


@pytest.fixture
def virtual_time() -> tuple[str, dict[str, Any]]:
    """Return a virtual clock, new for each test. Make it the backend of your async tests, in your conftest::

    @pytest.fixture
    def anyio_backend(virtual_time):
        return virtual_time
    """
    return virtual_trio()
