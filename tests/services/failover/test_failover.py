"""Failover: how several brains act as one: formats, history, reports, configuration and options."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Audio, Inbox, Outlet, Processor, ResponseEnded, ResponseStarted, Text, UserText
from bargein.pipeline.errors import LinkError
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Heard
from bargein.services.cascade import Cascade
from bargein.services.failover import Failover
from bargein.services.frames import Configure
from bargein.services.history import History
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.realtime.peer import Peer

from .call_kit import Dying, call, realtime, reserve, said, switched, text

pytestmark = pytest.mark.virtual


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
