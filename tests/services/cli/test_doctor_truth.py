"""What `bargein doctor` says is true for every set of extras: core alone, each extra alone, and all.

Each set is a process in which the modules of all other extras cannot be imported. The process asks the doctor, and then
tries what it said: the offline brain, the page, a sound file, and the classes of the extras.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterable

import pytest

from bargein.services.cli.doctor import MODULES, NO_EXTRAS
from tests.speech import FOLDER

pytestmark = pytest.mark.timeout(90)

TRIES = """
import importlib, json, os, sys, traceback

hidden, question = json.loads(sys.argv[1])
for name in hidden:
    sys.modules[name] = None
for name in [name for name in os.environ if name.endswith(("_KEY", "_PROFILE", "_KEY_ID"))]:
    del os.environ[name]

import anyio
import numpy as np
from bargein import Audio, Cascade, FileTransport, Pacer, Pipeline, Sessions, UserText, serve_websocket
from bargein.pipeline import Failure
from bargein.pipeline.testing import Harness, framed, run_virtual, silence, speech_like
from bargein.services.cli.agents import make_agent
from bargein.services.cli.doctor import examine
from bargein.services.providers.brains import choice

def pipeline(peer):
    return Pipeline(peer.source, peer.sink)

async def offline():
    async with Harness(Cascade.offline(), Pacer()) as harness:
        await harness.send(*framed(np.concatenate([speech_like(1000), silence(2000)])))
        await anyio.sleep(5)
        await harness.send(UserText("What time is it?"))
        await anyio.sleep(5)
        assert not harness.of(Failure), harness.of(Failure)
        assert harness.of(Audio)
        await harness.session.cancel()

async def demo():
    from bargein import serve_page
    choice("auto")
    async with serve_page(make_agent("auto"), port=0):
        pass

def ask():
    choice("auto")
    with FileTransport(question).reader as reader:
        next(reader.pieces(320))

async def websockets():
    async with serve_websocket(pipeline):
        pass

async def webrtc():
    from bargein import WebRtcServer
    async with WebRtcServer(Sessions(pipeline)):
        pass

def make(module, name, *args):
    getattr(importlib.import_module(module), name)(*args)

attempts = {
    "Brains offline": lambda: run_virtual(offline),
    "Commands bargein demo": lambda: anyio.run(demo),
    "Commands bargein ask": ask,
    "Extras audio": lambda: make("bargein.processors", "Resample", 8000),
    "Extras vad": lambda: make("bargein.processors", "WebRtcVad"),
    "Extras silero": lambda: make("bargein.processors", "SileroVad"),
    "Extras video": lambda: make("bargein.processors", "Scale", 64, 64),
    "Extras http": lambda: importlib.import_module("httpx"),
    "Extras websockets": lambda: anyio.run(websockets),
    "Extras webrtc": lambda: anyio.run(webrtc),
}
works = {}
for name, attempt in attempts.items():
    try:
        attempt()
        works[name] = ""
    except Exception:
        works[name] = traceback.format_exc()
states = {f"{each.part} {each.name}": each.state for each in examine({})}
print(json.dumps([states, works]))
"""


def requirements(distribution: str) -> list[tuple[str, str]]:
    """Return each library that a distribution requires, with the extra that requires it."""
    lines = importlib.metadata.requires(distribution) or ()
    names = [(re.match(r"[\w.-]+", line), re.search(r"extra\s*==\s*['\"]([\w-]+)", line)) for line in lines]
    return [(name[0], extra[1] if extra else "") for name, extra in names if name]


def module(library: str) -> str:
    return MODULES.get(library, library.lower().replace("-", "_"))


LIBRARIES = {
    extra: {library for library, of in requirements("bargein") if of == extra}
    for extra in sorted({extra for _, extra in requirements("bargein")} - {"", *NO_EXTRAS})
}
"""The extras, each with its libraries."""


def with_dependencies(libraries: Iterable[str]) -> set[str]:
    """Return libraries and all that they require themselves, such as av, which aiortc requires."""
    found, new = set(), set(libraries)
    while new:
        found |= new
        new = {library for each in new if is_installed(each) for library, extra in requirements(each) if not extra}
        new -= found
    return found


def is_installed(library: str) -> bool:
    try:
        importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


SETS: dict[str, set[str]] = {"core": set(), **{extra: {extra} for extra in LIBRARIES if extra != "cli"}}
SETS["no more than the demo needs"] = {"server", "audio", "vad", "espeak", "pocketsphinx"}
SETS["all"] = set(LIBRARIES)


@pytest.mark.parametrize("name", SETS)
def test_what_it_says_is_true(name: str) -> None:
    """What it calls good works, and what it calls missing or bad does not."""
    extras = SETS[name] | {"cli"}  # the doctor is a command
    libraries = with_dependencies(set().union(*(LIBRARIES[extra] for extra in extras)))
    if not all(map(is_installed, set().union(*(LIBRARIES[extra] for extra in extras)))):
        pytest.skip(f"the extra {name!r} is not installed here")
    available = {module(library) for library in libraries}
    hidden = sorted({module(each) for names in LIBRARIES.values() for each in names} - available)
    run = subprocess.run(
        [sys.executable, "-c", TRIES, json.dumps([hidden, str(FOLDER / "weather.wav")])],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    states, failures = json.loads(run.stdout)
    for what, failure in failures.items():
        assert (states[what] == "good") == (not failure), (
            f"{what} is said to be {states[what]}: {failure or 'it works'}"
        )
    for extra, names in LIBRARIES.items():
        complete = {module(each) for each in names} <= available and all(map(is_installed, names))
        assert (states[f"Extras {extra}"] == "good") == complete, extra


def test_without_its_own_extra_it_says_what_to_install() -> None:
    """The command needs typer and rich."""
    code = "import sys; sys.modules['typer'] = None; from bargein.services.cli import main; main()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=80, check=False)
    assert run.returncode == 1
    assert "pip install 'bargein[cli]'" in run.stderr
