"""One program for every realtime model. Only the line that makes the model changes."""

import sys

import anyio

from bargein import Audio, Pacer, Pipeline, Resample, Spoken, ToolCall, UserText, tool
from bargein.pipeline.testing import Harness, run_virtual
from bargein.services.realtime import Realtime
from bargein.services.testing.rehearsal import rehearse

PROVIDER = "OpenAI"  # or "Gemini", or any other of `bargein.services.providers.catalog.PROVIDERS`
REQUEST = [ToolCall("", "clock", '{"city": "Paris"}')]
STORY = "It is noon in Paris, and the bells are ringing all over the town while we speak."


@tool
async def clock(city: str) -> str:
    """Tell the time in a city."""
    return f"noon in {city}"


async def converse(model: Realtime) -> None:
    """Ask something that needs a tool, and interrupt the answer."""
    graph = Pipeline(Resample(model.profile.input_rate, channels=1), model, Spoken(), Pacer(), inputs=(Audio, UserText))
    async with Harness(graph) as harness:
        await harness.send(UserText("What time is it in Paris?"))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(1)
        harness.interrupt("I have heard enough")
        await anyio.sleep(1)  # until the sink has reported what was heard
        (reply,) = [entry for entry in model.history if entry.role == "assistant" and entry.worth]
        print(f"{model.provider} said: {reply.remembered.strip()} | and wanted to say: {reply.text.strip()}")
        await harness.session.cancel()


async def main() -> None:
    provider = sys.argv[1] if len(sys.argv) > 1 else PROVIDER
    # A stand-in speaks the provider's protocol. With a key: await converse(GeminiLive(tools=[clock]))
    async with rehearse(provider, REQUEST, STORY, tools=[clock]) as model:
        await converse(model)


if __name__ == "__main__":
    run_virtual(main)
