"""The `openai` package: events by hand, and each valid by the package's own types."""

from __future__ import annotations

import base64
import json
from typing import Any

from _report import URL, pieces, run
from openai import AsyncOpenAI

BASE = URL.removesuffix("/realtime")
CLOCK = {
    "type": "function",
    "name": "clock",
    "description": "The time in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Call:
    """A connection, and what came of it."""

    def __init__(self, connection: Any, report: dict[str, Any]) -> None:
        self.connection = connection
        self.report = report
        self.events: list[Any] = []

    def of(self, type: str) -> list[Any]:
        return [event for event in self.events if event.type == type]

    async def until(self, type: str, count: int = 1) -> Any:
        """Read until there are this many events of a type; return the last of them."""
        while len(self.of(type)) < count:
            event = await self.connection.recv()
            event.__class__.model_validate(event.model_dump(mode="json", by_alias=True, exclude_unset=True))
            self.events.append(event)
            if event.type == "error":
                self.report["errors"].append(str(event.error))
        return self.of(type)[count - 1]

    async def configure(self, turn_detection: Any) -> None:
        await self.until("session.created")
        listening = {"transcription": {"model": "gpt-4o-mini-transcribe"}, "turn_detection": turn_detection}
        session = {"type": "realtime", "tools": [CLOCK], "audio": {"input": listening}}
        await self.connection.session.update(session=session)
        await self.until("session.updated")

    async def say(self, text: str) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.connection.conversation.item.create(item=item)
        await self.connection.response.create()

    async def speak(self, name: str) -> None:
        async for piece in pieces(name):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())

    async def answer(self, count: int) -> Any:
        return (await self.until("response.done", count)).response

    def sound(self, item_id: str = "") -> int:
        deltas = [each for each in self.of("response.output_audio.delta") if item_id in ("", each.item_id)]
        return sum(len(base64.b64decode(each.delta)) for each in deltas)


def said(response: Any) -> str:
    return str(response.output[0].content[0].transcript)


async def talk(report: dict[str, Any], call: Call) -> None:
    await call.configure({"type": "server_vad"})
    await call.say("hello")
    report["text"] = said(await call.answer(1))
    await call.speak("time")
    (request,) = (await call.answer(2)).output
    report["tools"] = [f"12:00 in {json.loads(request.arguments)['city']}"]
    output = {"type": "function_call_output", "call_id": request.call_id, "output": report["tools"][0]}
    await call.connection.conversation.item.create(item=output)
    await call.connection.response.create()
    report["tool"] = said(await call.answer(3))
    heard = await call.until("conversation.item.input_audio_transcription.completed")
    report["heard"], report["sound"] = heard.transcript, call.sound()
    await call.say("Tell me everything.")
    count = len(call.of("response.output_audio.delta"))
    while call.sound() - report["sound"] < 90_000:
        count += 1
        item = (await call.until("response.output_audio.delta", count)).item_id
    await call.speak("stop")
    await call.until("input_audio_buffer.speech_started", 2)
    await call.connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=450)
    await call.until("conversation.item.truncated")
    report["after"] = said(await call.answer(5))


async def push(report: dict[str, Any], call: Call) -> None:
    await call.configure(None)
    await call.speak("time")
    await call.connection.input_audio_buffer.commit()
    await call.connection.response.create()
    report["pushed"] = said(await call.answer(1))
    heard = await call.until("conversation.item.input_audio_transcription.completed")
    report["pushed_heard"] = heard.transcript


async def main(report: dict[str, Any]) -> None:
    client = AsyncOpenAI(api_key="sk-local", base_url=BASE.replace("ws", "http", 1), websocket_base_url=BASE)
    async with client:
        for part in (talk, push):
            async with client.realtime.connect(model="gpt-realtime") as connection:
                await part(report, Call(connection, report))


run(main)
