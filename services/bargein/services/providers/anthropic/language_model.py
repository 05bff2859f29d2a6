"""Language models that speak Anthropic's messages protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bargein.services.cascade.parts import Prompt
from bargein.services.providers._shared.http import is_local
from bargein.services.providers._shared.keys import checked_key
from bargein.services.providers._shared.model_error import FaultKind, LanguageModelError
from bargein.services.providers._shared.model_http import HttpModel

from . import _protocol as protocol

__all__ = ["AnthropicMessages", "FaultKind", "LanguageModelError"]

ANTHROPIC = "https://api.anthropic.com"
VERSION = "2023-06-01"


class AnthropicMessages(HttpModel):
    """A model of Anthropic's, or another server of its messages protocol. Needs the extra `http`::

        AnthropicMessages("claude-haiku-4-5")

    `api_key` is taken from `ANTHROPIC_API_KEY` for Anthropic when it is not given; a server in the local network needs
    none, and `api_key=""` sends none anywhere. `max_tokens` bounds an answer: the protocol insists on a bound.
    `temperature` is the model's, and `extra` holds any other fields of the request; it is laid over all of these, and
    None there leaves a field out. `extra={"cache_control": {"type": "ephemeral"}}` has long instructions cached.

    Time and retries are those of `ChatCompletions`. Raises `ValueError` without a key where one is needed.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str = ANTHROPIC,
        max_tokens: int = 1024,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        images: bool = True,
        retries: int = 2,
        first_byte_seconds: float = 15.0,
        silent_seconds: float = 15.0,
    ) -> None:
        host = urlsplit(base_url).hostname or ""
        where = "ANTHROPIC_API_KEY" if host == "anthropic.com" or host.endswith(".anthropic.com") else ""
        key = os.environ.get(where, "") if api_key is None and where else api_key or ""
        if not key and api_key is None and not is_local(base_url):
            also = f", or set {where}" if where else ""
            raise ValueError(f"Messages: no key for {host}; give api_key=...{also}")
        checked_key("AnthropicMessages", key, where or "the argument")
        sent = {"content-type": "application/json", "anthropic-version": VERSION}
        if key:
            sent["x-api-key"] = key
        super().__init__(
            url=_messages(base_url),
            headers={**sent, **{name.lower(): value for name, value in (headers or {}).items()}},
            secret=key,
            retries=retries,
            first_byte_seconds=first_byte_seconds,
            silent_seconds=silent_seconds,
        )
        self.model = model
        """The model."""
        self.images = images
        self._limit = {"max_tokens": max_tokens, "temperature": temperature}
        self._extra = dict(extra or {})

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The body that a prompt is asked with, as JSON."""
        return protocol.request(prompt, self.model, images=self.images, limit=self._limit, extra=self._extra)

    def stream(self) -> protocol.MessageStream:
        """The protocol of the next answer."""
        return protocol.MessageStream(self._who)


def _messages(base: str) -> str:
    """The address to ask, behind a base with or without its version."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/").removesuffix("/messages").removesuffix("/v1") + "/v1/messages"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
