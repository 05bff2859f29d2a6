"""`AgentFile`: the file or module that a command is given, and the agent or the graph in it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from bargein.pipeline import Graph, Processor
from bargein.pipeline.lowlevel import check_options
from bargein.services.server.run import collect_agents
from bargein.services.transports import BuildAgent

__all__ = ["AgentFile", "AgentFileError", "find_agent", "required_parameters", "returns_graph"]

EXPECTED = "an agent is a function of one argument: def agent(peer: Transport) -> Pipeline"
SKIPPED_FRAMES = (str(Path(__file__)), "<frozen importlib", os.path.join("importlib", "__init__.py"))
"""Beginnings or parts of the file names that a traceback leaves out: the frames of the import itself."""


class AgentFileError(ValueError):
    """A file or module cannot be used. The text says what is wrong with it and what to do."""


class AgentFile:
    """A Python file or module, and optionally a name in it.

    Args:
        target: `agent.py`, `agent.py:name`, `package.module` or `package.module:name`. Modules are looked for in the
            current folder first.
    """

    @check_options
    def __init__(self, target: str) -> None:
        path, colon, name = target.rpartition(":")
        if not colon or Path(target).exists() or not name.isidentifier():
            path, name = target, ""
        self.path = Path(path)
        """The file, or what looks like one."""
        self.name = name
        """The name in it; empty for the only agent or graph."""
        self._module_name = "" if _is_path(path) else path

    @property
    def folder(self) -> Path:
        """The folder of the code: that of the file, or the current folder for a module."""
        return Path.cwd() if self._module_name else self.path.parent.resolve()

    def load(self) -> ModuleType:
        """Import the file or module. Its `if __name__ == "__main__"` does not run, and its `run_page` does nothing.

        Raises:
            AgentFileError: It does not exist, is not Python, or raises an exception; then the text has the traceback.
        """
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))  # it stays, because functions may import the file's neighbours later
        with collect_agents() as agents:
            module = _import(self._module_name, _import_by_name) if self._module_name else _load_file(self.path)
        if agents and not hasattr(module, "agent"):
            module.__dict__["agent"] = agents[-1]  # such as a lambda that was given to run_page
        return module

    def load_agent(self) -> BuildAgent:
        """Import the file or module and return its agent.

        Raises:
            AgentFileError: It cannot be imported, or has no agent.
        """
        return find_agent(self.load(), self.name)


def _is_path(text: str) -> bool:
    return text.endswith(".py") or os.sep in text or "/" in text or Path(text).exists()


def _load_file(path: Path) -> ModuleType:
    if path.is_dir():
        raise AgentFileError(f"{path} is a folder; name a file in it, such as {path / 'agent.py'}")
    if not path.is_file():
        raise AgentFileError(f"{path}: this file does not exist; `bargein new my_agent` writes a first agent")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise AgentFileError(f"{path}: this is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # annotations of its classes are looked up by the module's name
    execute = spec.loader.exec_module
    _import(str(path), lambda _: execute(module))
    return module


def _import_by_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a module that it imports is missing, not the module itself
        raise AgentFileError(
            f"there is no module {error.name!r}, neither in {Path.cwd()} nor installed; "
            f"for a file, write its name with the ending: {name}.py"
        ) from None


def _import(name: str, run: Callable[[str], Any]) -> Any:
    """Run an import. An exception becomes an `AgentFileError` with the traceback of the imported code alone."""
    try:
        return run(name)
    except AgentFileError:
        raise
    except Exception as error:
        shown = traceback.TracebackException.from_exception(error)
        shown.stack = traceback.StackSummary.from_list(
            [each for each in shown.stack if not any(part in each.filename for part in SKIPPED_FRAMES)]
        )
        raise AgentFileError(
            f"{name} cannot be imported. Correct the line that the traceback names last.\n{''.join(shown.format())}"
        ) from error


def find_agent(module: ModuleType, name: str = "") -> BuildAgent:
    """Return the agent of a module.

    Args:
        module: The module to look in.
        name: The function's name. An empty string takes the function `agent`, or the only one that could be an agent.

    Raises:
        AgentFileError: There is no such function, there are several, or it does not take one argument.
    """
    if name:
        if not hasattr(module, name):
            names = ", ".join(_candidates(module)) or "no function that could be an agent"
            raise AgentFileError(f"{module.__name__} has no {name!r}; it has {names}")
        return _check_agent(getattr(module, name), name)
    if hasattr(module, "agent"):
        return _check_agent(module.agent, "agent")
    found = _candidates(module)
    if not found:
        raise AgentFileError(f"{module.__name__} has no agent; {EXPECTED}")
    if len(found) > 1:
        raise AgentFileError(
            f"{module.__name__} has several functions that could be the agent: {', '.join(found)}; "
            "call one of them `agent`, or name it: FILE:NAME"
        )
    ((name, function),) = found.items()
    return _check_agent(function, name)


def _candidates(module: ModuleType) -> dict[str, Any]:
    """Return the functions that a module defines with one argument, a transport, or with a graph as their result."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(value)
        and value.__module__ == module.__name__
        and len(required_parameters(value)) == 1
        and (returns_graph(value) or _takes_transport(value))
    }


def _takes_transport(function: Callable[..., object]) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()))
    return str(getattr(first.annotation, "__name__", first.annotation)).rpartition(".")[2] == "Transport"


def returns_graph(function: Callable[..., object]) -> bool:
    """Return whether a function's annotation says that it returns a graph.

    Args:
        function: A function, which need not have annotations.
    """
    annotation = inspect.signature(function).return_annotation
    return str(getattr(annotation, "__name__", annotation)).rpartition(".")[2] in ("Graph", "Pipeline")


def required_parameters(function: Callable[..., object]) -> list[str]:
    """Return the parameters that have no default.

    Args:
        function: Any function.
    """
    return [name for name, each in inspect.signature(function).parameters.items() if each.default is each.empty]


def _check_agent(value: Any, name: str) -> BuildAgent:
    """Return the agent, or raise `AgentFileError` if it cannot be called with a transport."""
    if isinstance(value, Graph | Processor):
        raise AgentFileError(f"{name!r} is a {type(value).__name__}, but every call needs a new one; {EXPECTED}")
    if not callable(value) or inspect.isclass(value):
        what = "class" if inspect.isclass(value) else type(value).__name__
        raise AgentFileError(f"{name!r} is not a function but {what}; {EXPECTED}")
    if inspect.iscoroutinefunction(value):
        raise AgentFileError(f"{name}() is async; remove `async`, and await in the processors instead; {EXPECTED}")
    signature = inspect.signature(value)
    try:
        signature.bind(None)
    except TypeError:
        raise AgentFileError(f"{name}{signature} cannot be called with one argument; {EXPECTED}") from None
    agent: BuildAgent = value
    return agent
