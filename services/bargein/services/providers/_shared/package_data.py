"""Data files of installed packages, read without importing the package, and checked by their hash."""

from __future__ import annotations

import hashlib
import importlib.metadata

__all__ = ["check_hash", "read_package_file"]


def read_package_file(package: str, path: str, sha256: str, user: str, install: str) -> bytes:
    """Return a data file of an installed package.

    Args:
        package: Name of the package.
        path: Path of the file in the package's installation.
        sha256: The expected SHA-256 in hexadecimal.
        user: The class that needs it; errors begin with it.
        install: What installs it, such as `pip install 'bargein[whisper]'`.

    Raises:
        ModuleNotFoundError: The package is not installed.
        RuntimeError: The file cannot be read, or is another one.
    """
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError(f"{user} needs {package}, which is not installed; {install}", name=package) from None
    found = str(distribution.locate_file(path))
    try:
        with open(found, "rb") as file:
            data = file.read()
    except OSError as error:
        raise RuntimeError(f"{user} cannot read {found}: {error}; install {package} again") from error
    check_hash(data, sha256, user, found, f"install {package} again")
    return data


def check_hash(data: bytes, sha256: str, user: str, path: str, remedy: str) -> None:
    """Check that a file is the one that was tested.

    Args:
        data: The file.
        sha256: The expected SHA-256 in hexadecimal.
        user: The class that needs it; the error begins with it.
        path: Where the file was found.
        remedy: What to do about another file.

    Raises:
        RuntimeError: It is another file.
    """
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise RuntimeError(
            f"{user}: {path} has the SHA-256 {found}, expected {sha256}; it is not the file that was tested, "
            f"so it is not loaded; {remedy}"
        )
