"""Optional libraries, and the one sentence for when they are missing."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["need"]


def need(module: str, extra: str, who: str) -> Any:
    """Import a library of an extra. Raises `ModuleNotFoundError` that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ModuleNotFoundError(
            f"{who} needs {module}, which is not installed; pip install 'bargein[{extra}]'", name=module
        ) from None
