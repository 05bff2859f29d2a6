"""`bargein talk` needs a microphone, and says so."""

from __future__ import annotations

import pytest

from bargein.services.cli._app import run


def test_without_a_device_it_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do, and no traceback."""
    assert run(["talk", "--brain", "offline", "--microphone", "no such microphone"]) == 1
    complaint = " ".join(capsys.readouterr().err.split())
    assert complaint.count("bargein: ") == 1
    assert "Traceback" not in complaint
