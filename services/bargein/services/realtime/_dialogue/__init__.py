"""The synchronous state of a conversation between a provider and the graph. No I/O."""

from .dialogue import Dialogue
from .requests import Request
from .silence import SAY_EXACTLY

__all__ = ["SAY_EXACTLY", "Dialogue", "Request"]
