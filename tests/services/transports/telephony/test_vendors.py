"""The vendors' messages, to the letter."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from bargein.services.transports.control import ControlError
from bargein.services.transports.telephony._format import MediaStreamFormat, PhoneCall, VendorEvent
from bargein.services.transports.telephony.plivo import Plivo
from bargein.services.transports.telephony.telnyx import Telnyx
from bargein.services.transports.telephony.twilio import Twilio
from tests.environment import amount

# As in the vendors' documents, whose addresses are in the modules.
TWILIO_START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"FirstName": "Jane", "token": "sesame"},
    },
    "streamSid": "MZ1",
}
TELNYX_CONNECTED = {"event": "connected", "version": "1.0.0", "x-telnyx-streaming-auth-token": "sesame"}
TELNYX_START = {
    "event": "start",
    "sequence_number": "1",
    "stream_id": "32DE0DEA",
    "start": {
        "user_id": "3E6F995F",
        "call_control_id": "v2:T02",
        "call_session_id": "ff55a038",
        "from": "+13122010094",
        "to": "+13122123456",
        "tags": ["TAG1"],
        "client_state": "aGF2ZQ==",
        "custom_parameters": {"customer_id": "customer_123"},
        "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
    },
}
PLIVO_START = {
    "event": "start",
    "sequenceNumber": 1,
    "start": {
        "callId": "1234",
        "streamId": "8765",
        "accountId": "MAX",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
    },
    "extra_headers": "userId=12345;sessionId=abc-xyz;token=sesame",
}


def opened(dialect: MediaStreamFormat, *messages: dict[str, Any]) -> PhoneCall:
    calls = [dialect.decode_start(json.dumps(message)) for message in messages]
    assert calls[:-1] == [None] * (len(calls) - 1)
    assert calls[-1] is not None
    return calls[-1]


def said(dialect: MediaStreamFormat, **message: Any) -> VendorEvent | None:
    return dialect.decode_event(json.dumps(message))


SOUND = b"\xff\x00\x7f\x80"
PAYLOAD = base64.b64encode(SOUND).decode()


def test_twilio() -> None:
    """Its start, what it says, and what it is told."""
    twilio = Twilio()
    call = opened(twilio, {"event": "connected", "protocol": "Call", "version": "1.0.0"}, TWILIO_START)
    assert (call.stream, call.codec.name, call.codec.rate, call.token) == ("MZ1", "audio/pcmu", 8000, "sesame")
    assert call.params == {
        "provider": "twilio",
        "call": "CA1",
        "stream": "MZ1",
        "account": "AC1",
        "FirstName": "Jane",
    }
    media = {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": PAYLOAD}
    assert said(twilio, event="media", sequenceNumber="3", media=media, streamSid="MZ1") == VendorEvent(audio=SOUND)
    assert said(twilio, event="media", media=media | {"track": "outbound"}) is None
    assert said(twilio, event="mark", streamSid="MZ1", mark={"name": "7"}) == VendorEvent(mark="7")
    assert said(twilio, event="dtmf", streamSid="MZ1", dtmf={"track": "inbound_track", "digit": "1"}) == VendorEvent(
        digit="1"
    )
    stop = {"accountSid": "AC1", "callSid": "CA1"}
    assert said(twilio, event="stop", stop=stop, streamSid="MZ1") == VendorEvent(stop="the call has ended")
    assert said(twilio, event="news") is None
    assert json.loads(twilio.encode_audio(call, SOUND)) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": PAYLOAD},
    }
    assert json.loads(twilio.encode_mark(call, "7")) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "7"}}
    assert json.loads(twilio.encode_clear(call)) == {"event": "clear", "streamSid": "MZ1"}


def test_telnyx() -> None:
    """Its start, what it says, and what it is told."""
    telnyx = Telnyx()
    call = opened(telnyx, TELNYX_CONNECTED, TELNYX_START)
    assert (call.stream, call.codec.name, call.token) == ("32DE0DEA", "audio/pcma", "sesame")
    assert call.params == {
        "provider": "telnyx",
        "call": "v2:T02",
        "stream": "32DE0DEA",
        "session": "ff55a038",
        "from": "+13122010094",
        "to": "+13122123456",
        "client_state": "aGF2ZQ==",
        "customer_id": "customer_123",
    }
    media = {"track": "inbound", "chunk": "4", "timestamp": "5", "payload": PAYLOAD}
    assert said(telnyx, event="media", sequence_number="4", media=media, stream_id="32DE0DEA") == VendorEvent(
        audio=SOUND
    )
    assert said(telnyx, event="mark", sequence_number="5", mark={"name": "7"}) == VendorEvent(mark="7")
    assert said(telnyx, event="dtmf", stream_id="32DE0DEA", dtmf={"digit": "#"}) == VendorEvent(digit="#")
    assert said(telnyx, event="stop", stop={"user_id": "3E"}, stream_id="32DE0DEA") == VendorEvent(
        stop="the call has ended"
    )
    assert json.loads(telnyx.encode_audio(call, SOUND)) == {"event": "media", "media": {"payload": PAYLOAD}}
    assert json.loads(telnyx.encode_mark(call, "7")) == {"event": "mark", "mark": {"name": "7"}}
    assert json.loads(telnyx.encode_clear(call)) == {"event": "clear"}


def test_plivo() -> None:
    """Its start, what it says, and what it is told."""
    plivo = Plivo()
    call = opened(plivo, PLIVO_START)
    assert (call.stream, call.codec.name, call.token) == ("8765", "audio/pcmu", "sesame")
    assert call.params == {
        "provider": "plivo",
        "call": "1234",
        "stream": "8765",
        "account": "MAX",
        "userId": "12345",
        "sessionId": "abc-xyz",
    }
    media = {"track": "inbound", "timestamp": "1000", "chunk": 1, "payload": PAYLOAD}
    assert said(plivo, event="media", sequenceNumber=2, streamId="8765", media=media) == VendorEvent(audio=SOUND)
    assert said(plivo, event="playedStream", streamId="8765", name="7") == VendorEvent(mark="7")
    assert said(plivo, event="clearedAudio", streamId="8765") is None
    assert said(plivo, event="dtmf", streamId="8765", dtmf={"digit": "*", "track": "inbound"}) == VendorEvent(digit="*")
    assert json.loads(plivo.encode_audio(call, SOUND)) == {
        "event": "playAudio",
        "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": PAYLOAD},
    }
    assert json.loads(plivo.encode_mark(call, "7")) == {"event": "checkpoint", "streamId": "8765", "name": "7"}
    assert json.loads(plivo.encode_clear(call)) == {"event": "clearAudio", "streamId": "8765"}


def test_plivo_in_16_bits() -> None:
    """At 16 kHz, both ways."""
    start = PLIVO_START["start"] | {"mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16000}}  # type: ignore[operator]
    plivo = Plivo()
    call = opened(plivo, PLIVO_START | {"start": start, "extra_headers": "{userId=1,x=2}"})
    assert (call.codec.sample_bytes, call.codec.rate) == (2, 16_000)
    assert call.params["userId"] == "1"
    media = json.loads(plivo.encode_audio(call, SOUND))["media"]
    assert (media["contentType"], media["sampleRate"]) == ("audio/x-l16", 16_000)


@pytest.mark.parametrize("dialect", [Twilio, Telnyx, Plivo])
@pytest.mark.parametrize("message", ["", "hello", "{}", '{"event": "start"}', '{"event": "media"}', b"\xff\xfe"])
def test_what_is_no_start_is_refused(dialect: type[MediaStreamFormat], message: str | bytes) -> None:
    """With what came instead."""
    with pytest.raises(ControlError, match="this is no"):
        dialect().decode_start(message)


def test_formats_that_cannot_be_are_refused() -> None:
    """With what to ask the vendor for."""
    form = {"encoding": "OPUS", "sample_rate": 16000, "channels": 1}
    start = TELNYX_START | {"start": {"media_format": form}}
    with pytest.raises(ControlError, match="ask it for PCMU or PCMA"):
        Telnyx().decode_start(json.dumps(start))
    form = {"encoding": "audio/x-mulaw", "sampleRate": 16000}
    with pytest.raises(ControlError, match="ask it for audio/x-mulaw;rate=8000"):
        Plivo().decode_start(json.dumps(PLIVO_START | {"start": {"streamId": "1", "mediaFormat": form}}))


def test_a_token_is_not_printed() -> None:
    """Nor what else is passed on."""
    assert "sesame" not in repr(opened(Twilio(), TWILIO_START))


COUNT = amount(5_000, 100_000)


@pytest.mark.parametrize("dialect", [Twilio, Telnyx, Plivo])
def test_garbage_is_an_error_and_nothing_else(dialect: type[MediaStreamFormat]) -> None:
    """Noise, and good messages with bytes changed."""
    chance = random.Random(5)
    media = {"event": "media", "media": {"track": "inbound", "payload": PAYLOAD}}
    messages = [TWILIO_START, TELNYX_START, PLIVO_START, media, {"event": "mark", "mark": {"name": "7"}}]
    good = [json.dumps(message).encode() for message in messages]
    wrong = 0
    vendor = dialect()
    for number in range(COUNT):
        data = bytearray(chance.choice(good)) if number % 2 else bytearray(chance.randbytes(chance.randrange(64)))
        for _ in range(chance.randrange(4)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        for understand in (vendor.decode_start, vendor.decode_event):
            try:
                understand(bytes(data))
            except ControlError:
                wrong += 1
    assert wrong > COUNT // 2
