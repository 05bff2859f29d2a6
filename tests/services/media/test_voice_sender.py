"""VoiceSender: packets that are pulled, on a clock made of numbers."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from bargein.pipeline import Audio, Hold, Interrupt, Played, ResponseEnded, Resume
from bargein.pipeline.testing import framed, tone
from bargein.services.media.voice_sender import SILENCE, VoiceSender

LAG = 120
"""What the coder delays, in samples at 48 kHz."""


def reply(ms: float, *, rate: int = 24_000, chunk: float = 70, epoch: int = 0, response: str = "r") -> list[Audio]:
    return list(framed(tone(440, ms, rate=rate, dbfs=-12), rate=rate, ms=chunk, epoch=epoch, response_id=response))


def speaking(*frames: Audio) -> VoiceSender:
    voice = VoiceSender()
    for frame in frames:
        voice.add(frame)
    return voice


def pulled(voice: VoiceSender, begin: float, end: float) -> list[bytes | None]:
    return [voice.pull(begin + number * 0.02) for number in range(round((end - begin) / 0.02))]


def heard(packets: list[bytes | None]) -> npt.NDArray[np.int16]:
    """What a listener decodes."""
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", 48_000
    frames = [frame for packet in packets if packet for frame in decoder.decode(av.Packet(packet))]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_any_rate(rate: int) -> None:
    """Encoded and decoded at 48 kHz, the sound keeps its length, pitch and level."""
    voice = speaking(*reply(1000, rate=rate))
    voice.close(ResponseEnded(response_id="r"))
    packets = [packet for packet in pulled(voice, 0, 2) if packet is not None]
    assert len(packets) == pytest.approx(50 + 5, abs=1)
    sound = heard(list(packets))
    spectrum = np.abs(np.fft.rfft(sound[4800:43_200] * np.hanning(38_400)))
    assert np.argmax(spectrum) * 48_000 / 38_400 == pytest.approx(440, abs=2)
    level = 20 * np.log10(np.sqrt(np.mean(sound[4800:43_200].astype(float) ** 2)) / 32_768)
    assert level == pytest.approx(-15, abs=1)


def test_silence_is_not_encoded() -> None:
    """Five packets of it end a sound; then there is nothing to send."""
    voice = speaking(*reply(100))
    packets = pulled(voice, 0, 1)
    assert packets[5:] == [SILENCE] * 5 + [None] * 40
    assert SILENCE not in packets[:5]
    assert voice.silent
    assert np.abs(heard(packets)[-4 * 960 :]).max() < 10


def test_interrupt_takes_effect_in_the_next_packet() -> None:
    """It fades out, and the one after it is silence. The packet before the last one was heard."""
    voice = speaking(*reply(1000))
    before = pulled(voice, 0, 0.5)
    (played,) = voice.urgent(Interrupt(epoch=1), 0.49)
    assert played == Played(response_id="r", item_id="", ms=470, done=True)
    after = pulled(voice, 0.5, 1)
    assert after[1:] == [SILENCE] * 5 + [None] * 19
    sound = heard(before + after)[24_000 + LAG :]
    assert np.abs(sound[:120]).max() > 1000
    assert np.abs(sound[480:]).max() < 100


def test_a_hold_keeps_the_rest() -> None:
    """The sound fades in after the hold."""
    voice = speaking(*reply(1000))
    first = pulled(voice, 0, 0.5)
    list(voice.urgent(Hold(), 0.49))
    held = pulled(voice, 0.5, 1)
    assert held.count(None) == 19
    assert voice.silent
    list(voice.urgent(Resume(), 1.0))
    rest = pulled(voice, 1, 2)
    assert sum(packet not in (None, SILENCE) for packet in first + rest) == 50


def test_replies_share_a_packet() -> None:
    """The next reply begins in the packet in which the last one ends, so no 20 ms are lost."""
    voice = speaking(*reply(1000))
    pulled(voice, 0, 0.1)
    list(voice.urgent(Interrupt(epoch=1), 0.09))
    for frame in reply(100, epoch=1, response="s"):
        voice.add(frame)
    packets = pulled(voice, 0.1, 0.3)
    assert sum(packet not in (None, SILENCE) for packet in packets) == 6


def test_last_report_comes_after_playback() -> None:
    """The end of the response was announced long before."""
    voice = speaking(*reply(200))
    voice.close(ResponseEnded(response_id="r"))
    assert not voice.done
    reports: list[Played] = []
    for number in range(15):
        voice.pull(number * 0.02)
        reports += voice.playout.reports(number * 0.02)
    assert [(played.ms, played.done) for played in reports][-1] == (200, True)
    assert all(not played.done for played in reports[:-1])
    assert voice.done


def test_rates_may_change() -> None:
    """A packet has one rate, and each reply is heard."""
    voice = speaking(*reply(50, rate=24_000), *reply(50, rate=16_000, response="s"))
    packets = pulled(voice, 0, 0.4)
    assert sum(packet not in (None, SILENCE) for packet in packets) == 6


def test_full_after_half_a_minute() -> None:
    """Beyond half a minute the source is asked to pause."""
    voice = speaking(*reply(10_000, chunk=1000), *reply(10_000, chunk=1000), *reply(9_900, chunk=100))
    assert not voice.full
    voice.add(reply(1000, chunk=1000)[0])
    assert voice.full
