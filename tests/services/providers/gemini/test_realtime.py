"""GeminiLive in conversations with a scripted server, which misbehaves on demand."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    Text,
    ToolCall,
    Transcript,
    UserText,
    Video,
)
from bargein.pipeline.testing import Harness, framed, silence, tone
from bargein.processors import Commit, Pacer, Spoken
from bargein.services.frames import Configure, Connected, Disconnected, ToolFinished
from bargein.services.history import History
from bargein.services.providers.gemini import GeminiLive
from bargein.services.realtime import RealtimeError, ReconnectPolicy, UnsupportedError
from bargein.services.sockets import SocketRefusedError
from bargein.services.testing import ScriptedGemini
from bargein.services.tools import tool

pytestmark = pytest.mark.virtual

STORY = "Once upon a time there was a king who had three sons and no time to listen to any of them at all."
VOICE = np.concatenate([tone(300, 1000, rate=16_000), silence(1000, rate=16_000)])


def model(peer: ScriptedGemini, **options: Any) -> GeminiLive:
    return GeminiLive(api_key="key", connect=peer.connect, **options)


def session(brain: GeminiLive) -> Harness:
    return Harness(brain, Spoken(), Pacer())


def said(harness: Harness, response: str) -> str:
    return "".join(frame.text for frame in harness.of(Text) if frame.response_id == response)


async def until(harness: Harness, outcome: str = "completed") -> ResponseEnded:
    """The next response that ends so."""
    while (ended := await harness.next(ResponseEnded, within_seconds=120)).outcome != outcome:
        pass
    return ended


# Interruption ---------------------------------------------------------------------------------------------------------


async def test_interrupt_drops_the_rest_of_a_reply() -> None:
    """The server cannot be stopped. It goes on, and the next question does not wait for it."""
    peer = ScriptedGemini(STORY, "Yes?", pace_seconds=0.3)
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(2)
        before = len(peer.received)
        harness.interrupt()
        await anyio.sleep(1)
        assert len(peer.received) == before, "there is no word for it"
        assert [turn.interrupted for turn in peer.turns] == [False]
        assert harness.of(ResponseEnded) == [], "it goes on"
        await harness.send(UserText(text="wait"))
        ended = await until(harness)
        assert peer.turns[0].interrupted, "by the next question"
        assert said(harness, ended.response_id) == "Yes?"
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted", "completed"]
        assert harness.session.epoch == 1
        await harness.session.cancel()


async def test_boundaries_belong_to_their_turn() -> None:
    """Interrupted, asked, and interrupted again before the server has sent anything: neither reply is heard."""
    peer = ScriptedGemini(STORY, STORY, "Yes?", pace_seconds=0.3)
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        harness.interrupt()
        await harness.send(UserText(text="another one"))
        await anyio.sleep(0.001)  # it has been asked
        harness.interrupt()
        came = len(harness.of(Audio))
        await anyio.sleep(10)
        assert peer.turns[0].interrupted
        assert len(peer.turns[1].words) > 10, "the second is being told"
        assert len(harness.of(Audio)) <= came + 1, "no more than the fade"
        assert len(harness.of(ResponseStarted)) == 1
        await harness.send(UserText(text="stop"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


async def test_interruption_by_the_server() -> None:
    """It is one step, and the words of both sides are kept as they were heard."""
    peer = ScriptedGemini(STORY, "Yes?", hears=["please stop it"])
    brain = model(peer)
    async with session(brain) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(2)
        await harness.play(list(framed(VOICE, rate=16_000)))
        await until(harness)
        assert harness.session.epoch == 1
        assert peer.turns[0].interrupted
        heard = [frame.text for frame in harness.of(Transcript) if frame.final and frame.speaker == "user"]
        assert heard == ["please stop it"]
        kept = [(entry.role, entry.remembered.strip()) for entry in brain.history.remembered]
        assert kept[0] == ("user", "tell me")
        assert kept[1][0] == "assistant"
        assert STORY.startswith(kept[1][1])
        assert 3 <= len(kept[1][1].split()) <= 8
        assert kept[2:] == [("user", "please stop it"), ("assistant", "Yes?")]
        await harness.session.cancel()


async def test_interruption_before_the_reply() -> None:
    """Nothing is waited for: the next question is asked at once."""
    peer = ScriptedGemini(STORY, "Yes?", pace_seconds=1)
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await anyio.sleep(0.5)
        assert peer.session is not None
        await peer.session.interrupt()
        await harness.send(UserText(text="wait"))
        await anyio.sleep(0.1)
        assert len(peer.turns) == 2
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        assert harness.of(Disconnected) == []
        await harness.session.cancel()


async def test_interrupt_response_off() -> None:
    """With `interrupt_response` off, a processor above decides."""
    peer = ScriptedGemini(STORY)
    async with session(model(peer, turn_detection={"type": "server_vad", "interrupt_response": False})) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        for frame in framed(tone(300, 500, rate=16_000), rate=16_000):
            await harness.send(frame)
        await anyio.sleep(1)
        assert harness.session.epoch == 0
        assert not peer.turns[0].interrupted
        await harness.session.cancel()


async def test_typed_text_waits_for_the_end_of_the_reply() -> None:
    """Earlier it would make the server stop its reply."""
    peer = ScriptedGemini("One two three four.", "Five.")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="count"))
        await harness.next(Audio, within_seconds=30)
        await harness.send(UserText(text="go on"))
        await until(harness)
        await until(harness)
        assert harness.session.epoch == 0
        assert [turn.interrupted for turn in peer.turns] == [False, False]
        await harness.session.cancel()


# Push to talk ---------------------------------------------------------------------------------------------------------


async def test_push_to_talk() -> None:
    """Sound, a commit, and the answer. Sound that goes on meanwhile does not interrupt it."""
    peer = ScriptedGemini("Certainly.", hears=["may I"])
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(300, 500, rate=16_000), rate=16_000), Commit())
        for frame in framed(silence(3000, rate=16_000), rate=16_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert said(harness, (await until(harness)).response_id) == "Certainly."
        fields = [next(iter(each)) for each in peer.find_sent("realtime_input")]
        assert [each for each in fields if each != "audio"][:2] == ["activityStart", "activityEnd"]
        assert harness.session.epoch == 0
        await harness.session.cancel()


async def test_interrupt_begins_an_activity() -> None:
    """With push to talk an activity begins, and the model stops."""
    peer = ScriptedGemini(STORY, "Yes?", pace_seconds=0.3)
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        harness.interrupt()
        await anyio.sleep(0.1)
        assert peer.turns[0].interrupted
        await harness.send(*framed(tone(300, 500, rate=16_000), rate=16_000), Commit())
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


async def test_detector_above_begins_the_activity() -> None:
    """The activity begins behind the sound that came before it."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.next(Connected)
        frames = list(framed(tone(300, 200, rate=16_000), rate=16_000))
        await harness.send(*frames[:2], SpeechStarted(item_id="u"), *frames[2:], Commit())
        await until(harness)
        fields = [next(iter(each)) for each in peer.find_sent("realtime_input")]
        assert fields == ["activityStart", *["audio"] * 10, "activityEnd"]
        assert harness.of(SpeechStarted)
        await harness.session.cancel()


async def test_session_ends_after_the_last_answer() -> None:
    """The server does not report that it has heard a question. Without one, the session ends soon."""
    peer = ScriptedGemini("Certainly.", hears=["may I"], pace_seconds=0.5)
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(300, 1000, rate=16_000), rate=16_000))
        await harness.end()
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["completed"]
        assert said(harness, harness.of(ResponseEnded)[0].response_id) == "Certainly."
    began = anyio.current_time()
    async with session(model(ScriptedGemini())) as harness:
        await harness.next(Connected)
        await harness.send(*framed(silence(1000, rate=16_000), rate=16_000))
        await harness.end()
    assert anyio.current_time() - began < 10


# Sound, pictures, text ------------------------------------------------------------------------------------------------


async def test_paused_source() -> None:
    """The user mutes after a question: the server is told of the pause, and answers at once."""
    peer = ScriptedGemini("Certainly.", hears=["may I"])
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        for frame in framed(tone(300, 1000, rate=16_000), rate=16_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert said(harness, (await until(harness)).response_id) == "Certainly."
        assert peer.find_sent("realtime_input", "audioStreamEnd") == [True]
        await harness.session.cancel()


async def test_video_is_sampled() -> None:
    """`fps` pictures of a video are sent in each second."""
    peer = ScriptedGemini()
    async with session(model(peer, fps=2)) as harness:
        await harness.next(Connected)
        for at in range(50):
            await harness.send(Video(data=b"jpeg", format="jpeg", pts=at * 100_000_000))
        await anyio.sleep(1)
        pictures = peer.find_sent("realtime_input", "video")
        assert 9 <= len(pictures) <= 11
        assert {picture["mimeType"] for picture in pictures} == {"image/jpeg"}
        await harness.session.cancel()


async def test_text_output() -> None:
    """The reply is text, for another voice."""
    peer = ScriptedGemini("Good morning to you.")
    async with Harness(model(peer, output="text")) as harness:
        await harness.send(UserText(text="hello"))
        ended = await until(harness)
        assert said(harness, ended.response_id) == "Good morning to you."
        assert harness.of(Text)[-1].final
        assert harness.of(Audio) == []
        assert peer.find_sent("setup", "generationConfig", "responseModalities") == [["TEXT"]]
        await harness.session.cancel()


async def test_newer_models() -> None:
    """They get text as realtime input, and no audio while a call is unanswered."""
    peer = ScriptedGemini([ToolCall(call_id="", name="clock", arguments="{}")], "Noon.")

    @tool
    async def clock() -> str:
        await anyio.sleep(1)
        return "noon"

    async with session(model(peer, model="gemini-3.1-flash-live-preview", tools=[clock])) as harness:
        await harness.send(UserText(text="what time is it?"))
        for frame in framed(silence(3000, rate=16_000), rate=16_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert said(harness, (await until(harness)).response_id) == "Noon."
        assert peer.find_sent("realtime_input", "text") == ["what time is it?"]
        assert harness.of(Disconnected) == []
        assert len(peer.find_sent("realtime_input", "audio")) == 150, "what waited was sent"
        await harness.session.cancel()


# Tools ----------------------------------------------------------------------------------------------------------------


async def test_two_models_with_one_history() -> None:
    """They run one after the other. The entries of the first stay as they were."""
    history = History()
    for question, answer in (("Who?", "I."), ("Where?", "Here.")):
        peer = ScriptedGemini(answer, hears=[question])
        async with session(model(peer, history=history)) as harness:
            await harness.next(Connected)
            await harness.play(list(framed(VOICE, rate=16_000)))
            await until(harness)
            await anyio.sleep(1)
            await harness.session.cancel()
    assert [entry.text for entry in history] == ["Who?", "I.", "Where?", "Here."]


async def test_tool_cancelled_by_an_interrupt() -> None:
    """A model that gets no audio while it waits is sent that no answer comes. Then it gets audio again."""

    @tool(cancellable=True)
    async def look() -> str:
        """Look."""
        await anyio.sleep(100)
        return "nothing"

    peer = ScriptedGemini([ToolCall(call_id="", name="look")], "Yes?", hears=["Hello?"])
    async with session(model(peer, model="gemini-3.1-flash-live-preview", tools=[look])) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="Look!"))
        await harness.next(ToolCall)
        harness.interrupt()
        await anyio.sleep(5)
        answered = [each["tool_response"] for each in peer.received if "tool_response" in each]
        assert len(answered) == 1
        assert "called off" in answered[0]["functionResponses"][0]["response"]["output"]
        assert len(harness.of(ToolFinished)) == 1
        await harness.play(list(framed(VOICE, rate=16_000)))
        assert (await harness.next(Transcript)).text == "Hello?"
        await harness.session.cancel()


async def test_withdrawal_of_a_cancelled_call() -> None:
    """The call has ended already, and that is reported once."""

    @tool(cancellable=True)
    async def look() -> str:
        """Look."""
        await anyio.sleep(100)
        return "nothing"

    peer = ScriptedGemini([ToolCall(call_id="", name="look")], "Yes?")
    async with session(model(peer, tools=[look])) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="Look!"))
        await harness.next(ToolCall)
        harness.interrupt()
        await anyio.sleep(1)
        await harness.send(UserText(text="No, listen!"))
        await until(harness)
        assert [frame.cancelled for frame in harness.of(ToolFinished)] == [True]
        await harness.session.cancel()


async def test_withdrawn_call() -> None:
    """The user spoke, so the tool is cancelled and the call is never answered."""
    ended: list[str] = []
    peer = ScriptedGemini([ToolCall(call_id="", name="slow", arguments="{}")], "Yes?")

    @tool
    async def slow() -> str:
        try:
            await anyio.sleep(20)
        finally:
            ended.append("called off")
        return "done"

    async with session(model(peer, tools=[slow])) as harness:
        await harness.send(UserText(text="do it"))
        await harness.next(ToolCall, within_seconds=30)
        assert peer.session is not None
        await anyio.sleep(1)
        await peer.session.interrupt()
        finished = await harness.next(ToolFinished, within_seconds=5)
        assert finished.cancelled
        await anyio.sleep(30)
        assert ended == ["called off"]
        assert peer.find_sent("tool_response") == []
        await harness.send(UserText(text="well?"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


@pytest.mark.parametrize("when", ["WHEN_IDLE", "SILENT", "INTERRUPT"])
async def test_asynchronous_tools(when: Any) -> None:
    """The reply goes on, and the result is spoken of when its scheduling says so."""
    peer = ScriptedGemini(
        ["I will see to it.", ToolCall(call_id="", name="order", arguments="{}")],
        "Meanwhile, how are you?",
        "It is done.",
    )

    @tool
    async def order() -> str:
        await anyio.sleep(5)
        return "ordered"

    async with session(model(peer, tools=[order], background={"order": when})) as harness:
        await harness.send(UserText(text="order it"))
        ended = await until(harness)
        assert said(harness, ended.response_id) == "I will see to it. Meanwhile, how are you?"
        await anyio.sleep(10)
        (answer,) = peer.find_sent("tool_response", "functionResponses")
        assert answer[0]["scheduling"] == when
        assert [turn.words for turn in peer.turns[1:]] == ([] if when == "SILENT" else [["It", "is", "done."]])
        await harness.session.cancel()


async def test_question_while_a_tool_runs() -> None:
    """The question does not wait for the tool."""
    peer = ScriptedGemini(
        ["Yes.", ToolCall(call_id="", name="order", arguments="{}")], "Ordered soon.", "Blue.", "Done."
    )

    @tool
    async def order() -> str:
        await anyio.sleep(20)
        return "ordered"

    async with session(model(peer, tools=[order], background={"order": "WHEN_IDLE"})) as harness:
        await harness.send(UserText(text="order it"))
        await until(harness)
        await harness.send(UserText(text="which colour is it?"))
        assert said(harness, (await until(harness)).response_id) == "Blue."
        assert harness.of(ToolFinished) == []
        assert said(harness, (await until(harness)).response_id) == "Done."
        assert harness.of(Disconnected) == []
        await harness.session.cancel()


async def test_slow_tool_is_not_provider_silence() -> None:
    """Neither is a long reply, which the provider expects to be played."""
    peer = ScriptedGemini([ToolCall(call_id="", name="slow", arguments="{}")], " ".join([STORY] * 4))

    @tool(timeout_seconds=60)
    async def slow() -> str:
        await anyio.sleep(40)
        return "done"

    async with session(model(peer, tools=[slow])) as harness:
        await harness.send(UserText(text="do it"))
        began = anyio.current_time()
        await until(harness)
        assert anyio.current_time() - began > 60
        assert harness.of(Disconnected) == []
        await harness.session.cancel()


# Connections ----------------------------------------------------------------------------------------------------------


async def test_session_resumes_after_going_away() -> None:
    """In the first pause. The old socket is closed first, and the new one gets nothing that the session knows."""
    peer = ScriptedGemini("One two three four five six.", "Seven.")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="count"))
        await harness.next(Audio, within_seconds=30)
        await peer.go_away(50)
        await anyio.sleep(1)
        assert peer.connections == 1, "it speaks"
        await harness.next(Disconnected, within_seconds=10)
        await harness.send(UserText(text="go on"))
        assert said(harness, (await until(harness)).response_id) == "Seven."
        assert peer.connections == 2
        setups = peer.find_sent("setup", "sessionResumption")
        assert setups[0] == {}
        assert setups[1] == {"handle": "h-2"}
        contents = peer.find_sent("client_content", "turns")
        assert [content[0]["parts"][0]["text"] for content in contents] == ["count", "go on"]
        assert [frame.clean for frame in harness.of(Disconnected)] == [True]
        await harness.session.cancel()


async def test_server_leaves_during_a_reply() -> None:
    """It is left before its time is over. The reply fails, and the conversation continues."""
    peer = ScriptedGemini(" ".join([STORY] * 3), "Yes?")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        await peer.go_away(10)
        await harness.next(Disconnected, within_seconds=11)
        assert peer.connections >= 1
        await harness.send(UserText(text="go on"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


async def test_connection_limit() -> None:
    """In a quiet hour there is a connection for every nine minutes, and one session."""
    peer = ScriptedGemini()
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await anyio.sleep(3600)
        assert 6 <= peer.connections <= 7
        assert all(setup.get("handle") for setup in peer.find_sent("setup", "sessionResumption")[1:])
        assert peer.open_connections == 1
        await harness.session.cancel()


async def test_refused_handle() -> None:
    """A new session begins, with the conversation as it was heard."""
    peer = ScriptedGemini("Hello there.", "Yes?")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="hello"))
        await until(harness)
        await anyio.sleep(3)
        peer.resumes = False
        await peer.close(1011, "internal error")
        await anyio.sleep(3)
        await harness.send(UserText(text="still there?"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        assert peer.connections == 3
        history, question = peer.find_sent("client_content")[1:]
        assert history["turnComplete"] is False
        assert [turn["parts"][0]["text"] for turn in history["turns"]] == ["hello", "Hello there."]
        assert len(question["turns"]) == 1
        await harness.session.cancel()


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011])
async def test_passing_close_codes(code: int) -> None:
    """The connection is restored at once, by the handle."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await anyio.sleep(6)
        await peer.close(code)
        await anyio.sleep(1)
        await harness.send(UserText(text="still there?"))
        await until(harness)
        assert peer.connections == 2
        assert peer.find_sent("setup", "sessionResumption")[1]["handle"]
        await harness.session.cancel()


@pytest.mark.parametrize(("code", "reason"), [(1007, "TEXT is not supported"), (1008, "models/x is not found")])
async def test_final_close_codes(code: int, reason: str) -> None:
    """Before the session is ready they are final: the reason is reported, and there is no other attempt."""

    class Refusing(ScriptedGemini):
        async def serve_socket(self, socket: Any) -> None:
            self.connections += 1
            await socket.receive()
            await socket.close(code, reason)

    peer = Refusing()
    with pytest.raises(RealtimeError, match=reason):
        async with session(model(peer)):
            await anyio.sleep(60)
    assert peer.connections == 1


async def test_endless_errors_are_given_up() -> None:
    """After the attempts of the policy."""

    class Failing(ScriptedGemini):
        async def serve_socket(self, socket: Any) -> None:
            self.connections += 1
            await socket.receive()
            await socket.close(1011, "quota")

    peer = Failing()
    with pytest.raises(RealtimeError, match=r"quota.*given up after 4 attempts"):
        async with session(model(peer, reconnect=ReconnectPolicy(max_attempts=3))):
            await anyio.sleep(600)
    assert peer.connections == 4


async def test_refused_key() -> None:
    """The session ends at once, with the reason."""
    peer = ScriptedGemini()
    peer.refusals.append(SocketRefusedError("wss://x answers 403", 403, "API key not valid"))
    with pytest.raises(RealtimeError, match=r"may not do this.*API key not valid"):
        async with session(model(peer)):
            await anyio.sleep(60)


async def test_unreadable_messages() -> None:
    """Each message that cannot be read is a `Failure`, and the conversation continues."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        for data in (b"\xff\xfe", "{", b"[1]", b'{"serverContent":7}', "", b'{"toolCall":{"functionCalls":[{}]}}'):
            await peer.send(data)
        await peer.send({"newThings": True})
        await harness.send(UserText(text="still there?"))
        await until(harness)
        assert len(harness.of(Failure)) == 6
        assert not any(frame.fatal for frame in harness.of(Failure))
        await harness.session.cancel()


async def test_settings_change_with_a_new_connection() -> None:
    """The new connection is made in a pause. The session stays the same."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="hello"))
        await until(harness)
        await harness.send(Configure(instructions="Be brief.", voice="Puck"))
        await harness.next(Disconnected, within_seconds=10)
        await anyio.sleep(1)
        changed = peer.find_sent("setup")[1]
        assert changed["systemInstruction"]["parts"] == [{"text": "Be brief."}]
        assert changed["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"] == "Puck"
        assert changed["sessionResumption"]["handle"]
        await harness.session.cancel()


async def test_resumed_session() -> None:
    """A later run resumes the session by its handle, and sends only the user's new words."""
    peer = ScriptedGemini("Hello.", "Welcome back.")
    first = model(peer)
    async with session(first) as harness:
        await harness.send(UserText(text="hello"))
        await until(harness)
        await anyio.sleep(1)
        await harness.session.cancel()
    assert first.resumption == "h-2"
    async with session(model(peer, resume=first.resumption)) as harness:
        await harness.send(UserText(text="again"))
        assert said(harness, (await until(harness)).response_id) == "Welcome back."
        assert peer.find_sent("setup", "sessionResumption", "handle") == ["h-2"]
        await harness.session.cancel()


async def test_sound_without_a_connection_is_sent_later() -> None:
    """What the user says while there is no connection reaches the next one, and nothing is interrupted twice."""
    peer = ScriptedGemini("Yes?", hears=["hello"])
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await peer.close(1006)
        await harness.send(*framed(VOICE, rate=16_000))
        await until(harness)
        assert len(peer.find_sent("realtime_input", "audio")) == 100
        assert harness.of(Interrupt) == []
        await harness.session.cancel()


async def test_recent_sound_is_sent_again() -> None:
    """The last seconds are sent to the next connection, unless they have had an effect already."""
    peer = ScriptedGemini("Yes?", hears=["hello"])
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        frames = list(framed(VOICE, rate=16_000))
        for at, frame in enumerate(frames):
            await harness.send(frame)
            await anyio.sleep(0.02)
            if at == 20:
                await peer.close(1006)
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        assert 100 < len(peer.find_sent("realtime_input", "audio")) <= 100 + 21
        assert [turn.words for turn in peer.turns] == [["Yes?"]]
        await anyio.sleep(5)
        before = len(peer.find_sent("realtime_input", "audio"))
        await peer.close(1006)
        await anyio.sleep(5)
        assert peer.connections == 3
        assert len(peer.find_sent("realtime_input", "audio")) - before <= 100, "silence since the answer began"
        assert len(peer.turns) == 1
        await harness.session.cancel()


async def test_commit_outlives_its_connection() -> None:
    """It is sent again with the sound before it, if no answer has begun."""
    peer = ScriptedGemini("Certainly.", hears=["may I"], pace_seconds=2)
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(300, 500, rate=16_000), rate=16_000), Commit())
        await anyio.sleep(1)
        assert peer.find_sent("realtime_input", "activityEnd") == [{}]
        await peer.close(1006)
        assert said(harness, (await until(harness)).response_id) == "Certainly."
        fields = [next(iter(each)) for each in peer.find_sent("realtime_input")]
        assert fields == ["activityStart", *["audio"] * 25, "activityEnd"] * 2
        await harness.session.cancel()


# Who asks, and where --------------------------------------------------------------------------------------------------


async def asked(peer: ScriptedGemini, **options: Any) -> Any:
    async with Harness(GeminiLive(connect=peer.connect, **options)) as harness:
        await harness.next(Connected)
        await harness.session.cancel()
    return peer.endpoints[-1]


async def test_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the argument or the environment. It is never in the address."""
    peer = ScriptedGemini()
    endpoint = await asked(peer, api_key="k1")
    assert endpoint.url == (
        "wss://generativelanguage.googleapis.com/ws/"
        "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    )
    assert endpoint.headers == {"x-goog-api-key": "k1"}
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.setenv("GOOGLE_API_KEY", "k2")
    assert (await asked(peer)).headers == {"x-goog-api-key": "k2"}
    monkeypatch.delenv("GOOGLE_API_KEY")
    with pytest.raises(ValueError, match="set GEMINI_API_KEY or GOOGLE_API_KEY"):
        GeminiLive()


async def test_ephemeral_token() -> None:
    """It goes to the constrained interface, and each connection asks for a new one."""
    given = iter(("auth_tokens/1", "auth_tokens/2"))

    async def fetch() -> str:
        await anyio.sleep(0.1)
        return next(given)

    peer = ScriptedGemini()
    async with Harness(GeminiLive(token=fetch, connect=peer.connect)) as harness:
        await harness.next(Connected)
        await peer.close(1006)
        await anyio.sleep(3)
        await harness.session.cancel()
    assert [each.headers for each in peer.endpoints] == [
        {"Authorization": "Token auth_tokens/1"},
        {"Authorization": "Token auth_tokens/2"},
    ]
    assert peer.endpoints[0].url.endswith(".v1alpha.GenerativeService.BidiGenerateContentConstrained")
    assert "auth_tokens" not in repr(peer.endpoints)


async def test_vertex() -> None:
    """The token function may block, so it runs in a thread."""
    peer = ScriptedGemini()
    options = {"project": "p", "token": lambda: "bearer", "model": "gemini-live-2.5-flash"}
    endpoint = await asked(peer, **options, location="europe-west4")
    assert endpoint.url == (
        "wss://europe-west4-aiplatform.googleapis.com/ws/"
        "google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    )
    assert endpoint.headers == {"Authorization": "Bearer bearer"}
    assert peer.find_sent("setup", "model") == [
        "projects/p/locations/europe-west4/publishers/google/models/gemini-live-2.5-flash"
    ]
    assert (await asked(peer, **options, location="global")).url.startswith("wss://aiplatform.googleapis.com/")
    with pytest.raises(ValueError, match="no token"):
        GeminiLive(project="p")


async def test_failing_token_function() -> None:
    """The token is requested again, and at last the reason is reported."""
    asks: list[int] = []

    def fetch() -> str:
        asks.append(1)
        raise OSError("the metadata server is away")

    with pytest.raises(
        RealtimeError, match="no token: OSError: the metadata server is away; given up after 2 attempts"
    ):
        async with Harness(GeminiLive(project="p", token=fetch, reconnect=ReconnectPolicy(max_attempts=1))):
            await anyio.sleep(60)
    assert len(asks) == 2


def test_unsupported_options_are_refused() -> None:
    """The error comes before anything is sent, and says what to use instead."""
    with pytest.raises(ValueError, match="expected 'WHEN_IDLE'"):
        GeminiLive(api_key="k", background={"order": "LATER"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="Gemini has server_vad"):
        GeminiLive(api_key="k", turn_detection={"type": "semantic_vad"})
    with pytest.raises(ValueError, match="characters that no key has"):
        GeminiLive(api_key="k k")
    with pytest.raises(UnsupportedError, match="say"):
        GeminiLive(api_key="k").profile.require("supports_verbatim_speech", "say()")
