"""Closes the browser that the tests of the page share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import browser


@pytest.fixture(scope="session", autouse=True)
def _browser() -> Iterator[None]:
    yield
    browser.close()
