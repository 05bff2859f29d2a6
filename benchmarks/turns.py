"""How well and how soon is speech heard, and what interrupts the agent?

The first table compares detectors in noise of several levels. Thirty-two synthesised utterances (`tests/data/speech`),
each between two seconds of what is around it and 1.5 s of the same, are cut into 20 ms frames. For each detector and
level of noise it shows the missed utterances, the false starts, how long after speech began that was noticed (median,
worst), how far off the time given for it was, the same for its end, and the time from the end of speech to the user's
turn with the default settings.

The second table is about a `Cascade` with the default settings, on a virtual clock, whose agent speaks for ten seconds.
Its recogniser knows the words 250 ms after they were said, and of noises it knows none. For each kind of sound it shows
how often it should have interrupted and did not (missed), how often it should not have and did (false), how often the
interrupt came more than 400 ms after the end of the sound (late), when the agent fell silent after the beginning of the
sound, and when the interrupt came after its end (median, worst). The row "no recogniser" has only `Vad`, `BargeIn` and
`Turns(transcript_ms=0)`. The last rows are short answers while the agent is silent: missed means that no turn came.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import anyio
import numpy as np
from _kit import clock, options, show

from bargein.pipeline import (
    Audio,
    End,
    Hold,
    Interrupt,
    Outlet,
    Processor,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    UserText,
)
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import (
    Harness,
    breath,
    click,
    cough,
    framed,
    hum,
    keyboard,
    music,
    run_virtual,
    slam,
    tone,
)
from bargein.processors import BargeIn, Pacer, SileroVad, Spoken, Turn, Turns, Vad, WebRtcVad
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText, TextToSpeech

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.speech import Utterance, utterances

DETECTORS = {"WebRTC alone": lambda: WebRtcVad(above_noise_db=0), "WebRTC": WebRtcVad, "Silero": SileroVad}
LEVELS: tuple[float | None, ...] = (None, 20, 10, 5, 0)
BEFORE, AFTER = 2000, 1500
NEAR = 150
"""A start up to this many milliseconds before the speech counts as its start."""


def pink(count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Noise like that of rooms and streets, of power 1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    noise = np.fft.irfft(spectrum, count)
    return np.asarray(noise / noise.std())


def sound(each: Utterance, snr: float | None, seed: int) -> list[Audio]:
    """An utterance in noise."""
    said = each.samples.astype(float)
    power = np.mean(np.concatenate([said[a * 16 : b * 16] for a, b in each.speech_ms]) ** 2)
    samples = np.concatenate([np.zeros(BEFORE * 16), said, np.zeros(AFTER * 16)])
    if snr is not None:
        samples = samples + pink(len(samples), seed) * math.sqrt(power / 10 ** (snr / 10))
    return list(framed(np.clip(np.rint(samples), -32768, 32767).astype(np.int16)))


def measure(make: Callable[[], object], snr: float | None, seeds: range) -> dict[str, float]:
    """One row of the table, in milliseconds."""
    missed = false = count = 0
    began, noticed, ended, told, spent = [], [], [], [], 0.0
    for seed in seeds:
        for index, each in enumerate(utterances().values()):
            frames: list[Audio | End] = [*sound(each, snr, 100 * seed + index), End()]
            vad = Vad(make())  # type: ignore[arg-type]
            since = clock()
            out = [made for frame in frames for made in vad.process(frame)]
            spent += clock() - since
            count += len(frames)
            first, last = BEFORE + each.speech_ms[0][0], BEFORE + each.speech_ms[-1][1]
            starts = [frame for frame in out if isinstance(frame, SpeechStarted)]
            good = [frame for frame in starts if first - NEAR <= frame.pts / 1e6 <= last]
            false += len(starts) - len(good)
            if not good:
                missed += 1
                continue
            began.append(good[0].pts / 1e6 - first)
            noticed.append(began[-1] + good[0].lag_ms)
            stop = next(frame for frame in out if isinstance(frame, SpeechStopped) and frame.pts > good[-1].pts)
            ended.append(stop.pts / 1e6 - last)
            told.append(ended[-1] + max(stop.lag_ms, Turns().silence_ms))

    def middle(values: list[float]) -> float:
        return statistics.median(values) if values else math.nan

    return {
        "utterances": len(seeds) * len(utterances()),
        "missed": missed,
        "false starts": false,
        "began": middle(began),
        "noticed": middle(noticed),
        "noticed, worst": max(noticed, default=math.nan),
        "ended": middle(ended),
        "turn": middle(told),
        "us a frame": 1e6 * spent / count,
    }


STOP_WORDS = ("stop", "wait", "cancel", "slower")
BACKCHANNEL_CLIPS = ("uhhuh", "okay")
ANSWERS = ("yes", "okay", "stop", "wait")
WORD_DELAY_MS = 250.0
"""How long after a word was said the recogniser knows it. Streaming recognisers take 150 to 300 ms."""
LATE_MS = 400.0
"""An interrupt is late if it comes more than this after the end of the sound."""
LEAD_MS, TAIL_MS = 3000, 4000
"""Around each sound, in milliseconds. The agent begins to speak 1 s before the sound."""
AGENT_MS = 10_000.0
"""How long the agent speaks."""


class Ears(SpeechToText):
    """Knows the words of one utterance, each a while after it was said."""

    def __init__(self, text: str, ms: float) -> None:
        self.text, self.ms = text, ms

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        """Yield more words while the sound goes on, and all words at its end."""
        words, known, heard = self.text.split(), 0, 0.0
        async for samples in sound:
            heard += 1000 * len(samples) / self.rate
            said = (heard - 300 - WORD_DELAY_MS) / self.ms  # the sound begins 300 ms before the speech
            if (now := min(len(words), int(said * len(words)))) > known:
                known = now
                yield " ".join(words[:known])
        if words:
            yield self.text


class Mind(LanguageModel):
    """Answers with one sentence."""

    async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        """Yield it."""
        yield "I have a long story to tell. "


class Voice(TextToSpeech):
    """Speaks for ten seconds, whatever the words."""

    async def speak(self, text: str) -> AsyncIterator[Samples]:
        """Yield a tone."""
        yield tone(200, AGENT_MS, rate=self.rate)


class Talker(Processor):
    """A model that hears by itself: it speaks for ten seconds when it is written to."""

    async def process(self, frame: UserText, out: Outlet[ResponseStarted | Audio]) -> None:
        """Begin to speak."""
        out.respond(self.speak)

    async def speak(self, reply: Outlet[ResponseStarted | Audio]) -> None:
        """Send the sound."""
        await reply.send(ResponseStarted("r"))
        await reply.send(Audio(tone(200, AGENT_MS, rate=24_000), 24_000, response_id="r"))


class Case(NamedTuple):
    """A sound, and what is right to do about it."""

    samples: Samples
    first_ms: float
    last_ms: float
    text: str = ""
    interrupts: bool = False


def clip(each: Utterance, *, wanted: bool, gain_db: float = 0.0, words: bool = True) -> Case:
    """Return an utterance as a case."""
    samples = (each.samples * 10 ** (gain_db / 20)).astype(np.int16)
    return Case(samples, each.speech_ms[0][0], each.speech_ms[-1][1], each.text if words else "", wanted)


def sounds(quick: bool) -> dict[str, list[Case]]:
    """Return all the sounds that come while the agent speaks, by kind."""
    said = utterances()
    seeds = range(2 if quick else 6)

    def noise(make: Callable[..., Samples]) -> list[Case]:
        made = [make(seed=seed) for seed in seeds]
        return [Case(each, 0, len(each) / 16) for each in made]

    sentences = [each for name, each in said.items() if name not in BACKCHANNEL_CLIPS]
    return {
        "stop words": [clip(said[name], wanted=True) for name in STOP_WORDS],
        "sentences": [clip(each, wanted=True) for each in sentences[:: 4 if quick else 1]],
        "backchannels": [clip(said[name], wanted=False) for name in BACKCHANNEL_CLIPS],
        "a voice at -24 dB": [clip(said[name], wanted=False, gain_db=-24, words=False) for name in ("stop", "yes")],
        "coughs": noise(cough),
        "clicks": noise(click),
        "slams": noise(slam),
        "breath": noise(breath),
        "keyboard": noise(keyboard),
        "music": noise(music),
        "hum": [Case(hum(), 0, 2000)],
    }


async def play(harness: Harness, samples: Samples) -> None:
    """Send the sound in real time, in a quiet room. It begins after `LEAD_MS`."""
    around = np.concatenate([np.zeros(LEAD_MS * 16), samples, np.zeros(TAIL_MS * 16)])
    room = around + np.random.default_rng(0).normal(0, 20, len(around))
    for frame in framed(room.clip(-32768, 32767).astype(np.int16)):
        await harness.send(frame)
        await anyio.sleep(0.02)


async def over_the_agent(case: Case, recogniser: bool) -> tuple[float, float]:
    """Return when the agent fell silent after the sound began and was interrupted after it ended; `nan` for never."""
    brain: list[Processor] = [Cascade(Ears(case.text, case.last_ms - case.first_ms), Mind(), Voice())]
    if not recogniser:
        brain = [Vad(), BargeIn(), Turns(transcript_ms=0), Talker()]
    async with Harness(*brain, Spoken(), Pacer()) as harness:

        async def ask() -> None:
            await anyio.sleep((LEAD_MS + case.first_ms) / 1000 - 1)
            await harness.send(UserText("Tell me a story."))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await play(harness, case.samples)
        at = [(1000 * each.at - LEAD_MS, each.frame) for each in harness.timeline]
        cut = [ms for ms, frame in at if isinstance(frame, Interrupt) and ms > case.first_ms]
        silent = [ms for ms, frame in at if isinstance(frame, Hold | Interrupt) and ms > case.first_ms]
        await harness.session.cancel()
    return min(silent, default=math.nan) - case.first_ms, min(cut, default=math.nan) - case.last_ms


async def answered(case: Case, recogniser: bool) -> bool:
    """Return whether a short answer, to a silent agent, is a turn."""
    brain: list[Processor] = [Cascade(Ears(case.text, case.last_ms - case.first_ms), Mind(), Voice())]
    if not recogniser:
        brain = [Vad(), BargeIn(), Turns(transcript_ms=0), Talker()]
    async with Harness(*brain, Spoken(), Pacer()) as harness:
        await play(harness, case.samples)
        count = len(harness.of(Turn))
        await harness.session.cancel()
    return count == 1


def barge_in(cases: list[Case], *, recogniser: bool = True) -> dict[str, float]:
    """Return one row of the second table."""
    results = [(case, *run_virtual(over_the_agent, case, recogniser)) for case in cases]
    ends = [end for case, _, end in results if case.interrupts and not math.isnan(end)]
    holds = [hold for _, hold, _ in results if not math.isnan(hold)]
    return {
        "sounds": len(cases),
        "missed": sum(case.interrupts and math.isnan(end) for case, _, end in results),
        "false": sum(not case.interrupts and not math.isnan(end) for case, _, end in results),
        "late": sum(end > LATE_MS for end in ends),
        "silent after": statistics.median(holds) if holds else math.nan,
        "interrupt": statistics.median(ends) if ends else math.nan,
        "worst": max(ends, default=math.nan),
    }


def short_answers(recogniser: bool) -> dict[str, float]:
    """Return the row of the short answers."""
    cases = [clip(utterances()[name], wanted=True) for name in ANSWERS]
    lost = sum(not run_virtual(answered, case, recogniser) for case in cases)
    return {"sounds": len(cases), "missed": lost} | dict.fromkeys(
        ("false", "late", "silent after", "interrupt", "worst"), math.nan
    )


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return rows as text."""
    head = list(next(iter(rows.values())))
    lines = [f"{'ms':26}" + "".join(f"{each:>15}" for each in head)]
    for name, row in rows.items():
        cells = ("-" if math.isnan(row[each]) else round(row[each]) for each in head)
        lines.append(f"{name:26}" + "".join(f"{each:>15}" for each in cells))
    return "\n".join(lines)


def main() -> None:
    arguments = options(__doc__)
    seeds = range(1 if arguments.quick else 3)
    detection = {
        f"{name}, {'clean' if snr is None else f'{snr} dB'}": measure(make, snr, seeds)
        for name, make in DETECTORS.items()
        for snr in LEVELS
    }
    kinds = sounds(arguments.quick)
    interrupts = {name: barge_in(cases) for name, cases in kinds.items()}
    interrupts["no recogniser: sentences"] = barge_in(kinds["sentences"], recogniser=False)
    interrupts["no recogniser: coughs"] = barge_in(kinds["coughs"], recogniser=False)
    interrupts["answers"] = short_answers(recogniser=True)
    interrupts["no recogniser: answers"] = short_answers(recogniser=False)
    tables = f"{table(detection)}\n\n{table(interrupts)}"
    show(arguments, tables, {"rows": detection, "interrupts": interrupts})


if __name__ == "__main__":
    main()
