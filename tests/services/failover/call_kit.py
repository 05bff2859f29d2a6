"""Calls with a failover, brains that fail in them, and what came of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bargein.pipeline import (
    Audio,
    Frame,
    Inbox,
    Interrupt,
    Outlet,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Text,
    UserText,
)
from bargein.pipeline.testing import Harness
from bargein.processors import Pacer, Spoken
from bargein.services.cascade import Cascade, SpeechToText
from bargein.services.failover import Failover
from bargein.services.frames import BrainSwitched, Respond
from bargein.services.history import History
from bargein.services.realtime import ReconnectPolicy
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.realtime.peer import Peer
from tests.speech import utterances

STORY = "Once upon a time there was a king who had three sons and no time to listen to any of them. "
ONCE = ReconnectPolicy(max_attempts=0)


def reserve(*replies: Any, ears: Ears | None = None, **options: Any) -> Cascade:
    """A cascade that gives the replies, each a string or pieces."""
    said = [[reply] if isinstance(reply, str) else reply for reply in replies]
    return Cascade(ears or Ears(), Mind(*said), Voice(words=True), **options)


def realtime(peer: Peer, **options: Any) -> Any:
    return peer.model(**{"reconnect": ONCE, "transcription": None, **options})


class Dying(Processor):
    """Answers what is typed, and dies of "die"; hears, and understands nothing."""

    name = "dying"

    async def run(
        self, inbox: Inbox[Audio | UserText | Respond], out: Outlet[ResponseStarted | Text | ResponseEnded]
    ) -> None:
        count = 0
        async for frame in inbox:
            if isinstance(frame, UserText):
                if frame.text == "die":
                    raise RuntimeError("it had to be")
                count += 1
                out.respond(self.answer, f"r{count}", frame.text)

    async def answer(self, reply: Outlet[ResponseStarted | Text | ResponseEnded], name: str, words: str) -> None:
        await reply.send(ResponseStarted(response_id=name))
        await reply.send(Text(text=words, response_id=name, item_id=name, final=True))
        await reply.send(ResponseEnded(response_id=name))


def call(brain: Failover) -> Harness:
    return Harness(brain, Spoken(), Pacer())


def switched(harness: Harness) -> list[tuple[str, str]]:
    return [(frame.before, frame.name) for frame in harness.of(BrainSwitched)]


def said(history: History) -> list[tuple[str, str]]:
    return [(entry.role, (entry.output or entry.remembered).strip()) for entry in history.remembered]


def text(harness: Harness, response: str = "") -> str:
    return "".join(frame.text for frame in harness.of(Text) if response in ("", frame.response_id)).strip()


def stale(harness: Harness) -> list[Frame]:
    """What came of an epoch that was over."""
    epoch, found = 0, list[Frame]()
    for frame in harness.frames:
        if isinstance(frame, Interrupt):
            epoch = frame.epoch
        elif isinstance(frame, Audio | Text) and frame.epoch < epoch:
            found.append(frame)
    return found


class Measure(SpeechToText):
    """Understands the question when it has heard all of it."""

    async def transcribe(self, sound: AsyncIterator[Any]) -> AsyncIterator[str]:
        speech, count = utterances()["weather"], 0
        async for samples in sound:
            count += len(samples)
            yield "What"
        ms = 1000 * count / self.rate
        yield speech.text if ms > speech.speech_ms[-1][1] - speech.speech_ms[0][0] else f"{ms:.0f} ms of it"
