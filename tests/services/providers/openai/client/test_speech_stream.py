"""The protocol of OpenAI's speech without I/O: streams of events, WAV files and padding."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from bargein.services.providers.openai.client._speech_protocol import SpeechReader, TranscriptReader, wav

from .speech_server import PIECE

pytest.importorskip("httpx")


def stream() -> TranscriptReader:
    return TranscriptReader("text/event-stream; charset=utf-8")


def test_deltas_are_joined_and_the_last_text_is_final() -> None:
    """However the bytes are cut. Lines that are no data, and events that are not known, change nothing."""
    wire = b"".join(
        [
            b": ping\n\nevent: transcript.text.delta\n",
            b'data: {"type":"transcript.text.delta","delta":" turn"}\n\n',
            b'data:{"type":"transcript.text.delta","delta":" the"}\r\n\r\n',
            b'data: {"type":"transcript.text.segment"}\n\n',
            b'data: {"type":"transcript.text.done","text":"Turn the light."}\n\n',
            b"data: nonsense, but it is over\n\n",
        ]
    )
    for size in (1, 7, len(wire)):
        words = stream()
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        seen = [text for piece in pieces for text in words.feed(piece)] + list(words.end())
        assert seen == ["turn", "turn the", "Turn the light."]
        assert words.over


def test_a_last_event_may_lack_its_end() -> None:
    """Servers forget the last blank line, and some say that they are done in another way."""
    words = stream()
    assert list(words.feed(b'data: {"type":"transcript.text.done","text":"Yes."}')) == []
    assert list(words.end()) == ["Yes."]
    words = stream()
    assert list(words.feed(b'data: {"type":"transcript.text.delta","delta":"Yes"}\n\ndata: [DONE]\n\n')) == ["Yes"]
    assert list(words.end()) == []


@pytest.mark.parametrize("data", ["nonsense", "[]", '{"type":1}'])
def test_nonsense_is_an_error(data: str) -> None:
    """Whatever is no event."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        list(stream().feed(f"data: {data}\n\n".encode()))


def test_an_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never ends is a fault, not a full memory."""
    monkeypatch.setattr("bargein.services.providers._shared.sse.MAX_EVENT_BYTES", 100)
    with pytest.raises(ConnectionError, match="OpenAI sent an event of more than 100 bytes"):
        list(stream().feed(b"data: " + b"x" * 200))


@pytest.mark.parametrize("error", ['{"type":"error","error":{"message":"too long"}}', '{"error":"too long"}'])
def test_error_event_is_reported(error: str) -> None:
    """The error has the server's words."""
    with pytest.raises(ConnectionError, match="reports an error: too long"):
        list(stream().feed(f"data: {error}\n\n".encode()))


def test_cut_stream_is_an_error() -> None:
    """Text without its end is an error. For sound this cannot be known."""
    words = stream()
    assert list(words.feed(b'data: {"type":"transcript.text.delta","delta":"Yes"}\n\n')) == ["Yes"]
    with pytest.raises(ConnectionError, match="the last words did not come"):
        list(words.end())
    sound = SpeechReader("audio/pcm", 24_000)
    assert [piece.tolist() for data in (b"\x01", bytes(11), b"\x02") for piece in sound.feed(data)] == [[1, *[0] * 5]]
    assert list(sound.end()) == []


@pytest.mark.parametrize("size", [1, 5, 9999])
def test_wav_response_is_decoded(size: int) -> None:
    """However it is cut. Raw samples that begin like a WAV header are samples."""
    for data, expected in (
        (wav(PIECE, 24_000).replace(b"WAVE", b"WAVELIST\x03\0\0\0abc\0"), PIECE.tolist() + [0] * 800),
        (b"RIFFsamples!", np.frombuffer(b"RIFFsamples!", "<i2").tolist()),
        (b"RIFF", np.frombuffer(b"RIFF", "<i2").tolist()),
    ):
        sound = SpeechReader("audio/wav", 24_000)
        pieces = [piece for at in range(0, len(data), size) for piece in sound.feed(data[at : at + size])]
        assert [sample for piece in [*pieces, *sound.end()] for sample in piece.tolist()] == expected


def test_sound_of_another_format_is_an_error() -> None:
    """It would be noise, or too slow."""
    for beginning in (b"ID3\x04", b"\xff\xfb\x90\x64", b"OggS"):
        with pytest.raises(ConnectionError, match="sent encoded sound where raw samples were asked for"):
            list(SpeechReader("audio/pcm", 24_000).feed(beginning + bytes(20)))
    with pytest.raises(ConnectionError, match=r"16 bits at 16000 Hz with 1 channel.*24000 Hz mono"):
        list(SpeechReader("audio/wav", 24_000).feed(wav(PIECE, 16_000)))


def test_short_utterance_is_padded() -> None:
    """Silence makes it a tenth of a second long."""
    for count, frames in ((10, 1600), (1600, 1600), (3000, 3000)):
        with wave.open(io.BytesIO(wav(np.ones(count, np.int16), 16_000))) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            data = np.frombuffer(file.readframes(9999), "<i2")
        assert (len(data), int(data.sum())) == (frames, count)
