"""Failover: another brain continues the call, and the caller notices as little as possible."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Delivery,
    Failure,
    Frame,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.pipeline.errors import LinkError
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Heard, Pacer, Spoken
from bargein.services.cascade import Cascade, SpeechToText, ToolRequest
from bargein.services.failover import Failover, FailoverError
from bargein.services.frames import BrainSwitched, Configure, Respond
from bargein.services.history import History
from bargein.services.realtime import ReconnectPolicy
from bargein.services.sockets import SocketRefusedError
from bargein.services.tools import tool
from tests.environment import amount
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.realtime.peer import Peer
from tests.speech import utterances

pytestmark = pytest.mark.virtual

STORY = "Once upon a time there was a king who had three sons and no time to listen to any of them. "
ONCE = ReconnectPolicy(max_attempts=0)
SEEDS = amount(20, 200)
"""Conversations in which everything happens at once."""
SPOKEN = amount(3, 5)
"""Spoken questions in each of four tests."""
MANY = amount(60, 200)
"""Calls at once."""


def reserve(*replies: Any, ears: Ears | None = None, **options: Any) -> Cascade:
    """A cascade that gives the replies, each a string or pieces."""
    said = [[reply] if isinstance(reply, str) else reply for reply in replies]
    return Cascade(ears or Ears(), Mind(*said), Voice(words=True), **options)


def realtime(peer: Peer, **options: Any) -> Any:
    return peer.model(**{"reconnect": ONCE, "transcription": None, **options})


class Kill(Frame, frozen=True, kw_only=True):
    """Kills whoever takes it."""

    delivery = Delivery.EVENT


class Fuse(Processor):
    """Blows."""

    def process(self, frame: Kill) -> None:
        raise RuntimeError("blown")


class Dying(Processor):
    """Answers what is typed, and dies of "die"; hears, and understands nothing."""

    name = "dying"

    async def run(
        self, inbox: Inbox[Audio | UserText | Respond], out: Outlet[ResponseStarted | Text | ResponseEnded]
    ) -> None:
        count = 0
        async for frame in inbox:
            if isinstance(frame, UserText):
                if frame.text == "die":
                    raise RuntimeError("it had to be")
                count += 1
                out.respond(self.answer, f"r{count}", frame.text)

    async def answer(self, reply: Outlet[ResponseStarted | Text | ResponseEnded], name: str, words: str) -> None:
        await reply.send(ResponseStarted(response_id=name))
        await reply.send(Text(text=words, response_id=name, item_id=name, final=True))
        await reply.send(ResponseEnded(response_id=name))


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


class Leaving(Dying):
    """Takes some time to stop, and cannot be cancelled meanwhile."""

    name = "leaving"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def run(
        self, inbox: Inbox[Audio | UserText | Respond], out: Outlet[ResponseStarted | Text | ResponseEnded]
    ) -> None:
        try:
            await super().run(inbox, out)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.seconds)


def call(brain: Failover) -> Harness:
    return Harness(brain, Spoken(), Pacer())


def switched(harness: Harness) -> list[tuple[str, str]]:
    return [(frame.before, frame.name) for frame in harness.of(BrainSwitched)]


def said(history: History) -> list[tuple[str, str]]:
    return [(entry.role, (entry.output or entry.remembered).strip()) for entry in history.remembered]


def text(harness: Harness, response: str = "") -> str:
    return "".join(frame.text for frame in harness.of(Text) if response in ("", frame.response_id)).strip()


def stale(harness: Harness) -> list[Frame]:
    """What came of an epoch that was over."""
    epoch, found = 0, list[Frame]()
    for frame in harness.frames:
        if isinstance(frame, Interrupt):
            epoch = frame.epoch
        elif isinstance(frame, Audio | Text) and frame.epoch < epoch:
            found.append(frame)
    return found


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


# Tools ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["cascade", "realtime"])
async def test_running_tool_continues(second: str) -> None:
    """It runs once, and the next brain answers with its result."""
    runs: list[str] = []

    @tool
    async def weather(city: str) -> str:
        runs.append(city)
        await anyio.sleep(2)
        return "sunny"

    class Dying(Mind):
        async def answer(self, prompt: Any) -> Any:
            async for piece in super().answer(prompt):
                yield piece
            group.start_soon(later)

    async def later() -> None:
        await anyio.sleep(0.5)
        brain.switch()

    peer = Peer()
    tools = [weather]
    first = Cascade(
        Ears(), Dying([ToolRequest(name="weather", arguments='{"city": "Paris"}')]), Voice(), tools=tools, name="1"
    )
    others = {"cascade": reserve("It is sunny.", tools=tools, name="2"), "realtime": realtime(peer, tools=tools)}
    other = others[second]
    other.name = "2"
    brain = Failover(first, other)
    async with anyio.create_task_group() as group, call(brain) as harness:
        await harness.send(UserText(text="What is the weather in Paris?"))
        await harness.next(BrainSwitched, within_seconds=5)
        await anyio.sleep(1)
        assert not harness.of(Audio)
        await harness.next(Audio, within_seconds=5)
        await anyio.sleep(3)
        assert runs == ["Paris"]
        assert said(brain.history)[:2] == [("user", "What is the weather in Paris?"), ("call", "sunny")]
        if second == "realtime":
            outputs = [event["item"] for event in peer.of("conversation.item.create")]
            assert [each.get("output") for each in outputs if each["type"] == "function_call_output"] == ["sunny"]
            assert len(peer.replies) == 1
        else:
            assert text(harness) == "It is sunny."
        await harness.session.cancel()


async def test_application_answers_after_the_move() -> None:
    """The call of one brain, the result for the other."""
    first = Cascade(Ears(), Mind([ToolRequest(name="weather", call_id="c1")]), Voice(), name="first")
    brain = Failover(first, reserve("It is sunny."))
    async with call(brain) as harness:
        await harness.send(UserText(text="What is the weather?"))
        asked = await harness.next(ToolCall)
        brain.switch()
        await anyio.sleep(2)
        assert not harness.of(Audio)
        await harness.send(ToolResult(call_id=asked.call_id, output="sunny"))
        await harness.next(Audio)
        await anyio.sleep(3)
        assert said(brain.history) == [
            ("user", "What is the weather?"),
            ("call", "sunny"),
            ("assistant", "It is sunny."),
        ]
        await harness.session.cancel()


# By hand --------------------------------------------------------------------------------------------------------------


async def test_switch_there_and_back() -> None:
    """In pauses nothing is cut or said twice, and each brain knows what the others have said."""
    minds = [Mind(["One."], ["Three."]), Mind(["Two."], ["Four."])]
    brains = [Cascade(Ears(), mind, Voice(words=True), name=str(at)) for at, mind in enumerate(minds)]
    brain = Failover(*brains, cooldown_seconds=1)
    async with call(brain) as harness:
        for number in range(4):
            await harness.send(UserText(text=f"Say {number + 1}."))
            await anyio.sleep(5)
            brain.switch()
            await anyio.sleep(5)
        assert switched(harness) == [("0", "1"), ("1", "0"), ("0", "1"), ("1", "0")]
        assert not any(frame.failed for frame in harness.of(BrainSwitched))
        assert {frame.reason for frame in harness.of(Interrupt)} == {"the user wrote"}  # and not that it was moved
        words = [(f"Say {at + 1}.", word) for at, word in enumerate(("One.", "Two.", "Three.", "Four."))]
        assert said(brain.history) == [each for one, two in words for each in (("user", one), ("assistant", two))]
        assert len(minds[1].said) == 7
        responses = [frame.response_id for frame in harness.of(ResponseStarted)]
        assert len(set(responses)) == 4
        await harness.session.cancel()


async def test_response_interrupted_by_a_move_has_an_end() -> None:
    """The brain that was left has no time to report the end itself."""
    brain = Failover(reserve([STORY, "More of it, ", 5.0, "later."], name="first"), reserve("Yes.", name="second"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio)
        harness.interrupt()
        brain.switch()
        await anyio.sleep(1)
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted"]
        await harness.session.cancel()


async def test_interrupt_cancels_tools_of_a_left_brain() -> None:
    """The history says what became of the call."""

    @tool(cancellable=True)
    async def slow() -> str:
        await anyio.sleep(60)
        return "done"

    brain = Failover(reserve([ToolRequest(name="slow")], name="first", tools=[slow]), reserve("Yes.", name="second"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Go."))
        await harness.next(ToolCall)
        brain.switch()
        await anyio.sleep(1)
        harness.interrupt()
        await anyio.sleep(1)
        assert [entry.output for entry in brain.history if entry.role == "call"] == ['"called off: the user went on"']
        await harness.session.cancel()


async def test_switch_while_the_agent_speaks() -> None:
    """The agent is interrupted, and the other brain answers."""
    brain = Failover(reserve([STORY, STORY, 5.0, STORY], name="first"), reserve("I will be brief."))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio)
        await anyio.sleep(2)
        brain.switch("cascade")
        await anyio.sleep(8)
        cut, whole = [frame.text.strip() for frame in harness.of(Heard) if frame.done and frame.text]
        assert STORY.startswith(cut)
        assert 3 < len(cut.split()) < 12
        assert whole == "I will be brief."
        assert said(brain.history) == [
            ("user", "Tell me a story."),
            ("assistant", cut),
            ("assistant", "I will be brief."),
        ]
        assert not stale(harness)
        await harness.session.cancel()


async def test_complete_reply_is_played_to_its_end() -> None:
    """The caller does not notice the move, and may interrupt the reply."""
    peer = Peer(words=(12, 12), pace=0.0)
    brain = Failover(realtime(peer), reserve("Yes?"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me something."))
        await harness.next(ResponseStarted)
        await anyio.sleep(1)
        assert peer.replies[0].done
        await peer.close()
        await anyio.sleep(1)
        assert switched(harness) == [("OpenAIRealtime", "cascade")]
        assert not harness.of(Interrupt)
        await anyio.sleep(1)
        harness.interrupt()
        await anyio.sleep(1)
        (heard,) = [frame.text for frame in harness.of(Heard) if frame.done]
        assert 3 < len(heard.split()) < 9
        assert said(brain.history) == [("user", "Tell me something."), ("assistant", heard)]
        await harness.session.cancel()


@pytest.mark.parametrize("at", [900, 1500, 2600])
@pytest.mark.parametrize("failing", [False, True])
async def test_move_while_the_user_speaks(at: int, failing: bool) -> None:
    """The other brain hears all of it, and answers once."""
    speech = utterances()["weather"]
    sound = np.concatenate([silence(800), speech.samples, silence(3000)])
    first: Any = Dying() if failing else Cascade(Ears("What is", "in Paris?"), Mind(["..."]), Voice(), name="first")
    ears = Ears("What is the weather in Paris?")
    brain = Failover(first, reserve("It is sunny.", ears=ears))

    async def move() -> None:
        await anyio.sleep(at / 1000)
        if failing:
            await harness.send(UserText(text="die"))
        else:
            brain.switch()

    async with call(brain) as harness, anyio.create_task_group() as group:
        group.start_soon(move)
        await harness.play(list(framed(sound, rate=16_000)))
        await anyio.sleep(5)
        begin, end = speech.speech_ms[0][0], speech.speech_ms[-1][1]
        assert max(ears.heard_ms) > end - begin
        assert text(harness).endswith("It is sunny.")
        assert said(brain.history)[-1] == ("assistant", "It is sunny.")
        assert ("user", "What is the weather in Paris?") in said(brain.history)
        assert brain.dropped_ms == 0
        await harness.session.cancel()


# Many failures --------------------------------------------------------------------------------------------------------


async def test_no_brain_left() -> None:
    """The session ends with one error that has the reason of each brain."""
    peer = Peer()
    peer.refuse = [SocketRefusedError("the server answers 401", status=401)]
    brain = Failover(realtime(peer), Dying())
    with pytest.raises(FailoverError, match=r"OpenAIRealtime: .*401.*; dying: it had to be") as caught:
        async with call(brain) as harness:
            await anyio.sleep(1)
            await harness.send(UserText(text="die"))
            await anyio.sleep(5)
    assert set(caught.value.reasons) == {"OpenAIRealtime", "dying"}


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


async def test_first_brain_is_tried_again_in_a_pause() -> None:
    """After the cooldown, never during speech, and a failed attempt is not noticed."""
    peer = Peer(words=(3, 3))
    peer.refuse = [SocketRefusedError("busy", status=503)] * 3
    brain = Failover(realtime(peer), reserve("One.", [20.0, STORY], "Three."), cooldown_seconds=10, silence_seconds=60)
    async with call(brain) as harness:
        await harness.send(UserText(text="One?"))
        await anyio.sleep(5)
        assert switched(harness) == [("OpenAIRealtime", "cascade")]
        assert len(peer.refuse) == 2
        await anyio.sleep(20)
        assert not peer.refuse
        assert brain.active == "cascade"
        assert len(harness.of(BrainSwitched)) == 1
        await harness.send(UserText(text="Two?"))
        await anyio.sleep(20)
        assert not peer.connections
        await anyio.sleep(4)
        assert text(harness).endswith("listen to any of them.")
        await anyio.sleep(4)
        assert brain.active == "OpenAIRealtime"
        assert switched(harness)[1:] == [("cascade", "OpenAIRealtime")]
        seeds = [event["item"]["content"][0]["text"].strip() for event in peer.of("conversation.item.create")]
        assert seeds == ["One?", "One.", "Two?", "One moment, please.", STORY.strip()]
        await harness.send(UserText(text="Three?"))
        await anyio.sleep(5)
        assert len(peer.replies) == 1
        await harness.session.cancel()


async def test_unstable_brain_is_left_alone() -> None:
    """After `max_failures` it is not tried for the cooldown."""
    peer = Peer()
    peer.refuse = [SocketRefusedError("busy", status=503)] * 100
    brain = Failover(realtime(peer), reserve("One."), max_failures=3, window_seconds=60, cooldown_seconds=100)
    async with call(brain) as harness:
        await anyio.sleep(60)
        assert len(peer.refuse) == 97
        await anyio.sleep(60)
        assert len(peer.refuse) < 97
        assert len(harness.of(BrainSwitched)) == 1
        await harness.session.cancel()


async def test_brain_chosen_by_hand_stays() -> None:
    """It stays until it fails."""
    peer = Peer()
    brain = Failover(realtime(peer), Dying(), cooldown_seconds=1)
    async with call(brain) as harness:
        await harness.settle()
        brain.switch("dying", reason="a test")
        await anyio.sleep(100)
        assert harness.of(BrainSwitched)[-1].reason == "a test"
        assert brain.active == "dying"
        await harness.send(UserText(text="die"))
        await anyio.sleep(1)
        assert brain.active == "OpenAIRealtime"
        await harness.session.cancel()


async def test_two_failing_brains_end_the_session() -> None:
    """Each is tried once, unless one of them has answered."""
    first, second = reserve([ValueError("a")], name="a"), reserve([ValueError("b")], name="b")
    with pytest.raises(FailoverError, match=r"a: its response failed: a; b: its response failed: b"):
        async with call(Failover(first, second)) as harness:
            await harness.send(UserText(text="Hello."))
            await anyio.sleep(60)


async def test_answer_clears_the_failures() -> None:
    """A brain that answers shows that the network works, so the other may be tried again."""
    minds = [Mind(["One."], [ValueError("a")], ["Four."]), Mind(["Two."], ["Three."], [ValueError("b")])]
    brains = [Cascade(Ears(), mind, Voice(), name=str(at)) for at, mind in enumerate(minds)]
    brain = Failover(*brains, returns=False, cooldown_seconds=1000)
    async with call(brain) as harness:
        for words in ("One?", "Two?", "Three?", "Four?"):
            await harness.send(UserText(text=words))
            await anyio.sleep(5)
        assert switched(harness) == [("0", "1"), ("1", "0")]
        assert [words for role, words in said(brain.history) if role == "assistant"] == [
            "One.",
            "Two.",
            "Three.",
            "Four.",
        ]
        await harness.session.cancel()


# What it is -----------------------------------------------------------------------------------------------------------


async def test_sound_formats_are_fitted_and_declared() -> None:
    """Each brain gets a rate that it takes. Below, one rate is declared, or the check asks for a `Resample`."""
    peer = Peer()
    brain = Failover(realtime(peer), reserve("One."))
    async with call(brain) as harness:
        await harness.play(list(framed(silence(500), rate=16_000)))
        await anyio.sleep(1)
        assert peer.of("input_audio_buffer.append")
        await harness.session.cancel()
    assert brain.audio_out is not None
    assert brain.audio_out.rates == (24_000, 16_000)

    class Sink(Processor):
        audio_in = Failover(reserve(name="a"), reserve(name="b")).audio_out

        def process(self, frame: Audio) -> None: ...

    with pytest.raises(LinkError, match="Insert Resample"):
        _ = Harness(Failover(realtime(Peer()), reserve("One.")), Sink()).pipeline.plan
    assert Harness(Failover(reserve(name="a"), reserve(name="b")), Sink()).pipeline.plan


async def test_brains_share_one_history() -> None:
    """It is the first brain's history, unless one is passed."""
    mine, theirs = History(), History()
    assert Failover(reserve(history=theirs, name="a"), reserve(name="b")).history is theirs
    brain = Failover(reserve("Yes.", history=theirs, name="a"), reserve(name="b"), history=mine)
    async with call(brain) as harness:
        await harness.send(UserText(text="No?"))
        await anyio.sleep(3)
        await harness.session.cancel()
    assert said(mine) == [("user", "No?"), ("assistant", "Yes.")]
    assert not len(theirs)


async def test_idle_brain_is_not_connected() -> None:
    """It connects when it is needed."""
    peer = Peer()
    mind = Mind(["One."])
    brain = Failover(Cascade(Ears(), mind, Voice()), realtime(peer))
    async with call(brain) as harness:
        await harness.send(UserText(text="Hello."))
        await anyio.sleep(10)
        assert (peer.connections, mind.entered) == (0, 1)
        brain.switch()
        await anyio.sleep(1)
        assert (peer.connections, mind.entered) == (1, 0)
        await harness.session.cancel()


async def test_typed_text_interrupts_the_reply_of_a_left_brain() -> None:
    """The new brain interrupts words that it did not say itself."""
    brain = Failover(reserve(STORY, name="first"), reserve("Yes?"))
    async with call(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio)
        await anyio.sleep(1)
        brain.switch()
        await anyio.sleep(0.5)
        assert not harness.of(Interrupt)
        await harness.send(UserText(text="Wait."))
        await anyio.sleep(0.1)
        assert len(harness.of(Interrupt)) == 1
        await anyio.sleep(3)
        heard = [frame.text for frame in harness.of(Heard) if frame.done]
        assert STORY.startswith(heard[0])
        assert [words for _, words in said(brain.history)] == ["Tell me a story.", heard[0].strip(), "Wait.", "Yes?"]
        await harness.session.cancel()


async def test_reports_reach_the_brain_that_spoke() -> None:
    """Two brains count ids alike. Each gets reports of its own words only, under its own ids."""

    class Listening(Processor):
        def __init__(self, name: str) -> None:
            self.name = name
            self.heard: list[str] = []

        async def run(
            self, inbox: Inbox[UserText | Heard], out: Outlet[ResponseStarted | Text | Audio | ResponseEnded]
        ) -> None:
            async for frame in inbox:
                if isinstance(frame, Heard):
                    self.heard.append(frame.response_id)
                else:
                    out.respond(self.answer, frame.text)

        async def answer(self, reply: Outlet[ResponseStarted | Text | Audio | ResponseEnded], words: str) -> None:
            await reply.send(ResponseStarted(response_id="r"))
            await reply.send(Text(text=words, response_id="r", item_id="i", final=True))
            for frame in framed(silence(2000), response_id="r"):
                await reply.send(Audio(samples=frame.samples, rate=frame.rate, response_id="r", item_id="i"))
            await reply.send(ResponseEnded(response_id="r"))

    one, two = Listening("one"), Listening("two")
    brain = Failover(one, two)
    async with call(brain) as harness:
        await harness.send(UserText(text="one one one"))
        await anyio.sleep(1)
        brain.switch()
        await harness.settle()
        await harness.send(UserText(text="two two two"))
        await anyio.sleep(6)
        assert {frame.response_id for frame in harness.of(Heard)} == {"r", "2.r"}
        assert [frame.text for frame in harness.of(Heard) if frame.done] == ["one one one", "two two two"]
        assert set(one.heard) == {"r"}
        assert set(two.heard) == {"0.r", "r"}
        await harness.session.cancel()


async def test_failover_inside_a_failover() -> None:
    """It fails when all of its brains have failed."""
    inner = Failover(Dying(), reserve([ValueError("no")], name="inner reserve"))
    inner.name = "inner"
    brain = Failover(inner, reserve("Here I am."))
    async with call(brain) as harness:
        await harness.send(UserText(text="die"))
        await anyio.sleep(5)
        assert switched(harness) == [("dying", "inner reserve"), ("inner", "cascade")]
        assert text(harness).endswith("Here I am.")
        assert said(brain.history) == [("user", "die"), ("assistant", "Here I am.")]
        await harness.session.cancel()


async def test_configuration_holds_for_the_next_brain() -> None:
    """Instructions and tools that were changed during the call."""
    mind = Mind(["Two."])
    brain = Failover(Dying(), Cascade(Ears(), mind, Voice(), instructions="Be long."))
    async with call(brain) as harness:
        await harness.send(Configure(instructions="Be brief."), UserText(text="One?"))
        await anyio.sleep(1)
        brain.switch()
        await harness.send(UserText(text="Two?"))
        await anyio.sleep(3)
        assert mind.prompts[-1].instructions == "Be brief."
        await harness.session.cancel()


async def test_brain_may_end_the_call() -> None:
    """Ending the call is not a failure."""

    class Polite(Processor):
        async def run(self, inbox: Inbox[UserText], out: Outlet[Text]) -> None:
            await inbox.receive()
            await out.send(Text(text="Goodbye."))

    async with call(Failover(Polite(), Dying())) as harness:
        await harness.send(UserText(text="Bye."))
        await harness.end()
        assert text(harness) == "Goodbye."
        assert not switched(harness)


async def test_end_of_input_waits_for_the_answer() -> None:
    """The last question is answered, if necessary by the next brain."""
    brain = Failover(reserve([1.0, ValueError("no")], name="first"), reserve("Goodbye."))
    async with call(brain) as harness:
        await harness.send(UserText(text="Bye."))
        await harness.end()
        assert text(harness).endswith("Goodbye.")


def test_bad_options_are_refused() -> None:
    """The error has the value, and what to do."""
    with pytest.raises(ValueError, match="expected a second brain"):
        Failover(Dying())
    with pytest.raises(ValueError, match=r"Failover\(silence_seconds=0"):
        Failover(Dying(), reserve(), silence_seconds=0)
    with pytest.raises(ValueError, match=r"Failover\(max_failures=0"):
        Failover(Dying(), reserve(), max_failures=0)
    with pytest.raises(ValueError, match="two of the same name"):
        Failover(reserve(), reserve())
    with pytest.raises(ValueError, match=r"switch\('third'\): there is no such brain; expected 'dying', 'cascade'"):
        Failover(Dying(), reserve()).switch("third")


# Everything at once ---------------------------------------------------------------------------------------------------


def answers(prompt: Any) -> list[str | float]:
    """A reply in pieces, some of which take their time, to whatever was last said."""
    count = sum(entry.role == "user" for entry in prompt.entries)
    words = [f"c{count}word{letter} " for letter in "abcdefgh"]
    return [*words[:3], 0.2, *words[3:6], 0.3, *words[6:], "end."]


async def converse(seed: int) -> None:
    """One conversation in which brains are moved and die at any moment, and what must hold of it."""
    random, peer = Random(seed), Peer(seed)
    mind = Mind(answers)
    brain = Failover(
        realtime(peer),
        lambda: Cascade(Ears(), mind, Voice(words=True), name="second"),
        lambda: Cascade(Ears(), mind, Voice(words=random.random() < 0.5), name="third"),
        cooldown_seconds=random.choice((0.5, 5.0)),
        silence_seconds=5.0,
        returns=random.random() < 0.7,
    )
    asked: list[str] = []
    async with call(brain) as harness:
        for _ in range(random.randint(3, 12)):
            match random.choice(
                ("text", "text", "text", "wait", "local", "server", "switch", "switch", "break", "refuse")
            ):
                case "text":
                    asked.append(f"question {len(asked)}")
                    await harness.send(UserText(text=asked[-1]))
                case "wait":
                    await anyio.sleep(random.choice((0.02, 0.2, 1.0, 3.0)))
                case "local":
                    harness.interrupt()
                case "server":
                    await peer.speech()
                case "switch":
                    brain.switch()
                case "break":
                    await peer.close()
                case "refuse":
                    peer.refuse.append(SocketRefusedError("busy", status=503))
            await anyio.sleep(random.choice((0.0, 0.0, 0.01, 0.3)))
        await anyio.sleep(1)
        asked.append("the last question")
        await harness.send(UserText(text=asked[-1]))
        await anyio.sleep(60)  # all has been said and heard
        await harness.settle()
        await harness.session.cancel()
    assert not stale(harness)
    entries = [entry for entry in brain.history if entry.text and entry.role in ("user", "assistant")]
    assert [entry.text for entry in entries if entry.role == "user"] == asked, "nothing lost, nothing twice"
    after = entries[next(at for at, entry in enumerate(entries) if entry.text == asked[-1]) :]
    assert any(entry.role == "assistant" and entry.remembered.strip() for entry in after), "the last one was answered"
    heard = {(frame.response_id, frame.item_id): frame.text.strip() for frame in harness.of(Heard) if frame.done}
    for entry in entries:
        if entry.role == "assistant":
            assert entry.remembered.strip() == heard.get((entry.response_id, entry.item_id), ""), "as it was heard"
    started = [frame.response_id for frame in harness.of(ResponseStarted)]
    assert len(set(started)) == len(started)
    moves = harness.of(BrainSwitched)
    assert all(before.name == after.before for before, after in pairwise(moves))


@pytest.mark.parametrize("block", range(5))
async def test_random_interleavings(block: int) -> None:
    """Nothing stale is heard, nothing is lost, and the conversation is what was heard."""
    for seed in range(block * SEEDS // 5, (block + 1) * SEEDS // 5):
        try:
            await converse(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


class Measure(SpeechToText):
    """Understands the question when it has heard all of it."""

    async def transcribe(self, sound: AsyncIterator[Any]) -> AsyncIterator[str]:
        speech, count = utterances()["weather"], 0
        async for samples in sound:
            count += len(samples)
            yield "What"
        ms = 1000 * count / self.rate
        yield speech.text if ms > speech.speech_ms[-1][1] - speech.speech_ms[0][0] else f"{ms:.0f} ms of it"


async def speak(seed: int) -> None:
    """A spoken question, while brains are moved, or made to fail, once or twice."""
    random, speech = Random(seed), utterances()["weather"]

    def make(name: str) -> Pipeline:
        return Pipeline(Fuse(), Cascade(Measure(), Mind(["It is sunny."]), Voice(words=True)), name=name, inputs=Frame)

    brain = Failover(*(partial(make, name) for name in "abc"), returns=False)
    moves = sorted(random.uniform(0, 5) for _ in range(random.choice((1, 1, 2))))

    async def move() -> None:
        start = anyio.current_time()
        for at in moves:
            await anyio.sleep_until(start + at)
            if random.random() < 0.5:
                brain.switch()
            else:
                await harness.send(Kill())

    async with call(brain) as harness, anyio.create_task_group() as group:
        group.start_soon(move)
        sound = np.concatenate([silence(800), speech.samples, silence(5000)])
        await harness.play(list(framed(sound, rate=16_000)))
        await anyio.sleep(6)
        await harness.session.cancel()
    assert said(brain.history) == [("user", speech.text), ("assistant", "It is sunny.")]
    assert not stale(harness)
    assert brain.dropped_ms == 0


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
async def test_random_speech_is_answered_once(block: int) -> None:
    """The brain that has the conversation at the time answers all of it."""
    for seed in range(block * SPOKEN, (block + 1) * SPOKEN):
        await speak(seed)


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


@pytest.mark.slow
async def test_many_calls_at_once() -> None:
    """Each has its own failures, and all are answered."""
    answered = []

    async def one(number: int) -> None:
        peer = Peer(number, words=(1, 3))
        if number % 3 == 0:
            peer.refuse = [SocketRefusedError("busy", status=503)]
        brain = Failover(realtime(peer), reserve(f"Reserve {number}."), cooldown_seconds=1000)
        async with call(brain) as harness:
            await harness.send(UserText(text="Hello."))
            await anyio.sleep(0.01 + 0.05 * (number % 7))
            if number % 3 == 1:
                await peer.close()
            await anyio.sleep(2)
            last = brain.history.last
            answered.append(last is not None and last.remembered.strip() != "Hello.")
            assert brain.active == ("OpenAIRealtime" if number % 3 == 2 else "cascade")
            await harness.session.cancel()

    async with anyio.create_task_group() as group:
        for number in range(MANY):
            group.start_soon(one, number)
    assert answered == [True] * MANY


async def test_brain_that_is_still_stopping_is_used_again() -> None:
    """It did not stop within its bound. The conversation comes back before that, and waits for it."""
    brain = Failover(Leaving(3.0), Dying(), returns=False)
    async with call(brain) as harness:
        await harness.send(UserText(text="one"))
        await harness.next(ResponseEnded)
        brain.switch("dying")
        await anyio.sleep(1.0)
        brain.switch("leaving")
        await harness.send(UserText(text="two"))
        await anyio.sleep(6.0)
        assert brain.active == "leaving"
        assert brain.statistics().failures == {"leaving": 0, "dying": 0}
        assert text(harness).endswith("two")
        await harness.session.cancel()


async def test_brain_that_never_stops_fails() -> None:
    """The other brain continues."""
    brain = Failover(Leaving(60.0), Dying(), returns=False, silence_seconds=None)
    async with call(brain) as harness:
        await anyio.sleep(0.1)
        brain.switch("dying")
        await anyio.sleep(1.0)
        brain.switch("leaving")
        await harness.send(UserText(text="two"))
        await anyio.sleep(20.0)
        assert brain.active == "dying"
        assert text(harness) == "two"
        await harness.session.cancel()
