"""`bargein ask` holds a conversation from a file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from bargein.services.cli._app import run
from tests.speech import FOLDER

pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
pytestmark = pytest.mark.timeout(90)


def test_a_question_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a file, with the transcript and the timings printed."""
    answer, both = tmp_path / "answer.wav", tmp_path / "both.wav"
    command = ["ask", str(FOLDER / "weather.wav"), "-o", str(answer), "--both", str(both)]
    assert run([*command, "--brain", "offline", "--pace", "1"]) == 0
    printed = capsys.readouterr().out
    assert "you: what is the weather in paris" in printed
    assert "weather -> " in printed
    assert "(answer after " in printed
    assert "agent: It is sunny in Paris, 21 degrees." in printed
    with wave.open(str(answer)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert len(sound) / file.getframerate() > 1
    assert np.abs(sound.astype(int)).max() > 1000
    assert both.stat().st_size > answer.stat().st_size


@pytest.mark.parametrize(
    ("question", "said"),
    [("nowhere.wav", "this file does not exist"), ("text.wav", "is not a sound file that can be read")],
)
def test_what_cannot_be_asked_is_a_sentence(
    question: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is neither a traceback nor a bare number."""
    (tmp_path / "text.wav").write_text("no sound")
    assert run(["ask", str(tmp_path / question), "--brain", "offline"]) == 1
    complaint = " ".join(capsys.readouterr().err.split())
    assert said in complaint
    assert "Traceback" not in complaint
    assert "Errno" not in complaint


def test_the_question_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is asked for."""
    question = tmp_path / "question.wav"
    question.write_bytes((FOLDER / "weather.wav").read_bytes())
    assert run(["ask", str(question), "--both", str(tmp_path / "." / "question.wav"), "--overwrite"]) == 1
    assert "is the question; choose another name" in " ".join(capsys.readouterr().err.split())
    assert question.read_bytes() == (FOLDER / "weather.wav").read_bytes()


def test_files_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless that is asked for."""
    answer = tmp_path / "answer.wav"
    answer.write_text("precious")
    assert run(["ask", str(FOLDER / "weather.wav"), "-o", str(answer)]) == 1
    assert "exists; choose another name, or --overwrite" in " ".join(capsys.readouterr().err.split())
    assert answer.read_text() == "precious"


def test_a_file_without_speech_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With an exit code that a script can see, and without a long wait."""
    silence = tmp_path / "silence.wav"
    with wave.open(str(silence), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    assert run(["ask", str(silence), "--brain", "offline", "--pace", "4", "--wait", "1"]) == 1
    printed = capsys.readouterr()
    assert "I heard nothing in" in " ".join(printed.err.split())
    assert printed.out == ""
