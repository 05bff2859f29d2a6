"""`bargein new` writes a project that works."""

from __future__ import annotations

import importlib.metadata
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.request import urlopen

import pytest

from bargein.services.cli._app import run


def new(folder: Path) -> None:
    assert run(["new", str(folder)]) == 0


@pytest.mark.parametrize("installed", [True, False])
def test_the_next_steps_can_be_taken(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where pytest is missing, they say how to get it before it is needed."""
    monkeypatch.setattr("bargein.services.cli.new.find_spec", lambda name: object() if installed else None)
    new(tmp_path / "mine")
    steps = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    pytest_steps = ["python -m pytest"] if installed else ["pip install pytest", "python -m pytest"]
    assert steps == [f"cd {tmp_path / 'mine'}", "bargein demo agent.py --reload", *pytest_steps]


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_its_test_passes(tmp_path: Path) -> None:
    """As the README of the project says: in its folder, with pytest."""
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    new(tmp_path / "first agent")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        command, cwd=tmp_path / "first agent", capture_output=True, text=True, timeout=80, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
@pytest.mark.parametrize("reload", [False, True])
def test_its_agent_starts(reload: bool, tmp_path: Path) -> None:
    """With the command that is printed; its page answers, and Ctrl+C ends it."""
    pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
    new(tmp_path / "mine")
    command = [sys.executable, "-m", "bargein.services.cli", "demo", "agent.py", "--port", "0"]
    command += ["--reload"] * reload
    with subprocess.Popen(
        command, cwd=tmp_path / "mine", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        try:
            # To its last line, because `communicate` does not give what `readline` has read ahead.
            printed = ""
            while (line := demo.stdout.readline()) and not line.startswith("Ctrl+C"):
                printed += line
            address = re.search(r"http://\S+", printed)
            assert address, demo.stderr.read()
            assert "Agent:           agent" in printed
            with urlopen(f"{address[0]}healthz", timeout=20) as answer:
                assert answer.status == 200
            demo.send_signal(signal.SIGINT)
            _, complaints = demo.communicate(timeout=20)
            assert demo.returncode == 0, complaints
            assert "Traceback" not in complaints
        finally:
            demo.kill()


def test_the_next_commands_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three of them, ready to copy."""
    new(tmp_path / "mine")
    printed = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in printed[-3:]] == [
        f"cd {tmp_path / 'mine'}",
        "bargein demo agent.py --reload",
        "python -m pytest",
    ]


def test_what_it_needs_is_this_distribution(tmp_path: Path) -> None:
    """By its name and with an extra that exists. The project's name is one that a package may have."""
    new(tmp_path / "My 1st Agent!")
    project = tomllib.loads((tmp_path / "My 1st Agent!" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "my-1st-agent"
    assert project["dependencies"] == ["bargein[all]"]
    assert "all" in (importlib.metadata.metadata("bargein").get_all("Provides-Extra") or [])


@pytest.mark.parametrize("inside", [False, True])
def test_nothing_is_overwritten(inside: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a folder with something in it, nor a file."""
    target = tmp_path / "mine"
    precious = target / "notes.txt" if inside else target
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("precious")
    assert run(["new", str(target)]) == 1
    complaint = " ".join(capsys.readouterr().err.split())
    assert ("is not empty" if inside else "is a file") in complaint
    assert precious.read_text() == "precious"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [precious]


def test_an_empty_folder_is_welcome(tmp_path: Path) -> None:
    """Such as one that was just made by hand."""
    new(tmp_path)
    assert (tmp_path / "agent.py").exists()
