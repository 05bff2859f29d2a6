"""Formats of the audio, and the detector of speech."""

from __future__ import annotations

import numpy as np
import pytest

from bargein.pipeline import Audio
from bargein.pipeline.testing import tone
from bargein.services.media.g711 import Codec, codec
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.server._core.audio import UserAudio
from bargein.services.providers.openai.server.serve import server_vad
from tests.services.providers.openai.server.server_kit import Hand, answer, sound


@pytest.mark.parametrize("form", ["audio/pcmu", "audio/pcma"])
def test_g711_there_and_back(form: str) -> None:
    """Every byte decodes to a sample that encodes to it, and speech survives with 30 dB."""
    form_codec: Codec = codec({"type": form})
    every = bytes(range(256))
    back = form_codec.encode(form_codec.decode(every))
    different = {(one, other) for one, other in zip(every, back, strict=True) if one != other}
    assert different <= {(0x7F, 0xFF)}  # µ-law has a zero of either sign
    loud = tone(dbfs=-6, rate=8000)
    noise = form_codec.decode(form_codec.encode(loud)).astype(float) - loud
    assert 10 * np.log10(np.mean(loud.astype(float) ** 2) / np.mean(noise**2)) > 30


def test_g711_as_it_is_written_down() -> None:
    """Silence and full scale have the bytes of the standard."""
    ulaw, alaw = codec({"type": "audio/pcmu"}), codec({"type": "audio/pcma"})
    assert ulaw.encode(np.array([0, 32767, -32768], np.int16)) == bytes([0xFF, 0x80, 0x00])
    assert alaw.encode(np.array([0, 32767, -32768], np.int16)) == bytes([0xD5, 0xAA, 0x2A])


def test_a_session_in_g711() -> None:
    """The user's sound is decoded for the brain, and the reply encoded, at 8 kHz."""
    form = {"format": {"type": "audio/pcmu"}}
    hand = Hand(session={"audio": {"input": {**form, "turn_detection": None}, "output": form}})
    hand.core.on_message(wire.encode(wire.AudioAppend(audio=b"\xff" * 800)))
    (frame,) = hand.frames(sound=True)
    assert isinstance(frame, Audio)
    assert (frame.rate, frame.ms) == (8000, 100.0)
    hand.client("response.create")
    events = answer(hand, "r", sound(200, rate=8000))
    assert sum(len(event["delta"]) for event in events if event["type"] == "response.output_audio.delta") == 1600


def test_a_change_of_format_keeps_the_count() -> None:
    """`pts` goes on where the format changes, and detection starts again."""
    ears = UserAudio(None, server_vad)
    pcm, ulaw = codec({"type": "audio/pcm"}), codec({"type": "audio/pcmu"})
    list(ears.take(bytes(48 * 1000)))
    ears.configure(ulaw, None)
    list(ears.take(b"\xff" * 4000))
    ears.configure(pcm, None)
    assert ears.ms == 1500.0
    (frame,) = ears.take(bytes(480))
    assert frame.pts == 1_500_000_000


def test_the_vad_is_set_as_the_session_says() -> None:
    """Threshold and silence are the session's; eagerness is how long a silence is waited for."""
    vad = server_vad({"type": "server_vad", "threshold": 1, "silence_duration_ms": 700})
    assert (vad.threshold, vad.stop_ms) == (0.99, 700.0)
    waits = [server_vad({"type": "semantic_vad", "eagerness": each}).stop_ms for each in ("high", "auto", "low")]
    assert waits == sorted(waits)
