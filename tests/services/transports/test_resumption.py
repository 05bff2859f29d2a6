"""A peer whose connection was lost goes on with its conversation, once, within a time, and with its token only."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Pipeline, ResponseEnded, UserText
from bargein.processors import Spoken
from bargein.services.cascade import Cascade
from bargein.services.history import History
from bargein.services.transports import SessionLimits, Sessions, Transport, WebSocketClient
from bargein.services.transports._resumption import ResumptionStore
from bargein.services.transports.control import Start
from tests.services.cascade.parts import Ears, Mind, Voice

from .kit import connected, served, until


class Agent:
    """The README's agent, and what its models were asked."""

    def __init__(self, **limits: float) -> None:
        self.minds: list[Mind] = []
        self.sessions = Sessions(self.build, limits=SessionLimits(**limits))  # type: ignore[arg-type]

    def build(self, peer: Transport) -> Pipeline:
        self.minds.append(Mind(["Yes."]))
        brain = Cascade(Ears(), self.minds[-1], Voice(), greeting="Hello!")
        return Pipeline(peer.source, brain, Spoken(), peer.sink)

    async def ask(self, client: WebSocketClient, text: str) -> None:
        if not client.ready.resumed:
            await until(client, ResponseEnded)
            await anyio.sleep(2)  # the greeting is heard
        await client.send(UserText(text))
        await until(client, ResponseEnded)
        await anyio.sleep(2)

    async def lost_call(self, text: str) -> str:
        """Have a call whose connection is lost, and return its token."""
        async with served(self.sessions) as each:
            client = await WebSocketClient.begin(each.socket)
            await self.ask(client, text)
            await each.socket.close(1006, "lost")
            return client.ready.resume


@pytest.mark.virtual
async def test_a_conversation_goes_on_after_a_lost_connection() -> None:
    """The new session knows what was said, and greets nobody; what it adds can be taken up in turn."""
    agent = Agent()
    token = await agent.lost_call("My name is Ann.")
    await anyio.sleep(30)
    async with served(agent.sessions) as each:
        client = await WebSocketClient.begin(each.socket, Start(resume=token))
        assert client.ready.resumed
        assert client.ready.resume not in ("", token)
        await agent.ask(client, "What is my name?")
        await each.socket.close(1006, "lost")
    said = ["Hello!", "My name is Ann.", "Yes.", "What is my name?"]
    assert [text for _, text in agent.minds[1].said] == said
    async with connected(agent.sessions, Start(resume=client.ready.resume)) as third:
        await agent.ask(third, "And now?")
    assert [text for _, text in agent.minds[2].said] == [*said, "Yes.", "And now?"]


@pytest.mark.virtual
async def test_a_peer_may_come_back_before_it_is_missed() -> None:
    """Its first connection is still open on the server's side; that session ends, and the new one goes on."""
    agent = Agent()
    async with connected(agent.sessions) as first:
        await agent.ask(first, "My name is Ann.")
        async with connected(agent.sessions, Start(resume=first.ready.resume)) as second:
            assert second.ready.resumed
            assert len(agent.sessions.live) <= 1
            await agent.ask(second, "What is my name?")
            assert list(agent.sessions.live) == [second.ready.session]
    assert [text for _, text in agent.minds[1].said] == ["Hello!", "My name is Ann.", "Yes.", "What is my name?"]


@pytest.mark.virtual
@pytest.mark.parametrize("why", ["used", "late", "unknown", "goodbye", "off"])
async def test_a_token_that_is_not_good_begins_a_new_conversation(why: str) -> None:
    """It was used, its time is over, it was never given, the peer had said goodbye, or nothing is kept."""
    agent = Agent(**({"resume_seconds": 0} if why == "off" else {}))
    if why == "goodbye":
        async with connected(agent.sessions) as client:
            await agent.ask(client, "My name is Ann.")
        token = client.ready.resume
    else:
        token = await agent.lost_call("My name is Ann.")
    assert bool(token) is (why != "off")
    if why == "used":
        async with connected(agent.sessions, Start(resume=token)) as client:
            assert client.ready.resumed
    if why == "late":
        await anyio.sleep(61)
    async with connected(agent.sessions, Start(resume="x" * 22 if why == "unknown" else token)) as client:
        assert not client.ready.resumed
        await agent.ask(client, "What is my name?")
    assert [text for _, text in agent.minds[-1].said] == ["Hello!", "What is my name?"]


def test_what_is_kept_is_bounded() -> None:
    """By number and by time, and every token is another one."""
    store = ResumptionStore(10, 3)
    tokens = [store.issue() for _ in range(5)]
    assert len(set(tokens)) == 5
    for at, token in enumerate(tokens):
        store.put(token, [History()], float(at))
    assert [store.has(token, 5.0) for token in tokens] == [False, False, True, True, True]
    assert [store.has(token, 13.0) for token in tokens] == [False, False, False, False, True]
    assert len(store.take(tokens[4], 13.0)) == 1
    assert not store.take(tokens[4], 13.0)
    assert len(store) == 0
