"""Importing the engine costs little. The rules for names and imports are in `tests/test_architecture.py`."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_engine_imports_no_backend() -> None:
    """The import loads neither trio nor pytest nor the test kit."""
    code = "import sys, bargein.pipeline; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"trio", "pytest", "bargein.pipeline.testing", "hypothesis"} & set(loaded)
