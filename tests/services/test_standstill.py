"""The event loop stands still for 0.1 to 3 s at random moments of a call, and no call is lost for it.

A garbage collection, a slow import, or a library that keeps Python's lock do this to every call of a process. In
virtual time a standstill is a jump of the clock: all that was due meanwhile is due at once.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from random import Random

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from bargein.pipeline import Failure, Pipeline, UserText
from bargein.pipeline.testing import Harness, stand_still
from bargein.processors import Pacer, Spoken
from bargein.services.failover import Failover
from bargein.services.providers.openai import OpenAIRealtime
from bargein.services.testing import ScriptedBrain
from bargein.services.transports import SessionLimits, Sessions
from tests.environment import amount
from tests.services.callers import TRANSPORTS, VENDORS, Call, Caller, until
from tests.services.piped import piped
from tests.services.test_any_brain_any_transport import BRAINS, END, HEARD_SECONDS, STORY, Case, agent
from tests.services.transports.kit import connected
from tests.speech import utterances

SHORTEST, LONGEST = 0.1, 3.0
"""How long the loop stands still, in seconds."""
AFTER = 10.0
"""How long a caller listens to the end of the last answer, in seconds: some of it passes in standstills."""


async def stand_still_at_random(random: Random) -> None:
    """Let the loop stand still again and again."""
    while True:
        await anyio.sleep(random.uniform(0.2, 4.0))
        stand_still(random.uniform(SHORTEST, LONGEST))


class PatientCall(Call):
    """A call whose caller does not take a standstill for the end of an answer."""

    async def hold(self, caller: Caller) -> None:
        caller.say(self.question)
        await until(lambda: caller.audible_ms >= 1000 * self.seconds)
        caller.say(self.interruption)
        await until(lambda: not caller.speaks and self.settled())
        await anyio.sleep(AFTER)


VIRTUAL = [
    *(Case(brain, "websocket", 16_000, 1) for brain in BRAINS),
    *(Case(brain, vendor, 8_000, 1) for brain in BRAINS for vendor in VENDORS),
]
DAILY = [
    Case("cascade", "twilio", 8_000, 1),
    Case("failover", "websocket", 16_000, 1),
    Case("served", "telnyx", 8_000, 1),
    Case("OpenAI", "websocket", 16_000, 1),
]


@pytest.mark.slow
@pytest.mark.virtual
@pytest.mark.timeout(amount(120, 900))
@pytest.mark.parametrize("case", amount(DAILY, VIRTUAL), ids=str)
async def test_no_call_is_lost(case: Case, tmp_path: Path) -> None:
    """The question is answered, the interruption heard, and the next answer said to its end."""
    for seed in range(amount(1, 10)):
        async with BRAINS[case.brain]() as made:

            def answers() -> list[str]:
                entries = [entry.remembered.strip() for entry in made.history if entry.role == "assistant"]
                return [each for each in entries if each]

            words = utterances()
            call = PatientCall(
                words["weather"].samples,
                words["wait"].samples,
                HEARD_SECONDS,
                lambda: [*answers(), ""][1:2] == [END],
                last_ms=made.end_ms,
            )
            async with anyio.create_task_group() as group:
                group.start_soon(stand_still_at_random, Random(seed))
                await TRANSPORTS[case.transport](
                    partial(agent, made.brain), call, case.rate, case.channels, tmp_path / str(seed)
                )
                group.cancel_scope.cancel()
            story, end = answers()
            assert STORY.startswith(story), f"seed {seed}"
            assert end == END, f"seed {seed}"


@pytest.mark.virtual
async def test_a_standstill_while_a_failover_moves_accuses_nobody() -> None:
    """At any moment of a move. Each brain may be used again, and none has failed."""
    for seed in range(amount(10, 200)):
        random = Random(seed)
        async with piped(lambda: ScriptedBrain("Yes.")) as peer:
            brains = [OpenAIRealtime(api_key="any", connect=peer.connect).options(name=name) for name in ("a", "b")]
            failover = Failover(*brains, returns=False)
            async with Harness(failover, Spoken(), Pacer()) as harness:
                await anyio.sleep(1)
                for _ in range(4):
                    failover.switch()
                    for _ in range(random.randrange(40)):
                        await anyio.lowlevel.checkpoint()
                    await anyio.sleep(random.choice((0.0, 0.001, 0.05, 0.1, 0.5)))
                    stand_still(random.uniform(SHORTEST, LONGEST))
                    await anyio.sleep(2)
                assert failover.active == "a", f"seed {seed}"
                assert failover.statistics().failures == {"a": 0, "b": 0}, f"seed {seed}"
                assert not harness.of(Failure), f"seed {seed}"
                await harness.send(UserText("Are you there?"))
                await anyio.sleep(2)
                assert failover.history.remembered[-1].remembered.strip() == "Yes.", f"seed {seed}"


@pytest.mark.virtual
async def test_what_arrived_in_a_standstill_counts_before_a_deadline() -> None:
    """A peer that may be silent for a second, and has said something in a standstill of three, has not left."""
    sessions = Sessions(lambda peer: Pipeline(peer.source, ScriptedBrain("Yes."), Spoken(), peer.sink))
    sessions.limits = SessionLimits(idle_seconds=1.0)
    async with connected(sessions) as client:
        for _ in range(5):
            await client.send(UserText("Are you there?"))
            stand_still(LONGEST)
            await anyio.sleep(0.3)
        assert len(sessions.live) == 1
        await anyio.sleep(2)
        assert not sessions.live


@pytest.mark.virtual
async def test_an_answer_that_arrived_in_a_standstill_is_in_time() -> None:
    """A brain that must answer within a second is not left when the loop stood still for three."""
    for seed in range(amount(10, 100)):
        async with piped(lambda: ScriptedBrain([0.5, "Yes."])) as peer:
            brains = [OpenAIRealtime(api_key="any", connect=peer.connect).options(name=name) for name in ("a", "b")]
            failover = Failover(*brains, silence_seconds=1.0)
            async with Harness(failover, Spoken(), Pacer()) as harness:
                await anyio.sleep(1)
                await harness.send(UserText("Are you there?"))
                await anyio.sleep(Random(seed).uniform(0.45, 0.55))
                stand_still(LONGEST)
                await anyio.sleep(2)
                assert failover.active == "a", f"seed {seed}"
                assert not harness.of(Failure), f"seed {seed}"


@pytest.mark.real
@pytest.mark.timeout(60)
async def test_a_call_over_webrtc_is_not_lost() -> None:
    """The loop of the real world stands still in the middle of the offer, and of the answer."""
    from bargein.services.transports.webrtc import WebRtcServer  # noqa: PLC0415 - needs the extra
    from tests.services.transports.webrtc.client import client  # noqa: PLC0415

    sessions = Sessions(
        lambda peer: Pipeline(peer.source, ScriptedBrain("Once upon a time.", word_ms=200), Spoken(), peer.sink)
    )

    async def block(random: Random) -> None:
        for _ in range(amount(3, 12)):
            await anyio.sleep(random.uniform(0.02, 0.4))
            time.sleep(random.uniform(SHORTEST, amount(0.5, LONGEST)))  # noqa: ASYNC251  # that is the point

    async with WebRtcServer(sessions) as server, client() as peer, anyio.create_task_group() as group:
        group.start_soon(block, Random(1))
        await peer.join(server)
        peer.send('{"type": "text", "text": "Tell me a story."}')
        with anyio.fail_after(40):
            while not any(message["state"] == "completed" for message in peer.of("response")):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert len(sessions.live) == 1
        assert sessions.statistics().failed == 0
        group.cancel_scope.cancel()
