"""NovaSonic against a scripted service: connections that end, fail and are replaced."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    UserText,
)
from bargein.pipeline.testing import Harness
from bargein.services.frames import Configure, Connected, Disconnected
from bargein.services.history import History
from bargein.services.realtime import RealtimeError, ReconnectPolicy
from bargein.services.sockets import SocketRefusedError
from bargein.services.tools import tool

from .peer import Peer, chunk, exception
from .session_kit import say, session, written

pytestmark = pytest.mark.virtual


async def test_result_after_a_new_connection() -> None:
    """It is sent to the new connection as a note, because that one does not know the call."""
    waits = anyio.Event()

    @tool
    async def weather(city: str) -> str:
        await waits.wait()
        return "sunny"

    peer = Peer(("weather", '{"city": "Paris"}'), "It is sunny.")
    async with session(peer.model(tools=[weather])) as harness:
        await harness.send(UserText(text="What is the weather in Paris?"))
        await anyio.sleep(1)
        await peer.close()
        await anyio.sleep(2)
        waits.set()
        await harness.next(Audio, within_seconds=30)
        assert written(peer)[1:] == [
            ("USER", "What is the weather in Paris?"),
            ("USER", '[weather {"city": "Paris"}: sunny]'),
        ]
        await harness.session.cancel()
    assert not peer.faults


@pytest.mark.slow
async def test_session_is_replaced_before_its_limit() -> None:
    """In a pause after six minutes, with the conversation as it was heard. The user's words are not lost."""
    peer = Peer("Good morning.", "It is sunny.")
    model = peer.model(instructions="Be brief.")
    async with session(model) as harness:
        await harness.send(UserText(text="Hello."))
        await anyio.sleep(359)
        assert len(peer.sessions) == 1
        await anyio.sleep(5)
        assert len(peer.sessions) == 2
        gone = next(frame for frame in harness.of(Disconnected))
        assert (gone.clean, gone.final) == (True, False)
        assert [frame.reconnected for frame in harness.of(Connected)] == [False, True]
        await say(harness)
        await anyio.sleep(20)
        assert "".join(frame.text for frame in harness.of(Text)) == "Good morning.It is sunny."
        assert written(peer) == [("SYSTEM", "Be brief."), ("USER", "Hello."), ("ASSISTANT", "Good morning.")]
        await anyio.sleep(700)
        assert peer.limits == 0
        await harness.session.cancel()
    assert not peer.faults
    assert all(each.ended for each in peer.sessions), "the old one is told the end"


async def test_no_replacement_while_the_user_speaks() -> None:
    """A detector above reports the speech, because the model does not."""
    peer = Peer("Yes?")
    async with session(peer.model()) as harness:
        await harness.send(SpeechStarted())
        await anyio.sleep(400)
        assert len(peer.sessions) == 1
        await harness.send(SpeechStopped())
        await anyio.sleep(5)
        assert len(peer.sessions) == 2
        await harness.session.cancel()


@pytest.mark.slow
async def test_session_without_a_pause() -> None:
    """It is replaced just before its limit."""
    peer = Peer("word " * 1000, pace=2.0)
    async with Harness(peer.model()) as harness:
        await harness.send(UserText(text="Talk."))
        await anyio.sleep(500)
        assert len(peer.sessions) == 2
        assert peer.limits == 0
        assert 470 < next(at for at, frame in harness.timeline if isinstance(frame, Disconnected)) < 480
        await harness.session.cancel()


async def test_history_is_fitted_to_the_service() -> None:
    """The user first, then alternating; tool results as notes; the newest entries; none too long."""
    history = History()
    history.assistant("Welcome!", "a0", "r0")
    for at in range(60):
        history.user(f"question {at}", f"u{at}")
        history.user("and another", f"v{at}")
        history.assistant(f"answer {at}", f"a{at}", f"r{at}")
    history.user("ü" * 2000, "long")
    history.call("c1", "weather", '{"city": "Paris"}', "r")
    history.result("c1", "sunny")
    peer = Peer(reads=False)
    async with session(peer.model("amazon.nova-sonic-v1:0", history=history)) as harness:
        await anyio.sleep(1)
        told = written(peer)[1:]
        assert len(told) <= 40
        assert told[0] == ("USER", "question 41\nand another")
        assert told[-2] == ("ASSISTANT", "answer 59")
        assert len(told[-1][1].encode()) <= 1000
        assert told[-1][1].endswith('ü\n[weather {"city": "Paris"}: sunny]')
        await harness.session.cancel()
    assert not peer.faults


@pytest.mark.parametrize("kind", ["throttlingException", "modelStreamErrorException", "internalServerException"])
async def test_passing_failures(kind: str) -> None:
    """The connection is made again after a wait, and the question is sent again."""
    peer = Peer("Yes?")
    peer.throws = [(kind, "System instability")] * 3
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Hello."))
        await harness.next(Audio, within_seconds=60)
        assert len(peer.sessions) == 4
        failures = [frame.message for frame in harness.of(Failure)]
        assert failures == [f"Nova 2 Sonic: {kind}: System instability"] * 3
        assert not any(frame.fatal for frame in harness.of(Failure))
        await harness.session.cancel()


async def test_wrong_request_is_final() -> None:
    """It would be wrong again, so it is final, with the service's words."""
    peer = Peer()
    peer.throws = [("validationException", "no such voice")]
    with pytest.raises(RealtimeError, match="validationException: no such voice"):
        async with session(peer.model()) as harness:
            assert (await harness.next(Failure, within_seconds=5)).fatal
            await anyio.sleep(5)
    assert len(peer.sessions) == 1


async def test_failure_after_a_working_session() -> None:
    """It may succeed on another connection, so it is tried again."""
    peer = Peer("Yes?", "Again?")
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Hello."))
        await harness.next(ResponseEnded, within_seconds=30)
        await peer.session.raw(exception("validationException", "something about a tool"))
        await harness.next(Disconnected, within_seconds=5)
        await harness.send(UserText(text="Hello?"))
        await harness.next(ResponseStarted, within_seconds=30)
        await harness.session.cancel()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, "ExpiredTokenException: The security token included in the request is expired", "is expired"),
        (403, "AccessDeniedException: You don't have access to the model", "the key may not do this"),
        (404, "ResourceNotFoundException: no such model", "there is no such model"),
        (400, "ValidationException: the model id is invalid", "it does not accept the request"),
    ],
)
async def test_final_refusals(status: int, body: str, says: str) -> None:
    """There is one attempt only."""
    peer = Peer()
    peer.refuse = [SocketRefusedError(f"it answers {status}", status, body) for _ in range(2)]
    with pytest.raises(RealtimeError, match=says):
        async with session(peer.model()):
            await anyio.sleep(60)
    assert len(peer.endpoints) == 1


async def test_too_many_requests() -> None:
    """It is tried again later, as often as the policy says."""
    peer = Peer("Yes?")
    peer.refuse = [SocketRefusedError("it answers 429", 429, "ThrottlingException: slow down") for _ in range(3)]
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Hello."))
        await harness.next(Audio, within_seconds=60)
        assert len(peer.endpoints) == 4
        assert "ThrottlingException: slow down" in harness.of(Disconnected)[0].reason
        await harness.session.cancel()
    peer.refuse = [SocketRefusedError("it answers 429", 429, "") for _ in range(9)]
    with pytest.raises(RealtimeError, match="given up after 3 attempts"):
        async with session(peer.model(reconnect=ReconnectPolicy(max_attempts=2))):
            await anyio.sleep(60)


async def test_unreadable_messages() -> None:
    """Damaged messages, nonsense in valid ones and unknown events are reported and skipped."""
    peer = Peer("Yes?")
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        good = chunk("textOutput", contentId="x", role="USER", content="?")
        await peer.session.raw(good[:-1] + bytes([good[-1] ^ 1]))
        await peer.session.raw(chunk("audioOutput", contentId="x", content="no base64!"))
        await peer.session.raw(chunk("contentStart", contentId=7))
        await peer.session.raw(chunk("dreamStart", contentId="x"))
        await peer.session.raw(chunk("audioOutput", contentId="never begun", content="AAAA"))
        await peer.session.raw(chunk("contentEnd", contentId="never begun", stopReason="END_TURN"))
        await harness.send(UserText(text="Hello."))
        await harness.next(Audio, within_seconds=30)
        assert len(harness.of(Failure)) == 3
        assert len(peer.sessions) == 1
        await harness.session.cancel()


async def test_settings_change_with_the_next_session() -> None:
    """The next session begins in the next pause."""
    peer = Peer("Yes?")
    async with session(peer.model(instructions="Be brief.")) as harness:
        await harness.next(Connected)
        await harness.send(Configure(instructions="Be long."))
        await anyio.sleep(5)
        assert [written(peer, at)[0][1] for at in range(2)] == ["Be brief.", "Be long."]
        await harness.session.cancel()
