"""Flite: a small voice that needs no network, by the program of that name."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import unicodedata
import wave
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import numpy as np

from bargein.pipeline import lowlevel
from bargein.services.cascade.parts import Samples, TextToSpeech, Word

__all__ = ["Flite"]

PIECE = 1_600
"""How many samples are given at once: 100 ms."""
QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": " - ", "—": " - ", "…": "..."})


class Flite(TextToSpeech):
    """Speaks English with CMU Flite, the program `flite`: more natural than `ESpeak`, and a sentence at a time.

    `voice` is one of those that `flite -lv` names (`slt`, `rms`, `awb`: 16 kHz) or a `.flitevox` file; `stretch` makes
    it slower than 1, or faster. Accents are folded and what is not ASCII is passed over, for it knows nothing else. The
    program says the length of every sound but not which word it is of, so there are no `Word` timings.

    Raises `ValueError` for what cannot be, `FileNotFoundError` when the program is missing, and `RuntimeError` when it
    fails.
    """

    rate = 16_000

    def __init__(self, voice: str = "slt", *, stretch: float = 1.0, program: str = "flite") -> None:
        if not 0.1 <= stretch <= 10:
            raise ValueError(f"Flite(stretch={stretch!r}): expected from 0.1 (fast) to 10 (slow)")
        found = shutil.which(program)
        if found is None:
            raise FileNotFoundError(
                f"Flite needs the program {program!r}, which is not installed; apt install flite, "
                "or name another program="
            )
        self.voice = voice
        self._command = [found, "-voice", voice, "--setf", f"duration_stretch={stretch:g}"]
        self._checked = False

    async def speak(self, text: str) -> AsyncGenerator[Samples | Word, None]:
        """Speak, when the program has made all of the sound. A cancelled program is killed."""
        text = unicodedata.normalize("NFKD", text.translate(QUOTES)).encode("ascii", "ignore").decode()
        if not any(map(str.isalnum, text)):
            return
        if not self._checked:
            await self._check()
        with tempfile.TemporaryDirectory(prefix="bargein") as folder:
            written, made = Path(folder) / "text", Path(folder) / "sound.wav"
            written.write_text(text.replace("\0", " "))
            await self._run(*self._command, "-f", str(written), "-o", str(made))
            samples = self._read(made.read_bytes() if made.exists() else b"")
        for at in range(0, len(samples), PIECE):
            yield samples[at : at + PIECE]

    async def _check(self) -> None:
        """It speaks with another voice when it does not know the one that was asked for."""
        listed = (await self._run(self._command[0], "-lv")).decode(errors="replace")
        known = listed.partition(":")[2].split()
        if self.voice not in known and not await anyio.Path(self.voice).is_file():
            raise ValueError(f"Flite(voice={self.voice!r}): its voices are {', '.join(known)}, or a .flitevox file")
        self._checked = True

    async def _run(self, *command: str) -> bytes:
        with lowlevel.at_work():
            done = await anyio.run_process(command, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {said or 'it said nothing'}")
        return done.stdout

    def _read(self, sound: bytes) -> Samples:
        try:
            with wave.open(io.BytesIO(sound)) as file:
                rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
                samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
        except (wave.Error, EOFError) as error:
            raise RuntimeError(f"flite made no sound of {len(sound)} bytes that can be read: {error}") from error
        if (rate, channels, width) != (self.rate, 1, 2):
            raise RuntimeError(
                f"flite's voice {self.voice!r} speaks at {rate} Hz; choose one of {self.rate} Hz, such as 'slt'"
            )
        return samples
