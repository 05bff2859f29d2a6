"""A WebRTC peer whose connection was lost goes on with its conversation, on a new one of either kind."""

from __future__ import annotations

import pytest

from bargein.services.transports import WebSocketClient
from bargein.services.transports.control import Start
from bargein.services.transports.webrtc import WebRtcServer
from tests.services.transports.kit import RememberingAgent, served

from .client import Client, client, until

pytestmark = pytest.mark.real


async def ask(agent: RememberingAgent, peer: Client, text: str) -> None:
    """Type a text, and wait until the agent's model has been asked."""
    peer.send(f'{{"type": "text", "text": "{text}"}}')
    await until(lambda: bool(agent.minds[-1].prompts))


async def test_a_conversation_goes_on_after_a_lost_connection() -> None:
    """By its token: over WebRTC once ICE has failed, and over a WebSocket before the server misses the peer."""
    agent = RememberingAgent()
    async with WebRtcServer(agent.sessions) as server, client() as first, client() as second:
        await first.join(server)
        (ready,) = first.of("ready")
        assert ready["resume"]
        assert not ready["resumed"]
        await ask(agent, first, "My name is Ann.")
        _, connection = server._find(first.name)
        await connection._dtls.transport._connection.close()  # what aioice does after thirty seconds
        await until(lambda: not agent.sessions.live)
        await second.join(server, resume=ready["resume"])
        (again,) = second.of("ready")
        assert (again["resume"], again["resumed"]) == (ready["resume"], True)
        await ask(agent, second, "What is my name?")
        async with served(agent.sessions) as each:
            third = await WebSocketClient.begin(each.socket, Start(resume=ready["resume"]))
            assert third.ready.resumed
            await until(lambda: bool(second.of("end")))
            assert list(agent.sessions.live) == [third.ready.session]
    questions = [text for speaker, text in agent.minds[1].said if speaker == "user"]
    assert questions == ["My name is Ann.", "What is my name?"]
    assert not agent.sessions.failures


@pytest.mark.parametrize("goodbye", [True, False])
async def test_a_peer_that_says_goodbye_does_not_come_back(goodbye: bool) -> None:
    """Its conversation is over, and is not kept. One that only closes its connection may make another."""
    agent = RememberingAgent()
    async with WebRtcServer(agent.sessions) as server, client() as first, client() as second:
        await first.join(server)
        await ask(agent, first, "My name is Ann.")
        if goodbye:
            await server.delete(first.name)
        else:
            await first.pc.close()
        await until(lambda: not agent.sessions.live)
        await second.join(server, resume=first.of("ready")[0]["resume"])
        assert second.of("ready")[0]["resumed"] is not goodbye
