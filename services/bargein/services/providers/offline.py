"""The parts of the embedded default: a brain that needs neither a key nor a network."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, NamedTuple

from bargein.services.cascade.parts import LanguageModel, SpeechToText, TextToSpeech
from bargein.services.tools import Toolbox, ToolLike

from .rules import TOOLS, Rules

__all__ = ["OfflineParts", "offline_parts", "preload_offline"]

log = logging.getLogger("bargein.offline")


class _Candidate(NamedTuple):
    """A part that the offline brain may use."""

    module: str
    name: str
    extra: str = ""
    is_installed: Callable[[Any], bool] = lambda module: bool(module.is_installed())

    def load(self) -> Any:
        """Return its module; None if there is no such module."""
        path = f"{__package__}.{self.module}"
        return importlib.import_module(path) if importlib.util.find_spec(path) is not None else None


def _always(module: Any) -> bool:
    return True  # its constructor says what is missing


EARS = (_Candidate("whisper", "WhisperEar", "whisper"), _Candidate("pocketsphinx", "PocketSphinx", "", _always))
"""Parts that hear, the best first. The last one is used if no other is installed."""
VOICES = (
    _Candidate("hibari", "Hibari", "hibari"),
    _Candidate("flite", "Flite", "", lambda module: shutil.which("flite") is not None),
    _Candidate("espeak", "ESpeak", "", _always),
)
"""Parts that speak, the best first. The last one is used if no other is installed."""
_logged: set[str] = set()


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
        tts: The voice; by default the first that is installed of `Hibari`, the program `flite`, and `ESpeak`.
        tools: The tools; by default those of `Rules`.

    Raises:
        ModuleNotFoundError: An extra is needed and not installed: `whisper` or `pocketsphinx` for the default `stt`,
            `espeak` for the default `tts`.
    """
    missing: list[str] = []
    parts = OfflineParts(
        stt=stt or _make_best(EARS, missing),
        llm=llm or Rules(),
        tts=tts or _make_best(VOICES, missing),
        tools=TOOLS if tools is None else tools,
    )
    if missing:
        names = f"{type(parts.stt).__name__} and {type(parts.tts).__name__}"
        line = f"the offline brain uses {names}; pip install 'bargein[{','.join(missing)}]' is far better"
        if line not in _logged:  # once, and not for every call of a server
            _logged.add(line)
            log.info(line)
    return parts


def _make_best(candidates: Iterable[_Candidate], missing: list[str]) -> Any:
    """Return the first part that is installed, and add the extras of those before it."""
    better: list[str] = []
    last: Any = None
    for candidate in candidates:
        module = candidate.load()
        if module is None:
            continue
        if candidate.is_installed(module):
            missing += better
            last = getattr(module, candidate.name)
            break
        if candidate.extra:
            better.append(candidate.extra)
    try:
        return last()
    except ModuleNotFoundError as error:
        if not better:
            raise
        raise ModuleNotFoundError(
            f"{error}. Or pip install 'bargein[{','.join(better)}]', which is far better", name=error.name
        ) from None


async def preload_offline() -> None:
    """Load the models of the default parts in threads. The first session then opens half a second sooner.

    Raises:
        ModuleNotFoundError: As for `offline_parts`.
    """
    parts = offline_parts()
    async with AsyncExitStack() as stack:
        for part in (parts.stt, parts.tts):
            if isinstance(part, AbstractAsyncContextManager):
                await stack.enter_async_context(part)  # when it is left, it keeps the model for the next one
