"""The synchronous state of a conversation between a provider and the graph. No I/O."""

from .dialogue import Dialogue
from .requests import Request

__all__ = ["Dialogue", "Request"]
