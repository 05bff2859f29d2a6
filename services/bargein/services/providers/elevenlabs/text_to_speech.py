"""ElevenLabs' text-to-speech: each sentence is a context of one WebSocket, with the time of every word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Unpack
from urllib.parse import quote, urlencode

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers._shared.remote_speech import SocketSpeechOptions
from bargein.services.providers._shared.voice_socket import SocketVoice
from bargein.services.sockets import Endpoint

from ._protocol import ElevenLabsProtocol

__all__ = ["ElevenLabs"]

RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
INACTIVITY_SECONDS: Final = 180
"""How long a socket may be idle before ElevenLabs closes it: the most that the API allows."""


class ElevenLabs(SocketVoice):
    """Text-to-speech by ElevenLabs, with the time of every word.

    Example::

        Cascade(..., ..., ElevenLabs("JBFqnCBsd6RMkjVDRZzb"))

    One socket serves all sentences; after an interrupt, audio that still comes is ignored. ElevenLabs closes a socket
    after three minutes without a word; it is opened again when it is needed. The iterator of `speak` raises
    `ConnectionError` when ElevenLabs refuses, reports an error or closes the connection, and `TimeoutError` when it is
    silent.

    Args:
        voice: The id of the voice.
        model: A model of the WebSocket API (`eleven_v3` is not).
        language: An ISO 639-1 code for models that take one; empty for none.
        rate: The rate of the audio, 8,000 to 48,000 Hz. The higher rates need a larger plan.
        voice_settings: The `voice_settings` of the API: `{"stability": 0.5, "speed": 1.1}`.
        extra: Other query parameters, merged over all of the above.
        url: The address of the API, or of a region.
        **options: The options of every voice over a socket, see `SocketSpeechOptions`: `api_key` (by default that of
            `ELEVENLABS_API_KEY`), `silence_seconds`, `retries`, `connect`.

    Raises:
        ValueError: There is no key, or an argument is out of range.
    """

    service = "ElevenLabs"

    @check_options
    def __init__(
        self,
        voice: str,
        *,
        model: str = "eleven_flash_v2_5",
        language: str = "",
        rate: int = 24_000,
        voice_settings: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        url: str = "wss://api.elevenlabs.io",
        **options: Unpack[SocketSpeechOptions],
    ) -> None:
        super().__init__(options, "ELEVENLABS_API_KEY")
        if rate not in RATES:
            raise ValueError(f"ElevenLabs(rate={rate}): expected one of {', '.join(map(str, RATES))}")
        self.rate = rate
        self._voice_settings = dict(voice_settings or {})
        query: dict[str, Any] = {"model_id": model, "output_format": f"pcm_{rate}"}
        query |= {"auto_mode": "true", "sync_alignment": "true"}  # whole sentences are sent; each message has its times
        query |= {"inactivity_timeout": INACTIVITY_SECONDS}
        query |= {"language_code": language} if language else {}
        query |= {k: str(v).lower() if isinstance(v, bool) else v for k, v in (extra or {}).items()}
        address = f"{url.rstrip('/')}/v1/text-to-speech/{quote(voice, safe='')}/multi-stream-input?{urlencode(query)}"
        self._endpoint = Endpoint(url=address, headers={"xi-api-key": self._secret})

    def protocol(self) -> ElevenLabsProtocol:
        """Return the protocol of a new connection."""
        return ElevenLabsProtocol(self.rate, self._voice_settings)
