"""Test doubles: scripted brains, and stand-ins for the providers, without key or network."""

from .gemini import ScriptedGemini, ScriptedTurn
from .nova import ScriptedNova
from .scripted_brain import ScriptedBrain, Step

__all__ = ["ScriptedBrain", "ScriptedGemini", "ScriptedNova", "ScriptedTurn", "Step"]
