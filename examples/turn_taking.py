"""A cough does not interrupt the agent, speech does. See what BargeIn does, and which words were heard.

The agent reads a sentence. At 1 s the user coughs, at 3 s the user speaks. It runs on a virtual clock.
"""

import numpy as np

from bargein import (
    Audio,
    BargeIn,
    Heard,
    Interrupt,
    Outlet,
    Pacer,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Spoken,
    Text,
    Turn,
    Turns,
    UserText,
    Vad,
)
from bargein.pipeline import Hold, Resume
from bargein.pipeline.testing import Harness, framed, run_virtual, silence, speech_like, tone

SENTENCE = "Our opening hours are nine to five from Monday to Friday, and ten to four on Saturdays."
Reply = ResponseStarted | Text | Audio | ResponseEnded


class Agent(Processor):
    """Takes the user's audio, and says the sentence: its text, and five seconds of a tone in place of a voice."""

    async def process(self, frame: Audio | UserText, out: Outlet[Reply]) -> None:
        if isinstance(frame, UserText):
            out.respond(self.speak)

    async def speak(self, reply: Outlet[Reply]) -> None:
        await reply.send(ResponseStarted("r"))
        await reply.send(Text(SENTENCE, final=True, response_id="r"))
        await reply.send(Audio(tone(200, 5000), 16_000, response_id="r"))
        await reply.send(ResponseEnded("r"))


async def main() -> None:
    user = np.concatenate([silence(1000), speech_like(140), silence(1860), speech_like(1500), silence(3000)])
    async with Harness(Vad(), BargeIn(min_ms=300), Turns(transcript_ms=0), Agent(), Spoken(), Pacer()) as harness:
        await harness.send(UserText("When are you open?"))
        await harness.play(list(framed(user)))
        for at, frame in harness.timeline:
            if isinstance(frame, Hold | Resume | Interrupt | Turn):
                print(f"{at * 1000:6.0f} ms  {frame!r}")
            elif isinstance(frame, Heard) and frame.done:
                print(f"{at * 1000:6.0f} ms  heard: {frame.text!r}\n           never: {frame.remaining!r}")


if __name__ == "__main__":
    run_virtual(main)
