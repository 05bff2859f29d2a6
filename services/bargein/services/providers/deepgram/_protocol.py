"""Deepgram's protocol: audio to messages, messages to the words so far. No I/O."""

from __future__ import annotations

from typing import Any, Final

from bargein.pipeline.lowlevel import Samples
from bargein.services.providers._shared.remote_speech import decode_json

__all__ = ["KEEP_ALIVE", "DeepgramProtocol"]

KEEP_ALIVE: Final = '{"type": "KeepAlive"}'
"""The message that keeps the connection open while there is no audio."""
ENDING: Final = ('{"type": "Finalize"}', '{"type": "CloseStream"}')
"""The messages that ask for the final words and end the stream."""


class DeepgramProtocol:
    """The protocol of one utterance.

    Args:
        separator: Stands between the pieces of the text: a space, or nothing for languages written without spaces.
    """

    def __init__(self, separator: str = " ") -> None:
        self._separator = separator
        self._final: list[str] = []
        self._interim = ""
        self.ending = False
        """Whether the server was told that the audio is over."""
        self.complete = False
        """Whether nothing more will come."""

    @property
    def text(self) -> str:
        """The words so far: the final pieces, and behind them the piece that may still change."""
        return self._separator.join([*self._final, self._interim] if self._interim else self._final)

    def encode(self, samples: Samples) -> bytes | None:
        """Return audio as a message; None for no samples, because an empty message would end the stream."""
        return samples.astype("<i2", copy=False).tobytes() if len(samples) else None

    def end(self) -> tuple[str, ...]:
        """Return the messages that end the audio."""
        self.ending = True
        return ENDING

    def receive(self, data: str | bytes) -> bool:
        """Take a message of the server.

        Returns:
            Whether the words have changed.

        Raises:
            ConnectionError: The server reports an error, or the message cannot be read.
        """
        message = decode_json("Deepgram", data, dict[str, Any])
        kind, before = message.get("type"), self.text
        if kind == "Results":
            try:
                piece = str(message["channel"]["alternatives"][0]["transcript"]).strip()
            except (KeyError, IndexError, TypeError):
                raise ConnectionError("Deepgram sent results that cannot be read") from None
            if message.get("is_final"):
                self._final += [piece] if piece else []
                self._interim = ""
                self.complete = self.ending and bool(message.get("from_finalize"))
            else:
                self._interim = piece
        elif kind == "Metadata":
            self.complete = self.ending
        elif kind == "Error":
            parts = [str(message[key]) for key in ("variant", "description", "message") if message.get(key)]
            raise ConnectionError(f"Deepgram reports an error: {' '.join(parts) or 'it does not say which'}")
        return self.text != before
