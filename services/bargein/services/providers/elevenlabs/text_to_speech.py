"""Speaking with ElevenLabs: each sentence a context of one WebSocket, with the time of every word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from bargein.services.providers._shared.voice_socket import SocketVoice
from bargein.services.sockets import Endpoint, dial

from ._protocol import ElevenLabsProtocol

__all__ = ["ElevenLabs"]

RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
SILENT_SECONDS: Final = 180
"""How long a socket may be silent before ElevenLabs closes it: the most that the interface takes."""


class ElevenLabs(SocketVoice):
    """Speak with ElevenLabs, and say when each word sounds::

        Cascade(..., ..., ElevenLabs("JBFqnCBsd6RMkjVDRZzb"))

    `voice` is a voice's id, `model` one that the WebSocket interface has (`eleven_v3` is not), `language` an ISO 639-1
    code for models that take one. `voice_settings` are those of the interface (`{"stability": 0.5, "speed": 1.1}`), and
    `options` any other parameters of it, merged over ours. `rate` is 8,000 to 48,000 Hz; the higher ones need a larger
    plan. The key is that of `ELEVENLABS_API_KEY` unless it is given. `url` is another server's, or a region's.

    One socket serves all sentences; an interrupt leaves it open, and what still comes is left out. Where it was closed
    meanwhile (ElevenLabs does so after three minutes without a word) it is opened anew; one that is busy or fails is
    asked again, up to `retries` times. Raises `ConnectionError` where ElevenLabs refuses, complains or goes away, and
    `TimeoutError` where nothing comes for `silence_seconds`. Raises `ValueError` without a key.
    """

    service = "ElevenLabs"

    def __init__(
        self,
        voice: str,
        *,
        model: str = "eleven_flash_v2_5",
        api_key: str | None = None,
        language: str = "",
        rate: int = 24_000,
        voice_settings: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        url: str = "wss://api.elevenlabs.io",
        silence_seconds: float = 10.0,
        retries: int = 2,
        connect: Any = dial,
    ) -> None:
        super().__init__(api_key, "ELEVENLABS_API_KEY", silence_seconds, retries)
        if rate not in RATES:
            raise ValueError(f"ElevenLabs(rate={rate}): expected one of {', '.join(map(str, RATES))}")
        self.rate = rate
        self._voice_settings = dict(voice_settings or {})
        query: dict[str, Any] = {"model_id": model, "output_format": f"pcm_{rate}"}
        query |= {"auto_mode": "true", "sync_alignment": "true"}  # whole sentences come; every message has its times
        query |= {"inactivity_timeout": SILENT_SECONDS}
        query |= {"language_code": language} if language else {}
        query |= {k: str(v).lower() if isinstance(v, bool) else v for k, v in (options or {}).items()}
        address = f"{url.rstrip('/')}/v1/text-to-speech/{quote(voice, safe='')}/multi-stream-input?{urlencode(query)}"
        self._endpoint = Endpoint(url=address, headers={"xi-api-key": self._secret})
        self._connect = connect

    def protocol(self) -> ElevenLabsProtocol:
        """The protocol of the next connection."""
        return ElevenLabsProtocol(self.rate, self._voice_settings)
