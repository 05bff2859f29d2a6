"""Language models behind the Chat Completions protocol."""

from .language_model import ChatCompletions, FaultKind, LanguageModelError

__all__ = ["ChatCompletions", "FaultKind", "LanguageModelError"]
