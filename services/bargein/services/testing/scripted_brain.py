"""`ScriptedBrain`: a brain with prepared replies, for tests and demonstrations."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import (
    Audio,
    Frame,
    Image,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    Usage,
    UserText,
)
from bargein.pipeline.lowlevel import check_options
from bargein.processors import Commit, Timing
from bargein.services.frames import Configure, OutOfBand, Remember, Respond, Say

__all__ = ["ScriptedBrain", "Step"]

Step = str | float | Text | Audio | ToolCall | Usage | Exception
"""A step of a reply: words, a pause in seconds, a frame, or an exception to raise."""
Taken = (
    Audio
    | UserText
    | Image
    | SpeechStarted
    | SpeechStopped
    | Commit
    | Respond
    | Say
    | Configure
    | Remember
    | ToolResult
    | Played
    | Interrupt
)
Given = ResponseStarted | Text | Timing | Audio | Transcript | ToolCall | Usage | ResponseEnded | OutOfBand


class ScriptedBrain(Processor):
    """Sends its replies in order, and begins again after the last.

    A `UserText`, a `Commit` or a `Respond` gets the next reply. So does the last result of a reply's tool calls. The
    words of a `Say` are said as they are. A `Respond` with a name in `out_of_band` gets the words of the next reply as
    an `OutOfBand`. A `ToolCall` without an id gets one.

    Args:
        replies: Each a text or a sequence of steps. Without any, it says "Hello." each time.
        hears: Transcripts of the user's speech, in order; their item is that of the latest `SpeechStopped`.
        word_ms: Length of the tone that stands for a word, in milliseconds; 0 for replies without sound.
        rate: Sampling rate of the tone, in Hz.
        paced: Whether to send each word at the speed of speech, and not all words at once.
        timed: Whether to send the `Timing` of each word.
    """

    name = "brain"

    @check_options
    def __init__(
        self,
        *replies: str | Sequence[Step],
        hears: Sequence[str] = (),
        word_ms: float = 100.0,
        rate: int = 24_000,
        paced: bool = False,
        timed: bool = False,
    ) -> None:
        self.replies = replies or ("Hello.",)
        self.hears = tuple(hears)
        self.word_ms = word_ms
        self.rate = rate
        self.paced = paced
        self.timed = timed
        self.taken: deque[Frame] = deque(maxlen=4096)
        """The newest frames that came, except sound."""
        self.heard_ms = 0.0
        """Length of the user's sound that came, in milliseconds."""
        self._turns: deque[Sequence[Step]] = deque()
        self._calls: set[str] = set()  # of the latest reply, without a result
        self._responses = self._replies_given = self._transcripts_given = self._calls_made = 0
        self._response_id = ""  # the response in progress
        self._item_id = ""  # of the user's latest speech

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Listen until the end."""
        async for frame in inbox:
            if isinstance(frame, Audio):
                if not frame.response_id:
                    self.heard_ms += frame.ms
                continue
            self.taken.append(frame)
            if isinstance(frame, Interrupt):
                self._turns.clear()
                await self._stop(out)
            elif isinstance(frame, SpeechStopped):
                self._item_id = frame.item_id
            elif isinstance(frame, ToolResult):
                if frame.call_id in self._calls:
                    self._calls.discard(frame.call_id)
                    if not self._calls:
                        self._reply(out)
            elif isinstance(frame, Respond) and frame.out_of_band:
                words = [step for step in self._next_reply() if isinstance(step, str)]
                await out.send(OutOfBand(name=frame.out_of_band, text=" ".join(words)))
            elif isinstance(frame, UserText | Respond):
                self._reply(out)
            elif isinstance(frame, Say):
                self._turns.append((frame.text,))
                self._start_next(out)
            elif isinstance(frame, Commit):
                await self._transcribe(out)
                self._reply(out)

    async def _transcribe(self, out: Outlet[Given]) -> None:
        if self.hears:
            text = self.hears[self._transcripts_given % len(self.hears)]
            self._transcripts_given += 1
            words = text.split(" ")
            for count in range(1, len(words)):
                await out.send(Transcript(text=" ".join(words[:count]), item_id=self._item_id))
            await out.send(Transcript(text=text, item_id=self._item_id, final=True))
        self._item_id = ""

    def _next_reply(self) -> Sequence[Step]:
        reply = self.replies[self._replies_given % len(self.replies)]
        self._replies_given += 1
        return (reply,) if isinstance(reply, str) else reply

    def _reply(self, out: Outlet[Given]) -> None:
        self._turns.append(self._next_reply())
        self._start_next(out)

    def _start_next(self, out: Outlet[Given]) -> None:
        if self._turns and not self._response_id:
            self._responses += 1
            self._calls.clear()
            self._response_id = f"reply-{self._responses}"
            out.respond(self._speak, out, self._response_id, self._turns.popleft())

    async def _stop(self, out: Outlet[Given]) -> None:
        response, self._response_id = self._response_id, ""
        if response:
            await out.send(ResponseEnded(response_id=response, outcome="interrupted"))

    async def _speak(self, reply: Outlet[Given], out: Outlet[Given], response: str, steps: Sequence[Step]) -> None:
        await reply.send(ResponseStarted(response_id=response))
        item, words = f"{response}-item", 0
        calls: set[str] = set()
        usage: Usage | None = None
        for step in steps:
            if isinstance(step, str):
                words += await self._say(reply, step, response, item)
            elif isinstance(step, int | float):
                await anyio.sleep(step)
            elif isinstance(step, Exception):
                raise step
            elif isinstance(step, Usage):
                usage = Usage(
                    response_id=response,
                    input_tokens=step.input_tokens,
                    output_tokens=step.output_tokens,
                    input_audio_tokens=step.input_audio_tokens,
                    output_audio_tokens=step.output_audio_tokens,
                    cached_tokens=step.cached_tokens,
                )
            elif isinstance(step, ToolCall):
                self._calls_made += 1
                call = step.call_id or f"call_{self._calls_made}"
                calls.add(call)
                await reply.send(ToolCall(call_id=call, name=step.name, arguments=step.arguments, response_id=response))
            elif isinstance(step, Text):
                await reply.send(
                    Text(text=step.text, response_id=response, item_id=step.item_id or item, final=step.final)
                )
            else:
                kept = Audio(samples=step.samples, rate=step.rate, response_id=response, item_id=step.item_id or item)
                await reply.send(kept)
        await reply.send(usage or Usage(response_id=response, input_tokens=10, output_tokens=words))
        if reply.stale:
            return
        self._calls |= calls
        self._response_id = ""
        await reply.send(ResponseEnded(response_id=response))
        self._start_next(out)

    async def _say(self, reply: Outlet[Given], text: str, response: str, item: str) -> int:
        words = text.split(" ")
        for at, word in enumerate(words):
            await reply.send(Text(text=word if not at else f" {word}", response_id=response, item_id=item))
            if self.timed:
                start = at * self.word_ms
                await reply.send(
                    Timing(text=word, start_ms=start, end_ms=start + self.word_ms, response_id=response, item_id=item)
                )
            if self.word_ms:
                samples = self._tone()
                await reply.send(Audio(samples=samples, rate=self.rate, response_id=response, item_id=item))
            if self.paced:
                await anyio.sleep(self.word_ms / 1000)
        return len(words)

    def _tone(self) -> npt.NDArray[np.int16]:
        """Return 440 Hz for the length of a word, with a soft start and end."""
        count = max(1, round(self.word_ms * self.rate / 1000))
        at = np.arange(count)
        wave = 8000 * np.sin(np.pi * at / count) * np.sin(2 * np.pi * 440 * at / self.rate)
        return np.asarray(np.rint(wave), np.int16)
