"""Data files of installed packages."""

from __future__ import annotations

import hashlib
import importlib.metadata

import pytest

from bargein.services.providers._shared.package_data import has_package, read_package_files

LICENCE = importlib.metadata.distribution("anyio").read_text("WHEEL") or ""
FOLDER = f"anyio-{importlib.metadata.version('anyio')}.dist-info/"


def read(package: str = "anyio", name: str = "WHEEL", sha: str = "") -> dict[str, bytes]:
    sha = sha or hashlib.sha256(LICENCE.encode()).hexdigest()
    return read_package_files("Mine", "mine", package, FOLDER, {name: sha})


def test_a_file_with_the_right_hash_is_read() -> None:
    assert read() == {"WHEEL": LICENCE.encode()}


def test_another_file_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"Mine: .*WHEEL has the SHA-256 [0-9a-f]{64}, expected 0{64}; .*install"):
        read(sha="0" * 64)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"Mine cannot read .*nothing\.bin: .*; install anyio again"):
        read(name="nothing.bin")


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"Mine needs no-such-thing, .*pip install 'bargein\[mine\]'"):
        read("no-such-thing")


def test_what_is_installed() -> None:
    assert has_package("anyio", "anyio")
    assert not has_package("no-such-thing", "anyio")
    assert not has_package("anyio", "no_such_thing")
