"""Language models behind the chat-completions protocol, which OpenAI, Azure and most local servers speak."""

from .language_model import ChatCompletions, FaultKind, LanguageModelError

__all__ = ["ChatCompletions", "FaultKind", "LanguageModelError"]
