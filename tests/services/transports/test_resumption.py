"""A peer whose connection was lost goes on with its conversation, within a time, and with its token only."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bargein.pipeline import Audio, Processor, ResponseEnded, UserText
from bargein.services.history import History
from bargein.services.sockets import Socket
from bargein.services.transports import PeerJoined, RefusedError, WebSocketClient
from bargein.services.transports._resumption import ResumptionStore
from bargein.services.transports.control import Start

from .kit import RememberingAgent, connected, rest, served, until


async def ask(client: WebSocketClient, text: str) -> None:
    """Type a text after the greeting, and wait until the answer was heard."""
    if not client.ready.resumed:
        await until(client, ResponseEnded)
        await anyio.sleep(2)  # the greeting is heard
    await client.send(UserText(text))
    await until(client, ResponseEnded)
    await anyio.sleep(2)


async def lost_call(agent: RememberingAgent, text: str) -> str:
    """Have a call whose connection is lost, and return its token."""
    async with served(agent.sessions) as each:
        client = await WebSocketClient.begin(each.socket)
        await ask(client, text)
        await each.socket.close(1006, "lost")
        return client.ready.resume


@pytest.mark.virtual
async def test_a_conversation_goes_on_after_a_lost_connection() -> None:
    """The new session knows what was said, and greets nobody; the same token takes up what it adds."""
    agent = RememberingAgent()
    token = await lost_call(agent, "My name is Ann.")
    await anyio.sleep(30)
    async with served(agent.sessions) as each:
        client = await WebSocketClient.begin(each.socket, Start(resume=token))
        assert client.ready.resumed
        assert client.ready.resume == token
        await ask(client, "What is my name?")
        await each.socket.close(1006, "lost")
    said = ["Hello!", "My name is Ann.", "Yes.", "What is my name?"]
    assert [text for _, text in agent.minds[1].said] == said
    async with connected(agent.sessions, Start(resume=client.ready.resume)) as third:
        await ask(third, "And now?")
    assert [text for _, text in agent.minds[2].said] == [*said, "Yes.", "And now?"]


@pytest.mark.virtual
async def test_a_peer_may_come_back_before_it_is_missed() -> None:
    """Its first connection is still open on the server's side; that session ends, and the new one goes on."""
    agent = RememberingAgent()
    async with connected(agent.sessions) as first:
        await ask(first, "My name is Ann.")
        async with connected(agent.sessions, Start(resume=first.ready.resume)) as second:
            assert second.ready.resumed
            assert len(agent.sessions.live) <= 1
            await ask(second, "What is my name?")
            assert list(agent.sessions.live) == [second.ready.session]
    assert [text for _, text in agent.minds[1].said] == ["Hello!", "My name is Ann.", "Yes.", "What is my name?"]


@pytest.mark.virtual
@pytest.mark.parametrize("why", ["ended", "late", "unknown", "goodbye", "off"])
async def test_a_token_that_is_not_good_begins_a_new_conversation(why: str) -> None:
    """Its conversation ended later, its time is over, it was never given, the peer said goodbye, or nothing is kept."""
    agent = RememberingAgent(**({"resume_seconds": 0} if why == "off" else {}))
    if why == "goodbye":
        async with connected(agent.sessions) as client:
            await ask(client, "My name is Ann.")
        token = client.ready.resume
    else:
        token = await lost_call(agent, "My name is Ann.")
    assert bool(token) is (why != "off")
    if why == "ended":
        async with connected(agent.sessions, Start(resume=token)) as client:
            assert client.ready.resumed
    if why == "late":
        await anyio.sleep(61)
    async with connected(agent.sessions, Start(resume="x" * 22 if why == "unknown" else token)) as client:
        assert not client.ready.resumed
        await ask(client, "What is my name?")
    assert [text for _, text in agent.minds[-1].said] == ["Hello!", "What is my name?"]


class Fragile(Processor):
    """Fails at a word, and at once where it is told to."""

    def __init__(self) -> None:
        self.fails_at_once = False

    def process(self, frame: PeerJoined | UserText) -> Iterator[PeerJoined | UserText]:
        if self.fails_at_once or (isinstance(frame, UserText) and frame.text == "die"):
            raise RuntimeError("as asked")
        yield frame


async def fail(agent: RememberingAgent, start: Start, *texts: str) -> WebSocketClient:
    """Have a call that fails at the last text, and return its client."""
    async with served(agent.sessions) as each:
        client = await WebSocketClient.begin(each.socket, start)
        for text in texts:
            await ask(client, text)
        await client.send(UserText("die"))
        await rest(client)
        await each.over.wait()
    assert each.ending == "failed"
    return client


@pytest.mark.virtual
async def test_a_conversation_outlives_a_session_that_fails() -> None:
    """Whether it was the first session of the conversation or a later one."""
    agent = RememberingAgent(Fragile())
    first = await fail(agent, Start(), "My name is Ann.")
    second = await fail(agent, Start(resume=first.ready.resume), "What is my name?")
    assert second.ready.resumed
    async with connected(agent.sessions, Start(resume=first.ready.resume)) as client:
        assert client.ready.resumed
        await ask(client, "And now?")
    said = ["Hello!", "My name is Ann.", "Yes.", "What is my name?", "Yes.", "And now?"]
    assert [text for _, text in agent.minds[-1].said] == said


@pytest.mark.virtual
async def test_a_conversation_at_which_the_agent_fails_is_given_up() -> None:
    """The agent fails before anything is said. Otherwise its peer would come back to the same failure for ever."""
    fragile = Fragile()
    agent = RememberingAgent(fragile)
    token = await lost_call(agent, "My name is Ann.")
    fragile.fails_at_once = True
    async with served(agent.sessions) as each:
        client = await WebSocketClient.begin(each.socket, Start(resume=token))
        assert client.ready.resumed
        await rest(client)
        await each.over.wait()
        assert each.ending == "failed"
    fragile.fails_at_once = False
    async with connected(agent.sessions, Start(resume=token)) as client:
        assert not client.ready.resumed


class SlowToLeave(Processor):
    """Needs a moment to leave, as when it closes a connection."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.5)


@pytest.mark.virtual
@pytest.mark.parametrize("former", ["lost", "still open"])
async def test_of_two_connections_with_one_token_the_latest_gets_the_conversation(former: str) -> None:
    """The other one is refused while it waits, and its session ends if it has begun."""
    agent = RememberingAgent(SlowToLeave())
    answers: dict[str, WebSocketClient | RefusedError] = {}

    async def come_back(name: str, socket: Socket, token: str) -> None:
        try:
            answers[name] = await WebSocketClient.begin(socket, Start(resume=token))
        except RefusedError as error:
            answers[name] = error

    async with served(agent.sessions) as first:
        client = await WebSocketClient.begin(first.socket)
        await ask(client, "My name is Ann.")
        if former == "lost":
            await first.socket.close(1006, "lost")
            await anyio.sleep(30)
        async with served(agent.sessions) as early, served(agent.sessions) as late:
            async with anyio.create_task_group() as group:
                group.start_soon(come_back, "early", early.socket, client.ready.resume)
                await anyio.wait_all_tasks_blocked()  # it has begun, or waits until the former session has ended
                group.start_soon(come_back, "late", late.socket, client.ready.resume)
            await anyio.sleep(1)
            winner, loser = answers["late"], answers["early"]
            assert isinstance(winner, WebSocketClient)
            assert winner.ready.resumed
            assert list(agent.sessions.live) == [winner.ready.session]
            await ask(winner, "What is my name?")
            if former == "lost":
                assert isinstance(loser, WebSocketClient)
                assert loser.ready.resumed
                await rest(loser)
                assert loser.ended
            else:
                assert "newer connection" in str(loser)
    assert [text for _, text in agent.minds[-1].said] == ["Hello!", "My name is Ann.", "Yes.", "What is my name?"]
    assert not agent.sessions.failures


@pytest.mark.virtual
async def test_a_peer_comes_back_to_a_full_server() -> None:
    """Its former session has not been missed, and makes room for the new one. Nobody else gets in meanwhile."""
    agent = RememberingAgent(max_sessions=1)
    async with connected(agent.sessions) as first:
        await ask(first, "My name is Ann.")
        agent.sessions.admit("203.0.113.7", first.ready.resume)
        with pytest.raises(RefusedError):
            agent.sessions.admit("203.0.113.7", "x" * 22)
        async with connected(agent.sessions, Start(resume=first.ready.resume)) as second:
            assert second.ready.resumed


def test_what_is_kept_is_bounded() -> None:
    """By number and by time, and every token is another one."""
    store = ResumptionStore(10, 3)
    tokens = [store.issue() for _ in range(5)]
    assert len(set(tokens)) == 5
    for at, token in enumerate(tokens):
        store.put(token, [History()], float(at))
    assert len(store) == 3
    assert [len(store.take(token, 5.0)) for token in tokens[:3]] == [0, 0, 1], "the oldest are dropped"
    assert not store.take(tokens[3], 13.0), "its time is over"
    assert len(store.take(tokens[4], 13.0)) == 1
    assert not store.take(tokens[4], 13.0)
    assert len(store) == 0
