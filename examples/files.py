"""A sound file in place of the user: read the question, write the answer, and write both in time."""

import tempfile
import wave
from pathlib import Path

import anyio

from bargein import (
    Audio,
    FileTransport,
    Gain,
    Outlet,
    Pipeline,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStopped,
    Spoken,
    Vad,
)
from bargein.pipeline.testing import speech_like, tone


class Answer(Processor):
    """Answers when the user has stopped speaking."""

    async def process(self, frame: Audio | SpeechStopped, out: Outlet[ResponseStarted | Audio | ResponseEnded]) -> None:
        if isinstance(frame, Audio):
            return  # the user's audio ends here
        reply = out.reply()
        await reply.send(ResponseStarted("r"))
        await reply.send(Audio(tone(440, 1000), 16_000, response_id="r"))
        await reply.send(ResponseEnded("r"))


def seconds(path: Path) -> float:
    with wave.open(str(path)) as file:
        return float(file.getnframes() / file.getframerate())


async def main(folder: Path) -> None:
    question, answer, both = (folder / f"{name}.wav" for name in ("question", "answer", "both"))
    with wave.open(str(question), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(speech_like(1000).tobytes())

    peer = FileTransport(question, answer, both=both, settle_seconds=0.2)
    await Pipeline(peer.source, Vad(), Answer(), Spoken(), peer.sink).run()
    print(f"{peer.left.reason if peer.left else ''}: {seconds(answer):.1f} s of answer")

    louder = FileTransport(question, folder / "louder.wav", pace=None, wait_seconds=0)  # converts, without an agent
    await Pipeline(louder.source, Gain(6), louder.sink).run()
    print(f"{seconds(folder / 'louder.wav'):.1f} s made louder")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(main, Path(folder))
