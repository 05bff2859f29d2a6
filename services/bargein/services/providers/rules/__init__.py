"""A language model made of rules, for demos and tests."""

from .language_model import SMALL_TALK, TOOLS, Rule, Rules, calculate, current_time, set_timer, weather

__all__ = ["SMALL_TALK", "TOOLS", "Rule", "Rules", "calculate", "current_time", "set_timer", "weather"]
