"""Runs programs in a process of their own, without paying for the same imports each time.

A process that has imported Bargein waits for the path of a program, forks, and the copy runs the program and ends as an
interpreter does. With `BARGEIN_EXTENDED=1`, and where there is no `fork`, each program starts an interpreter instead.
"""

from __future__ import annotations

import atexit
import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import tempfile
from functools import cache

from .environment import EXTENDED

__all__ = ["run_program"]

FORKER = """\
import json, os, runpy, sys
import bargein
for name in bargein.__all__:
    getattr(bargein, name)
for line in sys.stdin:
    program, out, err = json.loads(line)
    child = os.fork()
    if not child:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv, sys.path[0] = [program], os.path.dirname(program)
        runpy.run_path(program, run_name="__main__")
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run_program(path: pathlib.Path, *, timeout: float = 80) -> subprocess.CompletedProcess[str]:
    """Run a Python program and return what it printed and its exit code.

    Args:
        path: The program's file.
        timeout: The program is ended after this time, in seconds.

    Raises:
        subprocess.TimeoutExpired: The program took longer.
    """
    command = [sys.executable, str(path)]
    if EXTENDED or not hasattr(os, "fork"):
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    forker = _forker()
    assert forker.stdin is not None
    assert forker.stdout is not None
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        forker.stdin.write(json.dumps([str(path.absolute()), out.name, err.name]) + "\n")
        forker.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(forker.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                _end(forker)
                raise subprocess.TimeoutExpired(command, timeout, out.read(), err.read())
        code = forker.stdout.readline()
        assert code, f"the process that runs programs has ended with {forker.wait()}"
        return subprocess.CompletedProcess(command, int(code), out.read(), err.read())


@cache
def _forker() -> subprocess.Popen[str]:
    """Return this process's forker. It leads a process group, so that a program that hangs can be ended with it."""
    forker = subprocess.Popen(
        [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    atexit.register(_end, forker)
    return forker


def _end(forker: subprocess.Popen[str]) -> None:
    """End the forker and its program; the next one gets a new forker."""
    _forker.cache_clear()
    if forker.poll() is None:
        os.killpg(forker.pid, signal.SIGKILL)
    with forker:
        pass
