"""The protocol of a connection to OpenAI, and what its tests share."""

from __future__ import annotations

import json
from typing import Any

from bargein.services.providers.openai.client.protocol import OpenAIProtocol
from bargein.services.realtime import Event, Settings, ToolCallReceived

PCM = b"\x00\x00\x01\x00\xff\xff\x02\x00"
OF = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
CALL = {"type": "function_call", "id": "i", "call_id": "c", "name": "get_time", "arguments": '{\n "city": "Rome"\n}'}
MADE = ToolCallReceived(response_id="r", call_id="c", name="get_time", arguments='{\n "city": "Rome"\n}')
SETTINGS = Settings(model="m", instructions="Be brief.")


def protocol() -> OpenAIProtocol:
    return OpenAIProtocol(url="wss://example.invalid/v1/realtime?model=m", headers={"Authorization": "Bearer x"})


def hears(ours: OpenAIProtocol, type: str, **fields: Any) -> list[Event]:
    """The events of one message."""
    return list(ours.receive(json.dumps({"event_id": "ev", "type": type, **fields})))


def message(value: str | bytes) -> Any:
    assert isinstance(value, str), "the interface speaks text"
    return json.loads(value)
