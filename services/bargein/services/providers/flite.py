"""Flite: a small English voice on this machine, by the program of that name."""

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

from bargein.pipeline.lowlevel import Samples, at_work, check_options
from bargein.services.cascade.parts import TextToSpeech, Word

__all__ = ["Flite"]

PIECE_SAMPLES = 1_600
"""Samples that `speak` yields at once: 100 ms."""
PUNCTUATION = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": " - ", "—": " - ", "…": "..."})
"""Punctuation beyond ASCII, as the program knows it."""


class Flite(TextToSpeech):
    """An English voice by CMU Flite, the program `flite`: more natural than `ESpeak`, and a sentence at a time.

    The program knows ASCII only: accents are removed and other characters skipped. It does not say which audio belongs
    to which word, so there are no `Word` timings. The iterator of `speak` raises `RuntimeError` when the program fails,
    and `ValueError` at the first sentence for a voice that the program does not know.

    Args:
        voice: A voice of `flite -lv` (`slt`, `rms`, `awb`: 16 kHz) or the path of a `.flitevox` file.
        stretch: How slow it speaks: 1 is normal, 0.1 the fastest, 10 the slowest.
        program: The program's name or path.

    Raises:
        FileNotFoundError: The program is not installed.
        ValueError: An argument has no possible value.
    """

    rate = 16_000

    @check_options
    def __init__(self, voice: str = "slt", *, stretch: float = 1.0, program: str = "flite") -> None:
        if not 0.1 <= stretch <= 10:
            raise ValueError(f"Flite(stretch={stretch!r}): expected from 0.1 (fast) to 10 (slow)")
        path = shutil.which(program)
        if path is None:
            raise FileNotFoundError(
                f"Flite needs the program {program!r}, which is not installed; apt install flite, "
                "or name another program="
            )
        self.voice = voice
        self._command = [path, "-voice", voice, "--setf", f"duration_stretch={stretch:g}"]
        self._voice_checked = False

    async def speak(self, text: str) -> AsyncGenerator[Samples | Word, None]:
        """Yield the audio of a text, when the program has made all of it. Closing this kills the program."""
        text = unicodedata.normalize("NFKD", text.translate(PUNCTUATION)).encode("ascii", "ignore").decode()
        if not any(map(str.isalnum, text)):
            return
        if not self._voice_checked:
            await self._check_voice()
        with tempfile.TemporaryDirectory(prefix="bargein") as folder:
            text_file, wave_file = Path(folder) / "text", Path(folder) / "sound.wav"
            text_file.write_text(text.replace("\0", " "), encoding="ascii")
            await self._run(*self._command, "-f", str(text_file), "-o", str(wave_file))
            samples = self._read(wave_file.read_bytes() if wave_file.exists() else b"")
        for at in range(0, len(samples), PIECE_SAMPLES):
            yield samples[at : at + PIECE_SAMPLES]

    async def _check_voice(self) -> None:
        """Raise `ValueError` for an unknown voice. The program itself would speak with another one."""
        listed = (await self._run(self._command[0], "-lv")).decode(errors="replace")
        known = listed.partition(":")[2].split()
        if self.voice not in known and not await anyio.Path(self.voice).is_file():
            raise ValueError(f"Flite(voice={self.voice!r}): its voices are {', '.join(known)}, or a .flitevox file")
        self._voice_checked = True

    async def _run(self, *command: str) -> bytes:
        with at_work():
            process = await anyio.run_process(command, check=False, stdin=subprocess.DEVNULL)
        if process.returncode:
            message = process.stderr.decode(errors="replace").strip()
            raise RuntimeError(
                f"{' '.join(command)} ended with {process.returncode}: {message or 'it printed nothing'}"
            )
        return process.stdout

    def _read(self, data: bytes) -> Samples:
        try:
            with wave.open(io.BytesIO(data)) as file:
                rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
                samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
        except (wave.Error, EOFError) as error:
            raise RuntimeError(f"flite made no sound of {len(data)} bytes that can be read: {error}") from error
        if (rate, channels, width) != (self.rate, 1, 2):
            raise RuntimeError(
                f"flite's voice {self.voice!r} speaks at {rate} Hz; choose one of {self.rate} Hz, such as 'slt'"
            )
        return samples
