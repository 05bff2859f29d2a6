"""`bargein doctor` says what there is, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import socket

import pytest
import sniffio
from anyio import to_thread

from bargein.pipeline import Pass, Pipeline
from bargein.services.cli import doctor as module
from bargein.services.cli._app import run
from bargein.services.cli.doctor import PURPOSES, examine
from bargein.services.server import serve_page


def test_it_looks_at_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """The engine, the extras, programs, brains and the machine."""
    assert run(["doctor"]) == 0
    printed = capsys.readouterr().out
    for part in ("Engine", "Extras", "Brains", "Machine", "anyio", "webrtcvad", "offline", "bargein demo"):
        assert part in printed


def test_it_knows_what_each_model_can_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is by capability and says what to use where a model lacks one."""
    monkeypatch.setenv("COLUMNS", "400")
    assert run(["doctor", "--models"]) == 0
    printed = capsys.readouterr().out
    for part in ("Gemini", "Nova Sonic", "a response can be cancelled", "longest connection"):
        assert part in printed


def test_what_is_missing_has_a_remedy() -> None:
    """Every line that is not good says what to do."""
    findings = list(examine({}))
    assert len(findings) > 15
    assert all(each.remedy for each in findings if each.state != "good")
    assert not any(each.remedy for each in findings if each.state == "good")
    openai = next(each for each in findings if each.name == "openai")
    assert openai.remedy == "set OPENAI_API_KEY"


def test_each_extra_has_a_purpose() -> None:
    """A missing one says what it is for, and which of its libraries is missing."""
    assert PURPOSES.keys() == module._extras().keys()


def test_a_missing_extra_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is there of it."""
    version = module._version
    monkeypatch.setattr(module, "_version", lambda name: None if name == "h2" else version(name))
    nova = next(each for each in examine({}) if each.name == "nova")
    assert (nova.state, nova.remedy) == ("missing", "pip install 'bargein[nova]'")
    assert nova.found.startswith("h2 not installed; for ")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(ImportError("no sounddevice"), "pip install 'bargein[local]'"), (OSError("no PortAudio"), "apt install")],
)
def test_without_a_sound_device_the_remedy_is_what_is_missing(
    error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python package, or the library below it."""

    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", refuse)
    finding = module._examine_sound_device()
    assert finding.state == "missing"
    assert finding.remedy.startswith(remedy)


@pytest.mark.parametrize(("purpose", "code"), [("new", 0), ("openai", 1), ("xai", 1)])
def test_one_thing_can_be_asked_for(
    purpose: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says whether it can be used, for a script."""
    for key in ("OPENAI_API_KEY", "XAI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    assert run(["doctor", "--for", purpose]) == code
    printed = capsys.readouterr().out
    assert purpose in printed
    assert "Engine" not in printed
    assert ("set " in printed) == bool(code)


def test_what_does_not_exist_cannot_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The names that there are come with the error."""
    assert run(["doctor", "--for", "new", "--for", "dmeo"]) == 1
    assert "--for dmeo: there is no such thing; there are " in " ".join(capsys.readouterr().err.split())


def test_keys_are_found_and_never_shown() -> None:
    """Only that they are there."""
    findings = list(examine({"OPENAI_API_KEY": "sk-secret"}))
    assert next(each for each in findings if each.name == "openai").state == "good"
    assert not any("sk-secret" in repr(each) for each in findings)


def test_a_taken_port_is_noticed() -> None:
    """With another to take."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = next(each for each in examine({}, port) if each.name == f"port {port}")
    assert finding.state == "missing"
    assert finding.found == "taken by another program"
    assert f"bargein demo --port {port + 1}" in finding.remedy


def test_an_engine_without_its_libraries_is_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program's exit code reports it."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(module, "_requirements", lambda: [("no-such-library", "")])
    assert run(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "pip install no-such-library" in printed
    assert "1 to mend" in printed


@pytest.mark.real
async def test_a_page_of_ours_is_no_other_program() -> None:
    """It is good to know where it is."""
    pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
    if sniffio.current_async_library() != "asyncio":
        pytest.skip("uvicorn is for asyncio")
    async with serve_page(lambda peer: Pipeline(peer.source, Pass(), peer.sink), port=0) as server:
        finding = await to_thread.run_sync(module._examine_port, server.port)
    assert (finding.state, finding.remedy) == ("good", "")
    assert f"http://localhost:{server.port}/" in finding.found


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_without_the_server_the_demo_cannot_run(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then all is not well, and the exit code says so too."""
    monkeypatch.setenv("COLUMNS", "80")
    version = importlib.metadata.version

    def find(name: str) -> str:
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", find)
    assert run(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "bargein demo: cannot run" in printed
    assert "pip install 'bargein[server]'" in printed
    assert "All is well" not in printed


def test_it_can_be_read_at_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No line is wider, and no word is cut into columns of a few letters."""
    monkeypatch.setenv("COLUMNS", "80")
    run(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [line.rstrip() for line in lines]
    assert any(line.strip().startswith("– openai") or line.strip().startswith("✓ openai") for line in lines)
    assert len(lines) < 120
