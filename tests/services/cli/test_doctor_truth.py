"""What `bargein doctor` says is true for every set of extras: core alone, each extra alone, and all.

Each set is a process in which the modules of all other extras cannot be imported. The process (`tries.py`) asks the
doctor, and tries what it says: the offline brain, the page, a sound file, and the classes of the extras.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from bargein.services.cli.doctor import MODULES, NO_EXTRAS
from tests.speech import FOLDER

pytestmark = pytest.mark.timeout(300)


@cache
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
SETS["all"] = {
    extra
    for extra, libraries in LIBRARIES.items()
    if libraries <= {library for library, of in requirements("bargein") if of == "all"}
}


@cache
def available_modules(name: str) -> set[str]:
    """Return the modules that can be imported with this set: its own, and what they require."""
    extras = SETS[name] | {"cli"}  # the doctor is a command
    libraries = with_dependencies(set().union(*(LIBRARIES[extra] for extra in extras)))
    return {module(library) for library in libraries}


@pytest.fixture(scope="module")
def answers() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """What the doctor said with each set, and what went wrong when it was tried."""
    every = {module(each) for names in LIBRARIES.values() for each in names}
    sets = {name: sorted(every - available_modules(name)) for name in SETS}
    run = subprocess.run(
        [sys.executable, "-m", "tests.services.cli.tries"],
        input=json.dumps({"sets": sets, "question": str(FOLDER / "weather.wav")}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, tuple[dict[str, str], dict[str, str]]] = json.loads(run.stdout)
    return found


@pytest.mark.slow
@pytest.mark.xdist_group("doctor")
@pytest.mark.parametrize("name", SETS)
def test_what_it_says_is_true(name: str, answers: dict[str, tuple[dict[str, str], dict[str, str]]]) -> None:
    """What it calls good works, and what it calls missing or bad does not."""
    if not all(map(is_installed, set().union(*(LIBRARIES[extra] for extra in SETS[name])))):
        pytest.skip(f"the extra {name!r} is not installed here")
    states, failures = answers[name]
    for what, failure in failures.items():
        assert (states[what] == "good") == (not failure), (
            f"{what} is said to be {states[what]}: {failure or 'it works'}"
        )
    available = available_modules(name)
    for extra, names in LIBRARIES.items():
        complete = {module(each) for each in names} <= available and all(map(is_installed, names))
        assert (states[f"Extras {extra}"] == "good") == complete, extra


def test_without_its_own_extra_it_says_what_to_install() -> None:
    """The command needs typer and rich."""
    code = "import sys; sys.modules['typer'] = None; from bargein.services.cli import main; main()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 1
    assert "pip install 'bargein[cli]'" in run.stderr
