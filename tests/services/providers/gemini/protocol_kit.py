"""Messages of the Gemini Live API, and what a protocol makes of them."""

from __future__ import annotations

import base64
import json
from typing import Any

from bargein.services.providers.gemini import GeminiProtocol
from bargein.services.realtime import AudioPiece, Event, ResponseBegan, ResponseOver, Settings, TextPiece
from bargein.services.sockets import Endpoint

AUTOMATIC = {"type": "server_vad"}


def content(**fields: Any) -> dict[str, Any]:
    return {"serverContent": fields}


def sound(ms: int = 20) -> dict[str, Any]:
    data = base64.b64encode(bytes(48 * ms)).decode()
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}
    return content(modelTurn={"parts": [part]})


MADE = content(generationComplete=True)
OVER = content(turnComplete=True)
INTERRUPTED = content(interrupted=True)


class Both:
    """A protocol, and what it made of the messages so far."""

    def __init__(self, *, model: str = "models/gemini-2.5", background: Any = None, **settings: Any) -> None:
        self.protocol = GeminiProtocol(address=lambda: Endpoint(url="wss://x.invalid"), background=background)
        told = {"turn_detection": AUTOMATIC, "transcription": {}, **settings}
        self.opening = [json.loads(each) for each in self.protocol.open_session(Settings(model=model, **told))]
        self.events: list[Event] = []

    def __call__(self, *messages: dict[str, Any]) -> list[Event]:
        """Receive; gives the events of these."""
        made = [event for each in messages for event in self.protocol.receive(json.dumps(each).encode())]
        self.events += made
        return made

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Boundaries and sound, each with the number of its response."""
        kinds = {ResponseBegan: "began", AudioPiece: "sound", TextPiece: "words", ResponseOver: "over"}
        found = [
            (event.outcome if isinstance(event, ResponseOver) else kinds[type(event)], event.response_id[-1])  # type: ignore[attr-defined]
            for event in self.events
            if type(event) in kinds
        ]
        return [each for at, each in enumerate(found) if not at or found[at - 1] != each]


def sent(messages: Any) -> list[Any]:
    """What is sent, as JSON."""
    return [json.loads(each) for each in messages]
