"""Other people's clients of OpenAI's Realtime API, and an environment for each: a venv, or a folder of npm.

`python -m tests.clients.environments` makes those that are missing, in `$BARGEIN_CLIENTS` or the user's cache, and
prints that folder. One that cannot be made costs a line, and the test of that client is skipped. To try newer releases,
change the versions below.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

__all__ = ["CLIENTS", "Client"]

CACHE = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
HOME = Path(os.environ.get("BARGEIN_CLIENTS") or f"{CACHE}/bargein/clients").expanduser().absolute()
INSTALL_SECONDS = 900
"""Longest time that one environment may take. The largest has 500 MB."""
PROGRAMS = Path(__file__).parent / "programs"


class Client(NamedTuple):
    """A package, and the program that uses it as its users do."""

    name: str
    program: str
    packages: tuple[str, ...]
    secure: bool = False
    """Whether it connects by TLS only."""

    @property
    def is_node(self) -> bool:
        """Whether it runs on Node."""
        return self.program.endswith(".mjs")

    @property
    def home(self) -> Path:
        """The folder of its environment. Another set of packages has another folder."""
        digest = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()[:8]
        return HOME / f"{self.program.partition('.')[0]}-{digest}"

    @property
    def problem(self) -> str:
        """Why there is no environment; empty if there is one."""
        if (self.home / "ready").exists():
            return ""
        failed = self.home / "failed"
        return failed.read_text() if failed.exists() else "it is not installed; run `make clients`"

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs its program."""
        interpreter = "node" if self.is_node else str(self.home / "bin/python")
        return [interpreter, str(PROGRAMS / self.program), *arguments]


CLIENTS = (
    Client("openai", "openai_package.py", ("openai[realtime]==3.57.0",)),
    Client("openai-agents", "openai_agents.py", ("openai-agents==0.24.0",)),
    Client("pydantic-ai", "pydantic_ai_agent.py", ("pydantic-ai-slim[openai,realtime]==2.68.0",)),
    Client("livekit-agents", "livekit_agents.py", ("livekit-agents[openai]==1.8.9",)),
    Client("pipecat", "pipecat_ai.py", ("pipecat-ai[openai]==1.14.0",)),
    Client("openai (Node)", "openai_node.mjs", ("openai@6.49.0", "ws@8.23.0"), secure=True),
    Client("@openai/agents (Node)", "openai_agents_node.mjs", ("@openai/agents@0.20.0", "ws@8.23.0", "zod@4.6.7")),
)


def set_up(client: Client) -> str:
    """Make the environment of a client, if there is none. Return what went wrong; empty for nothing."""
    if not client.problem:
        return ""
    home = client.home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    if client.is_node:
        npm = shutil.which("npm") or "npm"
        commands = [[npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), *client.packages]]
    else:
        pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        commands = [[sys.executable, "-m", "venv", str(home)], [*pip, *client.packages]]
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        last = (str(output).strip().splitlines() or ["no output"])[-1]
        problem = f"{client.name} cannot be installed: {last}"
        (home / "failed").write_text(problem)
        return problem
    (home / "ready").touch()
    return ""


def main() -> None:
    """Make what is missing, two at a time. Print what cannot be made, and the folder of all."""
    with ThreadPoolExecutor(2) as pool:
        for problem in filter(None, pool.map(set_up, CLIENTS)):
            print(problem, file=sys.stderr)
    print(HOME)


if __name__ == "__main__":
    main()
