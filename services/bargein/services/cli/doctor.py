"""`bargein doctor`: what is installed, which keys, devices and ports there are, and how to get what is missing."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from bargein.services.providers.brains import choices
from bargein.services.providers.catalog import table as capabilities

from ._console import console

__all__ = ["Finding", "doctor", "examine"]

DEMO_PORT = 8080
"""The port at which `bargein demo` listens by default."""
PROGRAMS = {
    "flite": ("a better voice for the offline brain", "apt install flite"),
    "dot": ("drawings by Graphviz", "apt install graphviz"),
}
SIGNS = {"good": "[green]✓[/]", "missing": "[yellow]–[/]", "bad": "[red]✗[/]"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that `doctor` has looked at."""

    part: str
    """The group in which it is printed."""
    name: str
    """What was looked at."""
    state: Literal["good", "missing", "bad"]
    """`missing`: it is optional. `bad`: it must be mended."""
    found: str = ""
    """What was found."""
    remedy: str = ""
    """What to do about it."""


def doctor(
    models: Annotated[bool, typer.Option("--models", help="Print what each realtime model can do.")] = False,
) -> None:
    """Print what is installed and what is missing, and how to get it."""
    if models:
        heading, *rows = capabilities()
        console.print(_table(heading, rows))
        return
    findings = list(examine(os.environ))
    table = _table(("", "", "found", "remedy"), ())
    part = ""
    for each in findings:
        if each.part != part:
            part = each.part
            table.add_row(f"[bold]{part}[/]")
        table.add_row(SIGNS[each.state], each.name, escape(each.found), escape(each.remedy))
    console.print(table)
    bad = [each for each in findings if each.state == "bad"]
    console.print(f"\n{len(bad)} to mend" if bad else "\nAll is well. `bargein demo` opens a page to talk to.")
    if bad:
        raise typer.Exit(1)


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in heading:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def examine(environ: Mapping[str, str], port: int = DEMO_PORT) -> Iterator[Finding]:
    """Give a finding for everything that is looked at. Keys are looked for and never shown.

    Args:
        environ: The environment variables.
        port: The port that `bargein demo` would take.
    """
    yield from _examine_core()
    yield from _examine_extras()
    yield from _examine_programs()
    yield from _examine_brains(environ)
    yield _examine_sound_device()
    yield _examine_port(port)


def _examine_core() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11)
    yield Finding(
        part="Engine",
        name="Python",
        state="good" if supported else "bad",
        found=platform.python_version(),
        remedy="" if supported else "install Python 3.11 or newer",
    )
    for name, extra in _requirements():
        if not extra:
            found = _version(name)
            yield Finding(
                part="Engine",
                name=name,
                state="good" if found else "bad",
                found=found or "not installed",
                remedy="" if found else f"pip install {name}",
            )


def _examine_extras() -> Iterator[Finding]:
    extras: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra and extra not in ("all", "dev") and name != "bargein":
            extras.setdefault(extra, []).append(name)
    for extra, names in sorted(extras.items()):
        missing = [name for name in names if _version(name) is None]
        found = ", ".join(f"{name} {_version(name)}" for name in names if name not in missing)
        yield Finding(
            part="Extras",
            name=extra,
            state="missing" if missing else "good",
            found=found or "not installed",
            remedy=f"pip install 'bargein[{extra}]'" if missing else "",
        )


def _examine_programs() -> Iterator[Finding]:
    for name, (purpose, remedy) in PROGRAMS.items():
        path = shutil.which(name)
        yield Finding(
            part="Programs",
            name=name,
            state="good" if path else "missing",
            found=path or f"not installed; it gives {purpose}",
            remedy="" if path else remedy,
        )


def _examine_brains(environ: Mapping[str, str]) -> Iterator[Finding]:
    for choice in choices(environ):
        yield Finding(
            part="Brains",
            name=choice.name,
            state="missing" if choice.missing else "good",
            found=choice.title,
            remedy=choice.missing,
        )


def _examine_sound_device() -> Finding:
    remedy = "pip install 'bargein[local]', and on Linux apt install libportaudio2"
    try:
        sounddevice: Any = importlib.import_module("sounddevice")
        devices = list(sounddevice.query_devices())
    except (ImportError, OSError) as error:
        return Finding(part="Machine", name="sound", state="missing", found=str(error), remedy=remedy)
    inputs = sum(1 for each in devices if each["max_input_channels"])
    outputs = sum(1 for each in devices if each["max_output_channels"])
    good = bool(inputs and outputs)
    return Finding(
        part="Machine",
        name="sound",
        state="good" if good else "missing",
        found=f"{inputs} microphones, {outputs} loudspeakers",
        remedy="" if good else "plug in a microphone and a loudspeaker; only `bargein talk` needs them",
    )


def _examine_port(port: int) -> Finding:
    with socket.socket() as probe:
        free = probe.connect_ex(("127.0.0.1", port)) != 0
    return Finding(
        part="Machine",
        name=f"port {port}",
        state="good" if free else "missing",
        found="free" if free else "taken by another program",
        remedy="" if free else f"bargein demo --port {port + 1}",
    )


def _requirements() -> list[tuple[str, str]]:
    """Return each library that this distribution requires, with the extra that requires it."""
    pairs = []
    for line in importlib.metadata.requires("bargein") or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        if name:
            pairs.append((name[0], extra[1] if extra else ""))
    return pairs


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
