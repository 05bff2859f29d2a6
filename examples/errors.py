"""Each processor decides what its exceptions do: end the session, drop a frame, or restart the processor."""

from collections.abc import Iterator

import anyio

from bargein import Failure, Pipeline, Processor, Text


class Fragile(Processor):
    def process(self, frame: Text) -> Iterator[Text]:
        if "?" in frame.text:
            raise ValueError("I do not take questions")
        yield frame


async def main() -> None:
    async with Pipeline(Fragile().options(on_error="drop", name="careful")).session() as session:
        for text in ("hello", "why?", "bye"):
            await session.send(Text(text))
        session.end()
        async for frame in session:
            print(frame.message if isinstance(frame, Failure) else getattr(frame, "text", frame))
    try:
        async with Pipeline(Fragile()).session() as session:
            await session.send(Text("why?"))
    except ValueError as error:
        print(f"{type(error).__name__}: {error} ({error.__notes__[0]})")


if __name__ == "__main__":
    anyio.run(main)
