"""The `openai-agents` package: a realtime agent with a tool, speech, an interruption, and push to talk."""

from __future__ import annotations

import asyncio
from typing import Any

from _report import URL, pieces, run, until
from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner

set_tracing_disabled(True)


@function_tool
def clock(city: str) -> str:
    """Return the time in a city."""
    return f"12:00 in {city}"


class Listener:
    """What came of one session."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.history: list[Any] = []
        self.ended = self.interrupted = 0
        self.sound = 0
        self.tools: list[str] = []

    async def listen(self, session: Any) -> None:
        async for event in session:
            match event.type:
                case "history_updated":
                    self.history = event.history
                case "history_added":
                    self.history = [*(each for each in self.history if each.item_id != event.item.item_id), event.item]
                case "agent_end":
                    self.ended += 1
                case "audio":
                    self.sound += len(event.audio.data)
                case "audio_interrupted":
                    self.interrupted += 1
                case "tool_end":
                    self.tools.append(str(event.output))
                case "error":
                    self.report["errors"].append(str(event.error))

    def said(self, role: str) -> list[str]:
        items = [each for each in self.history if each.type == "message" and each.role == role]
        return [
            "".join(part.transcript or "" if hasattr(part, "transcript") else part.text or "" for part in item.content)
            for item in items
        ]


def settings(**turn_detection: Any) -> dict[str, Any]:
    listening = {"transcription": {"model": "gpt-4o-mini-transcribe"}, "turn_detection": turn_detection or None}
    return {"model_name": "gpt-realtime-mini", "audio": {"input": listening}}  # not that of the URL


async def talk(report: dict[str, Any]) -> None:
    agent = RealtimeAgent(name="Assistant", instructions="Be brief.", tools=[clock])
    runner = RealtimeRunner(agent, config={"model_settings": settings(type="server_vad")})  # type: ignore[arg-type]
    model = {"url": f"{URL}?model=gpt-realtime", "api_key": "sk-local"}
    async with await runner.run(model_config=model) as session:  # type: ignore[arg-type]
        heard = Listener(report)
        task = asyncio.create_task(heard.listen(session))
        await session.send_message("hello")
        await until(lambda: heard.ended == 1)
        report["text"] = heard.said("assistant")[-1]
        async for piece in pieces("time"):
            await session.send_audio(piece)
        await until(lambda: heard.tools and heard.ended == 3)
        report["heard"], report["tools"] = heard.said("user")[-1], heard.tools
        report["tool"] = heard.said("assistant")[-1]
        report["sound"] = heard.sound
        before = heard.sound
        await session.send_message("Tell me everything.")
        await until(lambda: heard.sound - before >= 90_000)
        async for piece in pieces("stop"):
            await session.send_audio(piece)
        await until(lambda: heard.interrupted and heard.ended >= 5)
        report["after"] = heard.said("assistant")[-1]
        task.cancel()


async def push(report: dict[str, Any]) -> None:
    runner = RealtimeRunner(RealtimeAgent(name="Assistant"), config={"model_settings": settings()})  # type: ignore[arg-type]
    model = {"url": f"{URL}?model=gpt-realtime", "api_key": "sk-local"}
    async with await runner.run(model_config=model) as session:  # type: ignore[arg-type]
        heard = Listener(report)
        task = asyncio.create_task(heard.listen(session))
        async for piece in pieces("time"):
            await session.send_audio(piece)
        await session.send_audio(b"\0\0" * 2400, commit=True)
        from agents.realtime.model_inputs import RealtimeModelSendRawMessage  # noqa: PLC0415

        await session.model.send_event(RealtimeModelSendRawMessage(message={"type": "response.create"}))
        await until(lambda: heard.ended == 1)
        await until(lambda: heard.said("user") and heard.said("user")[-1])
        report["pushed"], report["pushed_heard"] = heard.said("assistant")[-1], heard.said("user")[-1]
        task.cancel()


async def main(report: dict[str, Any]) -> None:
    await talk(report)
    await push(report)


run(main)
