"""Weights and other data files that an installed package carries: found, read and checked without importing it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping

__all__ = ["has_package", "read_package_files"]


def has_package(package: str, module: str) -> bool:
    """Return whether a package and the library that runs its data are installed. Nothing is imported.

    Args:
        package: The distribution that carries the data.
        module: The module of the library.
    """
    if importlib.util.find_spec(module) is None:
        return False
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def read_package_files(owner: str, extra: str, package: str, folder: str, files: Mapping[str, str]) -> dict[str, bytes]:
    """Return data files of an installed package, if each is the one that was tested. Its code is not imported.

    Args:
        owner: The class that needs them; errors begin with it.
        extra: The extra that installs the package.
        package: The distribution.
        folder: Where in the distribution the files are, with a slash at the end.
        files: The SHA-256 of each file, by its name.

    Raises:
        ModuleNotFoundError: The package is not installed.
        RuntimeError: A file is missing, or is not the one that is expected.
    """
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            f"{owner} needs {package}, which is not installed; pip install 'bargein[{extra}]'", name=package
        ) from None
    data: dict[str, bytes] = {}
    for name, expected in files.items():
        path = str(distribution.locate_file(folder + name))
        try:
            with open(path, "rb") as file:
                data[name] = file.read()
        except OSError as error:
            raise RuntimeError(f"{owner} cannot read {path}: {error}; install {package} again") from error
        if (found := hashlib.sha256(data[name]).hexdigest()) != expected:
            raise RuntimeError(
                f"{owner}: {path} has the SHA-256 {found}, expected {expected}; it is not the file that was tested, "
                f"so it is not loaded; install {package} again"
            )
    return data
