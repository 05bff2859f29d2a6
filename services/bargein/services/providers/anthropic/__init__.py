"""Anthropic language models."""

from .language_model import AnthropicMessages, FaultKind, LanguageModelError

__all__ = ["AnthropicMessages", "FaultKind", "LanguageModelError"]
