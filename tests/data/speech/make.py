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
        "music": "Play some music in the kitchen, please.",
        "appointment": "Can I change my appointment to Thursday morning?",
        "umbrella": "Will I need an umbrella tomorrow?",
        "slower": "Please speak a little more slowly.",
        "manager": "I want to talk to the manager about my bill.",
    },
    "rms": {
        "order": "Can you tell me where my order is? I have been waiting since Monday.",
        "stop": "Stop.",
        "sum": "What is seven times six?",
        "thanks": "Thank you very much, goodbye.",
        "uhhuh": "Uh huh.",
        "hello": "Hello, how are you today?",
        "lights": "Turn off the lights in the living room.",
        "password": "I forgot my password, and now I can not open my account.",
        "price": "How much does it cost to send a letter to Canada?",
        "flight": "My flight was cancelled this morning. What should I do?",
        "number": "The number on the card is four, nine, two, seven.",
    },
    "awb": {
        "repeat": "Sorry, could you say that again?",
        "timer": "Set a timer for five minutes.",
        "long": "Well, I am not sure about this. Let me think about it, and call you back tomorrow.",
        "okay": "Okay.",
        "train": "When does the next train leave for London?",
        "doctor": "Is there a doctor who can see me this afternoon?",
        "dinner": "We would like to have dinner at eight o'clock.",
        "cancel": "No, that is not what I asked for. Please cancel the order.",
        "phone": "My phone does not work any more, and it is only a year old.",
        "directions": "How do I get to the station from here?",
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
