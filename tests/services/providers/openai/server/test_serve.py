"""Brains behind sockets: in pipes on virtual time, and on loopback."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import anyio
import pytest
import trustme

from bargein.pipeline import (
    Audio,
    Failure,
    Frame,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.pipeline.testing import Harness, check_processor
from bargein.processors import Turn, Turns
from bargein.services.frames import Commit, Respond, Say
from bargein.services.providers.azure import AZURE
from bargein.services.providers.openai.server.serve import Faults, Limits, Server, serve, serve_socket
from bargein.services.sockets import Endpoint, SocketRefusedError, dial, pipe
from bargein.services.testing import ScriptedBrain

from .server_kit import Client, connected, error, piped, samples, spoken, types

TEXT = {"output_modalities": ["text"]}
LONG = " ".join(["word"] * 50)


class Made:
    """Makes scripted brains, and keeps them."""

    def __init__(self, *replies: Any, **options: Any) -> None:
        self.brains: list[ScriptedBrain] = []
        self._make: Callable[[], ScriptedBrain] = lambda: ScriptedBrain(*replies, **options)

    def __call__(self) -> ScriptedBrain:
        self.brains.append(self._make())
        return self.brains[-1]


def sound(client: Client) -> bytes:
    deltas = client.of("response.output_audio.delta")
    return b"".join(base64.b64decode(each["delta"]) for each in deltas)


def endpoint(server: Server, **options: Any) -> Endpoint:
    return Endpoint(url=f"{server.url}?model=gpt-realtime", **options)


# In a pipe ------------------------------------------------------------------------------------------------------------


async def test_a_text_turn() -> None:
    """A message and a request: the brain answers with words and sound."""
    made = Made("Hello there.")
    async with piped(made) as (client, served):
        await client.say("hi")
        done = await client.next("response.done")
    assert done["response"]["output"][0]["content"][0]["transcript"] == "Hello there."
    assert len(sound(client)) == 2 * 4800
    assert served.ending == "closed"
    assert [frame.text for frame in made.brains[0].taken if isinstance(frame, UserText)] == ["hi"]


@pytest.mark.virtual
async def test_a_spoken_turn() -> None:
    """Real speech is found, committed, transcribed and answered."""
    made = Made("Five past ten.", hears=["What time is it?"])
    session = {"audio": {"input": {"transcription": {"model": "any"}}}}
    async with piped(made, session=session) as (client, _):
        await client.speak(spoken("time"), live=True)
        done = await client.next("response.done")
        said = await client.next("conversation.item.input_audio_transcription.completed")
        assert said["transcript"] == "What time is it?"
        assert said["item_id"] == client.of("input_audio_buffer.committed")[0]["item_id"]
        assert done["response"]["status"] == "completed"
    assert made.brains[0].heard_ms == len(spoken("time")) / 48


@pytest.mark.virtual
async def test_a_tool_turn() -> None:
    """The brain's call goes to the client, its result to the brain, and the brain goes on when it is asked to."""
    made = Made([ToolCall(call_id="", name="clock", arguments='{"city": "Ulm"}')], "Noon.")
    async with piped(made, session=TEXT) as (client, _):
        await client.say("What time is it in Ulm?")
        call = await client.next("response.function_call_arguments.done")
        assert (call["name"], call["arguments"]) == ("clock", '{"city": "Ulm"}')
        await client.next("response.done")
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "12:00"}
        await client.send("conversation.item.create", item=output)
        await anyio.sleep(1)
        assert len(client.of("response.created")) == 1
        await client.send("response.create")
        await client.next("response.done", 2)
        await anyio.sleep(1)
        assert [each["text"] for each in client.of("response.output_text.done")] == ["Noon."]
        assert len(client.of("response.created")) == 2
    assert [type(frame) for frame in made.brains[0].taken][:2] == [UserText, ToolResult]


@pytest.mark.virtual
async def test_a_barge_in() -> None:
    """Speech ends a response that is being made; what was heard of it is what the client says."""
    made = Made(LONG, "Yes?", paced=True)
    async with piped(made) as (client, _):
        await client.say("Tell me everything.")
        await anyio.sleep(1)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.speak(spoken("stop"), live=True))
            done = await client.next("response.done")
            assert 1.1 < anyio.current_time() < 1.6
            assert done["response"]["status_details"]["reason"] == "turn_detected"
            item = done["response"]["output"][0]["id"]
            await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=700)
            await client.next("conversation.item.truncated")
            second = await client.next("response.done", 2)
            assert second["response"]["output"][0]["content"][0]["transcript"] == "Yes?"
            assert anyio.current_time() < 2.5
    taken = made.brains[0].taken
    assert len([frame for frame in taken if isinstance(frame, Interrupt)]) == 2  # the second: the client has left
    heard = [frame for frame in taken if isinstance(frame, Played)]
    assert [(frame.response_id, frame.ms, frame.done) for frame in heard] == [
        ("reply-1", 0.0, False),
        ("reply-1", 700.0, True),
        ("reply-2", 0.0, False),
        ("reply-2", 100.0, True),
    ]
    kinds = [type(frame) for frame in taken]
    assert kinds.index(Played) < kinds.index(Commit)


@pytest.mark.virtual
async def test_after_a_cancellation_nothing_of_it_comes() -> None:
    """The response is over in the same instant, and the brain goes on with what it is asked next."""
    made = Made(LONG, "Next.", paced=True)
    async with piped(made) as (client, _):
        await client.say("Go on.")
        await anyio.sleep(0.55)
        await client.send("response.cancel")
        done = await client.next("response.done")
        assert anyio.current_time() == 0.55
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        await anyio.sleep(10)
        assert client.seen[-1] == done
        await client.say("And?")
        await client.next("response.done", 2)


@pytest.mark.virtual
async def test_a_brain_that_fails() -> None:
    """The client is told and the connection closed with 1011; the caller gets the exception."""
    made = Made(["Well,", ValueError("secret")])
    async with piped(made) as (client, served):
        await client.say("hi")
        closed = await client.end()
    assert closed.code == 1011
    assert isinstance(served.error, ValueError)
    assert client.of("response.done")[0]["response"]["status"] == "failed"
    assert "secret" not in json.dumps(client.seen)
    assert types(client.seen)[-1] == "error"


@pytest.mark.virtual
async def test_a_brain_that_cannot_be_made() -> None:
    """The client is told then, too."""

    def make() -> Processor:
        raise OSError("no model")

    async with piped(make) as (client, served):
        assert (await client.end()).code == 1011
    assert isinstance(served.error, OSError)
    assert error(client.seen)["type"] == "server_error"


@pytest.mark.virtual
@pytest.mark.parametrize("show_errors", [False, True])
async def test_what_failed_is_told_to_the_developer_only(show_errors: bool) -> None:
    """Another client reads a general sentence: the reason may be a provider's text, with a key in it."""

    class Failing(Processor):
        async def run(self, inbox: Inbox[Frame], out: Outlet[Failure | Audio]) -> None:
            await out.send(Failure("provider: the key sk-1 is wrong"))

    async with piped(Failing, show_errors=show_errors) as (client, _):
        await client.end()
    assert ("sk-1" in error(client.seen)["message"]) == show_errors


@pytest.mark.virtual
async def test_a_brain_that_ends() -> None:
    """When the brain is done, what it said is sent, and the connection closed."""

    class Goodbye(Processor):
        async def run(self, out: Outlet[ResponseStarted | Text | ResponseEnded]) -> None:
            await out.send(ResponseStarted(response_id="r"))
            await out.send(Text(text="Bye.", response_id="r"))
            await out.send(ResponseEnded(response_id="r"))

    async with piped(Goodbye) as (client, served):
        assert (await client.end()).code == 1000
    assert types(client.seen)[-1] == "response.done"
    assert served.ending == "ended"


@pytest.mark.virtual
async def test_a_session_expires() -> None:
    """After its time comes the error of the service, and 1001."""
    async with piped(ScriptedBrain, limits=Limits(session_seconds=120)) as (client, served):
        await client.say("hi", respond=False)
        closed = await client.end(within_seconds=200)
        assert anyio.current_time() == 120
    assert error(client.seen)["code"] == "session_expired"
    assert (closed.code, served.ending) == (1001, "expired")
    assert "maximum duration of 2 minutes" in closed.reason


@pytest.mark.virtual
async def test_an_idle_session_ends() -> None:
    """A client that sends nothing is not kept for ever."""
    async with piped(ScriptedBrain, limits=Limits(idle_seconds=60)) as (client, served):
        await client.say("hi", respond=False)
        await anyio.sleep(50)
        await client.say("hi", respond=False)
        await client.end(within_seconds=200)
        assert anyio.current_time() == 110
    assert served.ending == "idle"


@pytest.mark.virtual
async def test_a_client_that_never_says_anything_leaves_soon() -> None:
    """It has seconds for its first message, and not the quarter of an hour that a conversation may pause."""
    async with piped(ScriptedBrain) as (client, served):
        closed = await client.end(within_seconds=60)
        assert anyio.current_time() == Limits().first_message_seconds
    assert (closed.code, served.ending) == (1001, "idle")
    assert error(client.seen)["code"] == "session_idle"


@pytest.mark.virtual
async def test_a_client_that_does_not_read_is_dropped() -> None:
    """A message that nobody takes ends the session; until then the brain waits, and memory is bounded."""
    made = Made(" ".join(["word"] * 2000))
    ours, theirs = pipe()
    async with anyio.create_task_group() as group:
        endings = []

        async def run() -> None:
            endings.append(await serve_socket(theirs, made, limits=Limits(slow_seconds=5)))

        group.start_soon(run)
        await ours.send('{"type": "response.create"}')
        await anyio.sleep(30)
        assert endings == ["slow"]
    with pytest.raises(ConnectionError, match="1008"):
        await ours.send("x")


@pytest.mark.virtual
async def test_more_sound_than_the_brain_can_take() -> None:
    """Sound sent faster than it is heard is not lost."""
    made = Made()
    session = {"audio": {"input": {"turn_detection": None}}}
    async with piped(made, session=session) as (client, _):
        await client.speak(bytes(48 * 100_000), ms=500)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        await client.next("response.done")
        assert made.brains[0].heard_ms == 100_000


@pytest.mark.virtual
async def test_a_served_brain_may_be_a_graph_without_turns() -> None:
    """A brain takes what it likes: one that only knows text is served, and the user's sound passes it by."""

    async def shout(frame: UserText, out: Outlet[ResponseStarted | Text | ResponseEnded]) -> None:
        reply = out.reply()
        await reply.send(ResponseStarted(response_id=frame.item_id))
        await reply.send(Text(text=frame.text.upper(), response_id=frame.item_id))
        await reply.send(ResponseEnded(response_id=frame.item_id))

    async with piped(lambda: shout, session=TEXT) as (client, _):
        await client.speak(spoken("time"))
        await client.say("hi")
        assert (await client.next("response.output_text.done"))["text"] == "HI"
        assert not client.of("response.output_audio.delta")


@pytest.mark.virtual
async def test_a_brain_that_is_slow_to_leave() -> None:
    """When the client has left, a brain has two seconds; then it is stopped, and that is no failure."""

    async def ponder(frame: UserText, out: Outlet[Text]) -> None:
        await anyio.sleep(1000)

    async with piped(lambda: ponder) as (client, served):
        await client.say("hi")
        await anyio.sleep(1)
    assert (served.ending, served.error, anyio.current_time()) == ("closed", None, 3.0)


@pytest.mark.virtual
async def test_a_server_that_is_cancelled() -> None:
    """Cancelling `serve_socket` leaves no socket open."""
    ours, theirs = pipe()
    with anyio.move_on_after(1):
        await serve_socket(theirs, ScriptedBrain)
    async with connected(ours) as client:
        assert (await client.end()).code == 1001


class Recogniser(Processor):
    """Knows what is said 300 ms after it was."""

    async def run(self, inbox: Inbox[SpeechStopped | Commit], out: Outlet[SpeechStopped | Commit | Transcript]) -> None:
        async with anyio.create_task_group() as group:

            async def hear(item: str) -> None:
                await anyio.sleep(0.3)
                await out.send(Transcript(text="What time is it?", item_id=item, final=True))

            async for frame in inbox:
                await out.send(frame)
                if isinstance(frame, SpeechStopped):
                    group.start_soon(hear, frame.item_id)


class Answers(Processor):
    """Answers turns."""

    async def process(self, frame: Turn, out: Outlet[ResponseStarted | Text | ResponseEnded]) -> None:
        reply, name = out.reply(), f"answer-{frame.turn}"
        await reply.send(ResponseStarted(response_id=name))
        await reply.send(Text(text=f"You said: {frame.text}", response_id=name))
        await reply.send(ResponseEnded(response_id=name))


@pytest.mark.virtual
@pytest.mark.parametrize("end", ["commit", "silence"])
async def test_a_cascade_with_turns_of_its_own(end: Literal["commit", "silence"]) -> None:
    """A recogniser, `Turns` and whatever answers: one answer for each turn, spoken or typed, whichever way it ends."""
    session = {**TEXT, "audio": {"input": {"transcription": {"model": "any"}}}}

    def brain() -> Pipeline:
        return Pipeline(Recogniser(), Turns(end), Answers())

    async with piped(brain, session=session) as (client, _):
        await client.speak(spoken("time", 1500), live=True)
        await client.next("response.done")
        await client.say("And now?")
        await client.next("response.done", 2)
        await anyio.sleep(5)
        said = [each["text"] for each in client.of("response.output_text.done")]
        assert said == ["You said: What time is it?", "You said: And now?"]
        assert not client.of("error")


# The scripted brain ---------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_the_scripted_brain_is_a_good_processor() -> None:
    """It passes the conformance suite."""
    await check_processor(lambda: ScriptedBrain("One two.", [0.1, "Three."], paced=True))


@pytest.mark.virtual
async def test_the_scripted_brain_gives_its_replies_in_turn() -> None:
    """Strings, frames and pauses; then from the beginning again."""
    step = Audio(samples=samples(spoken("yes", 0)), rate=24_000)
    made = Made("One.", [0.5, Text(text="Two."), step], word_ms=0)
    async with piped(made) as (client, _):
        for count in (1, 2, 3):
            await client.say("next")
            await client.next("response.done", count)
        said = [each["transcript"] for each in client.of("response.output_audio_transcript.done")]
        assert said == ["One.", "Two.", "One."]
        assert sound(client) == spoken("yes", 0)
        assert anyio.current_time() == 0.5


@pytest.mark.virtual
async def test_the_scripted_brain_says_and_queues() -> None:
    """What is asked while it speaks waits; `Say` is said word for word."""
    async with Harness(ScriptedBrain("One.", "Two.", word_ms=100, paced=True)) as harness:
        await harness.send(Respond(), Say(text="Hear, hear."), Respond())
        await anyio.sleep(2)
    assert "".join(frame.text for frame in harness.of(Text)) == "One.Hear, hear.Two."
    assert [frame.response_id for frame in harness.of(ResponseEnded)] == ["reply-1", "reply-2", "reply-3"]


# Faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_late_deltas() -> None:
    """Sound of a cancelled response still comes, before and after its end."""
    faults = Faults(late_deltas_after_cancel=3, late_deltas_after_done=2)
    async with piped(Made(LONG, paced=True), faults=faults) as (client, _):
        await client.say("hi")
        await anyio.sleep(0.25)
        await client.send("response.cancel")
        await client.next("response.done")
        await anyio.sleep(1)
        assert types(client.seen)[-2:] == ["response.output_audio.delta"] * 2
        done = types(client.seen).index("response.done")
        cancelled = client.seen[done]["response"]["id"]
        assert types(client.seen)[done - 3 : done] == ["response.output_audio.delta"] * 3
        assert {each["response_id"] for each in client.seen[done - 3 : done] + client.seen[-2:]} == {cancelled}


@pytest.mark.virtual
async def test_a_delta_before_created() -> None:
    """The first delta overtakes the response's creation; nothing is lost."""
    async with piped(Made("One two."), faults=Faults(delta_before_created=True)) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        kinds = types(client.seen)
        assert kinds.index("response.output_audio_transcript.delta") < kinds.index("response.created")
        assert len(sound(client)) == 9600


@pytest.mark.virtual
async def test_split_deltas() -> None:
    """Deltas come in pieces, cut through samples; together they are whole."""
    async with piped(Made("Hello you."), faults=Faults(split_deltas=3)) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        sizes = [len(base64.b64decode(each["delta"])) for each in client.of("response.output_audio.delta")]
        assert any(size % 2 for size in sizes)
        assert sum(sizes) == 9600
        words = [each["delta"] for each in client.of("response.output_audio_transcript.delta")]
        assert "".join(words) == "Hello you."
        assert len(words) > 2


@pytest.mark.virtual
async def test_a_slow_reader() -> None:
    """The server takes its time for each message."""
    async with piped(Made("Hi."), faults=Faults(slow_reader_seconds=2)) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        assert anyio.current_time() == 4


@pytest.mark.virtual
async def test_an_abrupt_close() -> None:
    """The connection breaks after so many events."""
    async with piped(Made("Hi."), faults=Faults(close_after_events=5)) as (client, _):
        await client.say("hi")
        assert (await client.end()).code == 1006
    assert len(client.seen) == 5


@pytest.mark.virtual
async def test_an_early_end() -> None:
    """The session expires when it is told to."""
    async with piped(ScriptedBrain, faults=Faults(expire_after_seconds=7)) as (client, _):
        assert (await client.end()).code == 1001
        assert anyio.current_time() == 7


@pytest.mark.virtual
async def test_errors_and_rubbish() -> None:
    """Error events with given codes, messages that are no events, and events that nobody knows."""
    faults = Faults(error_events=("rate_limit_exceeded",), malformed_json=True, unknown_events=True)
    async with piped(Made("Hi."), faults=faults) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        assert error(client.seen)["code"] == "rate_limit_exceeded"
        assert len(client.rubbish) == 2
        assert len(client.of("rate_limits.forecast")) >= 10
        await client.say("again")
        await client.next("response.done", 2)
        assert len(client.of("error")) == 1


@pytest.mark.virtual
async def test_a_duplicate_start_of_speech() -> None:
    """Each start of speech is told twice."""
    async with piped(Made("Hi."), faults=Faults(duplicate_speech_started=True)) as (client, _):
        await client.speak(spoken("time"))
        second = await client.next("input_audio_buffer.speech_started", 2)
        assert client.of("input_audio_buffer.speech_started") == [second, second]


# On a real socket -----------------------------------------------------------------------------------------------------


async def conversation(server: Server) -> Client:
    async with dial(endpoint(server)) as socket, connected(socket) as client:
        await client.say("hi")
        await client.next("response.done")
    return client


async def hello() -> None:
    async with serve(Made("Hello there.")) as server:
        client = await conversation(server)
        assert len(sound(client)) == 9600
        assert client.seen[0]["session"]["model"] == "gpt-realtime"
        assert server.statistics().opened == 1
        assert server.url in repr(server)


async def sixty() -> None:
    made = Made("You said nothing.")

    async def talk(server: Server, name: str) -> None:
        async with dial(endpoint(server)) as socket, connected(socket) as client:
            await client.say(name)
            done = await client.next("response.done")
            assert done["response"]["status"] == "completed"
            assert client.of("conversation.item.added")[0]["item"]["content"][0]["text"] == name

    async with serve(made) as server:
        async with anyio.create_task_group() as group:
            for at in range(60):
                group.start_soon(talk, server, f"caller {at}")
    said = [[frame.text for frame in brain.taken if isinstance(frame, UserText)] for brain in made.brains]
    assert sorted(said) == sorted([f"caller {at}"] for at in range(60))


async def one_fails() -> None:
    brains = iter([ScriptedBrain([ValueError("broken")]), ScriptedBrain("Fine."), ScriptedBrain("Fine.")])
    async with serve(lambda: next(brains)) as server:
        async with dial(endpoint(server)) as bad, connected(bad) as broken:
            await broken.next("session.created")
            async with dial(endpoint(server)) as good, connected(good) as whole:
                await whole.next("session.created")
                await broken.say("hi")
                assert (await broken.end()).code == 1011
                await whole.say("hi")
                assert (await whole.next("response.done"))["response"]["status"] == "completed"
        await conversation(server)
        assert [type(failure) for failure in server.failures] == [ValueError]
        assert server.statistics().failed == 1


async def refusals() -> None:
    async with serve(ScriptedBrain, api_keys=["right"], max_sessions=1) as server:
        right = {"Authorization": "Bearer right"}

        async def refused(url: str, **options: Any) -> tuple[int | None, Any]:
            with pytest.raises(SocketRefusedError) as caught:
                async with dial(Endpoint(url=url, **options)):
                    pass
            return caught.value.status, json.loads(caught.value.body)["error"]

        url = f"{server.url}?model=x"
        assert (await refused(url))[0] == 401
        status, body = await refused(url, headers={"Authorization": "Bearer wrong"})
        assert (status, body["code"]) == (401, "invalid_api_key")
        assert (await refused(url.replace("v1", "v2"), headers=right))[0] == 404
        assert (await refused(server.url, headers=right))[0] == 400
        keyed = Endpoint(url=url, subprotocols=["realtime", "openai-insecure-api-key.right"])
        async with dial(keyed) as socket, connected(socket) as client:
            await client.next("session.created")
            status, body = await refused(url, headers=right)
            assert (status, body["type"]) == (503, "server_error")
        assert server.statistics().refused == 5


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def pages_and_paths() -> None:
    async with serve(Made("Hi."), origins=["https://mine.example"]) as server:

        async def status(path: str, *headers: str) -> int:
            lines = [f"GET {path}?model=x HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *UPGRADE, *headers, "", ""]
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                await stream.send("\r\n".join(lines).encode())
                return int((await stream.receive()).split(b" ")[1])

        mine, evil = "Origin: https://mine.example", "Origin: https://evil.example"
        assert await status("/v1/realtime") == 101, "a program sends no origin"
        assert await status("/v1/realtime", mine) == 101
        assert await status("/v1/realtime", f"Origin: http://127.0.0.1:{server.port}") == 101, "its own page"
        assert await status("/v1/realtime", evil) == 403
        assert await status("/v1/realtime", mine, evil) == 400, "a header that decides must not be repeated"
        assert await status("/realtime") == 101, "as LiveKit asks for it"
        assert await status("/v1") == 404
        assert server.statistics().refused == 3


async def silence_before_a_request() -> None:
    async with serve(ScriptedBrain, limits=Limits(open_seconds=0.1)) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
        await conversation(server)


async def encrypted() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serve(Made("Hi."), ssl=context) as server:
        assert server.url.startswith("wss://")
        async with dial(endpoint(server, ssl=trusting)) as socket, connected(socket) as client:
            await client.say("hi")
            await client.next("response.done")


async def wrong_handshakes() -> None:
    for faults, status in ((Faults(html_answer=True), 200), (Faults(refuse_status=429), 429)):
        async with serve(ScriptedBrain, faults=faults) as server:
            with pytest.raises(SocketRefusedError) as caught:
                async with dial(endpoint(server)):
                    pass
            assert caught.value.status == status


async def breaks() -> None:
    async with serve(Made("Hi."), faults=Faults(close_after_events=4)) as server:
        async with dial(endpoint(server)) as socket, connected(socket) as client:
            await client.say("hi")
            assert (await client.end()).code == 1006


async def goes_away() -> None:
    ready, leave = anyio.Event(), anyio.Event()
    servers: list[Server] = []

    async def run() -> None:
        async with serve(Made(LONG, paced=True)) as server:
            servers.append(server)
            ready.set()
            await leave.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await ready.wait()
        async with dial(endpoint(servers[0])) as socket, connected(socket) as client:
            await client.say("hi")
            await client.next("response.output_audio.delta")
            leave.set()
            await client.end()
    assert servers[0].sessions == 0


FACTS = {
    "a conversation over loopback is the same as in a pipe": hello,
    "sixty conversations at once, each with a brain of its own": sixty,
    "a session that fails harms no other": one_fails,
    "path, key, model and number of sessions are checked, each with its status and a JSON body": refusals,
    "pages of others are refused, and both paths lead in": pages_and_paths,
    "a connection without a request is closed": silence_before_a_request,
    "with a TLS context it is wss": encrypted,
    "a web page, or any status, in place of a WebSocket": wrong_handshakes,
    "an abrupt close is one without a goodbye": breaks,
    "leaving the block ends the sessions that are open": goes_away,
}


@pytest.mark.real
@pytest.mark.parametrize("fact", FACTS)
async def test_on_a_real_socket(fact: str) -> None:
    """On asyncio and uvloop the fact holds."""
    with anyio.fail_after(60):
        await FACTS[fact]()


@pytest.mark.parametrize("fact", FACTS)
def test_on_a_real_socket_on_trio(fact: str) -> None:
    """On trio, too, with its own clock."""

    async def bounded() -> None:
        with anyio.fail_after(60):
            await FACTS[fact]()

    anyio.run(bounded, backend="trio")


async def test_fields_that_cannot_be_are_refused_at_once() -> None:
    """What each session would begin with is checked before anybody connects."""
    with pytest.raises(ValueError, match=r"session\.temperature"):
        async with serve(ScriptedBrain, session={"temperature": 1}):
            pass


def test_a_misspelled_option_of_serve_is_named() -> None:
    with pytest.raises(TypeError, match=r"^serve\(limit=\.\.\.\): .*did you mean limits=\?$"):
        serve(ScriptedBrain, limit=None)  # type: ignore[call-arg]


@pytest.mark.real
@pytest.mark.parametrize("header", ["Host", "Origin", "Authorization", "api-key"])
async def test_a_header_that_decides_must_not_come_twice(header: str) -> None:
    """It is refused with a sentence, also the one that has the key in another dialect."""
    async with (
        serve(Made(), api_keys=["k"], dialect=AZURE) as server,
        await anyio.connect_tcp("127.0.0.1", server.port) as stream,
    ):
        lines = [
            f"GET {AZURE.path}?model=m HTTP/1.1",
            *([] if header == "Host" else [f"Host: 127.0.0.1:{server.port}"]),
            *[f"{header}: k"] * 2,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        await stream.send("\r\n".join([*lines, "", ""]).encode())
        answer = (await stream.receive()).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert f"The header {header.lower()} is there more than once." in answer
