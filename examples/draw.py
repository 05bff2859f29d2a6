"""Draw a graph: fused groups, inboxes, and the declared delay along the path."""

from collections.abc import Iterator

from bargein import Audio, Branch, Outlet, Pipeline, Processor, Text
from bargein.pipeline.draw import mermaid


class Clean(Processor):
    latency_ms = 10

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame


class Recognise(Processor):
    latency_ms = 300
    blocking = True

    def process(self, frame: Audio) -> Iterator[Text]:
        yield Text("...")


class Record(Processor):
    async def process(self, frame: Audio, out: Outlet[Text]) -> None: ...


if __name__ == "__main__":
    print(mermaid(Pipeline(Clean(), Branch(Recognise(), Record().options(capacity=500)))))
