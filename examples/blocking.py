"""Blocking work in a worker thread: one attribute, and the event loop stays free."""

import time
from collections.abc import Iterator

import anyio

from bargein import Pipeline, Processor, Text


class Slow(Processor):
    """Stands for a recogniser, a codec or a database call that blocks."""

    blocking = True

    def process(self, frame: Text) -> Iterator[Text]:
        time.sleep(0.05)
        yield Text(frame.text.upper())


async def main() -> None:
    ticks = 0
    async with anyio.create_task_group() as group:

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0.001)
                ticks += 1

        group.start_soon(tick)
        async with Pipeline(Slow()).session() as session:
            for word in ("one", "two", "three"):
                await session.send(Text(word))
            session.end()
            print(" ".join([frame.text async for frame in session if isinstance(frame, Text)]))
        group.cancel_scope.cancel()
    print("the loop went on meanwhile" if ticks > 3 else "the loop was blocked")


if __name__ == "__main__":
    anyio.run(main)
