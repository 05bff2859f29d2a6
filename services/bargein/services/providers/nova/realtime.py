"""Amazon's speech-to-speech models, Nova Sonic and Nova 2 Sonic, on Bedrock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from bargein.services.history import History
from bargein.services.realtime import Realtime, ReconnectPolicy, Settings
from bargein.services.sockets import Endpoint, Socket
from bargein.services.tools import Tool, Toolbox

from ._bedrock import Bedrock
from ._credentials import CredentialsSource, find_region, provider
from .protocol import PROFILE, PROFILE_1, NovaProtocol

__all__ = ["NovaSonic"]

RATES = (8_000, 16_000, 24_000)
RENEW_SECONDS = 120.0
"""A session lasts eight minutes: after six, the first pause is used to begin the next."""


class NovaSonic(Realtime):
    """A speech-to-speech model of Amazon's: a brain that hears 16 kHz and speaks 24 kHz, mono, if nothing else is said.

    `credentials` are `Credentials`, botocore's or boto3's, or a function that gives them, async or in a thread;
    without, botocore looks where AWS's tools look (the environment, files, roles, …), in the `aws_profile` if one is
    named. They are looked up anew for every connection. `region` is that of `AWS_REGION` or of the same files; not
    every region has the models.

    The model finds the end of the user's turn by itself; how soon it replies is its `sensitivity` (`"HIGH"` is the
    soonest; Nova 2 only). It cannot be asked, stopped or corrected: it answers what it hears and, with Nova 2, what it
    reads. An interrupt of one's own silences its reply here, and the rest of it is dropped. A session ends after eight
    minutes; the next one takes over in a pause before that, with the conversation as it was heard.

    `session` holds any other settings, `{"sessionStart": {…}, "promptStart": {…}}`, and is merged over these. Raises
    `ValueError` without a region.
    """

    def __init__(
        self,
        model: str = "amazon.nova-2-sonic-v1:0",
        *,
        region: str | None = None,
        credentials: CredentialsSource = None,
        aws_profile: str | None = None,
        instructions: str = "",
        voice: str | None = None,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox = (),
        sensitivity: Literal["HIGH", "MEDIUM", "LOW"] | None = None,
        input_rate: int = 16_000,
        output_rate: int = 24_000,
        session: Mapping[str, Any] | None = None,
        url: str | None = None,
        ssl: Any = None,
        reconnect: ReconnectPolicy | None = None,
        history: History | None = None,
        connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]] | None = None,
    ) -> None:
        second = "nova-2" in model
        if sensitivity is not None and not second:
            raise ValueError(f"NovaSonic(sensitivity={sensitivity!r}): {model} has none; use a model of Nova 2")
        for name, rate in (("input_rate", input_rate), ("output_rate", output_rate)):
            if rate not in RATES:
                raise ValueError(f"NovaSonic({name}={rate}): expected one of {', '.join(map(str, RATES))}")
        if connect is None:
            region = region or os.environ.get("AWS_REGION") or find_region(aws_profile)
            if not region:
                raise ValueError("NovaSonic: no region; give region=..., or set AWS_REGION")
            connect = Bedrock(region=region, credentials=provider(credentials, aws_profile)).connect
        if url is not None and not url.startswith("https://"):
            raise ValueError(f"NovaSonic(url={url!r}): expected an address that begins with https://")
        host = url or f"https://bedrock-runtime.{region or 'any'}.amazonaws.com"
        address = f"{host.rstrip('/')}/model/{quote(model, safe='')}/invoke-with-bidirectional-stream"
        profile = msgspec.structs.replace(
            PROFILE if second else PROFILE_1, input_rate=input_rate, output_rate=output_rate
        )
        turns = {"type": "server_vad", **({"endpointingSensitivity": sensitivity} if sensitivity else {})}
        super().__init__(
            profile=profile,
            protocol=lambda: NovaProtocol(url=address, profile=profile, ssl=ssl),
            settings=Settings(
                model=model,
                instructions=instructions,
                voice=voice,
                turn_detection=turns,
                extra=dict(session or {}),
            ),
            tools=tools,
            reconnect=reconnect or ReconnectPolicy(renew_seconds=RENEW_SECONDS),
            history=history,
            connect=connect,
        )
