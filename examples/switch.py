"""A switch that changes while the session runs: the next frame takes the new route."""

from collections.abc import Iterator

import anyio

from bargein import Pipeline, Switch, Text


def polite(frame: Text) -> Iterator[Text]:
    yield Text(f"Would you please {frame.text}?")


def brisk(frame: Text) -> Iterator[Text]:
    yield Text(f"{frame.text.capitalize()}!")


def say(frame: Text) -> None:
    print(frame.text)


async def main() -> None:
    manner = Switch("polite", polite=polite, brisk=brisk)
    async with Pipeline(manner, say).session() as session:
        await session.send(Text("sit down"))
        manner.route = "brisk"
        await session.send(Text("sit down"))


if __name__ == "__main__":
    anyio.run(main)
