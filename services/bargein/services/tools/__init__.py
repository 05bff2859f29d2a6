"""Tools: plain Python functions that a model may call, and what runs them."""

from .context import ToolContext
from .processor import Tools
from .runner import ToolRunner
from .tool import ArgumentsError, Tool, Toolbox, ToolError, tool

__all__ = ["ArgumentsError", "Tool", "ToolContext", "ToolError", "ToolRunner", "Toolbox", "Tools", "tool"]
