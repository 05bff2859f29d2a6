"""A language model made of rules, for demonstrations and tests without a key or a network, and the tools it calls."""

from .language_model import Rules
from .small_talk import SMALL_TALK, Rule
from .tools import TOOLS, calculate, current_date, current_time, weather

__all__ = ["SMALL_TALK", "TOOLS", "Rule", "Rules", "calculate", "current_date", "current_time", "weather"]
