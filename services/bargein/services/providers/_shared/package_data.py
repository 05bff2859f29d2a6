"""Weights and other data files that an installed package carries: found, read and checked without importing it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping

__all__ = ["check_hash", "has_package", "read_package_file", "read_package_files"]


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
    install = f"pip install 'bargein[{extra}]'"
    return {name: read_package_file(package, folder + name, sha256, owner, install) for name, sha256 in files.items()}


def read_package_file(package: str, path: str, sha256: str, owner: str, install: str) -> bytes:
    """Return a data file of an installed package.

    Args:
        package: The distribution.
        path: Path of the file in the distribution.
        sha256: The expected SHA-256 in hexadecimal.
        owner: The class that needs it; errors begin with it.
        install: What installs it, such as `pip install 'bargein[whisper]'`.

    Raises:
        ModuleNotFoundError: The package is not installed.
        RuntimeError: The file cannot be read, or is another one.
    """
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError(f"{owner} needs {package}, which is not installed; {install}", name=package) from None
    found = str(distribution.locate_file(path))
    try:
        with open(found, "rb") as file:
            data = file.read()
    except OSError as error:
        raise RuntimeError(f"{owner} cannot read {found}: {error}; install {package} again") from error
    check_hash(data, sha256, owner, found, f"install {package} again")
    return data


def check_hash(data: bytes, sha256: str, owner: str, path: str, remedy: str) -> None:
    """Check that a file is the one that was tested.

    Args:
        data: The file.
        sha256: The expected SHA-256 in hexadecimal.
        owner: The class that needs it; the error begins with it.
        path: Where the file was found.
        remedy: What to do about another file.

    Raises:
        RuntimeError: It is another file.
    """
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise RuntimeError(
            f"{owner}: {path} has the SHA-256 {found}, expected {sha256}; it is not the file that was tested, "
            f"so it is not loaded; {remedy}"
        )
