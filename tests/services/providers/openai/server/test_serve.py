"""Brains behind sockets: conversations, failures and limits, in pipes on virtual time."""

from __future__ import annotations

import json
from typing import Literal

import anyio
import pytest

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
from bargein.processors import Turn, Turns
from bargein.services.frames import Commit
from bargein.services.providers.openai.server.serve import Limits, serve, serve_socket
from bargein.services.sockets import pipe
from bargein.services.testing import ScriptedBrain

from .brain_kit import LONG, Made, sound
from .server_kit import connected, error, piped, spoken, types

TEXT = {"output_modalities": ["text"]}


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


async def test_fields_that_cannot_be_are_refused_at_once() -> None:
    """What each session would begin with is checked before anybody connects."""
    with pytest.raises(ValueError, match=r"session\.temperature"):
        async with serve(ScriptedBrain, session={"temperature": 1}):
            pass


def test_a_misspelled_option_of_serve_is_named() -> None:
    with pytest.raises(TypeError, match=r"^serve\(limit=\.\.\.\): .*did you mean limits=\?$"):
        serve(ScriptedBrain, limit=None)  # type: ignore[call-arg]
