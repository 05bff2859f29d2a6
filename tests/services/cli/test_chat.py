"""`bargein chat` is a conversation in writing."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys

import pytest

from bargein.services.cli._app import run


def say(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_each_line_is_answered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With tools, and the conversation in mind."""
    say(monkeypatch, "What is the weather in Paris?", "And in Rome?")
    assert run(["chat", "--brain", "offline"]) == 0
    printed = capsys.readouterr()
    first, second = printed.out.strip().splitlines()
    assert "Paris" in first
    assert "degrees" in first
    assert "Rome" in second
    assert "weather" in printed.err


def test_it_ends_with_its_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing asked, nothing answered."""
    say(monkeypatch)
    assert run(["chat", "--brain", "offline"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.real
@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals as on Unix")
def test_a_terminal_and_ctrl_c() -> None:
    """A line is answered, and while the next is waited for, Ctrl+C ends it."""
    pty = importlib.import_module("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bargein.services.cli", "chat", "--brain", "offline"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as chat:
        assert chat.stdout is not None
        try:
            assert chat.stdout.read(2) == b"> "
            os.write(ours, b"Hello\n")
            assert chat.stdout.readline().startswith(b"Hello")
            assert chat.stdout.read(2) == b"> "
            chat.send_signal(signal.SIGINT)
            assert chat.wait(20) == 130
        finally:
            chat.kill()
            os.close(ours)
            os.close(theirs)


@pytest.mark.parametrize(
    ("brain", "said"), [("openai", "set OPENAI_API_KEY"), ("nobody", "there is no such brain; there are openai, ")]
)
def test_a_brain_that_is_not_there(
    brain: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is a sentence that says what to do."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert run(["chat", "--brain", brain]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
