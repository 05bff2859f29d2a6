"""`Cascade`: speech-to-text, language model and text-to-speech in a row, with the contract of a realtime model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self, TypedDict, Unpack

from bargein.pipeline import Pipeline, Processor
from bargein.pipeline.lowlevel import check_instance, check_options
from bargein.processors import BargeIn, Resample, Sentences, Turns, Vad
from bargein.services.brain import DEAD_AIR_SECONDS, WAIT_REPLY, Greeting
from bargein.services.history import History
from bargein.services.tools import Toolbox, ToolLike

from ._answer import ERROR_REPLY, NO_SPEECH_REPLY, Answer
from ._base import check_part
from .parts import LanguageModel, SpeechToText, TextToSpeech
from .speak import UNSPEAKABLE_REPLY, Speak
from .transcribe import Transcribe

__all__ = ["Cascade", "CascadeOptions"]

SILENCE_MS = 500.0
"""Silence in milliseconds after which it is the agent's turn. A `Vad` needs the same time to detect the end of speech,
so a longer wait only collects more words. `benchmarks/cascade.py` measures other lengths."""


class CascadeOptions(TypedDict, total=False):
    """The options of a `Cascade`, except its parts and tools; `Cascade` explains them."""

    instructions: str
    greeting: Greeting | None
    history: History | None
    vad: Vad | None
    barge_in: BargeIn | bool | None
    turns: Turns | None
    sentences: Sentences | None
    locale: str | None
    meanwhile: Literal["queue", "interrupt"]
    error_reply: str
    no_speech_reply: str
    unspeakable_reply: str
    dead_air_seconds: float
    wait_reply: str
    fps: float
    name: str


class Cascade(Pipeline):
    """A brain made of three parts: speech-to-text, language model, text-to-speech::

        brain = Cascade(Deepgram(), ChatCompletions("gpt-4.1-mini"), ElevenLabs("JBFqnCBsd6RMkjVDRZzb"))
        brain = Cascade.offline()

    It takes and sends the same frames as a realtime model, and takes sound of any rate. It is a graph of processors: it
    can be drawn, and some of its processors can be replaced. Put `Spoken()` below it, as below any brain, and a
    `Pacer()` if the sink does not pace the sound.

    The user always gets an answer: if a part fails, the cascade speaks one of the texts `error_reply`,
    `no_speech_reply` and `unspeakable_reply`. With `greeting` it speaks first.

    Args:
        stt: The speech-to-text part.
        llm: The language model.
        tts: The text-to-speech part.
        instructions: The system prompt.
        tools: Functions that the model may call, or a `Toolbox`.
        history: The conversation to continue; a new one by default.
        vad: Detects speech; `Vad(speech_only=True)` by default.
        barge_in: Decides when the user interrupts the agent. True: `BargeIn(min_words=1)`, so that noise and
            backchannels hold the agent and do not interrupt it. False or None: never.
        turns: Decides when it is the agent's turn; by default after half a second of silence.
        sentences: Cuts the answer into pieces for the voice; by default without markup, code and emoji.
        locale: BCP 47 tag of the language in which the voice says numbers, dates, money and the like as people say them
            (`speakable`). None: the language that `stt` names. Empty: the voice gets the text as it is written.
        meanwhile: How to treat a turn that comes during an answer. `"queue"`: it is answered next. `"interrupt"`: it
            ends the answer, and is answered at once.
        error_reply: Text that is spoken if the model fails.
        no_speech_reply: Text that is spoken if the user could not be understood.
        unspeakable_reply: Text that is spoken in place of something that the voice cannot say.
        dead_air_seconds: Maximum silence while the user waits for an answer, in seconds. Before it is over,
            `wait_reply` is spoken, or an answer that was cut short is continued. `math.inf`: no limit.
        wait_reply: Text that is spoken while the model or a tool keeps the user waiting. Empty: nothing.
        greeting: The agent's first words: the words, `Say("...", protected=True)` for words that nothing interrupts,
            or `Respond(instructions=...)` to let the model choose them. It is left out if the history is not empty.
        fps: Maximum number of pictures a second that the model sees of a `Video`.
        name: The name of the brain, in drawings and statistics.

    Raises:
        TypeError: A part is missing, or two parts are in each other's places.
    """

    @check_options
    def __init__(
        self,
        stt: SpeechToText,
        llm: LanguageModel,
        tts: TextToSpeech,
        *,
        instructions: str = "",
        tools: Iterable[ToolLike] | Toolbox = (),
        history: History | None = None,
        vad: Vad | None = None,
        barge_in: BargeIn | bool | None = True,
        turns: Turns | None = None,
        sentences: Sentences | None = None,
        locale: str | None = None,
        meanwhile: Literal["queue", "interrupt"] = "queue",
        error_reply: str = ERROR_REPLY,
        no_speech_reply: str = NO_SPEECH_REPLY,
        unspeakable_reply: str = UNSPEAKABLE_REPLY,
        dead_air_seconds: float = DEAD_AIR_SECONDS,
        wait_reply: str = WAIT_REPLY,
        greeting: Greeting | None = None,
        fps: float = 1.0,
        name: str = "cascade",
    ) -> None:
        self._brain_parts = _checked(stt, llm, tts)
        check_instance("Cascade", str, locale=locale)
        self.answer = Answer(
            llm,
            instructions=instructions,
            tools=tools,
            history=history,
            meanwhile=meanwhile,
            error_reply=error_reply,
            no_speech_reply=no_speech_reply,
            dead_air_seconds=dead_air_seconds,
            wait_reply=wait_reply,
            greeting=greeting,
            fps=fps,
        )
        """The processor that answers."""
        self._options: CascadeOptions = {  # for `fresh`, which creates the same cascade again
            "vad": vad,
            "barge_in": barge_in,
            "turns": turns,
            "sentences": sentences,
            "locale": locale,
            "meanwhile": meanwhile,
            "error_reply": error_reply,
            "no_speech_reply": no_speech_reply,
            "unspeakable_reply": unspeakable_reply,
            "dead_air_seconds": dead_air_seconds,
            "wait_reply": wait_reply,
            "greeting": greeting,
            "fps": fps,
            "name": name,
        }
        listening = _listening(vad, Transcribe(stt, no_speech_reply=no_speech_reply), barge_in, turns)
        speaking = _speaking(stt, tts, sentences, unspeakable_reply, locale)
        super().__init__(*listening, self.answer, *speaking, name=name)

    @classmethod
    @check_options
    def offline(
        cls,
        *,
        stt: SpeechToText | None = None,
        llm: LanguageModel | None = None,
        tts: TextToSpeech | None = None,
        tools: Iterable[ToolLike] | Toolbox | None = None,
        **options: Unpack[CascadeOptions],
    ) -> Self:
        """Return a brain that needs neither a key nor a network.

        Nothing is loaded before its session begins.

        Args:
            stt: The speech-to-text part; by default `WhisperEar` if the extra `whisper` is installed, and
                `PocketSphinx` if not.
            llm: The language model; `Rules` by default.
            tts: The text-to-speech part; by default the first installed one of `Hibari`, the program
                `flite`, and `ESpeak`.
            tools: The tools; by default those of `Rules`.
            options: The options of `Cascade`.

        Raises:
            ModuleNotFoundError: An extra is needed and not installed: `whisper` or `pocketsphinx` for the default
                `stt`, `espeak` for the default `tts`.
        """
        # This is the only import that points up: the parts are providers, which are above this package.
        from bargein.services.providers.offline import offline_parts  # noqa: PLC0415

        parts = offline_parts(stt, llm, tts, tools)
        return cls(parts.stt, parts.llm, parts.tts, tools=parts.tools, **options)

    def fresh(self) -> Cascade:
        """Return another cascade of the same parts, tools and conversation, for the next session.

        The state of a call is in its processors, so the new cascade has new ones. Processors that were passed to this
        one are shared.
        """
        answer = self.answer
        return Cascade(
            *self._brain_parts,
            tools=answer.toolbox,
            **self._options | {"instructions": answer.instructions, "history": answer.history},
        )

    @property
    def history(self) -> History:
        """The conversation. Of the agent's words it keeps those that were heard."""
        return self.answer.history

    @history.setter
    def history(self, history: History) -> None:
        self.answer.history = history

    @property
    def toolbox(self) -> Toolbox:
        """The tools that run here, without those that the application answers."""
        return self.answer.toolbox

    @property
    def ready(self) -> bool:
        """Always true: the parts of a cascade connect by themselves, when they are needed."""
        return self.answer.ready


def _listening(
    vad: Vad | None, transcribe: Transcribe, barge_in: BargeIn | bool | None, turns: Turns | None
) -> list[Processor]:
    """Return the processors that recognise the user's speech, and decide when the user interrupts and has finished."""
    # `BargeIn` is below the recogniser, because it decides by the words.
    decides = BargeIn(min_words=1) if barge_in is True else barge_in
    return [
        Resample(transcribe.part.rate, channels=1),
        Vad(speech_only=True) if vad is None else vad,
        transcribe,
        *([decides] if isinstance(decides, BargeIn) else []),
        Turns(silence_ms=SILENCE_MS) if turns is None else turns,
    ]


def _speaking(
    stt: SpeechToText, tts: TextToSpeech, sentences: Sentences | None, unspeakable_reply: str, locale: str | None
) -> list[Processor]:
    """Return the processors that cut the answer into sentences and speak them."""
    # A text-to-speech part does not state its language. The answer is in the language that the speech-to-text part
    # understands.
    language = getattr(stt, "language", "") if locale is None else locale
    return [
        Sentences(skip=("markup", "code", "emoji")) if sentences is None else sentences,
        Speak(tts, unspeakable_reply=unspeakable_reply, locale=language),
    ]


def _checked(
    stt: SpeechToText, llm: LanguageModel, tts: TextToSpeech
) -> tuple[SpeechToText, LanguageModel, TextToSpeech]:
    """Return the three parts. Raise `TypeError` if one of them is not of the kind that its place needs."""
    check_part(stt, SpeechToText, "transcribe", "Cascade(stt)")
    check_part(llm, LanguageModel, "answer", "Cascade(llm)")
    check_part(tts, TextToSpeech, "speak", "Cascade(tts)")
    return stt, llm, tts
