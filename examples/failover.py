"""The brain of a call fails in the middle of a sentence, and another one continues with the same conversation.

It runs on a virtual clock. With real models: Failover(OpenAIRealtime(), lambda: Cascade(stt, llm, tts)).
"""

from collections.abc import AsyncIterator

import anyio
import numpy as np

from bargein import Cascade, Failover, Heard, LanguageModel, Pacer, SpeechToText, Spoken, TextToSpeech, UserText
from bargein.pipeline.testing import Harness, run_virtual, tone
from bargein.services.cascade import Prompt
from bargein.services.frames import BrainSwitched


class Fragile(LanguageModel):
    async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        yield "You can return it within thirty days. You will need the receipt. "
        await anyio.sleep(2)
        raise ConnectionError("the line to the data centre is gone")


class Reliable(LanguageModel):
    async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        heard = next((entry.remembered for entry in prompt.entries if entry.role == "assistant"), "nothing")
        yield f"Excuse me. You have heard {heard.strip()!r}."


class Voice(TextToSpeech):
    async def speak(self, text: str) -> AsyncIterator[np.ndarray]:
        yield tone(200, 60 * len(text), rate=self.rate)


async def main() -> None:
    brain = Failover(
        Cascade(SpeechToText(), Fragile(), Voice(), name="first"),
        Cascade(SpeechToText(), Reliable(), Voice(), name="second"),
    )
    async with Harness(brain, Spoken(), Pacer()) as harness:
        await harness.send(UserText("May I return this?"))
        await anyio.sleep(10)
        for at, frame in harness.timeline:
            if isinstance(frame, BrainSwitched):
                print(f"{at * 1000:6.0f} ms  {frame.before} -> {frame.name}: {frame.reason}")
            elif isinstance(frame, Heard) and frame.done and frame.text:
                print(f"{at * 1000:6.0f} ms  heard: {frame.text!r}, never: {frame.remaining!r}")
        print([f"{entry.role}: {entry.remembered.strip()}" for entry in brain.history.remembered])


if __name__ == "__main__":
    run_virtual(main)
