"""`bargein demo --reload`: the agent's code is imported again when one of its files changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
from anyio import to_thread

from bargein.pipeline.lowlevel import check_options
from bargein.services.cli._console import errors, print_error
from bargein.services.transports import BuildAgent, Sessions

from .file import AgentFile, AgentFileError

__all__ = ["FolderWatch", "forget_modules", "load_when_ready", "reload_agent"]

POLL_SECONDS = 0.5
"""Time between two looks at the files. A look at a thousand files takes some milliseconds in a worker thread."""
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})

Times = dict[Path, int]


class FolderWatch:
    """Notices changes of the Python files in a folder and its subfolders, from its construction on.

    It compares the times of all files. The library watchfiles would be told by the system, but is one more compiled
    dependency, and the system tells nothing about network drives. Hidden folders and virtual environments are skipped.

    Args:
        folder: The folder to watch.
    """

    @check_options
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """The folder."""
        self._known = _modification_times(folder)

    async def next(self) -> set[Path]:
        """Wait for a change and return the files that were changed, added or removed."""
        while True:
            await anyio.sleep(POLL_SECONDS)
            now = await to_thread.run_sync(_modification_times, self.folder)
            changed = {path for path, _ in self._known.items() ^ now.items()}
            self._known = now
            if changed:
                return changed


async def load_when_ready(file: AgentFile, folder: FolderWatch) -> BuildAgent:
    """Return the agent of a file. While it cannot be loaded, print why and wait for the next change.

    Args:
        file: The file that has the agent.
        folder: The folder whose changes are waited for.
    """
    # Bytecode is considered valid by the second of its source: two quick changes would load the older code.
    sys.dont_write_bytecode = True
    while True:
        try:
            return file.load_agent()
        except AgentFileError as error:
            print_error(f"{error}\nWaiting for a change in {folder.folder} ...")
        await folder.next()
        forget_modules(folder.folder)


async def reload_agent(file: AgentFile, folder: FolderWatch, sessions: Sessions) -> None:
    """Watch the folder of an agent until cancelled. After a change, give the new agent to the peers that come next.

    The calls in progress finish what they are saying and end: they would go on with the old agent otherwise. Code that
    cannot be loaded changes nothing.

    Args:
        file: The file that has the agent.
        folder: The folder whose changes are waited for.
        sessions: The running sessions, whose `agent` is replaced.
    """
    while True:
        changed = await folder.next()
        forget_modules(folder.folder)
        try:
            sessions.agent = file.load_agent()
        except AgentFileError as error:
            print_error(f"{error}\nThe page goes on with the agent as it was.")
            continue
        ended = sessions.finish()
        calls = f"; calls that end: {ended}" if ended else ""
        names = ", ".join(sorted(each.name for each in changed))
        errors.print(f"Reloaded after a change of {names}{calls}.", style="dim", markup=False, highlight=False)


def _modification_times(folder: Path) -> Times:
    times: Times = {}
    for path in _python_files(folder):
        try:
            times[path] = path.stat().st_mtime_ns
        except OSError:
            continue  # it was removed meanwhile
    return times


def _python_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [each for each in folders if not each.startswith(".") and each not in SKIPPED_FOLDERS]
        yield from (Path(parent, each) for each in files if each.endswith(".py"))


def forget_modules(folder: Path) -> None:
    """Remove the modules of a folder from `sys.modules`, so that they are imported again.

    Bargein's own modules stay, also in a checkout that holds the agent: new copies of its classes would not be the
    classes that the running server knows.

    Args:
        folder: The folder.
    """
    files = set(_python_files(folder))
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and Path(path) in files and name != "__main__" and name.partition(".")[0] != "bargein":
            del sys.modules[name]
