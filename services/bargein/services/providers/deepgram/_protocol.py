"""Deepgram's protocol: sound to messages, messages to the words so far. No I/O."""

from __future__ import annotations

from typing import Any, Final

from bargein.services.cascade.parts import Samples
from bargein.services.providers._shared.remote_socket import read

__all__ = ["KEEP_ALIVE", "DeepgramProtocol"]

KEEP_ALIVE: Final = '{"type": "KeepAlive"}'
"""There will be more sound, though there is none now."""
ENDING: Final = ('{"type": "Finalize"}', '{"type": "CloseStream"}')
"""Understand what you have; then it is over."""


class DeepgramProtocol:
    """One utterance. Final pieces are joined by `joint`; what may yet change stands behind them."""

    def __init__(self, joint: str = " ") -> None:
        self._joint = joint
        self._final: list[str] = []
        self._interim = ""
        self.ending = False
        """The server has been told that the sound is over."""
        self.complete = False
        """Nothing more will come."""

    @property
    def text(self) -> str:
        """The words so far."""
        return self._joint.join([*self._final, self._interim] if self._interim else self._final)

    def sound(self, samples: Samples) -> bytes | None:
        """The message with some sound; None for none, which would be an end."""
        return samples.astype("<i2", copy=False).tobytes() if len(samples) else None

    def end(self) -> tuple[str, ...]:
        """The messages that say that the sound is over."""
        self.ending = True
        return ENDING

    def receive(self, data: str | bytes) -> bool:
        """Take a message; says whether the words have changed. Raises `ConnectionError` for errors and nonsense."""
        message = read("Deepgram", data, dict[str, Any])
        kind, before = message.get("type"), self.text
        if kind == "Results":
            try:
                piece = str(message["channel"]["alternatives"][0]["transcript"]).strip()
            except (KeyError, IndexError, TypeError):
                raise ConnectionError(f"Deepgram sent results that cannot be read: {data[:60]!r}") from None
            if message.get("is_final"):
                self._final += [piece] if piece else []
                self._interim = ""
                self.complete = self.ending and bool(message.get("from_finalize"))
            else:
                self._interim = piece
        elif kind == "Metadata":
            self.complete = self.ending
        elif kind == "Error":
            said = " ".join(str(message[key]) for key in ("variant", "description", "message") if message.get(key))
            raise ConnectionError(f"Deepgram reports an error: {said or repr(data[:60])}")
        return self.text != before
