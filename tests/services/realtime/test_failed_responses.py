"""A response that fails is reported, and requested again while nothing of it was heard."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import pytest

from bargein.pipeline import Failure, ResponseEnded, ResponseStarted, UserText
from bargein.pipeline.testing import Harness
from bargein.processors import Pacer, Spoken
from bargein.services.brain import CONTINUE
from bargein.services.frames import Connected
from bargein.services.realtime._dialogue.replies import RETRY_SECONDS

from .peer import Peer

pytestmark = pytest.mark.virtual

RATE_LIMIT = {"type": "failed", "error": {"type": "requests", "code": "rate_limit_exceeded", "message": "slow down"}}


class Failing(Peer):
    """Fails the first responses, each after a piece of audio if `speaks`."""

    def __init__(self, times: int, *, speaks: bool = False) -> None:
        super().__init__(words=(4, 4), pace=0.0)
        self.stragglers = False
        self.on_event = self._fail
        self.details = RATE_LIMIT
        self._times = times
        self._speaks = speaks

    async def _fail(self, event: dict[str, Any]) -> bool:
        number = len(self.of("response.create"))
        if event["type"] != "response.create" or number > self._times:
            return False
        metadata = event["response"].get("metadata")
        await self.send("response.created", response={"id": f"f{number}", "metadata": metadata})
        if self._speaks:
            ids = {"response_id": f"f{number}", "item_id": f"i{number}"}
            await self.send("response.output_audio_transcript.delta", delta="Well", **ids)
            await self.send("response.output_audio.delta", delta=base64.b64encode(bytes(48_000)).decode(), **ids)
        details = {"id": f"f{number}", "status": "failed", "status_details": self.details, "metadata": metadata}
        await self.send("response.done", response=details)
        return True


def session(peer: Peer) -> Harness:
    return Harness(peer.model(), Spoken(), Pacer())


async def test_failed_response_is_requested_again() -> None:
    """After a wait. The failure is reported, and the user gets an answer."""
    peer = Failing(1)
    async with session(peer) as harness:
        await harness.next(Connected)
        await harness.send(UserText("hello"))
        failure = await harness.next(Failure)
        assert not failure.fatal
        assert failure.message.startswith("OpenAI: the response failed: ")
        assert "slow down" in failure.message
        failed_at = anyio.current_time()
        while (await harness.next(ResponseEnded)).outcome == "failed":
            pass
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["failed", "completed"]
        assert anyio.current_time() >= failed_at + RETRY_SECONDS[0]
        await harness.session.cancel()


async def test_failed_response_is_given_up() -> None:
    """After some attempts. Each failure is reported, and the next question starts again."""
    peer = Failing(len(RETRY_SECONDS) + 1)
    async with session(peer) as harness:
        await harness.next(Connected)
        await harness.send(UserText("hello"))
        await anyio.sleep(120)
        assert len(harness.of(Failure)) == len(peer.of("response.create")) == len(RETRY_SECONDS) + 1
        await harness.send(UserText("again"))
        await anyio.sleep(10)
        assert harness.of(ResponseEnded)[-1].outcome == "completed"
        await harness.session.cancel()


async def test_begun_response_is_continued() -> None:
    """A response that fails after some of it was heard is reported. The model is asked for the rest, once."""
    peer = Failing(1, speaks=True)
    async with session(peer) as harness:
        await harness.next(Connected)
        await harness.send(UserText("hello"))
        await harness.next(Failure)
        await anyio.sleep(60)
        first, rest = [each["response"].get("instructions", "") for each in peer.of("response.create")]
        assert not first
        assert rest == CONTINUE
        assert harness.of(ResponseEnded)[-1].outcome == "completed"
        await harness.session.cancel()


@pytest.mark.parametrize("how", ["interrupt", "text"])
async def test_no_retry_when_the_conversation_goes_on(how: str) -> None:
    """After an interrupt the answer is not wanted. A new question has its own answer."""
    peer = Failing(1)
    async with session(peer) as harness:
        await harness.next(Connected)
        await harness.send(UserText("hello"))
        await harness.next(Failure)
        if how == "interrupt":
            harness.session.interrupt("enough")
        else:
            await harness.send(UserText("or this"))
        await anyio.sleep(60)
        assert len(peer.of("response.create")) == (1 if how == "interrupt" else 2)
        assert len(harness.of(ResponseStarted)) == len(peer.of("response.create"))
        await harness.session.cancel()


async def test_end_of_input_waits_for_the_retry() -> None:
    """A session whose input has ended still sends the answer that is requested again."""
    peer = Failing(1)
    async with session(peer) as harness:
        await harness.next(Connected)
        await harness.send(UserText("hello"))
        await harness.next(Failure)
        await harness.end()
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["failed", "completed"]


async def test_failure_reason_contains_no_key() -> None:
    """The provider repeats the key in its reason. No frame contains it."""
    peer = Failing(1)
    details = {**RATE_LIMIT, "error": {"code": "no", "message": "the key sk-0123456789 is wrong"}}
    peer.details = details
    async with Harness(peer.model(api_key="sk-0123456789"), Spoken(), Pacer()) as harness:
        await harness.next(Connected)
        await harness.send(UserText("hello"))
        assert "the key *** is wrong" in (await harness.next(Failure)).message
        assert not any("sk-0123456789" in repr(frame) for frame in harness.frames)
        await harness.session.cancel()
