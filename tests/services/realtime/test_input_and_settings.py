"""Realtime: sound, pictures, text, history and settings on their way to the provider, against a scripted peer."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from bargein.pipeline import Audio, Image, UserText, Video
from bargein.pipeline.testing import framed, tone
from bargein.services.frames import Configure, Connected, RateLimits
from bargein.services.history import History
from bargein.services.providers.openai.client.realtime import OpenAIRealtime
from bargein.services.tools import tool

from .session_kit import Settled, session, until_sent

pytestmark = pytest.mark.virtual


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 4])
async def test_sound_of_any_format(rate: int, channels: int) -> None:
    """The model brings the conversion: the provider gets sound of the same length."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        for frame in framed(tone(ms=400, rate=rate), rate=rate):
            samples = np.repeat(frame.samples.reshape(-1, 1), channels, axis=1) if channels > 1 else frame.samples
            await harness.send(Audio(samples, rate, pts=frame.pts))
        await harness.end()
    sent = b"".join(base64.b64decode(event["audio"]) for event in peer.of("input_audio_buffer.append"))
    missing = 24_000 * 4 // 10 - len(sent) // 2
    assert 0 <= missing <= 48  # the resampler holds back 2 ms at most, which the end of the session may lose


async def test_long_frame_is_cut() -> None:
    """No message holds more than a second."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.send(*framed(tone(ms=2500, rate=24_000), rate=24_000, ms=2500))
        await until_sent(peer, "input_audio_buffer.append", 3)
        sizes = [len(base64.b64decode(event["audio"])) for event in peer.of("input_audio_buffer.append")]
        assert sizes == [48_000, 48_000, 24_000]
        await harness.session.cancel()


async def test_earlier_conversation_is_sent_to_the_model() -> None:
    """Its own history, or another brain's: heard words, and calls with their results."""
    history = History()
    history.user("Hello.", "u1")
    history.assistant("Good morning to you.", "a1", "r1")
    history.set_heard("Good morning", "a1", "r1")
    history.call("c1", "weather", "{}", "r1")
    history.result("c1", "sunny")
    history.call("c2", "never answered", "{}", "r1")
    peer = Settled()
    async with session(peer.model(history=history)) as harness:
        await harness.next(Connected)
        await until_sent(peer, "conversation.item.create", 4)
        items = [event["item"] for event in peer.of("conversation.item.create")]
        assert [item["type"] for item in items] == ["message", "message", "function_call", "function_call_output"]
        assert items[1]["content"] == [{"type": "output_text", "text": "Good morning"}]
        await harness.session.cancel()


async def test_telephone_sound() -> None:
    """G.711 on the wire, 8 kHz in the graph."""
    peer = Settled()

    async def answers(event: dict[str, Any]) -> bool:
        if event["type"] == "input_audio_buffer.append":
            ids = {"response_id": "r", "item_id": "i"}
            await peer.send("response.output_audio.delta", delta=event["audio"], **ids)
        return False

    peer.on_event = answers
    sound = tone(ms=20, rate=8000)
    async with session(peer.model(audio="audio/pcmu")) as harness:
        await harness.send(*framed(sound, rate=8000))
        echo = await harness.next(Audio)
        assert echo.rate == 8000
        assert np.abs(echo.samples.astype(int) - sound).max() < 0.04 * np.abs(sound).max()
        assert peer.received[0]["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
        assert len(base64.b64decode(peer.of("input_audio_buffer.append")[0]["audio"])) == 160
        await harness.session.cancel()


async def test_rate_limits_are_reported() -> None:
    """`RateLimits` is reported."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await peer.send("rate_limits.updated", rate_limits=[{"name": "tokens", "remaining": 7, "reset_seconds": 0.5}])
        limits = await harness.next(RateLimits)
        assert (limits.remaining, limits.reset_seconds) == ({"tokens": 7}, {"tokens": 0.5})
        await harness.session.cancel()


async def test_pictures_are_sampled() -> None:
    """One a second of a video, each still picture; the next connection has them, too."""
    peer = Settled()
    model = peer.model(fps=1)
    async with session(model) as harness:
        await harness.next(Connected)
        await harness.send(*(Video(data=b"jpeg", format="jpeg", pts=at * 100_000_000) for at in range(30)))
        await harness.send(Image(data=b"png", format="png", detail="low"))
        await until_sent(peer, "conversation.item.create", 4)
        parts = [event["item"]["content"][0] for event in peer.of("conversation.item.create")]
        assert parts[3] == {"type": "input_image", "image_url": "data:image/png;base64,cG5n", "detail": "low"}
        assert [entry.available_pictures[0].media for entry in model.history] == [*["image/jpeg"] * 3, "image/png"]
        await peer.close()
        await harness.next(Connected, within_seconds=30)
        await until_sent(peer, "conversation.item.create", 8)
        again = [event["item"]["content"][0] for event in peer.of("conversation.item.create")[4:]]
        assert again == parts
        await harness.session.cancel()


async def test_raw_pictures_are_encoded() -> None:
    """The model brings the encoder."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(Image(np.zeros((8, 8, 3), np.uint8)))
        await until_sent(peer, "conversation.item.create", 1)
        (part,) = peer.of("conversation.item.create")[0]["item"]["content"]
        assert part["image_url"].startswith("data:image/jpeg;base64,")
        await harness.session.cancel()


async def test_the_session_can_be_changed() -> None:
    """Instructions and tools; a later connection has them, too."""

    @tool
    def other() -> str:
        return ""

    peer = Settled()
    async with session(peer.model(instructions="first")) as harness:
        await harness.next(Connected)
        await harness.send(Configure(instructions="second", tools=(other,)))
        await until_sent(peer, "session.update", 2)
        await peer.close()
        await harness.next(Connected, within_seconds=30)
        for event in peer.of("session.update")[1:]:
            assert event["session"]["instructions"] == "second"
            assert event["session"]["tools"][0]["name"] == "other"
        await harness.session.cancel()


async def test_half_a_character_is_replaced() -> None:
    """It is sent as a question mark."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="a\ud83db"))
        await until_sent(peer, "conversation.item.create", 1)
        assert peer.of("conversation.item.create")[0]["item"]["content"][0]["text"] == "a?b"
        await harness.session.cancel()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"api_key": ""}, "there is no API key"),
        ({"api_key": "sk-\n"}, "characters that no key has"),
        ({"turn_detection": "telepathy"}, "server_vad, semantic_vad"),
        ({"fps": 0}, "pictures a second"),
    ],
)
async def test_bad_settings_are_refused(options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows the value, but never a key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match=says) as error:
        OpenAIRealtime(**{"api_key": "secret", **options})
    assert "secret" not in str(error.value)
