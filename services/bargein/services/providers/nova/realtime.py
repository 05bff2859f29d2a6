"""Amazon's speech-to-speech models on Bedrock: Nova Sonic and Nova 2 Sonic."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any, Literal, Unpack
from urllib.parse import quote

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.realtime import DriverOptions, Realtime, ReconnectPolicy, Settings

from ._bedrock import Bedrock
from ._credentials import CredentialsSource, credentials_provider, find_region
from .protocol import PROFILE, PROFILE_1, NovaProtocol

__all__ = ["NovaSonic"]

RATES = (8_000, 16_000, 24_000)
RENEW_SECONDS = 120.0
"""A session lasts eight minutes. In its last two, the first pause is used to begin the next session."""


class NovaSonic(Realtime):
    """Nova Sonic: a brain that takes 16 kHz and speaks 24 kHz mono audio by default. Needs the extra `nova`.

    The model detects turns by itself. It cannot be asked for a response, stopped or corrected: it answers what it hears
    and, with Nova 2, what is typed. An interrupt silences the reply on this side, and the rest of it is dropped. A
    session ends after eight minutes; before that, the next one takes over in a pause, with the conversation as it was
    heard.

    Args:
        model: The Bedrock model id.
        region: The AWS region; by default that of `AWS_REGION` or of AWS's configuration files. Not every region has
            the models.
        credentials: `Credentials`, those of botocore or boto3, or a function that returns either (async, or plain and
            run in a thread). None for botocore's default chain. They are looked up again for every connection.
        aws_profile: The AWS profile for the default chain and the region; None for the default profile.
        instructions: The system prompt.
        voice: The voice id; None for `tiffany`.
        sensitivity: How soon the model takes a pause for the end of a turn: `"HIGH"` is the soonest. Nova 2 only.
        input_rate: The rate of the user's audio: 8000, 16000 or 24000 Hz.
        output_rate: The rate of the model's audio: 8000, 16000 or 24000 Hz.
        extra: Other settings, `{"sessionStart": {...}, "promptStart": {...}}`, merged over all of the above.
        url: The address of another server, beginning with `https://`.
        ssl: The TLS context; None for the default.
        **options: The options of every model, see `DriverOptions`: `tools`, `fps`, `reconnect`, `history`, `greeting`,
            `connect`. `resume` raises `UnsupportedError`.

    Raises:
        ValueError: There is no region, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str = "amazon.nova-2-5-sonic",
        *,
        region: str | None = None,
        credentials: CredentialsSource = None,
        aws_profile: str | None = None,
        instructions: str = "",
        voice: str | None = None,
        sensitivity: Literal["HIGH", "MEDIUM", "LOW"] | None = None,
        input_rate: int = 16_000,
        output_rate: int = 24_000,
        extra: Mapping[str, Any] | None = None,
        url: str | None = None,
        ssl: ssl.SSLContext | None = None,
        **options: Unpack[DriverOptions],
    ) -> None:
        is_nova_2 = "nova-2" in model
        if sensitivity is not None and not is_nova_2:
            raise ValueError(f"NovaSonic(sensitivity={sensitivity!r}): {model} has none; use a model of Nova 2")
        for name, rate in (("input_rate", input_rate), ("output_rate", output_rate)):
            if rate not in RATES:
                raise ValueError(f"NovaSonic({name}={rate}): expected one of {', '.join(map(str, RATES))}")
        if options.get("connect") is None:
            region = region or os.environ.get("AWS_REGION") or find_region(aws_profile)
            if not region:
                raise ValueError("NovaSonic: no region; give region=..., or set AWS_REGION")
            bedrock = Bedrock(region=region, credentials=credentials_provider(credentials, aws_profile))
            options["connect"] = bedrock.connect
        if options.get("reconnect") is None:
            options["reconnect"] = ReconnectPolicy(renew_seconds=RENEW_SECONDS)
        if url is not None and not url.startswith("https://"):
            raise ValueError(f"NovaSonic(url={url!r}): expected an address that begins with https://")
        host = url or f"https://bedrock-runtime.{region or 'any'}.amazonaws.com"
        address = f"{host.rstrip('/')}/model/{quote(model, safe='')}/invoke-with-bidirectional-stream"
        profile = msgspec.structs.replace(
            PROFILE if is_nova_2 else PROFILE_1, input_rate=input_rate, output_rate=output_rate
        )
        turn_detection = {"type": "server_vad", **({"endpointingSensitivity": sensitivity} if sensitivity else {})}
        super().__init__(
            profile=profile,
            protocol=lambda: NovaProtocol(url=address, profile=profile, ssl=ssl),
            settings=Settings(
                model=model,
                instructions=instructions,
                voice=voice,
                turn_detection=turn_detection,
                extra=dict(extra or {}),
            ),
            **options,
        )
