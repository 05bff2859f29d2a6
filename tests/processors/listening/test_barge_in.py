"""BargeIn: the table, and what it does with frames."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    Frame,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.pipeline.testing import Harness, check_processor, framed, tone
from bargein.processors import (
    AgentActivity,
    BargeIn,
    Decision,
    Evidence,
    Heard,
    Pacer,
    SpeechContinued,
    Spoken,
    TurnControl,
    decide,
)

pytestmark = pytest.mark.virtual

N, H, I, R = Decision.NOTHING, Decision.HOLD, Decision.INTERRUPT, Decision.RESUME  # noqa: E741

TABLE = [
    # speaking long words due    muted heard  echo   held   tentative  decision
    (True, False, False, False, False, True, False, False, True, H),  # a beginning: silence at once
    (True, False, False, False, False, True, False, True, True, N),  # on hold already
    (True, False, False, False, False, True, False, False, False, N),  # not tentative
    (True, False, False, False, False, False, False, False, True, N),  # nothing to silence
    (True, False, False, False, False, True, True, False, True, N),  # may be an echo
    (True, True, False, False, False, True, False, True, True, I),  # confirmed by duration
    (True, True, False, False, False, False, False, False, True, I),  # the agent is only thinking
    (True, False, False, False, False, True, False, False, True, H),  # words are missing
    (True, True, True, False, False, True, False, True, True, I),  # confirmed by words
    (True, False, True, False, False, True, False, True, True, I),  # short words are words
    (True, True, True, False, True, True, False, False, True, N),  # muted
    (True, True, True, False, True, True, False, True, True, R),  # muted since
    (False, True, False, False, False, True, False, True, True, I),  # long enough, told late
    (False, False, False, False, False, True, False, True, True, R),  # a cough
    (False, False, False, False, False, True, False, False, True, N),  # a cough that nobody noticed
    (False, False, False, True, False, True, False, True, True, N),  # its words may still come
    (False, False, False, False, False, True, False, True, True, R),  # they did not
    (False, False, True, False, False, True, False, True, True, I),  # they did
    (False, False, False, True, True, True, False, True, True, R),  # muted
]


@pytest.mark.parametrize("row", TABLE)
def test_the_table(row: tuple[Any, ...]) -> None:
    """Each row is one situation."""
    speaking, long_enough, words, due, muted, heard, echo, held, tentative, decision = row
    evidence = Evidence(
        speaking=speaking,
        long_enough=long_enough,
        enough_words=words,
        transcript_due=due,
        muted=muted,
        heard=heard,
        echo=echo,
        held=held,
    )
    assert decide(evidence, tentative=tentative) is decision


def test_what_holds_in_every_situation() -> None:
    """No interrupt while muted or unconfirmed; no hold twice; only what is held is resumed; speech that ended is
    never held for ever."""
    for values in itertools.product((True, False), repeat=8):
        evidence = Evidence(*values)
        for tentative in (True, False):
            decision = decide(evidence, tentative=tentative)
            if decision is I:
                assert not evidence.muted
                assert evidence.long_enough or evidence.enough_words
            if decision is H:
                assert tentative
                assert not evidence.held
                assert not evidence.muted
                assert evidence.speaking
            if decision is R:
                assert evidence.held
            if evidence.held and not evidence.speaking and not evidence.transcript_due:
                assert decision in (I, R)


def test_the_documented_table_is_the_decision() -> None:
    """The rows of the docstring, read from it."""
    rows = [line.strip().strip("|").split("|") for line in (decide.__doc__ or "").splitlines() if "|" in line][2:]
    cells = [[cell.strip() for cell in row] for row in rows]
    names = {"resume if held": R, "interrupt": I, "nothing: wait for the transcript": N}
    for values in itertools.product((True, False), repeat=8):
        evidence = Evidence(*values)
        facts = [
            evidence.muted,
            evidence.long_enough or evidence.enough_words,
            evidence.speaking,
            evidence.transcript_due,
        ]
        row = next(
            row
            for row in cells
            if all(not want or (want == "yes") == fact for want, fact in zip(row[:4], facts, strict=True))
        )
        expected = names.get(row[-1])
        if row[-1].startswith("hold"):
            expected = H if evidence.heard and not evidence.echo and not evidence.held else N
        if expected is R and not evidence.held:
            expected = N
        assert decide(evidence) is expected, (row, evidence)


class Agent(Processor):
    """Answers `UserText("go")` with a response that goes on until it is interrupted; reports as a sink would."""

    def __init__(self, protected: bool = False, words: str = "") -> None:
        self.protected = protected
        self.words = words
        self.count = 0

    async def run(
        self,
        inbox: Inbox[UserText | ToolResult],
        out: Outlet[ResponseStarted | ResponseEnded | Text | Played | AgentActivity | Heard],
    ) -> None:
        async for frame in inbox:
            if isinstance(frame, UserText) and frame.text == "go":
                self.count += 1
                out.respond(self.speak, f"r{self.count}")
            elif isinstance(frame, UserText) and frame.text == "over":
                await out.send(AgentActivity())
                await out.send(Played(response_id=f"r{self.count}", ms=100, done=True))

    async def speak(self, reply: Outlet[Any], name: str) -> None:
        await reply.send(ResponseStarted(response_id=name, protected=self.protected))
        await reply.send(AgentActivity(response_id=name, protected=self.protected))
        await reply.send(Text(text="...", response_id=name))
        await reply.send(Played(response_id=name, ms=0))
        if self.words:
            half = len(self.words) // 2
            await reply.send(Heard(response_id=name, text=self.words[:half], remaining=self.words[half:]))
        await anyio.sleep_forever()


class Situation:
    """A graph of a BargeIn and an agent who speaks; and what was done, with times in milliseconds."""

    def __init__(self, agent: Agent | None = None, **options: Any) -> None:
        self.harness = Harness(BargeIn(**options), agent or Agent())
        self.count = 0

    async def __aenter__(self) -> Situation:
        await self.harness.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.harness.session.cancel()
        await self.harness.__aexit__(None, None, None)

    async def agent_speaks(self) -> None:
        self.harness.session.offer(UserText(text="go"))
        await self.harness.settle()
        self.began = anyio.current_time()
        self.from_ = len(self.harness.timeline)

    async def send(self, *frames: Frame) -> None:
        await self.harness.send(*frames)
        await self.harness.settle()

    async def speech(self, ms: float, *said: Frame, lag: float = 100) -> None:
        """The user speaks for so long; the VAD notices after `lag` and 500 ms."""
        began = anyio.current_time()
        self.count += 1
        item = f"s{self.count}"
        await anyio.sleep(lag / 1000)
        at = round(began * 1e9)
        await self.send(SpeechStarted(pts=at, item_id=item, lag_ms=lag), SpeechContinued(pts=at, item_id=item, ms=lag))
        for more in range(round(lag) + 50, round(ms) + 1, 50):
            await anyio.sleep_until(began + more / 1000)
            await self.send(SpeechContinued(pts=at, item_id=item, ms=more))
        await anyio.sleep_until(began + ms / 1000)
        await self.send(*said)
        await anyio.sleep_until(began + ms / 1000 + 0.5)
        await self.send(SpeechStopped(pts=at + round(ms * 1e6), item_id=item, lag_ms=500))

    @property
    def done(self) -> list[tuple[str, int]]:
        start = self.began - self.harness._began
        return [
            (type(arrival.frame).__name__, round((arrival.at - start) * 1000))
            for arrival in self.harness.timeline[self.from_ :]
            if isinstance(arrival.frame, Hold | Resume | Interrupt)
        ]


def heard(text: str, *, final: bool = True, item: str = "") -> Transcript:
    return Transcript(text=text, final=final, item_id=item)


async def test_speech_holds_and_then_interrupts() -> None:
    """At once, and when it has lasted the minimum."""
    async with Situation(min_ms=300) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Hold", 100), ("Interrupt", 300)]
        assert it.harness.session.epoch == 1


async def test_a_cough_is_forgiven() -> None:
    """The agent goes on when it is over."""
    async with Situation(min_ms=300) as it:
        await it.agent_speaks()
        await it.speech(150)
        await anyio.sleep(2)
        assert it.done == [("Hold", 100), ("Resume", 650)]
        assert it.harness.session.epoch == 0


async def test_without_a_minimum_it_interrupts_at_once() -> None:
    """There is nothing to hold for."""
    async with Situation(min_ms=0) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Interrupt", 100)]


async def test_not_tentative_means_no_hold() -> None:
    """Only the interrupt."""
    async with Situation(tentative=False) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Interrupt", 300)]


async def test_speech_while_the_agent_is_silent_holds_nothing() -> None:
    """Nothing is on hold afterwards, and the epoch stands."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(UserText(text="over"))
        before = it.harness.session.epoch
        it.from_, it.began = len(it.harness.timeline), anyio.current_time()
        await it.speech(1000)
        assert [kind for kind, _ in it.done if kind != "Interrupt"] == []
        assert it.harness.session.epoch >= before


async def test_words_are_required_where_transcripts_come() -> None:
    """A nod is not enough, its words are not counted; a sentence is."""
    async with Situation(min_words=2) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.speech(600, heard("Yeah, okay."))
        assert it.done == [("Hold", 100), ("Resume", 1100)]
        await it.speech(600, heard("wait, stop", final=False))
        assert it.done[2:] == [("Hold", 1200), ("Interrupt", 1700)]


async def test_words_are_required_from_the_first_speech_on() -> None:
    """A noise at the greeting, before any transcript, resumes. So does a nod. Two words interrupt."""
    async with Situation(min_words=2) as it:
        await it.agent_speaks()
        await it.speech(600)
        await anyio.sleep(1)
        assert it.done == [("Hold", 100), ("Resume", 1800)], "700 ms for the transcript after the end of the speech"
    async with Situation(min_words=2) as it:
        await it.agent_speaks()
        await it.speech(600, heard("Yeah."))
        assert it.done == [("Hold", 100), ("Resume", 1100)]
        await it.speech(600, heard("No, stop."))
        assert it.done[2:] == [("Hold", 1200), ("Interrupt", 1700)]


async def test_two_seconds_of_speech_interrupt_without_a_transcript() -> None:
    """The recogniser may send nothing before the end. A transcript without enough words is waited for longer."""
    async with Situation(min_words=2) as it:
        await it.agent_speaks()
        await it.speech(2500)
        assert it.done == [("Hold", 100), ("Interrupt", 2000)]
    async with Situation(echo_guard=True) as it:
        await it.agent_speaks()
        await it.speech(2500)
        assert it.done == [], "it may be the agent's own sound"


@pytest.mark.parametrize("min_words", [0, 1])
async def test_short_words_are_words(min_words: int) -> None:
    """A "No." of 200 ms interrupts, when its transcript comes. "Uh huh" does not."""
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200, heard("No.", final=False))
        assert it.done == [("Hold", 100), ("Interrupt", 200)]
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200, heard("Two.", final=False))
        assert it.done[:1] == [("Hold", 100)], "it may be the first guess of a recogniser"
        await it.send(heard("Two."))
        assert it.done[-1] == ("Interrupt", 700)
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200, heard("Uh huh.", final=False), heard("Uh-huh."))
        assert it.done == [("Hold", 100), ("Resume", 700)]
    async with Situation(min_words=min_words) as it:
        await it.agent_speaks()
        await it.speech(200)
        await it.send(heard("No."))
        assert it.done[0] == ("Hold", 100)
        assert it.done[-1] == ("Interrupt", 700), "the transcript came after the end"


async def test_a_late_transcript_still_interrupts_what_it_was_said_to() -> None:
    """The agent has gone on meanwhile."""
    async with Situation(min_words=1, transcript_ms=700) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.speech(500)
        await anyio.sleep(1.5)
        await it.send(heard("Stop it."))
        assert it.done == [("Hold", 100), ("Resume", 1700), ("Interrupt", 2500)]


async def test_a_late_transcript_does_not_interrupt_the_answer_to_it() -> None:
    """When the next response has begun, it is too late."""
    async with Situation(min_words=1) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.speech(500)
        await it.agent_speaks()
        await it.send(heard("Stop it."))
        assert "Interrupt" not in [kind for kind, _ in it.done]


async def test_a_transcript_of_earlier_speech_does_not_count() -> None:
    """It is joined by item."""
    async with Situation(min_words=1) as it:
        await it.send(SpeechStarted(item_id="old", lag_ms=0), SpeechStopped(item_id="old", pts=10**9), heard("hello"))
        await it.agent_speaks()
        await it.speech(600, heard("what I said before", item="old"))
        assert it.done == [("Hold", 100)]


async def test_a_protected_response_is_not_interrupted() -> None:
    """Not even on hold."""
    async with Situation(Agent(protected=True)) as it:
        await it.agent_speaks()
        await it.speech(2000)
        await it.send(UserText(text="I want to say something"))
        assert it.done == []


async def test_speech_that_outlasts_the_protection_interrupts_what_follows() -> None:
    """The user has not stopped speaking."""
    agent = Agent(protected=True)
    async with Situation(agent) as it:
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100))
        await anyio.sleep(1)
        agent.protected = False
        it.harness.session.offer(UserText(text="go"))
        await it.harness.settle()
        assert it.done == [("Interrupt", 1000)]


async def test_muting_rules() -> None:
    """Always; until the first response has been heard; while a tool runs."""
    async with Situation(mute=["always"]) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == []
    async with Situation(mute=["first response"]) as it:
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == []
        await it.agent_speaks()
        await it.speech(1000)
        assert it.done == [("Hold", 100), ("Interrupt", 300)]


async def test_a_running_tool_mutes() -> None:
    """Until it has answered."""

    class Calls(Processor):
        async def run(self, inbox: Inbox[Transcript], out: Outlet[AgentActivity | ToolResult | Transcript]) -> None:
            await out.send(AgentActivity(response_id="r", call_ids=("c",)))
            async for _ in inbox:
                await out.send(ToolResult(call_id="c", output="done"))

    async with Harness(BargeIn(mute=["tools"]), Calls()) as harness:
        await harness.settle()
        await harness.send(SpeechStarted(item_id="s", lag_ms=100))
        await anyio.sleep(1)
        assert harness.of(Interrupt) == []
        await harness.send(heard("anything", item="x"))
        await harness.settle()
        assert len(harness.of(Interrupt)) <= 1
        assert harness.statistics().processors["BargeIn"].frames_in >= 4


async def test_the_agents_own_words_are_no_interruption() -> None:
    """Its sound comes back through the microphone; what the user says besides interrupts."""
    said = "The weather in Paris is sunny today, with a light wind from the south."
    async with Situation(Agent(words=said), echo_guard=True) as it:
        await it.agent_speaks()
        await it.speech(900, heard("weather in paris is sunny", final=False), heard("the weather and Paris is sunny"))
        await anyio.sleep(1)
        assert it.done == []
        await it.speech(900, heard("is sunny today no stop", final=False))
        assert [kind for kind, _ in it.done] == ["Interrupt"]


async def test_what_is_typed_interrupts() -> None:
    """At once, and the words follow."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(UserText(text="something else"))
        assert [kind for kind, _ in it.done] == ["Interrupt"]


async def test_the_users_words_pass() -> None:
    """All of them, whatever is decided."""
    frames = [
        SpeechStarted(item_id="s"),
        SpeechContinued(ms=100),
        heard("one", final=False),
        heard("one two"),
        SpeechStopped(item_id="s", pts=1),
    ]
    async with Harness(BargeIn()) as harness:
        await harness.send(*frames)
        assert [frame for frame in await harness.end() if not isinstance(frame, Interrupt)] == frames


async def test_nobody_is_left_on_hold() -> None:
    """When nothing more comes, the agent may finish."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100))
        it.harness.session.end()
        await it.harness.settle()
        assert it.done == [("Hold", 0), ("Resume", 0)]


async def test_an_interrupt_of_somebody_else_ends_the_hold() -> None:
    """No resume follows it."""
    async with Situation(min_words=1) as it:
        await it.send(heard("hello", item="earlier"))
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100))
        it.harness.interrupt()
        await it.send(SpeechStopped(item_id="s", pts=10**8, lag_ms=0))
        await anyio.sleep(2)
        assert it.done == [("Hold", 0), ("Interrupt", 0)]


@pytest.mark.parametrize(
    "bad",
    [{"min_ms": -1}, {"transcript_ms": float("inf")}, {"min_words": 1.5}, {"mute": "always"}, {"mute": ["sometimes"]}],
)
async def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"BargeIn\(.*expected"):
        BargeIn(**bad)


async def test_it_conforms() -> None:
    """The conformance suite passes; what it knows is about the user, and does not expire."""
    frames = [
        SpeechStarted(item_id="s"),
        Transcript(text="one two", item_id="s"),
        SpeechStopped(item_id="s", pts=700_000_000),
        UserText(text="hello"),
    ]
    await check_processor(BargeIn, frames, resets=False)


async def test_with_spoken() -> None:
    """The words of a real reply guard against its echo."""
    said = "Thank you for calling the tea house, what can I do for you?"
    async with Harness(BargeIn(echo_guard=True), Spoken(), Pacer()) as harness:
        await harness.send(ResponseStarted(response_id="r"), Text(text=said, response_id="r", epoch=0))
        await harness.send(*framed(tone(ms=4000), response_id="r", epoch=0))
        await anyio.sleep(1)
        await harness.send(SpeechStarted(item_id="s", lag_ms=100), heard("you for calling", final=False))
        await anyio.sleep(0.5)
        assert not harness.of(Interrupt)
        await harness.send(heard("you for calling never mind", final=False))
        await harness.settle()
        assert harness.of(Interrupt)
        await harness.end()
    (last,) = [frame for frame in harness.of(Heard) if frame.done]
    assert said.startswith(last.text)
    assert "calling" in last.text


async def test_a_hold_does_not_last_for_ever() -> None:
    """The microphone was muted in the middle of a sound: the agent goes on."""
    async with Situation(hold_ms=3000) as it:
        await it.agent_speaks()
        await it.send(SpeechStarted(item_id="s", lag_ms=100), SpeechContinued(item_id="s", ms=100))
        await anyio.sleep(10)
        assert it.done == [("Hold", 0), ("Resume", 3000)]


async def test_what_begins_while_the_user_speaks_is_interrupted() -> None:
    """Though there was nothing to interrupt when the speech was confirmed."""
    async with Situation() as it:
        it.began, it.from_ = anyio.current_time(), 0
        await it.send(SpeechStarted(item_id="s", lag_ms=100), SpeechContinued(item_id="s", ms=400))
        await anyio.sleep(1)
        await it.agent_speaks()
        await it.send(SpeechContinued(item_id="s", ms=1400))
        assert it.harness.session.epoch == 1


async def test_words_alone_interrupt_where_nobody_hears_speech() -> None:
    """A recogniser without a VAD; its late finals of the same item do not interrupt the answer."""
    async with Situation() as it:
        await it.agent_speaks()
        await it.send(heard("wait", item="u1", final=False))
        assert [kind for kind, _ in it.done] == ["Interrupt"]
        await it.agent_speaks()
        await it.send(heard("wait a minute", item="u1"))
        assert it.done == []


async def test_a_late_final_of_a_foreign_item_is_late() -> None:
    """It was part of speech that has been decided."""
    async with Situation(min_words=1) as it:
        await it.agent_speaks()
        await it.speech(600, heard("wait", item="u1", final=False))
        await it.agent_speaks()
        await it.speech(400, heard("wait a minute", item="u1"))
        assert "Interrupt" not in [kind for kind, _ in it.done]


async def test_it_leaves_it_to_somebody_above() -> None:
    """Nothing is put on hold then, and what is on hold goes on."""
    async with Harness(BargeIn(), Spoken(), Pacer()) as harness:
        await harness.send(ResponseStarted(response_id="r"), *framed(tone(300, 5000), response_id="r"))
        await anyio.sleep(0.5)
        await harness.send(SpeechStarted(item_id="a"))
        await harness.next(Hold)
        await harness.send(TurnControl())
        await harness.next(Resume)
        await harness.send(SpeechContinued(item_id="a", ms=2000), UserText(text="Stop."), SpeechStarted(item_id="b"))
        await anyio.sleep(2)
        assert len(harness.of(Hold)) == 1
        await harness.send(TurnControl(external=False), SpeechStarted(item_id="c"))
        await harness.next(Hold)
        await harness.session.cancel()
