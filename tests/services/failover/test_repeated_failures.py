"""Failover: several failures in a row, brains that come back, and the end when no brain is left."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Audio, Inbox, Outlet, ResponseEnded, ResponseStarted, Text, UserText
from bargein.services.cascade import Cascade
from bargein.services.failover import Failover, FailoverError
from bargein.services.frames import BrainSwitched, Respond
from bargein.services.sockets import SocketRefusedError
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.realtime.peer import Peer

from .call_kit import STORY, Dying, call, realtime, reserve, said, switched, text

pytestmark = pytest.mark.virtual


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
