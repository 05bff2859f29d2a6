"""Tools: Python functions that a model may call, and the classes that run them."""

from ._schema import complete_schema
from ._simplify import without_references
from .context import ToolContext
from .processor import Tools
from .runner import CANCELLED_OUTPUT, RunsTools, ToolRunner
from .tool import ArgumentsError, Tool, Toolbox, ToolError, ToolLike, tool

__all__ = [
    "CANCELLED_OUTPUT",
    "ArgumentsError",
    "RunsTools",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolLike",
    "ToolRunner",
    "Toolbox",
    "Tools",
    "complete_schema",
    "tool",
    "without_references",
]
