"""Test doubles: a scripted brain, and scripted servers that replace the providers without a key or a network."""

from .gemini import ScriptedGemini, ScriptedTurn
from .nova import ScriptedNova
from .scripted_brain import ScriptedBrain, Step

__all__ = ["ScriptedBrain", "ScriptedGemini", "ScriptedNova", "ScriptedTurn", "Step"]
