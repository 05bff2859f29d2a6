"""What users and the world throw at a cascade: a typed failure, or something said in its place; never a dead call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Frame, ResponseEnded, Text, Transcript, UserText
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness, framed, noise, silence
from bargein.processors import Heard, Pacer, Spoken, Turn
from bargein.services.cascade import (
    Cascade,
    LanguageModel,
    Prompt,
    SpeechToText,
    TextToSpeech,
    ToolRequest,
    UnspeakableError,
    Word,
)
from bargein.services.providers.anthropic import AnthropicMessages
from bargein.services.providers.cartesia import Cartesia
from bargein.services.providers.chat import ChatCompletions
from bargein.services.providers.deepgram import Deepgram
from bargein.services.providers.elevenlabs import ElevenLabs
from bargein.services.providers.espeak import ESpeak
from bargein.services.providers.flite import Flite
from bargein.services.providers.openai.client.speech import OpenAISpeech, OpenAITranscription
from bargein.services.providers.rules import TOOLS, Rules
from bargein.services.tools import tool
from tests.environment import need
from tests.speech import utterances

from .parts import Ears, Mind, Voice

pytestmark = pytest.mark.virtual

WAIT_REPLY = "One moment, please."
ERROR_REPLY = "Sorry, something went wrong. Could you say that again?"
NO_SPEECH_REPLY = "Sorry, I did not hear you."
UNSPEAKABLE_REPLY = "Sorry, I cannot say that."


def call(brain: Cascade) -> Harness:
    return Harness(brain, Spoken(), Pacer())


def heard(harness: Harness) -> list[str]:
    """What the user heard of each item."""
    return [frame.text.strip() for frame in harness.of(Heard) if frame.done and frame.text.strip()]


async def typed(brain: Cascade, *texts: str) -> tuple[list[str], list[Failure]]:
    """Type something, and wait for its answer; what was heard, and what failed."""
    async with call(brain) as harness:
        for text in texts:
            await harness.send(UserText(text=text))
            await harness.next(ResponseEnded, within_seconds=200)
            await anyio.sleep(20)
        await harness.session.cancel()
        return heard(harness), harness.of(Failure)


# Keys and models ------------------------------------------------------------------------------------------------------

REMOTE: dict[str, Callable[[], Any]] = {
    "OPENAI_API_KEY, to think": lambda: ChatCompletions("gpt-4.1-mini"),
    "ANTHROPIC_API_KEY": lambda: AnthropicMessages("claude-haiku-4-5"),
    "DEEPGRAM_API_KEY": Deepgram,
    "OPENAI_API_KEY, to hear": OpenAITranscription,
    "ELEVENLABS_API_KEY": lambda: ElevenLabs("voice"),
    "CARTESIA_API_KEY": lambda: Cartesia("voice"),
    "OPENAI_API_KEY, to speak": partial(OpenAISpeech, "gpt-4o-mini-tts"),
}


@pytest.mark.parametrize("name", REMOTE)
def test_a_missing_key_is_told_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the part is made, with the variable that it may be in."""
    variable = name.split(",", maxsplit=1)[0]
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ValueError, match=variable):
        REMOTE[name]()


async def test_a_part_that_cannot_begin_ends_the_session() -> None:
    """With its own exception, and the name of the processor."""

    class NoModel(Mind):
        async def __aenter__(self) -> NoModel:
            raise FileNotFoundError("there is no model at /models/none")

    with pytest.raises(FileNotFoundError, match="no model") as caught:
        async with call(Cascade(Ears(), NoModel(["x"]), Voice())) as harness:
            await harness.next(Audio, within_seconds=5)
    assert any("answer" in note for note in caught.value.__notes__)


async def test_a_model_that_is_not_there_is_apologised_for() -> None:
    """And so are one that says nothing at all, one that is stuck, and one that sends nonsense in the middle."""
    stuck = Mind([1000.0])
    minds: list[LanguageModel] = [Mind([LookupError("no such model")]), Mind([]), Mind(["", ""]), stuck]
    for mind in minds:
        said, failures = await typed(Cascade(Ears(), mind, Voice()), "Hello.")
        assert said == ([WAIT_REPLY] if mind is stuck else []) + [ERROR_REPLY]
        assert len(failures) == 1
        assert isinstance(failures[0].error, Exception)
    said, failures = await typed(Cascade(Ears(), Mind(["Well, ", ValueError("nonsense")]), Voice()), "Hello.")
    assert said == ["Well,", ERROR_REPLY]
    assert [failure.message for failure in failures] == ["Mind: nonsense"]


# Sound ----------------------------------------------------------------------------------------------------------------


async def test_an_ear_that_fails_is_told_to_who_spoke() -> None:
    """Each time; the next utterance is heard."""
    ears = Ears(ConnectionError("no network"), "Can you hear me?")
    brain = Cascade(ears, Mind(["I can."]), Voice())
    async with call(brain) as harness:
        for _ in range(2):
            said = np.concatenate([utterances()["yes"].samples, utterances()["time"].samples, silence(4000)])
            await harness.play(list(framed(said)))
        await anyio.sleep(5)
        assert [frame.message for frame in harness.of(Failure)] == ["Ears: no network"]
        assert heard(harness) == [NO_SPEECH_REPLY, "I can."]
        await harness.session.cancel()


RATES = {"8 kHz": (8000, 1), "44.1 kHz in stereo": (44_100, 2), "48 kHz": (48_000, 1)}


@pytest.mark.parametrize("what", ["hardly anything", "a lot of noise"])
@pytest.mark.timeout(120)
async def test_what_is_no_speech_does_not_stop_the_call(what: str) -> None:
    """Real ears and a real voice: it may be misheard, but the question after it is answered."""
    pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    time = np.arange(2 * 16_000)
    hum = np.rint(3000 * np.sin(2 * np.pi * 50 * time / 16_000)).astype(np.int16)
    crackle = np.where(time % 1600 < 3, 30_000, 0).astype(np.int16)
    square = np.where(time % 160 < 80, 32_767, -32_768).astype(np.int16)
    sound = {
        "hardly anything": [silence(2000), noise(2000, dbfs=-60.0), hum],
        "a lot of noise": [noise(2000, dbfs=-20.0), crackle, square],
    }[what]
    brain = Cascade.offline(tts=ESpeak())
    async with call(brain) as harness:
        await harness.play(list(framed(np.concatenate([*sound, silence(3000)]))))
        await anyio.sleep(15)
        before = len(heard(harness))
        await harness.play(list(framed(np.concatenate([utterances()["weather"].samples, silence(3000)]))))
        await anyio.sleep(15)
        assert any("Paris" in each for each in heard(harness)[before:])
        assert not harness.of(Failure)
        await harness.session.cancel()


@pytest.mark.parametrize("rate", RATES)
async def test_sound_of_any_rate_is_taken(rate: str) -> None:
    """Mono or not."""
    hertz, channels = RATES[rate]
    samples = utterances()["time"].samples
    at = np.arange(round(len(samples) * hertz / 16_000)) * 16_000 / hertz
    said = np.interp(at, np.arange(len(samples)), samples).astype(np.int16)
    said = np.concatenate([said, np.zeros(hertz * 2, np.int16)])
    said = np.repeat(said[:, None], channels, axis=1) if channels > 1 else said
    frames: list[Frame] = list(framed(said, rate=hertz))
    async with call(Cascade(Ears("What time is it?"), Mind(["Noon."]), Voice())) as harness:
        await harness.play(frames)
        await anyio.sleep(3)
        assert heard(harness) == ["Noon."]
        await harness.session.cancel()


# Text -----------------------------------------------------------------------------------------------------------------

SCRIPTS = {
    "Chinese": "巴黎的天气怎么样？",
    "Arabic": "كيف الطقس في باريس؟",
    "Hindi": "पेरिस में मौसम कैसा है?",
    "Greek": "Τι καιρό κάνει στο Παρίσι;",
    "emoji": "👍👍🏽 👩‍👩‍👧",
    "nothing": "   \n\t ",
    "control characters": "\x00\x07\x1b[2J",
    "half a character": "my name is \ud800",
    "markup": "<speak>&lt;</speak> ```rm -rf``` {city} {0!r}",
    "length": "weather in " * 20_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("voice", [ESpeak, Flite])
async def test_whatever_is_typed_is_answered(script: str, voice: Callable[[], TextToSpeech]) -> None:
    """The rules know a little English and say when they do not understand. The next question is answered."""
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    if voice is Flite:
        need("flite")
    brain = Cascade(Ears(), Rules(), voice(), tools=TOOLS)
    said, _ = await typed(brain, SCRIPTS[script], "thank you")
    assert len(said) >= 2
    assert said[-1] == "You are welcome."


@pytest.mark.parametrize("text", ["こんにちは。", "Привет, как дела?", "你好。"])
async def test_what_a_voice_has_no_sound_for_is_told(text: str) -> None:
    """Flite knows ASCII alone: a typed failure, words in its place, and no memory of what was not heard."""
    need("flite")
    brain = Cascade(Ears(), Mind([text], ["Hello."]), Flite())
    said, failures = await typed(brain, "Hello?", "And now?")
    assert said == [UNSPEAKABLE_REPLY, "Hello."]
    assert [type(failure.error) for failure in failures] == [UnspeakableError]
    assert f"a text of {len(text)} characters" in failures[0].message
    assert [entry.remembered for entry in brain.history if entry.role == "assistant"] == ["", "Hello."]


async def test_a_voice_that_can_say_some_of_it_says_that() -> None:
    """The rest is told."""
    brain = Cascade(Ears(), Mind(["Ein Spaß, ja. Aber gern. "]), Voice(cannot="ß"))
    said, failures = await typed(brain, "Wie geht es?")
    assert len(said) == 1
    assert said[0].endswith("Aber gern.")
    assert [failure.message for failure in failures] == ["Voice: I cannot say ß"]


async def test_a_voice_that_cannot_say_anything_does_not_stop_the_call() -> None:
    """Each attempt is a failure; one that is stuck is given up."""

    class Mute(TextToSpeech):
        rate = 16_000

        async def speak(self, text: str) -> AsyncIterator[Samples | Word]:
            if text != UNSPEAKABLE_REPLY:
                raise OSError("no loudspeaker")
            await anyio.sleep_forever()
            yield silence(20)

    async with call(Cascade(Ears(), Mind(["Hello."]), Mute())) as harness:
        for _ in range(2):
            await harness.send(UserText(text="Hello?"))
            await harness.next(ResponseEnded, within_seconds=60)
        await anyio.sleep(40)
        said = ["Mute: no loudspeaker", "Mute: it has sent no sound for 15 s"]
        assert [frame.message for frame in harness.of(Failure)] == said * 2
        await harness.session.cancel()


# Tools ----------------------------------------------------------------------------------------------------------------


async def test_a_tool_that_fails_is_told_in_words() -> None:
    """Whatever goes wrong with it, the model hears of it, and the user of that."""

    @tool
    def broken(city: str) -> str:
        raise RuntimeError("the sensor is wet")

    @tool(timeout_seconds=1)
    async def slow(city: str) -> str:
        await anyio.sleep_forever()
        return ""

    calls = {
        "broken": ('{"city": "Paris"}', "broken did not work"),
        "slow": ('{"city": "Paris"}', "slow did not answer within 1 s and was stopped"),
        "absent": ("{}", "there is no tool 'absent'; the tools are: broken, slow"),
        "broken ": ('{"city": 5', ""),
    }
    for name, (arguments, says) in calls.items():

        def told(prompt: Prompt) -> list[str]:
            return [str(prompt.entries[-1].output)]

        mind = Mind([ToolRequest(name=name.strip(), arguments=arguments)], told)
        said, failures = await typed(Cascade(Ears(), mind, Voice(), tools=[broken, slow]), "Hello?")
        assert "".join(said).startswith(says)
        assert said
        assert not failures


async def test_the_rules_tell_what_a_tool_did_not_find() -> None:
    """In the words of the tool."""
    brain = Cascade(Ears(), Rules(), Voice(), tools=TOOLS)
    said, _ = await typed(brain, "What is the weather in Atlantis?")
    assert [each.split(";")[0] for each in said] == ["I do not know Atlantis"]


# Everything at once ---------------------------------------------------------------------------------------------------


async def test_a_stuck_ear_does_not_stop_the_call() -> None:
    """It is given up ten seconds after the end of the sound."""

    class Stuck(SpeechToText):
        async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
            await anyio.sleep_forever()
            yield ""

    async with call(Cascade(Stuck(), Mind(["Hello."]), Voice())) as harness:
        await harness.play(list(framed(np.concatenate([utterances()["time"].samples, silence(12_000)]))))
        await anyio.sleep(5)
        assert heard(harness) == [WAIT_REPLY, NO_SPEECH_REPLY]
        assert [frame.message for frame in harness.of(Failure)] == ["Stuck: no final words within 10 s"]
        frames: list[Frame] = [*harness.of(Turn), *harness.of(Transcript)]
        assert [frame for frame in frames if isinstance(frame, Turn)] == []
        await harness.send(UserText(text="Hello?"))
        await harness.next(Text, within_seconds=5)
        await harness.session.cancel()
