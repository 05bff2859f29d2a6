"""Qwen Omni, Alibaba's realtime models on DashScope: OpenAI's beta dialect, with pictures between the audio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Unpack

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.providers.openai.client.protocol import PROFILE as OPENAI
from bargein.services.providers.openai.client.protocol import OpenAIProtocol
from bargein.services.providers.openai.dialect import BETA
from bargein.services.providers.openai.options import (
    OpenAIOptions,
    endpoint_url,
    find_key,
    model_settings,
)
from bargein.services.realtime import Message, Realtime, driver_options

__all__ = ["PROFILE", "QWEN", "QwenOmni", "QwenProtocol"]

QWEN: Final = msgspec.structs.replace(
    BETA,
    path="/api-ws/v1/realtime",
    # Both formats are called pcm16, whatever their rate; older models call the output pcm24.
    session_defaults={"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
    # The vendor's pages describe functions as in the chat interface. Newer models call them.
    nested_tools=True,
    images="input_image_buffer.append",
    event_ids=True,
)
"""The dialect of DashScope's realtime API."""
PROFILE: Final = msgspec.structs.replace(
    OPENAI,
    provider="Qwen Omni",
    input_rate=16_000,
    supports_truncation=False,
    turn_detection=("server_vad",),
    supports_out_of_band=False,
    image_formats=("jpeg", "jpg"),
    max_image_bytes=500_000,  # and 1,920 times 1,080 pixels
    max_session_seconds=None,
    answers_during_tool_calls=False,  # not known to work
)
"""What Qwen Omni can do. The length of a session is not documented."""
MAX_FPS: Final = 2.0
"""Pictures per second that the server accepts."""
LEADING_SILENCE_MS: Final = 100
"""Silence that is sent before a picture if no audio was sent yet: the server accepts pictures after audio only."""


class QwenProtocol(OpenAIProtocol):
    """The protocol of one connection."""

    _has_audio = False

    def audio(self, pcm: bytes) -> Message:
        """Send audio of the user."""
        self._has_audio = True
        return super().audio(pcm)

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterator[Message]:
        """Send a picture, which the server commits together with the audio around it."""
        if not self._has_audio:
            yield self.audio(bytes(2 * PROFILE.input_rate * LEADING_SILENCE_MS // 1000))
        yield from super().image(data, image_format, detail)

    def close_session(self) -> Iterator[Message]:
        """End the session."""
        if self._ready:
            yield msgspec.json.encode({"event_id": "finish", "type": "session.finish"}).decode()


class QwenOmni(Realtime):
    """A Qwen Omni model: a brain that takes 16 kHz mono audio and pictures, and speaks 24 kHz mono.

    Pictures must be JPEG, at most 500 kB and at most two per second. The model looks at them together with the audio
    around them.

    Args:
        model: The model's name.
        workspace: The DashScope workspace; None for the default one.
        supports_text_input: Whether typed text and an earlier conversation may be sent. The vendor's package can send
            them, but not every model is documented to take them. With False they are refused before they are sent.
        url: The address of the region.
        **options: The options of `OpenAIRealtime`. The key is by default that of `DASHSCOPE_API_KEY`, the voice
            `"Tina"`, and `transcription` `"gummy-realtime-v1"`. `turn_detection` is `"server_vad"`, a dictionary with
            its settings (`threshold` from -1 to 1, `silence_duration_ms` from 200 to 6,000), or None for push to talk.

    Raises:
        ValueError: There is no key, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str = "qwen3.5-omni-plus-realtime",
        *,
        workspace: str | None = None,
        supports_text_input: bool = True,
        url: str = "wss://dashscope.aliyuncs.com/api-ws/v1/realtime",
        **options: Unpack[OpenAIOptions],
    ) -> None:
        fps = options.get("fps", 1.0)
        if fps > MAX_FPS:
            raise ValueError(f"QwenOmni(fps={fps:g}): the server accepts at most {MAX_FPS:g} pictures per second")
        address = endpoint_url("QwenOmni", url, QWEN, model)
        headers = QWEN.authorization(find_key("QwenOmni", options.get("api_key"), "DASHSCOPE_API_KEY"))
        if workspace is not None:
            headers["X-DashScope-WorkSpace"] = workspace
        profile = msgspec.structs.replace(
            PROFILE, supports_text_input=supports_text_input, supports_history_seeding=supports_text_input
        )
        super().__init__(
            profile=profile,
            protocol=lambda: QwenProtocol(url=address, headers=headers, profile=profile, dialect=QWEN),
            settings=model_settings(model, options, voice="Tina", transcription="gummy-realtime-v1"),
            **driver_options(options),
        )
