"""`bargein demo` serves the page, and ends when it is told to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest

from bargein.services.cli._app import run

pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
def test_a_page_until_a_signal_comes() -> None:
    """The first line comes at once, the second says where; SIGTERM ends it well."""
    command = [sys.executable, "-m", "bargein.services.cli", "demo", "--port", "0", "--brain", "offline"]
    command += ["--origin", "https://agent.example"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert "Starting" in demo.stderr.readline()
        url = demo.stdout.readline().rpartition(" ")[2].strip()
        with urlopen(url) as page:  # on this machine
            assert b"<title>Bargein</title>" in page.read()
        with urlopen(Request(url, headers={"Host": "agent.example"})) as page:  # through a proxy
            assert page.status == 200
        demo.send_signal(signal.SIGTERM)
        rest, complaints = demo.communicate(timeout=20)
        assert demo.returncode == 0, complaints
        assert "Finishing" in rest
        assert "Traceback" not in complaints


def test_a_taken_port_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["demo", "--brain", "offline", "--port", str(taken.getsockname()[1])]) == 1
    complaint = " ".join(capsys.readouterr().err.split())
    assert "cannot listen at 127.0.0.1" in complaint
    assert "choose another port" in complaint
    assert "Traceback" not in complaint
