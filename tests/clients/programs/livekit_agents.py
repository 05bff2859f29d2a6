"""The `livekit-agents` package: an `AgentSession` without a room, with its own microphone and loudspeaker."""

from __future__ import annotations

import asyncio
from typing import Any

from _report import PIECE, URL, pieces, run, until
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice import io
from livekit.plugins.openai import realtime

# This package adds /realtime to an address without a path.
BASE = URL.partition("/v1")[0].replace("ws", "http", 1)


class Microphone(io.AudioInput):
    """What is put into it."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()

    async def say(self, name: str) -> None:
        async for piece in pieces(name):
            data = piece.ljust(PIECE, b"\0")
            self._frames.put_nowait(rtc.AudioFrame(data, 24_000, 1, len(data) // 2))


class Loudspeaker(io.AudioOutput):
    """Plays what is short in no time. Of what is longer it has played 450 ms when it is cleared."""

    def __init__(self) -> None:
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=24_000)
        self.seconds = self.total = 0.0
        self.cleared = 0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self.seconds:
            self.on_playback_started(created_at=0)
        self.seconds += frame.duration
        self.total += frame.duration

    def flush(self) -> None:
        super().flush()
        if 0 < self.seconds < 1:
            self.on_playback_finished(playback_position=self.seconds, interrupted=False)
            self.seconds = 0.0

    def clear_buffer(self) -> None:
        self.cleared += 1
        if self.seconds:
            self.on_playback_finished(playback_position=0.45, interrupted=True)
            self.seconds = 0.0


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.called: list[str] = []

    @function_tool
    async def clock(self, city: str) -> str:
        """Return the time in a city."""
        self.called.append(f"12:00 in {city}")
        return self.called[-1]


def said(session: AgentSession[Any], role: str) -> list[str]:
    """Return the words of one side, as the history has them."""
    items = session.history.items
    return [item.text_content or "" for item in items if item.type == "message" and item.role == role]


def begin(report: dict[str, Any], **options: Any) -> tuple[AgentSession[Any], Microphone, Loudspeaker]:
    model = realtime.RealtimeModel(model="gpt-realtime", base_url=BASE, api_key="sk-local", **options)
    session: AgentSession[Any] = AgentSession(llm=model, aec_warmup_duration=None)
    session.input.audio, session.output.audio = Microphone(), Loudspeaker()
    session.on("error", lambda event: report["errors"].append(str(event.error)))
    return session, session.input.audio, session.output.audio  # type: ignore[return-value]


async def talk(report: dict[str, Any]) -> None:
    session, microphone, loudspeaker = begin(report)
    agent = Assistant()
    await session.start(agent)
    session.generate_reply(user_input="hello")
    await until(lambda: said(session, "assistant"))
    report["text"] = said(session, "assistant")[-1]
    await microphone.say("time")
    await until(lambda: agent.called and len(said(session, "assistant")) == 2)
    report["tools"], report["tool"] = agent.called, said(session, "assistant")[-1]
    await until(lambda: len(said(session, "user")) == 2)
    report["heard"], report["sound"] = said(session, "user")[-1], round(loudspeaker.total * 48_000)
    before = loudspeaker.total
    session.generate_reply(user_input="Tell me everything.")
    await until(lambda: loudspeaker.total - before > 1.9)
    await microphone.say("stop")
    await until(lambda: "Yes" in said(session, "assistant")[-1])
    report["after"] = said(session, "assistant")[-1]
    await session.aclose()


async def push(report: dict[str, Any]) -> None:
    session, microphone, _ = begin(report, turn_detection=None)
    await session.start(Agent(instructions="Be brief."))
    await microphone.say("time")
    await asyncio.sleep(0.2)
    session.commit_user_turn()
    await until(lambda: said(session, "assistant") and said(session, "user"))
    report["pushed"], report["pushed_heard"] = said(session, "assistant")[-1], said(session, "user")[-1]
    await session.aclose()


async def main(report: dict[str, Any]) -> None:
    await talk(report)
    await push(report)


run(main)
