"""How well and how soon does a cascade answer, with the parts that need neither key nor network?

* Of 100 words spoken, how many are heard wrong: thirty-two synthesised sentences (`tests/data/speech`) by three voices,
  each heard by a PocketSphinx of its own, and how long hearing takes for each second of sound. Floor: the library's
  decoder by hand, given the whole sound at once.
* From the end of speech to the first sound of the answer, in real time, part by part: until the detector knows that
  speech has ended, the last words are understood, the turn is the agent's, the model has begun to write, there is a
  speakable piece, the voice has made sound of it, the pacer lets it go. And all of it with other silences, without
  waiting for the last words (eager), and with better ones (thorough). Floor: the silence that is waited for, and by
  hand the decoder's last step and the first sound of espeak-ng.
"""

from __future__ import annotations

import ctypes
import importlib
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from _kit import best, clock, options, run, show

from bargein.pipeline import Audio, Frame, Pipeline, SpeechStopped, Text, Transcript
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.statistics import Hop
from bargein.pipeline.testing import framed, silence
from bargein.processors import Pacer, Spoken, Turn, Turns, Vad
from bargein.services.cascade import Cascade
from bargein.services.cascade.cascade import SILENCE_MS
from bargein.services.providers.espeak import ESpeak
from bargein.services.providers.pocketsphinx import PocketSphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.speech import Utterance, errors, utterances, words

STEPS: dict[str, tuple[str, type[Frame]]] = {
    "detector": ("Vad", SpeechStopped),
    "last words": ("transcribe", Transcript),
    "turn": ("Turns", Turn),
    "model": ("answer", Text),
    "sentence": ("Sentences", Text),
    "voice": ("speak", Audio),
    "pacer": ("Pacer", Audio),
}
"""What an answer waits for: whose first frame of which class says that it need wait no more."""
BEFORE_MS, AFTER_MS, FRAME_S = 500, 3000, 0.02
ANSWER = "The weather in Paris is sunny."


# How well ---------------------------------------------------------------------------------------------------------


class Sound(AsyncIterator[Samples]):
    """An utterance as it comes from a microphone, but as fast as it is heard."""

    def __init__(self, samples: Samples) -> None:
        self._pieces = iter([samples[at : at + 320] for at in range(0, len(samples), 320)])

    async def __anext__(self) -> Samples:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class ByHand:
    """The library's decoder, without anything around it."""

    def __init__(self, thorough: bool) -> None:
        library = importlib.import_module("pocketsphinx")
        self._decoder = library.Decoder(loglevel="FATAL", fwdflat=thorough, bestpath=thorough)

    def hear(self, said: Utterance) -> tuple[float, float]:
        """Seconds for the whole of it, and for the step at its end."""
        sound = said.samples.tobytes()
        since = clock()
        self._decoder.start_utt()
        self._decoder.process_raw(sound)
        over = clock()
        self._decoder.end_utt()
        return clock() - since, clock() - over


async def heard(said: list[Utterance], thorough: bool) -> tuple[int, list[tuple[float, float]]]:
    """Words that one voice has said and that were heard wrong; seconds for each utterance, and by hand."""
    wrong, times, hand = 0, list[tuple[float, float]](), ByHand(thorough)
    async with PocketSphinx(thorough=thorough) as ear:
        for each in said:
            since = clock()
            texts = [text async for text in ear.transcribe(Sound(each.samples))]
            times.append((clock() - since, hand.hear(each)[0]))
            wrong += errors(words(each.text), words((texts or [""])[-1]))
    return wrong, times


# How soon ---------------------------------------------------------------------------------------------------------


def first_sound() -> float:
    """Seconds until espeak-ng, called by hand, has made the first sound of an answer."""
    loader = importlib.import_module("espeakng_loader")
    library = ctypes.CDLL(loader.get_library_path())
    library.espeak_Initialize(2, 60, str(loader.get_data_path()).encode(), 0x8000)
    came: list[float] = []

    def take(sound: Any, count: int, events: Any) -> int:
        came.append(clock())
        return 1  # that is enough

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(take)
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(b"en-us")
    times = []
    for _ in range(5):
        came.clear()
        since, text = clock(), ANSWER.encode()
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, 1, None, None)
        times.append(came[0] - since)
    return best(times)


def manner(silence_ms: float = SILENCE_MS, *, eager: bool = False, thorough: bool = False) -> dict[str, Any]:
    """Options of a cascade: how much silence ends a turn, whether its last words are waited for, how it hears."""
    turns = Turns(silence_ms=silence_ms, transcript_ms=1 if eager else 1500)
    vad = Vad(speech_only=True, stop_ms=min(500, silence_ms))
    return {"stt": PocketSphinx(thorough=thorough), "turns": turns, "vad": vad}


MANNERS: dict[str, Callable[[], dict[str, Any]]] = {
    "as it comes": manner,
    "eager": partial(manner, eager=True),
    "thorough": partial(manner, thorough=True),
    "thorough, eager": partial(manner, thorough=True, eager=True),
    "700 ms": partial(manner, 700),
    "300 ms": partial(manner, 300),
}
"""How a turn's end may be found."""


async def answered(said: list[Utterance], **options: Any) -> list[dict[str, float]]:
    """For each utterance what its answer waited for, in milliseconds, and whether its turn ended before its end."""
    brain = Cascade.offline(tts=ESpeak(), **options)
    graph = Pipeline(brain, Spoken(), Pacer())
    rows = []
    async with graph.session() as session, anyio.create_task_group() as group:

        async def listen() -> None:
            async for _ in session:
                pass

        group.start_soon(listen)
        for each in said:
            rows.append(await answer(session, each))
            session.interrupt("the next question")
            await anyio.sleep(0.2)
        await session.cancel()
    return rows


async def answer(session: Any, said: Utterance) -> dict[str, float]:
    """Say something, in real time, and see what the first sound of the answer waited for."""
    came: dict[str, float] = {}
    there = anyio.Event()

    def watch(hop: Hop) -> None:
        for name, (source, kind) in STEPS.items():
            if name not in came and isinstance(hop.frame, kind) and hop.source.endswith(source) and is_news(hop.frame):
                came[name] = hop.at
                if name == "pacer":
                    there.set()

    samples = np.concatenate([silence(BEFORE_MS), said.samples, silence(AFTER_MS)])
    with session.tap(watch):
        start = anyio.current_time()
        for at, frame in enumerate(framed(samples), 1):
            await anyio.sleep_until(start + at * FRAME_S)  # when its last sample has been said
            if there.is_set():
                break
            session.offer(frame)
        with anyio.fail_after(20):
            await there.wait()
    last = start + (BEFORE_MS + said.speech_ms[-1][1]) / 1000
    row, over = dict[str, float](), last
    for name in STEPS:  # an eager answer need not wait for the last words
        since, last = last, max(last, came.get(name, last))
        row[name] = 1000 * (last - since)
    return row | {"all": 1000 * (last - over), "too soon": float(came["turn"] < over)}


def count(said: list[Utterance]) -> int:
    """How many words that is."""
    return sum(len(words(each.text)) for each in said)


def is_news(frame: Frame) -> bool:
    """Whether there is an end in it: final words, words, sound."""
    if isinstance(frame, Transcript):
        return frame.final and frame.speaker == "user"
    if isinstance(frame, Turn):
        return not frame.revision
    return not isinstance(frame, Text) or bool(frame.text.strip())


# All of it --------------------------------------------------------------------------------------------------------


async def measure(quick: bool) -> dict[str, Any]:
    """All of it, as one table."""
    everything = list(utterances().values())
    voices = {voice: [each for each in everything if each.voice == voice] for voice in ("slt", "rms", "awb")}
    if quick:
        voices = {voice: said[:2] for voice, said in voices.items()}
    heards: dict[str, dict[str, float]] = {}
    for manner, thorough in (("as it comes", False), ("thorough", True)):
        row: dict[str, float] = {}
        wrong, times = 0, list[tuple[float, float]]()
        for voice, said in voices.items():
            missed, took = await heard(said, thorough)
            row[voice] = 100 * missed / count(said)
            wrong, times = wrong + missed, times + took
        spoken = [each for said in voices.values() for each in said]
        row["all"] = 100 * wrong / count(spoken)
        row["real time"] = sum(part for part, _ in times) / (sum(each.ms for each in spoken) / 1000)
        row["ratio"] = statistics.median(part / hand for part, hand in times)
        heards[manner] = row
    some = everything[:: 16 if quick else 4]
    manners = {name: await answered(some, **options()) for name, options in MANNERS.items()}
    rows = manners["as it comes"]
    hand = ByHand(thorough=False)
    end = statistics.median(best([hand.hear(each)[1] for _ in range(3)]) for each in some)
    floor = SILENCE_MS + 1000 * (end + first_sound())
    middle = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    worst = {name: max(row[name] for row in rows) for name in rows[0]}
    soon = {
        manner: {
            "median": statistics.median(row["all"] for row in rows),
            "worst": max(row["all"] for row in rows),
            "too soon": sum(row["too soon"] for row in rows),
        }
        for manner, rows in manners.items()
    }
    return {
        "heard": heards,
        "median": middle,
        "worst": worst,
        "manners": soon,
        "floor": floor,
        "ratio": middle["all"] / floor,
    }


def main() -> None:
    arguments = options(__doc__)
    result = run(arguments.backend, measure, arguments.quick)
    lines = []
    for manner, row in result["heard"].items():
        by_voice = ", ".join(f"{voice} {row[voice]:.1f}" for voice in ("slt", "rms", "awb"))
        lines.append(
            f"heard {manner}: {row['all']:.1f} of 100 words wrong ({by_voice}), {row['real time']:.3f} s a second "
            f"({row['ratio']:.2f} × the decoder by hand)"
        )
    lines.append(f"{'ms':10}" + "".join(f"{name:>12}" for name in result["median"]))
    for name in ("median", "worst"):
        lines.append(f"{name:10}" + "".join(f"{value:>12.1f}" for value in result[name].values()))
    for manner, row in result["manners"].items():
        lines.append(
            f"{manner:16}{row['median']:5.0f} ms, at worst {row['worst']:.0f}; {row['too soon']:.0f} turns too soon"
        )
    lines.append(
        f"from the end of speech to the first sound: {result['ratio']:.2f} × the floor, {result['floor']:.0f} ms"
    )
    show(arguments, "\n".join(lines), result)


if __name__ == "__main__":
    main()
