"""The cascade: speech-to-text, language model and text-to-speech as one brain, each part replaceable."""

from ._answer import Answer
from .cascade import Cascade, CascadeOptions
from .parts import LanguageModel, Prompt, SpeechToText, TextToSpeech, ToolRequest, UnspeakableError, Word
from .speak import Speak
from .summary import summarise_with
from .transcribe import Transcribe, TranscriptionStatistics

__all__ = [
    "Answer",
    "Cascade",
    "CascadeOptions",
    "LanguageModel",
    "Prompt",
    "Speak",
    "SpeechToText",
    "TextToSpeech",
    "ToolRequest",
    "Transcribe",
    "TranscriptionStatistics",
    "UnspeakableError",
    "Word",
    "summarise_with",
]
