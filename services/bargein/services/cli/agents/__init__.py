"""The agents behind the commands: the built-in one, and one's own in a file or module."""

from .built_in import make_agent
from .file import AgentFile, AgentFileError, find_agent, required_parameters, returns_graph
from .reload import FolderWatch, forget_modules, load_when_ready, reload_agent

__all__ = [
    "AgentFile",
    "AgentFileError",
    "FolderWatch",
    "find_agent",
    "forget_modules",
    "load_when_ready",
    "make_agent",
    "reload_agent",
    "required_parameters",
    "returns_graph",
]
