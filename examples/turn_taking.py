"""A cough is forgiven, a barge-in is not: what BargeIn does, and which words of the agent were heard.

The agent reads a sentence; at 1 s the user coughs, at 3 s the user speaks. All on a virtual clock.
"""

import anyio
import numpy as np

from bargein.pipeline import (
    Audio,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Resume,
    Text,
    UserText,
)
from bargein.pipeline.testing import Harness, framed, run_virtual, silence, speech_like, tone
from bargein.processors import BargeIn, Heard, Pacer, Spoken, Turn, Turns, Vad

SENTENCE = "Our opening hours are nine to five from Monday to Friday, and ten to four on Saturdays."
Reply = ResponseStarted | Text | Audio | ResponseEnded


class Agent(Processor):
    """Hears the user's sound, and says the sentence: the text, and five seconds of something for a voice."""

    async def run(self, inbox: Inbox[Audio | UserText], out: Outlet[Reply]) -> None:
        async for frame in inbox:
            if isinstance(frame, UserText):
                out.respond(self.speak)

    async def speak(self, reply: Outlet[Reply]) -> None:
        await reply.send(ResponseStarted(response_id="r"))
        await reply.send(Text(text=SENTENCE, response_id="r", final=True))
        for frame in framed(tone(200, 5000), response_id="r"):
            await reply.send(Audio(samples=frame.samples, rate=frame.rate, response_id="r"))
        await reply.send(ResponseEnded(response_id="r"))


async def main() -> None:
    user = np.concatenate([silence(1000), speech_like(140), silence(1860), speech_like(1500), silence(2000)])
    async with Harness(Vad(), BargeIn(min_ms=300), Turns(transcript_ms=0), Agent(), Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="When are you open?"))
        await harness.play(list(framed(user)))
        await anyio.sleep(1)
        for at, frame in harness.timeline:
            if isinstance(frame, Hold | Resume | Interrupt | Turn):
                print(f"{at * 1000:6.0f} ms  {frame!r}")
            elif isinstance(frame, Heard) and frame.done:
                print(f"{at * 1000:6.0f} ms  heard: {frame.text!r}\n           never: {frame.remaining!r}")


if __name__ == "__main__":
    run_virtual(main)
