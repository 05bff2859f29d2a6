"""Cartesia's text-to-speech: each sentence is a context of one WebSocket, with the time of every word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack
from urllib.parse import urlencode

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers._shared.remote_speech import SocketSpeechOptions
from bargein.services.providers._shared.voice_socket import SocketVoice
from bargein.services.sockets import Endpoint

from ._protocol import CartesiaProtocol

__all__ = ["Cartesia"]


class Cartesia(SocketVoice):
    """Text-to-speech by Cartesia, with the time of every word.

    Example::

        Cascade(..., ..., Cartesia("a0e99841-438c-4a64-b679-ae501e7d6091"))

    One socket serves all sentences; an interrupt cancels the present one. Cartesia closes a socket after five minutes
    without a word; it is opened again when it is needed. The iterator of `speak` raises `ConnectionError` when Cartesia
    refuses, reports an error or closes the connection, and `TimeoutError` when it is silent.

    Args:
        voice: The id of the voice.
        model: The model's name.
        language: An ISO 639-1 code.
        rate: The rate of the audio in Hz.
        extra: Other fields of a request, merged over all of the above: `{"generation_config": {"speed": 1.1}}`.
        api_version: The version of the API, a date.
        url: The address of the API.
        **options: The options of every voice over a socket, see `SocketSpeechOptions`: `api_key` (by default that of
            `CARTESIA_API_KEY`), `silence_seconds`, `retries`, `connect`.

    Raises:
        ValueError: There is no key, or an argument is out of range.
    """

    service = "Cartesia"

    @check_options
    def __init__(
        self,
        voice: str,
        *,
        model: str = "sonic-3",
        language: str = "en",
        rate: int = 24_000,
        extra: Mapping[str, Any] | None = None,
        api_version: str = "2026-03-01",
        url: str = "wss://api.cartesia.ai/tts/websocket",
        **options: Unpack[SocketSpeechOptions],
    ) -> None:
        super().__init__(options, "CARTESIA_API_KEY")
        self.rate = rate
        self._request: dict[str, Any] = {
            "model_id": model,
            "voice": {"mode": "id", "id": voice},
            "language": language,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": rate},
            "add_timestamps": True,
            "continue": False,
            **(extra or {}),
        }
        address = f"{url}{'&' if '?' in url else '?'}{urlencode({'cartesia_version': api_version})}"
        self._endpoint = Endpoint(url=address, headers={"X-API-Key": self._secret})

    def protocol(self) -> CartesiaProtocol:
        """Return the protocol of a new connection."""
        return CartesiaProtocol(self._request)
