"""Nova Sonic over real TLS and HTTP/2, on both backends, with a server that verifies every signature."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import numpy as np
import pytest
from anyio.abc import SocketAttribute

from bargein.pipeline import Audio, ResponseEnded, Text, UserText
from bargein.pipeline.testing import Harness
from bargein.services.frames import Connected, Disconnected
from bargein.services.providers.nova._signing import Credentials
from bargein.services.realtime import RealtimeError, ReconnectPolicy
from bargein.services.sockets import Endpoint, SocketRefusedError

from .bedrock import WHO, BedrockPeer, certificates
from .peer import Peer, message

PATIENCE = ReconnectPolicy(max_attempts=3, first_seconds=0.01)


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], None]:
    """Runs a test in real time."""

    async def within(test: Callable[[], Awaitable[Any]]) -> None:
        with anyio.fail_after(60):
            await test()

    return lambda test: anyio.run(within, test, backend=request.param)


async def answered(bedrock: BedrockPeer, **options: Any) -> Harness:
    """Ask, and be answered."""
    async with bedrock.serve():
        async with Harness(bedrock.model(reconnect=PATIENCE, **options)) as harness:
            await harness.send(UserText(text="Hello."))
            ended = await harness.next(ResponseEnded, within_seconds=10)
            assert ended.outcome == "completed"
            await harness.end()
    return harness


@pytest.mark.parametrize("late", [False, True])
def test_conversation_over_signed_events(run: Any, late: bool) -> None:
    """Every event has a valid signature, the last one included, whether the server answers at once or after it has
    heard."""

    async def test() -> None:
        peer = Peer("Good morning to you.", pace=0.0)
        bedrock = BedrockPeer(peer)
        bedrock.answers_late = late
        harness = await answered(bedrock)
        assert "".join(frame.text for frame in harness.of(Text)) == "Good morning to you."
        assert sum(frame.ms for frame in harness.of(Audio)) == pytest.approx(2000)
        assert peer.heard == ["Hello."]
        assert not peer.faults
        assert peer.session.ended
        assert bedrock.ends == 1
        assert bedrock.events >= 12
        assert bedrock.requests[0]["x-amz-security-token"] == WHO.token

    run(test)


def test_throttled_connection_is_retried(run: Any) -> None:
    """A throttled connection is tried again after the wait of the policy."""

    async def test() -> None:
        bedrock = BedrockPeer(Peer("Yes?", pace=0.0))
        bedrock.throttles = 2
        harness = await answered(bedrock)
        assert len(bedrock.requests) == 3
        (first, second) = harness.of(Disconnected)[:2]
        assert "answers 429 (ThrottlingException: Too many requests, please wait)" in first.reason
        assert first.reason == second.reason

    run(test)


@pytest.mark.parametrize(
    ("who", "says"),
    [
        (Credentials(access_key="AKIDNOBODY", secret_key="x"), "UnrecognizedClientException"),
        (Credentials(access_key=WHO.access_key, secret_key=WHO.secret_key, token="old"), "is expired"),
        (Credentials(access_key=WHO.access_key, secret_key="wrong", token=WHO.token), "InvalidSignatureException"),
    ],
)
def test_refused_key_is_final(run: Any, who: Credentials, says: str, caplog: pytest.LogCaptureFixture) -> None:
    """A refused key ends the session after one attempt, with the reason. No key is in the error."""

    async def test() -> None:
        bedrock = BedrockPeer(Peer())
        async with bedrock.serve():
            with pytest.raises(RealtimeError, match=says) as told:
                async with Harness(bedrock.model(who)) as harness:
                    assert (await harness.next(Disconnected, within_seconds=10)).final
                    await anyio.sleep(1)
            assert len(bedrock.requests) == 1
        for secret in (who.access_key, who.secret_key, who.token or who.access_key):
            assert secret not in str(told.value) + caplog.text + str(harness.timeline) or len(secret) < 4

    with caplog.at_level(logging.DEBUG, "bargein"):
        run(test)


def test_expired_credentials_are_fetched_again(run: Any) -> None:
    """After a refusal for expired credentials, the next attempt uses fresh ones if there are any."""

    async def test() -> None:
        bedrock = BedrockPeer(Peer("Yes?", pace=0.0))
        sources = iter([Credentials(access_key=WHO.access_key, secret_key=WHO.secret_key, token="old")])

        async def credentials() -> Credentials:
            return next(sources, WHO)

        harness = await answered(bedrock, credentials=credentials)
        assert len(bedrock.requests) == 2
        assert "ExpiredTokenException" in harness.of(Disconnected)[0].reason

    run(test)


@pytest.mark.parametrize("fault", ["goaway", "reset", "hang up", "damaged", "cut off", "ends"])
def test_broken_connection_is_replaced(run: Any, fault: str) -> None:
    """However the connection breaks, another one is made and the conversation continues."""

    async def test() -> None:
        peer = Peer("One.", "Two.", pace=0.0)
        bedrock = BedrockPeer(peer)
        async with bedrock.serve(), Harness(bedrock.model(reconnect=PATIENCE)) as harness:
            await harness.send(UserText(text="First."))
            await harness.next(ResponseEnded, within_seconds=10)
            await anyio.sleep(0.1)
            server = bedrock.server
            assert server is not None
            match fault:
                case "goaway":
                    await server.go_away(0, b"maintenance")
                case "reset":
                    await server.reset(2)
                case "hang up":
                    await server.hang_up()
                case "damaged":
                    await server.say(b"\x00" * 12)
                case "cut off":
                    await server.say(message({}, b"half")[:-3])
                    await server.end()
                case "ends":
                    await server.end()
            gone = await harness.next(Disconnected, within_seconds=10)
            assert not gone.final
            says = {
                "goaway": "maintenance",
                "reset": "INTERNAL_ERROR",
                "hang up": "the connection is lost",
                "damaged": "the checksum before the message",
                "cut off": "within a message, 17 bytes of it",
                "ends": "the server ended the stream",
            }
            assert says[fault] in gone.reason
            await harness.next(Connected, within_seconds=10)
            await harness.send(UserText(text="Second."))
            ended = await harness.next(ResponseEnded, within_seconds=10)
            assert ended.outcome == "completed"
            await harness.session.cancel()
        assert len(peer.sessions) == 2
        assert [each[1] for each in peer.session.events if each[0] == "textInput"][1]["content"] == "First."
        assert not peer.faults

    run(test)


def test_server_that_does_not_read(run: Any) -> None:
    """It gets no more than its window. Sound is lost and counted, and the session still ends in time."""

    async def test() -> None:
        bedrock = BedrockPeer(Peer())
        bedrock.reads = False
        async with bedrock.serve():
            model = bedrock.model(reconnect=ReconnectPolicy(gap_seconds=2))
            async with Harness(model) as harness:
                await harness.next(Connected, within_seconds=10)
                for _ in range(8):
                    await harness.send(Audio(samples=np.zeros(16_000, np.int16), rate=16_000))
                    await anyio.sleep(0.02)
                assert model.dropped_ms >= 3000
                await harness.session.cancel()
            assert bedrock.server is not None
            assert len(bedrock.server.body) <= 65_535

    run(test)


@pytest.mark.parametrize(
    ("endpoint", "alpn", "says"),
    [
        ({}, ["http/1.1"], "does not speak HTTP/2"),
        ({"ssl": None}, ["h2"], "CERTIFICATE_VERIFY_FAILED"),
        ({"url": "https://127.0.0.1:1/"}, ["h2"], "cannot be reached"),
    ],
)
def test_connection_cannot_be_made(run: Any, endpoint: dict[str, Any], alpn: list[str], says: str) -> None:
    """The error says in words why there is no connection."""

    async def test() -> None:
        bedrock = BedrockPeer(Peer())
        bedrock.alpn = alpn
        async with bedrock.serve():
            fields = {"url": f"{bedrock.url}/model", "ssl": certificates()[1], **endpoint}
            with pytest.raises(SocketRefusedError, match=says):
                async with bedrock.model()._connect(Endpoint(**fields)):
                    pass

    run(test)


def test_connecting_times_out(run: Any) -> None:
    """Connecting to a server that does not answer ends after the time limit."""

    async def test() -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.listeners[0].extra(SocketAttribute.local_port)
            endpoint = Endpoint(url=f"https://127.0.0.1:{port}/", ssl=certificates()[1], open_seconds=0.05)
            with pytest.raises(SocketRefusedError, match=r"does not answer within 0\.05 s"):
                async with BedrockPeer(Peer()).model()._connect(endpoint):
                    pass

    run(test)
