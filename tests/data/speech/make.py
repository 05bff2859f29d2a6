"""Make the speech in this folder: `python make.py`. Needs Debian's `flite`; the same version makes the same bytes.

Each WAV is 16 kHz, mono, 16 bit. `speech.json` holds what is said, by which voice, and where the sound of speech begins
and ends, in milliseconds, with the pauses inside, as the synthesiser itself placed its phones.
"""

from __future__ import annotations

import json
import subprocess
import wave
from pathlib import Path

HERE = Path(__file__).parent
SAYS = {
    "slt": {
        "weather": "What is the weather in Paris?",
        "wait": "No, wait.",
        "table": "I would like to book a table for two, please.",
        "address": "My address is twelve, Green Street. Then, turn left.",
        "yes": "Yes.",
        "time": "What time is it?",
    },
    "rms": {
        "order": "Can you tell me where my order is? I have been waiting since Monday.",
        "stop": "Stop.",
        "sum": "What is seven times six?",
        "thanks": "Thank you very much, goodbye.",
        "uhhuh": "Uh huh.",
        "hello": "Hello, how are you today?",
    },
    "awb": {
        "repeat": "Sorry, could you say that again?",
        "timer": "Set a timer for five minutes.",
        "long": "Well, I am not sure about this. Let me think about it, and call you back tomorrow.",
        "okay": "Okay.",
        "train": "When does the next train leave for London?",
    },
}
PAUSE_MS = 60
"""Shorter silences belong to the sound of speech: the closures of stops."""


def phones(line: str) -> list[tuple[str, float]]:
    """Names and end times in seconds, from what `flite -psdur` prints."""
    pairs = (pair.split(":") for pair in line.split())
    return [(name, float(end)) for name, end in pairs]


def make(name: str, voice: str, text: str) -> dict[str, object]:
    """Say one text; returns its entry in the index."""
    path = HERE / f"{name}.wav"
    said = subprocess.run(
        ["flite", "-voice", voice, "-t", text, "-o", str(path), "-psdur"], check=True, capture_output=True, text=True
    )
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        length = file.getnframes() / 16
    spans: list[list[int]] = []
    start = 0.0
    for phone, end in phones(said.stdout):
        if phone != "pau":
            if spans and round(start * 1000) - spans[-1][1] < PAUSE_MS:
                spans[-1][1] = round(end * 1000)
            else:
                spans.append([round(start * 1000), round(end * 1000)])
        start = end
    return {"name": name, "voice": voice, "text": text, "ms": round(length), "speech_ms": spans}


def main() -> None:
    """Make them all, and the index."""
    index = [make(name, voice, text) for voice, texts in SAYS.items() for name, text in texts.items()]
    lines = ",\n".join("  " + json.dumps(entry) for entry in index)
    (HERE / "speech.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
