"""The contract of all brains, and the rule that a user never waits in silence for long."""

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
