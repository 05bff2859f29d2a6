"""Frames against the stream: the speaker reports what was played, and the model above receives it without a link."""

from collections.abc import Iterator

import anyio

from bargein.pipeline import Inbox, Outlet, Pipeline, Played, Processor, Text, Transcript


class Model(Processor):
    """Answers, and keeps of its answer what was heard."""

    async def run(self, inbox: Inbox[Transcript | Played], out: Outlet[Text]) -> None:
        async for frame in inbox:
            if isinstance(frame, Transcript):
                await out.reply().send(Text(text="Certainly, here it is.", response_id="r1"))
            else:
                print(f"the user heard {frame.ms:.0f} ms of {frame.response_id}")


class Speaker(Processor):
    """Pretends to play, 50 ms a character."""

    def process(self, frame: Text) -> Iterator[Played]:
        yield Played(response_id=frame.response_id, ms=50.0 * len(frame.text))


async def main() -> None:
    async with Pipeline(Model(), Speaker()).session() as session:
        await session.send(Transcript(text="Give it to me", final=True))
        await anyio.wait_all_tasks_blocked()


if __name__ == "__main__":
    anyio.run(main)
