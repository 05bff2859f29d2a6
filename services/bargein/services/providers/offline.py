"""The parts of the embedded default: a brain that needs neither a key nor a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from bargein.services.cascade.parts import LanguageModel, SpeechToText, TextToSpeech
from bargein.services.tools import Tool, Toolbox

from .espeak import ESpeak
from .flite import Flite
from .pocketsphinx import PocketSphinx
from .rules import TOOLS, Rules

__all__ = ["OfflineParts", "offline_parts"]


class OfflineParts(NamedTuple):
    """What an offline cascade is made of."""

    stt: SpeechToText
    llm: LanguageModel
    tts: TextToSpeech
    tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox


def offline_parts(
    stt: SpeechToText | None = None,
    llm: LanguageModel | None = None,
    tts: TextToSpeech | None = None,
    tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox | None = None,
) -> OfflineParts:
    """Return the parts of an offline cascade. Nothing is loaded before their session begins.

    Args:
        stt: The speech-to-text part; `PocketSphinx` by default.
        llm: The language model; `Rules` by default.
        tts: The voice; by default `Flite` if that program is installed, and `ESpeak` if not.
        tools: The tools; by default those of `Rules`.

    Raises:
        ModuleNotFoundError: The extra `pocketsphinx` or `espeak` is needed and not installed.
    """
    return OfflineParts(
        stt=stt or PocketSphinx(),
        llm=llm or Rules(),
        tts=tts or (Flite() if shutil.which("flite") else ESpeak()),
        tools=TOOLS if tools is None else tools,
    )
