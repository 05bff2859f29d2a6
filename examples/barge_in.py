"""A barge-in on a virtual clock: the user speaks while the agent speaks, and no stale word comes out."""

import anyio

from bargein import Interrupt, Outlet, Pipeline, Processor, Text, Transcript
from bargein.pipeline.testing import Harness, run_virtual


class Agent(Processor):
    """Answers each transcript with a long sentence, one word every 200 ms."""

    async def process(self, frame: Transcript, out: Outlet[Text]) -> None:
        out.respond(self.speak, f"You said {frame.text!r}, and I have a great deal to say about that.")

    async def speak(self, reply: Outlet[Text], sentence: str) -> None:
        for word in sentence.split():
            await reply.send(Text(word))
            await anyio.sleep(0.2)


class Voice(Processor):
    """Needs 500 ms for each word, so words queue up before it."""

    async def process(self, frame: Text | Interrupt, out: Outlet[Text]) -> None:
        if isinstance(frame, Text):
            await anyio.sleep(0.5)
            await out.send(frame)


async def main() -> None:
    async with Harness(Pipeline(Agent(), Voice())) as harness:
        await harness.send(Transcript("hello", final=True))
        await anyio.sleep(2.25)
        harness.interrupt("the user barges in")
        await harness.send(Transcript("wait", final=True))
        await harness.end()
    for at, frame in harness.timeline:
        what = frame.text if isinstance(frame, Text) else f"--- {getattr(frame, 'reason', frame)} ---"
        print(f"{at * 1000:6.0f} ms  epoch {frame.epoch}  {what}")
    statistics = harness.statistics()
    print(f"{statistics.stale_dropped} stale words were dropped on their way; none was spoken.")


if __name__ == "__main__":
    run_virtual(main)
