"""Import optional libraries, with a clear error when one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["import_extra"]


def import_extra(module: str, extra: str, user: str) -> ModuleType:
    """Import a library that belongs to one of the extras.

    Args:
        module: Dotted name of the module to import.
        extra: Name of the extra that installs it, as in `pip install 'bargein[extra]'`.
        user: Name of the class or function that needs it; the error message begins with it.

    Raises:
        ModuleNotFoundError: The library is not installed. The message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:  # the library is there, and one of its imports is missing: show that one
            raise
        raise ModuleNotFoundError(
            f"{user} needs {module}, which is not installed; pip install 'bargein[{extra}]'", name=module
        ) from None
