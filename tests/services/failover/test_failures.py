"""Failover: which failures of a brain move the call to the next one, and what the caller hears of it."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Inbox,
    Outlet,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    Transcript,
    UserText,
)
from bargein.pipeline.testing import framed, silence
from bargein.processors import Heard
from bargein.services.cascade import Cascade
from bargein.services.failover import Failover
from bargein.services.frames import BrainSwitched
from bargein.services.realtime import ReconnectPolicy
from bargein.services.sockets import SocketRefusedError
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.realtime.peer import Peer
from tests.speech import utterances

from .call_kit import Dying, Measure, call, realtime, reserve, said, stale, switched, text

pytestmark = pytest.mark.virtual


class Deaf(Processor):
    """Hears nothing: says so, and gives the empty transcript only after its apology."""

    name = "deaf"

    async def run(
        self,
        inbox: Inbox[Audio],
        out: Outlet[SpeechStarted | SpeechStopped | Failure | ResponseStarted | Text | ResponseEnded | Transcript],
    ) -> None:
        heard = 0
        async for _ in inbox:
            heard += 1
            if heard == 1:
                await out.send(SpeechStarted(item_id="a"))
            elif heard == 150:
                await out.send(SpeechStopped(item_id="a"))
                await out.send(Failure(message="deaf"))
                await anyio.sleep(0.1)
                reply = out.reply()
                await reply.send(ResponseStarted(response_id="sorry"))
                await reply.send(Text(text="Pardon?", response_id="sorry", item_id="sorry", final=True))
                await reply.send(ResponseEnded(response_id="sorry"))
                await anyio.sleep(0.1)
                await out.send(Transcript(text="", item_id="a", final=True))


async def test_unreachable_brain_is_left() -> None:
    """The next brain answers the question, and the reason is reported."""
    peer = Peer()
    peer.refuse = [SocketRefusedError("the server answers 503", status=503)]
    brain = Failover(realtime(peer), reserve("Good morning."))
    async with call(brain) as harness:
        await harness.send(UserText(text="Hello."))
        moved = await harness.next(BrainSwitched, within_seconds=5)
        assert (moved.before, moved.name, moved.failed) == ("OpenAIRealtime", "cascade", True)
        assert "503" in moved.reason
        ended = await harness.next(ResponseEnded, within_seconds=5)
        assert text(harness, ended.response_id) == "Good morning."
        assert [frame.message for frame in harness.of(Failure)] == [f"OpenAIRealtime: {moved.reason}"]
        await anyio.sleep(5)
        assert said(brain.history) == [("user", "Hello."), ("assistant", "Good morning.")]
        assert brain.active == "cascade"
        await harness.session.cancel()


async def test_brain_that_fails_in_a_reply_is_interrupted() -> None:
    """Nothing more of it is heard, what was heard is remembered, and the next brain answers."""
    peer = Peer(words=(40, 40))
    brain = Failover(realtime(peer), reserve("I am sorry."))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me something."))
        await harness.next(Audio, within_seconds=5)
        first = harness.of(ResponseStarted)[0].response_id
        await anyio.sleep(0.3)
        assert 0 < peer.replies[0].sent < 40
        await peer.close()
        await harness.next(BrainSwitched, within_seconds=5)
        came = len(harness.frames)
        await anyio.sleep(8)
        late = [frame for frame in harness.frames[came:] if isinstance(frame, Audio | Text)]
        assert late
        assert all(frame.response_id != first for frame in late)
        assert not stale(harness)
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["failed", "completed"]
        heard = [frame for frame in harness.of(Heard) if frame.response_id == first and frame.done]
        assert said(brain.history) == [
            ("user", "Tell me something."),
            *([("assistant", heard[0].text)] if heard[0].text else []),
            ("assistant", "I am sorry."),
        ]
        await harness.session.cancel()


async def test_reply_that_nobody_heard_leaves_no_entry() -> None:
    """The first brain fails before a word is heard. Its apology is cut short, and the history holds no empty entry."""
    brain = Failover(Cascade(Ears(), Mind(), Voice(words=True), name="first"), reserve("It is noon.", name="second"))
    async with call(brain) as harness:
        await harness.send(UserText(text="What time is it?"))
        await anyio.sleep(5)
        assert switched(harness) == [("first", "second")]
        await harness.session.cancel()
    assert [(entry.role, entry.remembered.strip()) for entry in brain.history] == [
        ("user", "What time is it?"),
        ("assistant", "It is noon."),
    ]


async def test_silence_while_an_answer_is_due_is_a_failure() -> None:
    """After `silence_seconds`, and not while no answer is due."""
    peer = Peer()

    async def deaf(event: dict[str, Any]) -> bool:
        return bool(event["type"] == "response.create")

    peer.on_event = deaf
    brain = Failover(realtime(peer), reserve("Here I am."), silence_seconds=4)
    async with call(brain) as harness:
        await anyio.sleep(60)
        assert not switched(harness)
        await harness.send(UserText(text="Is anybody there?"))
        await anyio.sleep(3.9)
        assert not switched(harness)
        await anyio.sleep(0.2)
        assert switched(harness) == [("OpenAIRealtime", "cascade")]
        assert "silent for 4 s" in harness.of(BrainSwitched)[0].reason
        await harness.next(ResponseEnded, within_seconds=5)
        assert text(harness) == "Here I am."
        await harness.session.cancel()


async def test_silence_within_a_response_is_a_failure() -> None:
    """The response does not go on."""
    first = reserve(["One, two. ", "Three. ", 100.0], name="first")
    brain = Failover(first, reserve("Four, five."), silence_seconds=4)
    async with call(brain) as harness:
        await harness.send(UserText(text="Count."))
        await harness.next(BrainSwitched, within_seconds=10)
        await anyio.sleep(5)
        assert said(brain.history) == [
            ("user", "Count."),
            ("assistant", "One, two."),  # the third was written, and never spoken
            ("assistant", "Four, five."),
        ]
        await harness.session.cancel()


@pytest.mark.parametrize("reply", [["Well, ", ValueError("no more")], [ValueError("no")]])
async def test_failed_response_is_a_failure(reply: list[Any]) -> None:
    """The brain's own error reply is cut short."""
    first = reserve(reply, name="first")
    brain = Failover(first, reserve("Of course."))
    async with call(brain) as harness:
        await harness.send(UserText(text="May I?"))
        await harness.next(BrainSwitched, within_seconds=10)
        await anyio.sleep(5)
        assert text(harness).endswith("Of course.")
        assert said(brain.history)[-1] == ("assistant", "Of course.")
        assert not any("Sorry" in words for _, words in said(brain.history))
        await harness.session.cancel()


async def test_failed_voice_is_a_failure() -> None:
    """The brain wrote text, and nothing could be heard."""
    first = Cascade(Ears(), Mind(["Hello there."]), Voice(cannot=" "), name="first")
    brain = Failover(first, reserve("Good day."))
    async with call(brain) as harness:
        await harness.send(UserText(text="Hello."))
        moved = await harness.next(BrainSwitched, within_seconds=10)
        assert moved.reason == "nothing could be heard of its response"
        await anyio.sleep(5)
        assert said(brain.history) == [("user", "Hello."), ("assistant", "Good day.")]
        await harness.session.cancel()


async def test_failed_recogniser_is_a_failure() -> None:
    """The next brain hears the sound, so the user need not repeat it."""
    sound = np.concatenate([silence(800), utterances()["weather"].samples, silence(3000)])
    first = Cascade(Ears(ValueError("deaf")), Mind(["..."]), Voice(), name="first")
    ears = Ears("What is the weather in Paris?")
    brain = Failover(first, reserve("It is sunny.", ears=ears))
    async with call(brain) as harness:
        await harness.play(list(framed(sound, rate=16_000)))
        await anyio.sleep(5)
        assert switched(harness) == [("first", "cascade")]
        assert harness.of(BrainSwitched)[0].reason == "it failed to hear the user"
        spoken = utterances()["weather"].speech_ms
        assert ears.heard_ms[0] > spoken[-1][1] - spoken[0][0]
        assert said(brain.history) == [("user", "What is the weather in Paris?"), ("assistant", "It is sunny.")]
        await harness.session.cancel()


async def test_apology_before_the_transcript_loses_no_sound() -> None:
    """What a deaf brain says is not an answer, also while nobody knows yet that it understood nothing."""
    ears = Ears("What is the weather in Paris?")
    sound = np.concatenate([utterances()["weather"].samples, silence(6000)])
    brain = Failover(Deaf(), reserve("It is sunny.", ears=ears))
    async with call(brain) as harness:
        await harness.play(list(framed(sound, rate=16_000)))
        await anyio.sleep(5)
        assert [frame.reason for frame in harness.of(BrainSwitched)] == ["it failed to hear the user"]
        spoken = utterances()["weather"].speech_ms
        assert ears.heard_ms[0] > spoken[-1][1] - spoken[0][0]
        assert ("assistant", "It is sunny.") in said(brain.history)
        await harness.session.cancel()


async def test_brain_function_that_raises() -> None:
    """It counts as a brain that fails."""
    made: list[Processor] = []

    def make() -> Processor:
        if made:
            raise ValueError("no more of them")
        made.append(Dying())
        return made[0]

    brain = Failover(reserve("One.", "Three.", name="first"), make)
    async with call(brain) as harness:
        for _ in range(3):
            brain.switch()
            await anyio.sleep(1)
        await harness.send(UserText(text="Hello."))
        await anyio.sleep(3)
        assert text(harness) == "One."
        assert [frame.message for frame in harness.of(Failure)] == ["dying: no more of them"]
        assert brain.active == "first"
        await harness.session.cancel()


async def test_end_of_input_waits_for_the_answer() -> None:
    """The last question is answered, if necessary by the next brain."""
    brain = Failover(reserve([1.0, ValueError("no")], name="first"), reserve("Goodbye."))
    async with call(brain) as harness:
        await harness.send(UserText(text="Bye."))
        await harness.end()
        assert text(harness).endswith("Goodbye.")


async def test_speech_to_a_dying_server_reaches_the_next_brain() -> None:
    """The next brain hears it from where the server reported the start of speech."""
    peer, speech = Peer(), utterances()["weather"]
    brain = Failover(realtime(peer), Cascade(Measure(), Mind(["It is sunny."]), Voice(words=True)))

    async def server() -> None:
        await anyio.sleep(speech.speech_ms[0][0] / 1000 + 0.9)
        await peer.send("input_audio_buffer.speech_started", audio_start_ms=700 + speech.speech_ms[0][0], item_id="u")
        await anyio.sleep(0.7)
        await peer.close()

    async with call(brain) as harness, anyio.create_task_group() as group:
        group.start_soon(server)
        sound = np.concatenate([silence(800), speech.samples, silence(3000)])
        await harness.play(list(framed(np.repeat(sound, 3)[::2], rate=24_000)))
        await anyio.sleep(5)
        assert said(brain.history) == [("user", speech.text), ("assistant", "It is sunny.")]
        started = [frame.item_id for frame in harness.of(SpeechStarted)]
        assert started == ["u", "2.speech-1"]
        assert len(harness.of(SpeechStopped)) == 2
        await harness.session.cancel()


async def test_speech_without_a_connection_reaches_the_next_brain() -> None:
    """At most what exceeds the backlog is lost."""
    peer, speech = Peer(), utterances()["weather"]
    peer.refuse = [SocketRefusedError("busy", status=503)] * 4
    policy = ReconnectPolicy(max_attempts=3, first_seconds=1.0, jitter=0.0)
    first = realtime(peer, reconnect=policy)
    brain = Failover(first, Cascade(Measure(), Mind(["It is sunny."]), Voice(words=True)))
    async with call(brain) as harness:
        sound = np.concatenate([silence(300), speech.samples, silence(5000)])
        await harness.play(list(framed(np.repeat(sound, 3)[::2], rate=24_000)))
        await anyio.sleep(3)
        assert said(brain.history) == [("user", speech.text), ("assistant", "It is sunny.")]
        statistics = harness.statistics().processors["failover"].own
        assert statistics == brain.statistics()
        assert statistics.failures == {"OpenAIRealtime": 1, "cascade": 0}
        assert (statistics.active, statistics.moves, statistics.dropped_ms) == ("cascade", 1, 0.0)
        await harness.session.cancel()
