"""Speaking with Cartesia: each sentence a context of one WebSocket, with the time of every word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from bargein.services.providers._shared.voice_socket import SocketVoice
from bargein.services.sockets import Endpoint, dial

from ._protocol import CartesiaProtocol

__all__ = ["Cartesia"]


class Cartesia(SocketVoice):
    """Speak with Cartesia, and say when each word sounds::

        Cascade(..., ..., Cartesia("a0e99841-438c-4a64-b679-ae501e7d6091"))

    `voice` is a voice's id, `model` one of Cartesia's, `language` an ISO 639-1 code. `options` are any other fields of
    a request (`{"generation_config": {"speed": 1.1}}`), and are merged over ours; `version` is the date of the
    interface that they are of. The key is that of `CARTESIA_API_KEY` unless it is given. `url` is another server's.

    One socket serves all sentences; an interrupt calls off the present one. Where it was closed meanwhile (Cartesia
    does so after five minutes without a word) it is opened anew; one that is busy or fails is asked again, up to
    `retries` times. Raises `ConnectionError` where Cartesia refuses, complains or goes away, and `TimeoutError` where
    nothing comes for `silence_seconds`. Raises `ValueError` without a key.
    """

    service = "Cartesia"

    def __init__(
        self,
        voice: str,
        *,
        model: str = "sonic-3",
        api_key: str | None = None,
        language: str = "en",
        rate: int = 24_000,
        options: Mapping[str, Any] | None = None,
        version: str = "2026-03-01",
        url: str = "wss://api.cartesia.ai/tts/websocket",
        silence_seconds: float = 10.0,
        retries: int = 2,
        connect: Any = dial,
    ) -> None:
        super().__init__(api_key, "CARTESIA_API_KEY", silence_seconds, retries)
        self.rate = rate
        self._request: dict[str, Any] = {
            "model_id": model,
            "voice": {"mode": "id", "id": voice},
            "language": language,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": rate},
            "add_timestamps": True,
            "continue": False,
            **(options or {}),
        }
        address = f"{url}{'&' if '?' in url else '?'}{urlencode({'cartesia_version': version})}"
        self._endpoint = Endpoint(url=address, headers={"X-API-Key": self._secret})
        self._connect = connect

    def protocol(self) -> CartesiaProtocol:
        """The protocol of the next connection."""
        return CartesiaProtocol(self._request)
