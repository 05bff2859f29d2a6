"""The cascade: hearing, thinking and speaking in a row, with the contract of a realtime model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from typing import Any, Literal, Self

from bargein.pipeline import Pipeline
from bargein.processors import BargeIn, Resample, Sentences, Turns, Vad
from bargein.services.history import History
from bargein.services.tools import Tool, Toolbox

from ._base import checked
from .answer import ERROR_REPLY, NO_SPEECH_REPLY, Answer
from .parts import LanguageModel, SpeechToText, TextToSpeech
from .speak import UNSPEAKABLE_REPLY, Speak
from .transcribe import Transcribe

__all__ = ["Cascade"]

SILENCE_MS = 500.0
"""After so much silence it is the agent's turn. A `Vad` needs as much to know that speech has ended: who waits longer
waits only for more words. `benchmarks/cascade.py` has figures for other lengths."""


class Cascade(Pipeline):
    """A brain made of three parts: speech-to-text, language model, text-to-speech::

        brain = Cascade(Deepgram(), ChatCompletions("gpt-4.1-mini"), ElevenLabs("JBFqnCBsd6RMkjVDRZzb"))
        brain = Cascade.offline()

    It takes and gives the same frames as a realtime model, and is the graph that it looks like: it can be drawn, and
    `vad`, `barge_in`, `turns` and `sentences` are processors that may be replaced, `barge_in=None` among them. Sound of
    any rate is taken. Stand `Spoken()` and `Pacer()` below it, as below any brain.

    `meanwhile` and `fps` are those of `Answer`. No call goes dead: `apology` is said where the model fails, `unheard`
    where the user spoke and could not be understood, `unsayable` for what the voice has no sound for. To greet the
    user, send a `Say`.

    Raises `TypeError` for a part that is none, or in another's place.
    """

    def __init__(
        self,
        stt: SpeechToText,
        llm: LanguageModel,
        tts: TextToSpeech,
        *,
        instructions: str = "",
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox = (),
        history: History | None = None,
        vad: Vad | None = None,
        barge_in: BargeIn | bool | None = True,
        turns: Turns | None = None,
        sentences: Sentences | None = None,
        meanwhile: Literal["queue", "interrupt"] = "queue",
        apology: str = ERROR_REPLY,
        unheard: str = NO_SPEECH_REPLY,
        unsayable: str = UNSPEAKABLE_REPLY,
        fps: float = 1.0,
        name: str = "cascade",
    ) -> None:
        self.answer = Answer(
            llm,
            instructions=instructions,
            tools=tools,
            history=history,
            meanwhile=meanwhile,
            apology=apology,
            unheard=unheard,
            fps=fps,
        )
        """What answers: its `history` is the conversation."""
        checked(stt, SpeechToText, "transcribe")  # before its rate is asked for
        self._made_of = stt, llm, tts
        self._options: dict[str, Any] = {
            "vad": vad,
            "barge_in": barge_in,
            "turns": turns,
            "sentences": sentences,
            "meanwhile": meanwhile,
            "apology": apology,
            "unheard": unheard,
            "unsayable": unsayable,
            "fps": fps,
            "name": name,
        }
        interrupts = BargeIn() if barge_in is True else barge_in
        super().__init__(
            Resample(stt.rate, channels=1),
            Vad(speech_only=True) if vad is None else vad,
            Transcribe(stt, unheard=unheard),
            *([interrupts] if isinstance(interrupts, BargeIn) else []),
            Turns(silence_ms=SILENCE_MS) if turns is None else turns,
            self.answer,
            Sentences(skip=("markup", "code", "emoji")) if sentences is None else sentences,
            Speak(tts, unsayable=unsayable),
            name=name,
        )

    @classmethod
    def offline(
        cls,
        *,
        stt: SpeechToText | None = None,
        llm: LanguageModel | None = None,
        tts: TextToSpeech | None = None,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox | None = None,
        **options: Any,
    ) -> Self:
        """A brain that needs neither key nor network: `PocketSphinx`, `Rules` with their `TOOLS`, and a voice.

        The voice is `Flite` where that program is installed, else `ESpeak`. Each part can be another; the options are
        those of a cascade. To make one costs next to nothing: what has to be loaded is loaded when its session begins.

        Raises `ModuleNotFoundError` where the extras `pocketsphinx` and `espeak` are needed and not installed.
        """
        from bargein.services.providers.espeak import ESpeak
        from bargein.services.providers.flite import Flite
        from bargein.services.providers.pocketsphinx import PocketSphinx
        from bargein.services.providers.rules import TOOLS, Rules

        return cls(
            stt or PocketSphinx(),
            llm or Rules(),
            tts or (Flite() if shutil.which("flite") else ESpeak()),
            tools=TOOLS if tools is None else tools,
            **options,
        )

    def again(self) -> Cascade:
        """Another one of the same parts, with the same tools and conversation, for the next session.

        Processors that were given to this one are shared.
        """
        answer = self.answer
        return Cascade(
            *self._made_of,
            instructions=answer.instructions,
            tools=answer.runner.toolbox,
            history=answer.history,
            **self._options,
        )

    @property
    def history(self) -> History:
        """The conversation, as it was heard."""
        return self.answer.history
