"""A switch that is turned while the session runs: the next frame goes the new way."""

from collections.abc import Iterator

import anyio

from bargein.pipeline import Pipeline, Switch, Text


def polite(frame: Text) -> Iterator[Text]:
    yield Text(text=f"Would you please {frame.text}?")


def brisk(frame: Text) -> Iterator[Text]:
    yield Text(text=f"{frame.text.capitalize()}!")


def say(frame: Text) -> None:
    print(frame.text)


async def main() -> None:
    manner = Switch("polite", polite=polite, brisk=brisk)
    async with Pipeline(manner, say).session() as session:
        await session.send(Text(text="sit down"))
        manner.route = "brisk"
        await session.send(Text(text="sit down"))


if __name__ == "__main__":
    anyio.run(main)
