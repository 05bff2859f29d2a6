"""Anthropic language models."""

from .language_model import FaultKind, LanguageModelError, Messages

__all__ = ["FaultKind", "LanguageModelError", "Messages"]
