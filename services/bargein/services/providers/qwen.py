"""Qwen Omni, Alibaba's realtime models on DashScope: OpenAI's beta dialect, with pictures between the sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Unpack

import msgspec

from bargein.services.realtime import Message, Realtime

from .openai.client.protocol import PROFILE as OPENAI
from .openai.client.protocol import OpenAIProtocol
from .openai.dialect import BETA
from .openai.options import Shared, TurnDetection, address, found_key, settings

__all__ = ["PROFILE", "QWEN", "QwenOmni", "QwenProtocol"]

QWEN: Final = msgspec.structs.replace(
    BETA,
    path="/api-ws/v1/realtime",
    # Both formats are called pcm16, whatever their rate; older models called the second one pcm24.
    begins={"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
    # Functions are described as in the chat interface, by the vendor's pages; newer models call them.
    nested_tools=True,
    images="input_image_buffer.append",
    event_ids=True,
)
"""The dialect of DashScope's realtime interface."""
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
)
"""What it can do. Its memory cannot be cut, and how long a session may last is not documented."""
MOST_FPS: Final = 2.0
"""Pictures a second that it takes, at most."""
SILENCE_MS: Final = 100
"""A picture may only follow sound: where none has come, so much silence goes first."""


class QwenProtocol(OpenAIProtocol):
    """One connection's protocol."""

    _sounded = False

    def audio(self, pcm: bytes) -> Message:
        """More of the user's sound."""
        self._sounded = True
        return super().audio(pcm)

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterator[Message]:
        """A picture the user shows; it is committed with the sound around it."""
        if not self._sounded:
            yield self.audio(bytes(2 * PROFILE.input_rate * SILENCE_MS // 1000))
        yield from super().image(data, image_format, detail)

    def close_session(self) -> Iterator[Message]:
        """The session is over."""
        if self._ready:
            yield msgspec.json.encode({"event_id": "finish", "type": "session.finish"}).decode()


class QwenOmni(Realtime):
    """A realtime model of Qwen Omni's: a brain that hears 16 kHz mono, sees pictures, and speaks 24 kHz mono.

    `api_key` is taken from `DASHSCOPE_API_KEY` when it is not given; `workspace` names a workspace of DashScope's.
    `url` is that of the region. `turn_detection` is `"server_vad"`, a dictionary with its settings (a `threshold` of
    -1 to 1, a `silence_duration_ms` of 200 to 6,000), or None for push to talk. Pictures are JPEG, of 500 kB at most,
    two a second at most, and are looked at together with the sound around them.

    `texts` says whether what the user types, and a conversation from before, can be told as items: the vendor's
    package can send them, but not every model is said to take them. With False they are refused here. `session` and the
    other options are those of `OpenAIRealtime`.
    """

    def __init__(
        self,
        model: str = "qwen3-omni-flash-realtime",
        *,
        api_key: str | None = None,
        workspace: str | None = None,
        instructions: str = "",
        voice: str | None = "Cherry",
        output: Literal["audio", "text"] = "audio",
        turn_detection: TurnDetection = "server_vad",
        transcription: str | Mapping[str, Any] | None = "gummy-realtime-v1",
        texts: bool = True,
        session: Mapping[str, Any] | None = None,
        url: str = "wss://dashscope.aliyuncs.com/api-ws/v1/realtime",
        **shared: Unpack[Shared],
    ) -> None:
        fps = shared.get("fps", 1.0)
        if fps > MOST_FPS:
            raise ValueError(f"QwenOmni(fps={fps:g}): it takes {MOST_FPS:g} pictures a second at most")
        where = address("QwenOmni", url, QWEN, model)
        sent = QWEN.authorization(found_key("QwenOmni", api_key, "DASHSCOPE_API_KEY"))
        if workspace is not None:
            sent["X-DashScope-WorkSpace"] = workspace
        profile = msgspec.structs.replace(PROFILE, supports_text_input=texts, supports_history_seeding=texts)
        super().__init__(
            profile=profile,
            protocol=lambda: QwenProtocol(url=where, headers=sent, profile=profile, dialect=QWEN),
            settings=settings(
                model,
                instructions=instructions,
                voice=voice,
                output=output,
                turn_detection=turn_detection,
                transcription=transcription,
                session=session,
            ),
            **shared,
        )
