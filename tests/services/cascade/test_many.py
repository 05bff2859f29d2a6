"""Fifty cascades at once in one process: none loses a word, and what waits is bounded and can be seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import numpy as np
import pytest

from bargein.pipeline import Failure, Frame, SessionStatistics, Transcript, UserText
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Heard, Pacer, Spoken, Turn
from bargein.services.cascade import Cascade, TranscriptionStatistics
from tests.speech import utterances

from .parts import Ears, Mind, Voice

pytestmark = [pytest.mark.virtual, pytest.mark.timeout(180)]  # fifty conversations, on whatever machine

MANY = 50
SENTENCES = 5
CAPACITY = 256
"""The largest inbox of a cascade's processors."""


class Slow(Voice):
    """A voice that takes its time for each sentence, so that what is written waits for it."""

    async def speak(self, text: str):  # type: ignore[no-untyped-def]
        await anyio.sleep(1)
        async for piece in super().speak(text):
            yield piece


def bounded(statistics: SessionStatistics) -> None:
    """Nothing was dropped for want of room, and no queue has been longer than it may be."""
    assert not statistics.overflow_dropped
    assert not statistics.discarded
    assert all(each.inbox_peak <= CAPACITY for each in statistics.processors.values())


async def talk(
    brain: Cascade, sound: list[Frame], ask: str, done: Callable[[Harness], Awaitable[None]]
) -> tuple[Harness, SessionStatistics]:
    """A call: somebody types something, or says it."""
    async with Harness(brain, Spoken(), Pacer()) as harness:
        if ask:
            await harness.send(UserText(text=ask))
        await harness.play(sound)
        await done(harness)
        statistics = harness.statistics()
        await harness.session.cancel()
    return harness, statistics


@pytest.mark.slow
async def test_nothing_is_lost() -> None:
    """Each speaks every sentence of its own answer; those that are written sooner than spoken are seen to wait."""
    waited: list[int] = []
    spoken: dict[int, str] = {}

    async def call(number: int) -> None:
        written = [f"Line {at} of {number}. " for at in range(SENTENCES)]
        brain = Cascade(Ears(), Mind(written), Slow())

        async def done(harness: Harness) -> None:
            await anyio.sleep(0.5)
            waited.append(harness.statistics().processors["cascade/speak"].waiting)
            await anyio.sleep(20)
            assert harness.statistics().processors["cascade/speak"].waiting == 0

        harness, statistics = await talk(brain, [], "Speak.", done)
        bounded(statistics)
        (spoken[number],) = [frame.text for frame in harness.of(Heard) if frame.done]
        assert spoken[number].split() == "".join(written).split()
        assert list(brain.history)[-1].remembered.split() == "".join(written).split()

    async with anyio.create_task_group() as group:
        for number in range(MANY):
            group.start_soon(call, number)
    assert len(spoken) == MANY
    assert all(0 < each <= CAPACITY for each in waited)


async def test_sound_waits_for_an_ear_that_cannot_follow() -> None:
    """It is counted in the statistics, and heard in the end, all of it."""

    class Late(Ears):
        async def transcribe(self, sound):  # type: ignore[no-untyped-def]
            await anyio.sleep(4)
            async for text in super().transcribe(sound):
                yield text

    waiting: list[TranscriptionStatistics] = []
    samples = np.concatenate([silence(500), utterances()["weather"].samples, silence(1000)])

    async def call() -> None:
        ears = Late("what is the weather")

        async def done(harness: Harness) -> None:
            waiting.append(harness.statistics().processors["cascade/transcribe"].own)
            await anyio.sleep(10)
            rest = harness.statistics().processors["cascade/transcribe"].own
            assert (rest.utterances, rest.waiting_ms, rest.left_out_ms) == (0, 0, 0)

        harness, statistics = await talk(Cascade(ears, Mind(["Yes."]), Voice()), list(framed(samples)), "", done)
        bounded(statistics)
        assert [frame.text for frame in harness.of(Turn)][-1] == "what is the weather"
        assert ears.heard_ms[0] >= 1400

    async with anyio.create_task_group() as group:
        for _ in range(MANY):
            group.start_soon(call)
    assert all(each.utterances == 1 and 1400 <= each.waiting_ms <= 120_000 for each in waiting)


@pytest.mark.slow
async def test_fifty_share_one_ear_and_one_voice(tmp_path: Path) -> None:
    """Real parts with a model each: calls queue for it, in as many threads as it has, and every caller is answered."""
    pytest.importorskip("faster_whisper", reason="the extra 'faster-whisper' is not installed")
    pytest.importorskip("onnx", reason="the extra 'piper' is not installed")
    from bargein.services.providers.faster_whisper import FasterWhisper  # noqa: PLC0415 - of an extra
    from bargein.services.providers.piper import Piper  # noqa: PLC0415
    from tests.services.providers import tiny_whisper  # noqa: PLC0415
    from tests.services.providers.piper import tiny_piper  # noqa: PLC0415

    ear = FasterWhisper(tiny_whisper.make(tmp_path), partial_seconds=0, threads=1)
    voice = Piper(tiny_piper.make(tmp_path))
    answers: list[str] = []
    samples = np.concatenate([silence(500), utterances()["weather"].samples, silence(1000)])

    async def call(number: int) -> None:
        # Virtual time stands still while the ear works through its queue. A second later all callers have been heard,
        # and all answers want the voice at once, however fast either of them is on this machine.
        mind = Mind(lambda prompt: [1.0, f"Caller {number} said {prompt.entries[-1].text}. Is that right?"])

        async def done(harness: Harness) -> None:
            while not (await harness.next(Heard, within_seconds=60)).done:
                pass

        harness, statistics = await talk(Cascade(ear, mind, voice), list(framed(samples)), "", done)
        bounded(statistics)
        assert not harness.of(Failure)
        (final,) = [frame.text for frame in harness.of(Transcript) if frame.final and frame.speaker == "user"]
        (answer,) = [frame.text for frame in harness.of(Heard) if frame.done]
        answers.append(answer)
        assert answer == f"Caller {number} said {final}. Is that right?"

    async with anyio.create_task_group() as group:
        for number in range(MANY):
            group.start_soon(call, number)
    assert len(answers) == MANY
    for part in (ear, voice):
        counted = part.statistics()
        assert (counted.sessions, counted.working, counted.waiting) == (0, 0, 0)
        assert 0 < counted.waiting_peak <= MANY
