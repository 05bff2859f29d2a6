"""The cascade: hearing, thinking and speaking in a row, with the contract of a realtime model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bargein.pipeline import Pipeline
from bargein.processors import BargeIn, Resample, Sentences, Turns, Vad

from ..history import History
from ..tools import Tool, Toolbox
from .answer import Answer
from .parts import LanguageModel, SpeechToText, TextToSpeech
from .speak import Speak
from .transcribe import Transcribe

__all__ = ["Cascade"]


class Cascade(Pipeline):
    """A brain made of three parts: speech-to-text, language model, text-to-speech::

        brain = Cascade(PocketSphinx(), Rules(), ESpeak())

    It takes and gives the same frames as a realtime model, and is the graph that it looks like: it can be drawn, and
    `vad`, `barge_in`, `turns` and `sentences` are processors that may be replaced, `barge_in=None` among them. Sound of
    any rate is taken. Stand `Spoken()` and `Pacer()` below it, as below any brain.
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
        name: str = "cascade",
    ) -> None:
        self.answer = Answer(llm, instructions=instructions, tools=tools, history=history)
        """What answers: its `history` is the conversation."""
        interrupts = BargeIn() if barge_in is True else barge_in
        super().__init__(
            Resample(stt.rate, channels=1),
            Vad(speech_only=True) if vad is None else vad,
            Transcribe(stt),
            *([interrupts] if isinstance(interrupts, BargeIn) else []),
            Turns() if turns is None else turns,
            self.answer,
            Sentences(skip=("markup", "code", "emoji")) if sentences is None else sentences,
            Speak(tts),
            name=name,
        )

    @property
    def history(self) -> History:
        """The conversation, as it was heard."""
        return self.answer.history
