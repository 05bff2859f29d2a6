"""An agent that speaks while the user does, and what a `BargeIn` made of it."""

from __future__ import annotations

from typing import Any

import anyio

from bargein.pipeline import (
    Frame,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.pipeline.testing import Harness
from bargein.processors import AgentActivity, BargeIn, Heard, SpeechContinued


class Agent(Processor):
    """Answers `UserText("go")` with a response that goes on until it is interrupted; reports as a sink would."""

    def __init__(self, protected: bool = False, words: str = "") -> None:
        self.protected = protected
        self.words = words
        self.count = 0

    async def run(
        self,
        inbox: Inbox[UserText | ToolResult],
        out: Outlet[ResponseStarted | ResponseEnded | Text | Played | AgentActivity | Heard],
    ) -> None:
        async for frame in inbox:
            if isinstance(frame, UserText) and frame.text == "go":
                self.count += 1
                out.respond(self.speak, f"r{self.count}")
            elif isinstance(frame, UserText) and frame.text == "over":
                await out.send(AgentActivity())
                await out.send(Played(response_id=f"r{self.count}", ms=100, done=True))

    async def speak(self, reply: Outlet[Any], name: str) -> None:
        await reply.send(ResponseStarted(response_id=name, protected=self.protected))
        await reply.send(AgentActivity(response_id=name, protected=self.protected))
        await reply.send(Text(text="...", response_id=name))
        await reply.send(Played(response_id=name, ms=0))
        if self.words:
            half = len(self.words) // 2
            await reply.send(Heard(response_id=name, text=self.words[:half], remaining=self.words[half:]))
        await anyio.sleep_forever()


class Situation:
    """A graph of a BargeIn and an agent who speaks; and what was done, with times in milliseconds."""

    def __init__(self, agent: Agent | None = None, **options: Any) -> None:
        self.harness = Harness(BargeIn(**options), agent or Agent())
        self.count = 0

    async def __aenter__(self) -> Situation:
        await self.harness.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.harness.session.cancel()
        await self.harness.__aexit__(None, None, None)

    async def agent_speaks(self) -> None:
        self.harness.session.offer(UserText(text="go"))
        await self.harness.settle()
        self.began = anyio.current_time()
        self.from_ = len(self.harness.timeline)

    async def send(self, *frames: Frame) -> None:
        await self.harness.send(*frames)
        await self.harness.settle()

    async def speech(self, ms: float, *said: Frame, lag: float = 100) -> None:
        """The user speaks for so long; the VAD notices after `lag` and 500 ms."""
        began = anyio.current_time()
        self.count += 1
        item = f"s{self.count}"
        await anyio.sleep(lag / 1000)
        at = round(began * 1e9)
        await self.send(SpeechStarted(pts=at, item_id=item, lag_ms=lag), SpeechContinued(pts=at, item_id=item, ms=lag))
        for more in range(round(lag) + 50, round(ms) + 1, 50):
            await anyio.sleep_until(began + more / 1000)
            await self.send(SpeechContinued(pts=at, item_id=item, ms=more))
        await anyio.sleep_until(began + ms / 1000)
        await self.send(*said)
        await anyio.sleep_until(began + ms / 1000 + 0.5)
        await self.send(SpeechStopped(pts=at + round(ms * 1e6), item_id=item, lag_ms=500))

    @property
    def done(self) -> list[tuple[str, int]]:
        start = self.began - self.harness._began
        return [
            (type(arrival.frame).__name__, round((arrival.at - start) * 1000))
            for arrival in self.harness.timeline[self.from_ :]
            if isinstance(arrival.frame, Hold | Resume | Interrupt)
        ]


def heard(text: str, *, final: bool = True, item: str = "") -> Transcript:
    return Transcript(text=text, final=final, item_id=item)
