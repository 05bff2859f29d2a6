"""The parts of the embedded default: a brain that needs neither a key nor a network."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from typing import NamedTuple

from bargein.services.cascade.parts import LanguageModel, SpeechToText, TextToSpeech
from bargein.services.tools import Toolbox, ToolLike

from .espeak import ESpeak
from .flite import Flite
from .pocketsphinx import PocketSphinx
from .rules import TOOLS, Rules
from .whisper import WhisperEar
from .whisper import is_installed as whisper_is_installed

__all__ = ["OfflineParts", "offline_parts", "preload_offline"]

log = logging.getLogger("bargein.offline")


class OfflineParts(NamedTuple):
    """What an offline cascade is made of."""

    stt: SpeechToText
    llm: LanguageModel
    tts: TextToSpeech
    tools: Iterable[ToolLike] | Toolbox


def offline_parts(
    stt: SpeechToText | None = None,
    llm: LanguageModel | None = None,
    tts: TextToSpeech | None = None,
    tools: Iterable[ToolLike] | Toolbox | None = None,
) -> OfflineParts:
    """Return the parts of an offline cascade. Nothing is loaded before their session begins.

    Args:
        stt: The speech-to-text part; by default `WhisperEar` if the extra `whisper` is installed, and `PocketSphinx` if
            not.
        llm: The language model; `Rules` by default.
        tts: The voice; by default `Flite` if that program is installed, and `ESpeak` if not.
        tools: The tools; by default those of `Rules`.

    Raises:
        ModuleNotFoundError: An extra is needed and not installed: `whisper` or `pocketsphinx` for the default `stt`,
            `espeak` for the default `tts`.
    """
    return OfflineParts(
        stt=stt or _default_ear(),
        llm=llm or Rules(),
        tts=tts or (Flite() if shutil.which("flite") else ESpeak()),
        tools=TOOLS if tools is None else tools,
    )


def _default_ear() -> PocketSphinx | WhisperEar:
    if whisper_is_installed():
        return WhisperEar()
    try:
        ear = PocketSphinx()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}. Or pip install 'bargein[whisper]', which understands far more and takes 120 MB", name=error.name
        ) from None
    log.info("the offline brain listens with PocketSphinx; pip install 'bargein[whisper]' understands far more")
    return ear


async def preload_offline() -> None:
    """Load the model of the default speech-to-text part in a thread. The first session then opens half a second sooner.

    Raises:
        ModuleNotFoundError: As for `offline_parts`.
    """
    async with _default_ear():
        pass  # when it is left, it keeps the model for the next one
