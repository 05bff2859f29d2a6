"""Anthropic's language models, and other servers of the messages protocol."""

from .language_model import AnthropicMessages, FaultKind, LanguageModelError

__all__ = ["AnthropicMessages", "FaultKind", "LanguageModelError"]
