"""The `pydantic-ai` package: an agent's realtime session with a tool, speech, an interruption, and push to talk."""

from __future__ import annotations

import asyncio
from typing import Any

from _report import URL, pieces, run, until
from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, ModelResponse, RealtimeInputSpeechStartEvent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime.openai import OpenAIRealtimeModel

BASE = URL.removesuffix("/realtime").replace("ws", "http", 1)


def said(session: Any, kind: type) -> list[str]:
    """Return the words of each message of one side, as the history has them."""
    texts = []
    for message in session.all_messages():
        if isinstance(message, kind):
            parts = [getattr(part, "transcript", None) or getattr(part, "content", None) for part in message.parts]
            texts += ["".join(part for part in parts if isinstance(part, str))]
    return [text for text in texts if text]


async def play(session: Any, sound: list[int]) -> None:
    async for chunk in session.stream_audio():
        sound[0] += len(chunk)


async def watch(session: Any, report: dict[str, Any], sound: list[int]) -> None:
    """Stop the long answer when the user speaks: 450 ms of it were heard."""
    async for event in session:
        if isinstance(event, RealtimeInputSpeechStartEvent) and sound[0] > 90_000:
            await session.interrupt(played_ms=450)
        if "Error" in type(event).__name__:
            report["errors"].append(repr(event))


async def talk(report: dict[str, Any], model: OpenAIRealtimeModel) -> None:
    agent = Agent(instructions="Be brief.")
    called: list[str] = []

    @agent.tool_plain
    def clock(city: str) -> str:
        """Return the time in a city."""
        called.append(f"12:00 in {city}")
        return called[-1]

    sound = [0]
    settings: Any = {"turn_detection": True, "input_transcription_model": "gpt-4o-mini-transcribe"}
    async with agent.realtime(model, model_settings=settings).session() as session:
        tasks = [asyncio.create_task(play(session, sound)), asyncio.create_task(watch(session, report, sound))]
        await session.send("hello")
        await session.wait_for_reply()
        report["text"] = said(session, ModelResponse)[-1]
        async for piece in pieces("time"):
            await session.send_audio(piece)
        await until(lambda: called)
        await session.wait_for_reply()
        await until(lambda: "noon" in said(session, ModelResponse)[-1])
        report["tools"], report["tool"] = called, said(session, ModelResponse)[-1]
        report["heard"], report["sound"] = said(session, ModelRequest)[1], sound[0]
        before = sound[0]
        await session.send("Tell me everything.")
        await until(lambda: sound[0] - before >= 90_000)
        async for piece in pieces("stop"):
            await session.send_audio(piece)
        await until(lambda: "Yes" in said(session, ModelResponse)[-1])
        report["after"] = said(session, ModelResponse)[-1]
        for task in tasks:
            task.cancel()


async def push(report: dict[str, Any], model: OpenAIRealtimeModel) -> None:
    settings: Any = {"turn_detection": False, "input_transcription_model": "gpt-4o-mini-transcribe"}
    async with Agent().realtime(model, model_settings=settings).session() as session:
        task = asyncio.create_task(watch(session, report, [0]))
        async for piece in pieces("time"):
            await session.send_audio(piece)
        await session.commit_audio()
        await session.create_response()
        await session.wait_for_reply()
        await until(lambda: said(session, ModelResponse) and said(session, ModelRequest))
        report["pushed"], report["pushed_heard"] = said(session, ModelResponse)[-1], said(session, ModelRequest)[-1]
        task.cancel()


async def main(report: dict[str, Any]) -> None:
    model = OpenAIRealtimeModel("gpt-realtime", provider=OpenAIProvider(base_url=BASE, api_key="sk-local"))
    await talk(report, model)
    await push(report, model)


run(main)
