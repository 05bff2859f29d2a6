"""What all brains share: their contract, and the rule that a call is never dead."""

from .contract import ALTERNATIVES, Brain, Greeting, UnsupportedError, find_brain, find_brains, greeting_frame
from .dead_air import CONTINUE, DEAD_AIR_SECONDS, MAX_TRIES, WAIT_REPLY, DeadAir

__all__ = [
    "ALTERNATIVES",
    "CONTINUE",
    "DEAD_AIR_SECONDS",
    "MAX_TRIES",
    "WAIT_REPLY",
    "Brain",
    "DeadAir",
    "Greeting",
    "UnsupportedError",
    "find_brain",
    "find_brains",
    "greeting_frame",
]
