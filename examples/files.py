"""A sound file in the user's place: the question is read, the answer is written, and both are kept in time."""

import tempfile
import wave
from pathlib import Path

import anyio

from bargein.pipeline import Audio, Outlet, Pipeline, Processor, ResponseEnded, ResponseStarted, SpeechStopped
from bargein.pipeline.testing import framed, speech_like, tone
from bargein.processors import Gain, Spoken, Vad
from bargein.services.transports import FileTransport


class Answer(Processor):
    """Answers when the user has stopped speaking."""

    async def process(self, frame: SpeechStopped, out: Outlet[ResponseStarted | Audio | ResponseEnded]) -> None:
        reply = out.reply()
        await reply.send(ResponseStarted(response_id="r"))
        for piece in framed(tone(440, 1000), response_id="r"):
            await reply.send(Audio(samples=piece.samples, rate=piece.rate, response_id="r"))
        await reply.send(ResponseEnded(response_id="r"))


class Ear(Processor):
    """The user's sound ends here."""

    def process(self, frame: Audio) -> None: ...


def seconds(path: Path) -> float:
    with wave.open(str(path)) as file:
        return float(file.getnframes() / file.getframerate())


async def main(folder: Path) -> None:
    question, answer, both = (folder / f"{name}.wav" for name in ("question", "answer", "both"))
    with wave.open(str(question), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(speech_like(1000).tobytes())

    peer = FileTransport(question, answer, both=both, settle_seconds=0.2)
    await Pipeline(peer.source, Vad(), Ear(), Answer(), Spoken(), peer.sink).run()
    print(f"{peer.left.reason if peer.left else ''}: {seconds(answer):.1f} s of answer")

    louder = FileTransport(question, folder / "louder.wav", pace=None, wait_seconds=0)  # no agent: it converts
    await Pipeline(louder.source, Gain(6), louder.sink).run()
    print(f"{seconds(folder / 'louder.wav'):.1f} s made louder")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(main, Path(folder))
