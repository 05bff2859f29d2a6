"""Clients that other people wrote, each in its own environment, against `serve` with a cascade behind it.

In each the user types and speaks, a tool of the client is called, speech ends a long answer, the client says how much
of it was heard, and in another session push to talk ends the turn. `make clients` installs and runs them.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from bargein.services.cascade import Cascade, ToolRequest
from bargein.services.providers.openai.server.serve import serve
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.providers.openai.server.server_kit import spoken

from .environments import CLIENTS, Client

if not os.environ.get("BARGEIN_CLIENTS"):
    pytest.skip("other people's clients: `make clients` runs them", allow_module_level=True)
pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

SECONDS = 100.0
"""Longest time that a program may take."""
STORY = " ".join(["This that them thin thaw thud."] * 4)


def make_brains() -> list[Cascade]:
    """Return the brain of the first session, and of the one with push to talk."""
    clock = ToolRequest(call_id="", name="clock", arguments='{"city":"Ulm"}')
    mind = Mind(["Good morning."], [clock], ["It is noon in Ulm."], [STORY, 60.0], ["Yes."])
    ears = Ears("What time is it?", "Stop.")
    pushed = Cascade(Ears("What time is it?"), Mind(["Pushed."]), Voice(words=True))
    return [Cascade(ears, mind, Voice(words=True)), pushed]


def contexts(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return a TLS context for 127.0.0.1, and the file of the authority that a client must trust."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return context, str(path)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client(client: Client, tmp_path: Path) -> None:
    """It converses without an error, and what was heard is what it reports."""
    if problem := client.problem:
        pytest.skip(problem)
    for name in ("time", "stop"):
        (tmp_path / f"{name}.pcm").write_bytes(spoken(name))
    context, authority = contexts(tmp_path)
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": authority, "CLIENT_HOME": str(client.home)}
    brains = make_brains()
    unused = list(brains)

    async def main() -> Any:
        async with serve(
            lambda: unused.pop(0), api_keys=["sk-local"], ssl=context if client.secure else None
        ) as server:
            command = client.command(server.url, str(tmp_path))
            with anyio.fail_after(SECONDS):
                done = await anyio.run_process(command, check=False, env=environment, stderr=subprocess.STDOUT)
            assert not server.failures
            return done

    done = anyio.run(main)
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, output
    (line,) = [each for each in output.splitlines() if each.startswith('{"errors"')]  # logs of the package surround it
    report = json.loads(line)
    assert report.pop("sound") > 50_000
    assert report == {
        "errors": [],
        "text": "Good morning.",
        "heard": "What time is it?",
        "tools": ["12:00 in Ulm"],
        "tool": "It is noon in Ulm.",
        "after": "Yes.",
        "pushed": "Pushed.",
        "pushed_heard": "What time is it?",
    }
    told = [entry for entry in brains[0].history if entry.role == "assistant" and entry.text]
    long = next(entry for entry in told if entry.text.startswith("This"))
    assert long.heard is not None
    assert len(long.heard) < len(long.text)
    assert [entry.text for entry in brains[0].history if entry.role == "user"][1] == "What time is it?"
