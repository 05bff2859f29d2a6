"""Turns: what was said, and when it is the agent's turn."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    Frame,
    Inbox,
    Outlet,
    Played,
    Processor,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    Transcript,
    UserText,
)
from bargein.pipeline.testing import Harness, check_processor
from bargein.processors import AgentActivity, Commit, SpeechContinued, Turn, TurnControl, Turns, UserIdle

pytestmark = pytest.mark.virtual

MS = 1_000_000


def started(item: str = "a", at: float = 0) -> SpeechStarted:
    return SpeechStarted(item_id=item, pts=round(at * MS), lag_ms=100)


def stopped(item: str = "a", at: float = 1000) -> SpeechStopped:
    return SpeechStopped(item_id=item, pts=round(at * MS), lag_ms=500)


def said(text: str, item: str = "a", *, final: bool = True) -> Transcript:
    return Transcript(text=text, item_id=item, final=final)


async def told(turns: Turns, *script: Frame | float) -> list[tuple[int, Turn]]:
    """Send frames and wait between them, in milliseconds; the turns that came, with their times."""
    async with Harness(turns) as harness:
        for step in script:
            if isinstance(step, Frame):
                await harness.send(step)
            else:
                await harness.settle()
                await anyio.sleep(step / 1000)
        await harness.settle()
        await harness.session.cancel()
        return [(round(at * 1000), frame) for at, frame in harness.timeline if isinstance(frame, Turn)]


async def test_silence_ends_a_turn() -> None:
    """Counted from when speech stopped: the VAD's own 500 ms are part of the 700."""
    ((at, turn),) = await told(Turns(silence_ms=700), started(), 1500, said("Hello."), stopped(), 2000)
    assert at == 1700
    assert turn == Turn(turn=1, text="Hello.", item_ids=("a",), reason="silence", end_pts=1000 * MS)


async def test_a_pause_does_not_end_it() -> None:
    """Speech that goes on belongs to the same turn, and its transcripts are joined."""
    ((at, turn),) = await told(
        Turns(),
        *(started("a"), 1000, said("I would like", "a"), stopped("a"), 100),
        *(started("b", 1200), 1000, said("a cup of tea.", "b"), stopped("b", 2000), 3000),
    )
    assert (turn.text, turn.item_ids, turn.end_pts) == ("I would like a cup of tea.", ("a", "b"), 2000 * MS)
    assert at == 2300


async def test_the_final_transcript_is_waited_for() -> None:
    """The turn is given the moment it comes."""
    ((at, turn),) = await told(
        Turns(transcript_ms=1500), started(), said("Hel", final=False), 1000, stopped(), 900, said("Hello."), 5000
    )
    assert (at, turn.text, turn.final) == (1900, "Hello.", True)


async def test_but_not_for_ever() -> None:
    """After the limit it is given as it is."""
    ((at, turn),) = await told(Turns(transcript_ms=1500), started(), said("Hel", final=False), 1000, stopped(), 5000)
    assert (at, turn.text, turn.final) == (2700, "Hel", False)


async def test_a_late_final_goes_to_its_own_turn() -> None:
    """Not to the next one, which has begun: the first is given again."""
    turns = await told(
        Turns(transcript_ms=500),
        *(started("a"), said("one", "a", final=False), 1000, stopped("a"), 1000),
        *(started("b", 3000), 200, said("One two.", "a"), 500, said("Three.", "b"), stopped("b", 4000), 2000),
    )
    assert [(turn.turn, turn.text, turn.revision) for _, turn in turns] == [
        (1, "one", 0),
        (1, "One two.", 1),
        (2, "Three.", 0),
    ]


async def test_a_late_final_that_says_the_same_is_not_told_again() -> None:
    """There is nothing new in it."""
    turns = await told(
        Turns(transcript_ms=500), started(), said("yes", final=False), 1000, stopped(), 1000, said("yes"), 1000
    )
    assert len(turns) == 1


async def test_a_cough_is_no_turn() -> None:
    """Speech without words gives none, whether its transcript is empty or never comes; late words still do."""
    assert await told(Turns(), started(), 300, said(""), stopped(at=200), 5000) == []
    assert await told(Turns(), started(), 300, stopped(at=200), 9000) == []
    ((at, turn),) = await told(Turns(), started(), 300, stopped(at=200), 4000, said("Wait!"), 1000)
    assert (at, turn.text, turn.revision) == (4300, "Wait!", 0)


async def test_without_a_recogniser_a_turn_has_no_words() -> None:
    """For models that hear by themselves."""
    ((at, turn),) = await told(Turns(transcript_ms=0), started(), 1000, stopped(), 2000)
    assert (at, turn.text) == (1200, "")
    assert (
        await told(Turns(transcript_ms=0), started(), SpeechContinued(item_id="a", ms=150), 1000, stopped(), 2000) == []
    )
    long = SpeechContinued(item_id="a", ms=300)
    assert len(await told(Turns(transcript_ms=0), started(), long, 1000, stopped(), 2000)) == 1


async def test_a_recogniser_that_ends_turns() -> None:
    """Its final transcript is the end, once nobody speaks."""
    ((at, turn),) = await told(Turns("transcript"), said("Good", final=False), 500, said("Good morning."), 2000)
    assert (at, turn.text, turn.reason) == (500, "Good morning.", "transcript")


async def test_a_recogniser_without_a_vad() -> None:
    """Its words are the sign that somebody speaks."""
    ((at, turn),) = await told(
        Turns(silence_ms=700), said("Good", final=False), 600, said("Good morning"), 600, said("to you.", "b"), 2000
    )
    assert (at, turn.text) == (1900, "Good morning to you.")


async def test_a_recogniser_with_items_of_its_own() -> None:
    """A final answers what was said until then; partials without an item replace each other."""
    ((at, turn),) = await told(
        Turns(), started(), said("Hel", "", final=False), 1000, said("Hello.", ""), said("How", "", final=False),
        said("How are you?", ""), stopped(), 2000,
    )  # fmt: skip
    assert (at, turn.text, turn.item_ids, turn.final) == (1200, "Hello. How are you?", (), True)
    ((at, turn),) = await told(Turns(), started(), 1000, said("Hello.", "theirs"), stopped(), 2000)
    assert (at, turn.text, turn.final) == (1200, "Hello.", True)


async def test_a_late_final_of_an_unknown_item_answers_the_oldest_question() -> None:
    """The turn that waits, not the one that has begun."""
    turns = await told(
        Turns(transcript_ms=500),
        *(started("a"), 1000, stopped("a"), 800, started("b", 2000), 100, said("One.", "x")),
        *(300, said("Two.", "y"), stopped("b", 2500), 2000),
    )
    assert [(turn.turn, turn.text) for _, turn in turns] == [(1, "One."), (2, "Two.")]


async def test_push_to_talk() -> None:
    """Only the key ends it; the transcript is still waited for."""
    turns = Turns("commit", transcript_ms=1500)
    ((at, turn),) = await told(turns, started(), 1000, stopped(), 5000, started("b", 7000), 500, Commit(), 700,
                               said("one", "a"), said("two", "b"), stopped("b", 6500), 3000)  # fmt: skip
    assert (at, turn.text, turn.reason) == (7200, "one two", "commit")


async def test_a_key_ends_other_turns_too() -> None:
    """Whatever else would."""
    ((at, turn),) = await told(Turns(silence_ms=5000), started(), said("go"), 300, Commit(), 1000)
    assert (at, turn.reason) == (300, "commit")


async def test_speech_after_the_key_is_the_next_turn() -> None:
    """The first is given with what is known of it, and again when its words come."""
    turns = await told(
        Turns("commit"), started("a"), 500, Commit(), 100, started("b", 600), said("one", "a"), said("two", "b"),
        500, Commit(), 2000,
    )  # fmt: skip
    assert [(turn.turn, turn.text) for _, turn in turns] == [(1, "one"), (2, "two")]


async def test_a_model_that_takes_turns_itself() -> None:
    """When it says that speech stopped, or begins to answer; its transcript trails."""
    ((at, turn),) = await told(Turns("model"), started(), 1000, stopped(), 300, said("Hi."), 2000)
    assert (at, turn.text, turn.reason) == (1300, "Hi.", "model")
    ((at, turn),) = await told(
        Turns("model"), said("Hi", final=False), 1000, ResponseStarted(response_id="r"), 300, said("Hi."), 2000
    )
    assert (at, turn.text, turn.reason) == (1300, "Hi.", "model")


async def test_a_turn_that_never_ends_is_ended() -> None:
    """A muted microphone must not stop the conversation."""
    ((at, turn),) = await told(Turns(max_ms=30_000), started(), said("and then"), 40_000)
    assert (at, turn.text, turn.reason) == (30_000, "and then", "length")


async def test_what_is_typed_is_a_turn_of_its_own() -> None:
    """At once, also while somebody speaks."""
    turns = await told(Turns(), started(), 500, UserText(text="hello", item_id="t"), said("hi"), stopped(), 2000)
    assert [(turn.text, turn.item_ids, turn.reason) for _, turn in turns] == [
        ("hello", ("t",), "typed"),
        ("hi", ("a",), "silence"),
    ]


async def test_what_was_heard_of_the_agent_is_no_turn() -> None:
    """Captions of its voice are transcripts, too."""
    assert await told(Turns(), Transcript(text="I am the agent", final=True, speaker="agent"), 5000) == []


async def test_an_interrupt_changes_nothing() -> None:
    """The user's words are never flushed."""
    async with Harness(Turns()) as harness:
        await harness.send(started(), said("one two"))
        harness.interrupt()
        await harness.send(stopped())
        await anyio.sleep(2)
        assert [frame.text for frame in harness.of(Turn)] == ["one two"]


async def test_the_end_gives_what_is_open() -> None:
    """The last words of a call are a turn."""
    async with Harness(Turns()) as harness:
        await harness.send(started(), said("Goodbye."))
        await harness.end()
    (turn,) = harness.of(Turn)
    assert (turn.text, turn.reason) == ("Goodbye.", "end")


async def test_everything_passes_in_order() -> None:
    """The turn follows what it is made of."""
    frames = [started(), said("one"), stopped(), UserText(text="x"), Commit(), ResponseStarted(response_id="r")]
    async with Harness(Turns(silence_ms=0)) as harness:
        await harness.send(*frames)
        out = await harness.end()
    assert [frame for frame in out if not isinstance(frame, Turn)] == frames
    assert [type(frame) for frame in out].index(Turn) > 2


async def idles(turns: Turns, *script: Frame | float) -> list[tuple[int, int]]:
    async with Harness(turns, Below()) as harness:
        for step in script:
            if isinstance(step, Frame):
                await harness.send(step)
            else:
                await harness.settle()
                await anyio.sleep(step / 1000)
        await harness.session.cancel()
        return [(round(at * 1000), frame.count) for at, frame in harness.timeline if isinstance(frame, UserIdle)]


class Below(Processor):
    """Sends news up, as whoever plays would: "play", "done", "busy" and "free"."""

    async def run(self, inbox: Inbox[ToolCall], out: Outlet[Played | AgentActivity]) -> None:
        async for frame in inbox:
            if frame.name in ("play", "done"):
                await out.send(Played(response_id="r", ms=1, done=frame.name == "done"))
            else:
                await out.send(AgentActivity(response_id="r" if frame.name == "busy" else ""))


def below(what: str) -> Frame:
    return ToolCall(call_id="", name=what)


async def test_a_user_who_says_nothing() -> None:
    """The user is reported idle again and again, until the user speaks."""
    script = (25_000, started(), 1000, said("hm"), stopped(), 11_500)
    assert await idles(Turns(idle_ms=10_000), *script) == [(10_000, 1), (20_000, 2), (36_200, 1)]


async def test_who_listens_is_not_idle() -> None:
    """The time counts from the last that was heard of the agent."""
    assert await idles(Turns(idle_ms=5000), 4000, below("play"), 4000, below("done"), 6000) == [(13_000, 1)]
    assert await idles(Turns(idle_ms=5000), below("busy"), 60_000, below("free"), 6000) == [(65_000, 1)]


@pytest.mark.parametrize(
    "bad",
    [
        {"end": "when it likes"},
        {"silence_ms": -1},
        {"transcript_ms": float("nan")},
        {"min_ms": -1},
        {"idle_ms": 0},
        {"max_ms": 0},
    ],
)
async def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"Turns\(.*expected"):
        Turns(**bad)


async def test_it_conforms() -> None:
    """The conformance suite passes; a turn never expires."""
    frames = [started(), said("one", final=False), said("one two"), stopped(), UserText(text="three")]
    await check_processor(lambda: Turns(silence_ms=0), frames, resets=False)


async def test_a_recogniser_that_is_faster_than_the_vad() -> None:
    """Its final comes while the VAD still waits for silence."""
    ((at, turn),) = await told(Turns("transcript"), started(), 1000, said("Hello."), 300, stopped(), 5000)
    assert (at, turn.text, turn.reason) == (1300, "Hello.", "transcript")


async def test_a_cough_does_not_keep_a_turn_open() -> None:
    """Its transcript never comes; that of the words has."""
    ((at, turn),) = await told(
        Turns("transcript", transcript_ms=1500),
        *(started("a"), 800, stopped("a"), started("b", 1000), 300, stopped("b", 1200), said("Hello.", "a"), 5000),
    )
    assert (at, turn.text) == (2600, "Hello.")


async def test_a_key_may_be_faster_than_the_recogniser() -> None:
    """The first words after it are the turn."""
    turns = await told(Turns("commit"), Commit(), 400, said("yes", "x"), 20_000, said("no", "y"), Commit(), 1000)
    assert [(at, turn.text) for at, turn in turns] == [(400, "yes"), (20_400, "no")]


async def test_speech_that_stops_coming_is_over() -> None:
    """The microphone was muted in the middle of it."""
    ((at, turn),) = await told(
        Turns(),
        started(),
        SpeechContinued(item_id="a", ms=100),
        900,
        SpeechContinued(item_id="a", ms=900),
        said("Go on"),
        9000,
    )
    assert (at, turn.text) == (3900, "Go on")


async def test_speech_that_goes_on_after_the_key() -> None:
    """The later speech is the next turn, if no transcripts are expected."""
    first = [SpeechContinued(item_id="a", ms=50 * at) for at in range(2, 20)]
    more = [SpeechContinued(item_id="a", ms=50 * at) for at in range(20, 60)]
    turns = await told(Turns(transcript_ms=0), started(), *first, 900, Commit(), *more, 900, stopped(at=2000), 2000)
    assert [turn.reason for _, turn in turns] == ["commit", "silence"]


async def test_a_recogniser_alone_cannot_prolong_a_turn_for_ever() -> None:
    """The longest there is holds for it, too."""
    script = [step for at in range(40) for step in (said(f"word {at}", str(at)), 500)]
    turns = await told(Turns(max_ms=5000), *script)
    assert [at for at, _ in turns][:3] == [5000, 10_000, 15_000]


async def test_a_cough_does_not_take_the_next_words() -> None:
    """A recogniser with items of its own answers what was said, not what was coughed."""
    ((_, turn),) = await told(
        Turns(), started("a"), 300, stopped("a", 200), 1800, started("b", 2100), 1000,
        said("I would like", "u1"), 500, said("a cup of tea", "u2"), stopped("b", 3600), 3000,
    )  # fmt: skip
    assert turn.text == "I would like a cup of tea"


async def test_a_correction_to_nothing_is_told() -> None:
    """The words were none."""
    turns = await told(
        Turns(transcript_ms=500), started(), said("uh", final=False), 1000, stopped(), 1000, said(""), 1000
    )
    assert [(turn.text, turn.revision) for _, turn in turns] == [("uh", 0), ("", 1)]


async def test_somebody_above_may_take_the_turns() -> None:
    """Then silence ends none, and each `Commit` is answered when its words are known, even if there are none."""
    turns = Turns(silence_ms=700, transcript_ms=500)
    script: list[Frame | float] = [TurnControl(), started(), 500, said("Hello."), stopped(), 3000, Commit(), 100]
    script += [started("b"), stopped("b"), Commit(), 2000, said("", "b"), 100]
    script += [started("c"), stopped("c"), Commit(), 2000, said("there", "c"), 100]
    script += [TurnControl(external=False), started("d"), 500, said("you", "d"), stopped("d"), 3000]
    assert [(at, turn.text, turn.reason) for at, turn in await told(turns, *script)] == [
        (3500, "Hello.", "commit"),
        (5600, "", "commit"),
        (7700, "there", "commit"),
        (8500, "you", "silence"),
    ]


async def test_an_interrupt_from_above_takes_a_commit_back() -> None:
    """What has not been given is not answered any more: it is part of the next turn."""
    async with Harness(Turns(transcript_ms=500)) as harness:
        await harness.send(TurnControl(), started("a"), stopped("a"), Commit())
        await anyio.sleep(1)
        await harness.send(started("b"), stopped("b"), Commit())
        await anyio.sleep(0.1)
        harness.interrupt()
        await anyio.sleep(0.1)
        await harness.send(said("one", "a"), started("c"), said("two", "b"), stopped("c"), said("three", "c"))
        await anyio.sleep(5)
        assert not harness.of(Turn)
        await harness.send(Commit())
        await harness.settle()
        assert [turn.text for turn in harness.of(Turn)] == ["one two three"]
        await harness.session.cancel()


def playing(*, done: bool = False) -> Played:
    return Played(response_id="r", item_id="i", ms=100, done=done)


class Speaks(Processor):
    """An agent that is heard from "go" on, for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def process(self, frame: UserText, out: Outlet[ResponseStarted | Played]) -> None:
        out.respond(self.speak)

    async def speak(self, reply: Outlet[ResponseStarted | Played]) -> None:
        await reply.send(ResponseStarted("r"))
        await reply.send(playing())
        await anyio.sleep(self.seconds)
        await reply.send(playing(done=True))


async def over_the_agent(turns: Turns, seconds: float, *script: Frame | float, interrupt: bool = False) -> list[str]:
    """Return the turns, without the first one, of a user who speaks while the agent is heard for some seconds."""
    async with Harness(turns, Speaks(seconds)) as harness:
        await harness.send(UserText("go"))
        for step in script:
            if isinstance(step, Frame):
                await harness.send(step)
            else:
                await anyio.sleep(step / 1000)
        if interrupt:
            harness.interrupt()
        await anyio.sleep(5)
        return [turn.text for turn in harness.of(Turn)][1:]


async def test_a_backchannel_is_no_turn_while_the_agent_speaks() -> None:
    """Other words are. It is a turn if the agent has ended, or ends within a second: then it was the answer."""
    nod = (started(), 400.0, stopped(at=400), said("Uh huh, okay."))
    assert await over_the_agent(Turns(), 9, *nod) == []
    assert await over_the_agent(Turns(), 1.5, *nod) == ["Uh huh, okay."], "the agent ended 0.4 s after the turn"
    assert await over_the_agent(Turns(), 0.2, *nod) == ["Uh huh, okay."], "the agent had ended"
    assert await over_the_agent(Turns(), 9, started(), 400.0, stopped(at=400), said("Okay, stop.")) == ["Okay, stop."]
    assert await over_the_agent(Turns(backchannels=()), 9, *nod) == ["Uh huh, okay."]
    assert await over_the_agent(Turns("commit"), 9, *nod, Commit()) == ["Uh huh, okay."], "the user said it is a turn"


async def test_a_correction_makes_a_turn_of_a_backchannel() -> None:
    """The final transcript may have more words than the one before."""
    late = (started(), 400.0, stopped(at=400), said("Okay", final=False), 2500.0, said("Okay, but wait."))
    assert await over_the_agent(Turns(), 9, *late) == ["Okay, but wait."]


async def test_a_noise_that_the_agent_speaks_on_over_is_no_turn() -> None:
    """Without a recogniser, a silent agent answers 160 ms of speech; one that speaks on, 300."""
    for ms, answered in ((140, []), (160, []), (280, []), (300, [""])):
        noise = (started(), SpeechContinued(item_id="a", ms=ms), 400.0, stopped(at=400))
        assert await over_the_agent(Turns(transcript_ms=0), 9, *noise) == answered
        alone = await told(Turns(transcript_ms=0), *noise, 2000)
        assert len(alone) == (ms >= 160)
