"""The licences of the installed libraries that Bargein uses, as their metadata states them."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = ["COPYLEFT", "Licence", "licences"]

COPYLEFT: Final = {
    "av": "its wheel contains libx264 and libx265, which are GPL-2.0-or-later",
    "espeakng-loader": "contains libespeak-ng, which is GPL-3.0-or-later",
    "piper-tts": "GPL-3.0-or-later",
}
"""Libraries that need attention if they are part of a product that is distributed. See `docs/licences.md`."""
NOT_USED: Final = ("dev", "docs", "all")
"""Extras for work on Bargein itself, and the union of the others."""


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """The licence of one installed library."""

    name: str
    """The library."""
    version: str
    """Its installed version."""
    licence: str
    """What its metadata says, such as `"MIT"`; empty if it says nothing."""
    note: str = ""
    """What its metadata does not say: a part of it under another licence."""


def licences() -> list[Licence]:
    """Return the licences of all installed libraries that Bargein needs, directly or through others, by name."""
    found: dict[str, Licence] = {}
    waiting = list(_required("bargein"))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        found[name] = Licence(
            name=name, version=metadata["Version"], licence=_licence(metadata), note=COPYLEFT.get(name, "")
        )
        waiting += _required(name)
    return sorted(found.values(), key=lambda each: each.name)


def _required(name: str) -> Iterator[str]:
    """Yield the libraries that one requires. The extras of other libraries than Bargein are not used."""
    for line in importlib.metadata.requires(name) or ():
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        if extra is None or (name == "bargein" and extra[1] not in NOT_USED):
            matched = re.match(r"[\w.-]+", line)
            yield re.sub(r"[-_.]+", "-", matched[0]).lower() if matched else ""


def _licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """Return a licence in a few words: its expression, its classifiers, or the first line of its text."""
    fields = metadata.json
    if expression := fields.get("license_expression"):
        return str(expression)
    classifiers = [
        each.rpartition(" :: ")[2].removesuffix(" License")
        for each in fields.get("classifier") or ()
        if each.startswith("License ::")
    ]
    named = [each for each in classifiers if each != "OSI Approved"]
    return " or ".join(named) or str(fields.get("license") or "").strip().partition("\n")[0][:40]
