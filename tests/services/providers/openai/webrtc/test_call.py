"""Calls over WebRTC: the same driver, the same brain, on tracks and a data channel."""

from __future__ import annotations

from functools import partial

import anyio
import numpy as np
import pytest
import sniffio
from aiortc import RTCPeerConnection

from bargein.pipeline import (
    Audio,
    Frame,
    Image,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    ToolCall,
    Transcript,
    UserText,
    Video,
)
from bargein.pipeline.testing import Harness, framed
from bargein.processors import Commit, EncodeJpeg, Resample
from bargein.services.frames import Connected
from bargein.services.providers.openai import OpenAIRealtime, dial_call
from bargein.services.realtime import RealtimeError, ReconnectPolicy
from bargein.services.sockets import Endpoint, SocketRefusedError
from tests.speech import utterances

from .call_peer import CallServer, call_server

ONCE = ReconnectPolicy(max_attempts=0)


def model(server: CallServer, **options: object) -> OpenAIRealtime:
    return OpenAIRealtime(api_key="key", url=server.url, connect=dial_call, **options)  # type: ignore[arg-type]


def loud_ms(frames: list[Audio]) -> float:
    """Return how much can be heard, in blocks of 5 ms: a frame may be a gap of the network with the end of a sound."""
    samples = np.abs(np.concatenate([frame.samples for frame in frames]).astype(np.int32))
    blocks = samples[: len(samples) // 120 * 120].reshape(-1, 120)
    return 5.0 * np.count_nonzero(blocks.max(axis=1) > 1000)


def said(name: str, silence_ms: int = 800) -> list[Frame]:
    """An utterance at 24 kHz, as from a microphone."""
    samples = np.concatenate([utterances()[name].samples, np.zeros(16 * silence_ms, np.int16)])
    made = [each for frame in framed(samples) for each in Resample(24_000).process(frame)]
    return [each for each in made if isinstance(each, Audio)]


@pytest.mark.real
async def test_typed_question_is_answered_in_sound() -> None:
    """The sound comes on a track, belongs to the response that plays, and the response ends when it has been heard."""
    async with call_server("One two three four.") as server:
        async with Harness(model(server)) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.send(UserText(text="count"))
            ended = await harness.next(ResponseEnded, within_seconds=10)
        sound = harness.of(Audio)
        assert ended.outcome == "completed"
        assert loud_ms(sound) == pytest.approx(400, abs=60)
        assert {(frame.response_id, frame.rate) for frame in sound} == {(ended.response_id, 24_000)}
        assert all(frame.item_id for frame in sound)
        assert harness.frames[-1] is ended, "after the last of the sound"
        assert server.calls[0].session["model"] == "gpt-realtime-2.1"


@pytest.mark.real
async def test_spoken_question_and_barge_in() -> None:
    """The server notices both. It falls silent by itself, and is not sent what was heard."""
    async with call_server("One two three four five six seven eight nine ten. " * 5, hears=["Yes."]) as server:
        async with Harness(model(server)) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.play(said("yes"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(0.3)
            await harness.play(said("stop", 0))
            await harness.settle()
            await harness.next(ResponseEnded, within_seconds=10)
            await harness.session.cancel()
        assert "Yes." in [frame.text for frame in harness.of(Transcript)]
        ended = harness.of(ResponseEnded)[0]
        assert ended.outcome == "interrupted"
        assert harness.session.epoch == 1
        (interrupted,) = [at for at, frame in harness.timeline if isinstance(frame, Interrupt)]
        later = [frame for at, frame in harness.timeline if isinstance(frame, Audio) and at > interrupted]
        # On a busy machine the answer to "stop" may have begun before the session is cancelled.
        assert ended.response_id not in {frame.response_id for frame in later}
        sent = [event["type"] for event in server.calls[0].received]
        assert "conversation.item.truncate" not in sent
        assert "input_audio_buffer.append" not in sent, "sound goes on the track"
    assert [event["type"] for event in server.calls[0].sent].count("output_audio_buffer.cleared") == 1


@pytest.mark.real
async def test_own_interrupt_clears_the_server_buffer() -> None:
    """The server has generated all of it long ago. The next answer is heard."""
    async with call_server("One two three four five six seven eight nine ten. " * 5, "Yes indeed.") as server:
        async with Harness(model(server)) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.send(UserText(text="count"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(0.3)
            harness.interrupt()
            await harness.next(ResponseEnded, within_seconds=10)
            await harness.send(UserText(text="and?"))
            started = (await harness.next(ResponseStarted, within_seconds=10)).response_id
            await harness.end()
        call = server.calls[0]
        sent = [event["type"] for event in call.received]
        assert sent.index("response.cancel") < sent.index("output_audio_buffer.clear")
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted", "completed"]
        second = [frame for frame in harness.of(Audio) if frame.response_id == started]
        assert loud_ms(second) == pytest.approx(200, abs=60)


@pytest.mark.real
async def test_commit_waits_for_the_sound() -> None:
    """The channel is faster than the track, and the commit still comes last."""
    async with call_server("Yes.") as server:
        async with Harness(model(server, turn_detection=None)) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.send(*said("yes", 0), Commit())
            await harness.next(Audio, within_seconds=10)
            await harness.session.cancel()
        brain = server.calls[0].brain
        assert brain.heard_ms >= utterances()["yes"].ms - 20


@pytest.mark.real
async def test_pictures_on_a_video_track() -> None:
    """Pictures with a `detail` are items of the conversation instead."""
    (jpeg,) = EncodeJpeg().process(Video(data=np.full((48, 64, 3), 99, np.uint8)))
    assert isinstance(jpeg, Video)
    async with call_server("Yes.") as server:
        brain = OpenAIRealtime(api_key="key", url=server.url, connect=partial(dial_call, video=True))
        async with Harness(brain) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.send(jpeg, Image(data=jpeg.data, format="jpeg", detail="low"))
            call = server.calls[0]
            with anyio.fail_after(60):
                while not call.pictures:  # noqa: ASYNC110  # a hand on the other side
                    await anyio.sleep(0.01)
            await harness.session.cancel()
        items = [event["item"]["content"][0] for event in call.received if "item" in event]
        assert [item["detail"] for item in items] == ["low"]


@pytest.mark.real
async def test_tools_are_called_on_the_channel() -> None:
    """Their results are sent there too."""
    call = ToolCall(call_id="", name="weather", arguments='{"city": "Paris"}')
    asked = []

    def weather(city: str) -> str:
        """The weather somewhere."""
        asked.append(city)
        return "sunny"

    async with call_server((call,), "It is sunny.") as server:
        async with Harness(model(server, tools=[weather])) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.send(UserText(text="What is the weather in Paris?"))
            await harness.next(Audio, within_seconds=10)
            await harness.session.cancel()
    assert asked == ["Paris"]


@pytest.mark.real
async def test_refused_call() -> None:
    """The error has the server's words."""
    async with call_server() as server:
        for refusal, why in [((401, "wrong key"), "the key is not accepted"), ((503, "busy"), "answers 503")]:
            server.refuse = refusal
            with pytest.raises(RealtimeError, match=why):
                async with Harness(model(server, reconnect=ONCE)) as harness:
                    await harness.next(Connected, within_seconds=10)
        for answer in ("no sdp", "v=0"):
            server.mangle = answer
            with pytest.raises(SocketRefusedError, match="does not answer the offer"):
                async with dial_call(Endpoint(url=server.url, headers={"Authorization": "Bearer key"})):
                    pass
    with pytest.raises(SocketRefusedError, match="cannot be reached"):
        async with dial_call(Endpoint(url=server.url)):
            pass


@pytest.mark.real
async def test_call_without_media_is_given_up() -> None:
    """It was answered, and no packet came."""
    async with call_server() as server:
        server.unreachable = True
        with pytest.raises(SocketRefusedError, match=r"no connection within 0\.3 s"):
            async with dial_call(Endpoint(url=server.url, headers={"Authorization": "Bearer key"}, open_seconds=0.3)):
                pass


@pytest.mark.real
async def test_lost_call_is_made_again() -> None:
    """With the conversation so far."""
    async with call_server("Hello to you.") as server:
        policy = ReconnectPolicy(first_seconds=0.05)
        async with Harness(model(server, reconnect=policy)) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.send(UserText(text="Hello"))
            await harness.next(ResponseEnded, within_seconds=10)
            await server.calls[0].pc.close()
            again = await harness.next(Connected, within_seconds=10)
            assert again.reconnected
            await harness.send(UserText(text="Still there?"))
            await harness.next(Audio, within_seconds=10)
            await harness.session.cancel()
        texts = [event["item"]["content"][0]["text"] for event in server.calls[1].received if "item" in event]
        assert texts == ["Hello", "Hello to you.", "Still there?"]


@pytest.mark.every_backend
async def test_trio_is_refused() -> None:
    """The error says what to do instead."""
    if sniffio.current_async_library() == "asyncio":
        return
    with pytest.raises(RuntimeError, match="asyncio only"):
        async with dial_call(Endpoint(url="ws://127.0.0.1:9/v1/realtime")):
            pass


def test_aiortc_keeps_its_jitter_buffer_where_calls_replace_it() -> None:
    """The one private attribute of aiortc that calls rely on (1.13 to 1.x)."""

    async def has_buffer() -> bool:
        pc = RTCPeerConnection()
        try:
            return hasattr(pc.addTransceiver("audio").receiver, "_RTCRtpReceiver__jitter_buffer")
        finally:
            await pc.close()

    sentence = "aiortc has moved the jitter buffer of its receivers: bargein.services.media.intake must follow it"
    assert anyio.run(has_buffer), sentence
