"""`bargein doctor` says what there is, and what to do about the rest."""

from __future__ import annotations

import socket

import pytest

from bargein.services.cli import doctor as module
from bargein.services.cli._app import run
from bargein.services.cli.doctor import examine


def test_it_looks_at_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """The engine, the extras, programs, brains and the machine."""
    assert run(["doctor"]) == 0
    printed = capsys.readouterr().out
    for part in ("Engine", "Extras", "Brains", "Machine", "anyio", "webrtcvad", "offline", "bargein demo"):
        assert part in printed


def test_it_knows_what_each_model_can_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By capability, with what to use where one cannot."""
    monkeypatch.setenv("COLUMNS", "400")
    assert run(["doctor", "--models"]) == 0
    printed = capsys.readouterr().out
    for part in ("Gemini", "Nova Sonic", "a response can be stopped", "dropped here instead"):
        assert part in printed


def test_what_is_missing_has_a_remedy() -> None:
    """Every line that is not good says what to do."""
    findings = list(examine({}))
    assert len(findings) > 15
    assert all(each.remedy for each in findings if each.state != "good")
    assert not any(each.remedy for each in findings if each.state == "good")
    openai = next(each for each in findings if each.name == "openai")
    assert openai.remedy == "set OPENAI_API_KEY"


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
    assert finding.remedy == f"bargein demo --port {port + 1}"


def test_an_engine_without_its_libraries_is_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the program's exit code says so."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(module, "_requirements", lambda: [("no-such-library", "")])
    assert run(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "pip install no-such-library" in printed
    assert "1 to mend" in printed
