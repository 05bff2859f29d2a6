"""Upstream frames: the speaker reports what was played, and the model above receives it without a link."""

from collections.abc import Iterator

import anyio

from bargein import Inbox, Outlet, Pipeline, Played, Processor, Text, Transcript


class Model(Processor):
    """Answers, and learns what was heard of its answer."""

    async def run(self, inbox: Inbox[Transcript | Played], out: Outlet[Text]) -> None:
        async for frame in inbox:
            if isinstance(frame, Transcript):
                await out.reply().send(Text("Certainly, here it is.", response_id="r1"))
            else:
                print(f"the user heard {frame.ms:.0f} ms of {frame.response_id}")


class Speaker(Processor):
    """Pretends to play 50 ms for each character."""

    def process(self, frame: Text) -> Iterator[Played]:
        yield Played(response_id=frame.response_id, ms=50.0 * len(frame.text))


async def main() -> None:
    async with Pipeline(Model(), Speaker()).session() as session:
        await session.send(Transcript("Give it to me", final=True))
        await anyio.wait_all_tasks_blocked()


if __name__ == "__main__":
    anyio.run(main)
