"""`bargein doctor`: what is installed, which keys, devices and ports there are, and the remedy for what is missing."""

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

PORT = 8080
"""Where the demo listens, unless it is told another."""
PROGRAMS = {
    "flite": ("a better voice for the offline brain", "apt install flite"),
    "dot": ("drawings by Graphviz", "apt install graphviz"),
}
SIGNS = {"good": "[green]✓[/]", "missing": "[yellow]–[/]", "bad": "[red]✗[/]"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    part: str
    """What it belongs to."""
    name: str
    """The thing."""
    state: Literal["good", "missing", "bad"]
    """`missing` is what one may do without; `bad` must be mended."""
    found: str = ""
    """What was found."""
    remedy: str = ""
    """What to do about it."""


def doctor(
    models: Annotated[bool, typer.Option("--models", help="What each realtime model can do.")] = False,
) -> None:
    """Say what is installed and what is missing, and how to get it."""
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


def examine(environ: Mapping[str, str], port: int = PORT) -> Iterator[Finding]:
    """Look at everything, one thing after the other. Keys are looked for, and never shown."""
    yield from _core()
    yield from _extras()
    yield from _programs()
    yield from _brains(environ)
    yield _device()
    yield _port(port)


def _core() -> Iterator[Finding]:
    fits = sys.version_info >= (3, 11)
    yield Finding(
        part="Engine",
        name="Python",
        state="good" if fits else "bad",
        found=platform.python_version(),
        remedy="" if fits else "install Python 3.11 or newer",
    )
    for name, extra in _requirements():
        if not extra:
            yield _distribution("Engine", name, "bad", f"pip install {name}")


def _extras() -> Iterator[Finding]:
    parts: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra and extra not in ("all", "dev") and name != "bargein":
            parts.setdefault(extra, []).append(name)
    for extra, names in sorted(parts.items()):
        missing = [name for name in names if _version(name) is None]
        found = ", ".join(f"{name} {_version(name)}" for name in names if name not in missing)
        yield Finding(
            part="Extras",
            name=extra,
            state="missing" if missing else "good",
            found=found or "not installed",
            remedy=f"pip install 'bargein[{extra}]'" if missing else "",
        )


def _programs() -> Iterator[Finding]:
    for name, (what, remedy) in PROGRAMS.items():
        path = shutil.which(name)
        yield Finding(
            part="Programs",
            name=name,
            state="good" if path else "missing",
            found=path or f"none; it gives {what}",
            remedy="" if path else remedy,
        )


def _brains(environ: Mapping[str, str]) -> Iterator[Finding]:
    for choice in choices(environ):
        yield Finding(
            part="Brains",
            name=choice.name,
            state="missing" if choice.missing else "good",
            found=choice.title,
            remedy=choice.missing,
        )


def _device() -> Finding:
    remedy = "pip install 'bargein[local]', and apt install libportaudio2 on Linux"
    try:
        sounddevice: Any = importlib.import_module("sounddevice")
        devices = list(sounddevice.query_devices())
    except (ImportError, OSError) as error:
        return Finding(part="Machine", name="sound", state="missing", found=str(error), remedy=remedy)
    ways = {way: sum(1 for each in devices if each[f"max_{way}_channels"]) for way in ("input", "output")}
    good = all(ways.values())
    return Finding(
        part="Machine",
        name="sound",
        state="good" if good else "missing",
        found=f"{ways['input']} to hear, {ways['output']} to speak",
        remedy="" if good else "plug in a microphone and a loudspeaker; only `bargein talk` needs them",
    )


def _port(port: int) -> Finding:
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
    """Each library that this distribution asks for, and the extra that it is for."""
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


def _distribution(part: str, name: str, otherwise: Literal["missing", "bad"], remedy: str) -> Finding:
    found = _version(name)
    return Finding(
        part=part,
        name=name,
        state="good" if found else otherwise,
        found=found or "not installed",
        remedy="" if found else remedy,
    )
