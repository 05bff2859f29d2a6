"""The cascade: speech-to-text, language model and text-to-speech as one brain, each part replaceable."""

from .answer import Answer
from .cascade import Cascade
from .parts import Call, LanguageModel, Prompt, SpeechToText, TextToSpeech, UnsayableError, Word
from .speak import Speak
from .transcribe import HearingStatistics, Transcribe

__all__ = [
    "Answer",
    "Call",
    "Cascade",
    "HearingStatistics",
    "LanguageModel",
    "Prompt",
    "Speak",
    "SpeechToText",
    "TextToSpeech",
    "Transcribe",
    "UnsayableError",
    "Word",
]
