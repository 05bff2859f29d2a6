"""Language models behind Anthropic's messages protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bargein.pipeline.lowlevel import check_options
from bargein.services.cascade.parts import Prompt
from bargein.services.providers._shared.model_error import FaultKind, LanguageModelError
from bargein.services.providers._shared.model_http import HttpModel, find_model_key

from . import _protocol as protocol

__all__ = ["AnthropicMessages", "FaultKind", "LanguageModelError"]

VERSION = "2023-06-01"


class AnthropicMessages(HttpModel):
    """A language model of Anthropic, or of another server of the messages protocol. Needs the extra `http`.

    Example::

        AnthropicMessages("claude-haiku-4-5")

    A server that is busy, fails or hangs up is asked again while nothing of its answer has arrived.

    Args:
        model: The model's name.
        api_key: The key; by default that of `ANTHROPIC_API_KEY` for Anthropic, which is sent to no other server. A
            server in the local network needs none, and `""` sends none anywhere.
        url: The address of the API, with or without `/v1`.
        max_tokens: Most tokens of an answer. The protocol requires a limit.
        temperature: The model's temperature; None for the provider's default.
        extra: Other fields of the request, merged over all of the above. A None value removes a field.
            `{"cache_control": {"type": "ephemeral"}}` caches long instructions.
        headers: Other HTTP headers.
        images: Whether pictures are sent; False for models that cannot see.
        retries: How often an answer is requested again.
        first_byte_seconds: How long the beginning of an answer may take, in seconds.
        silence_seconds: How long the server may be silent within an answer, in seconds.

    Raises:
        ValueError: The key that the server needs is missing, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        url: str = "https://api.anthropic.com",
        max_tokens: int = 1024,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        images: bool = True,
        retries: int = 2,
        first_byte_seconds: float = 15.0,
        silence_seconds: float = 15.0,
    ) -> None:
        host = urlsplit(url).hostname or ""
        variable = "ANTHROPIC_API_KEY" if host == "anthropic.com" or host.endswith(".anthropic.com") else ""
        key = find_model_key("AnthropicMessages", api_key, variable, url)
        sent = {"content-type": "application/json", "anthropic-version": VERSION}
        if key:
            sent["x-api-key"] = key
        super().__init__(
            url=_endpoint(url),
            headers={**sent, **{name.lower(): value for name, value in (headers or {}).items()}},
            secret=key,
            retries=retries,
            first_byte_seconds=first_byte_seconds,
            silence_seconds=silence_seconds,
        )
        self.model = model
        """The model's name."""
        self.images = images
        self._limits = {"max_tokens": max_tokens, "temperature": temperature}
        self._extra = dict(extra or {})

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """Return the JSON body of the request for a prompt."""
        return protocol.build_request(prompt, self.model, images=self.images, limits=self._limits, extra=self._extra)

    def stream(self) -> protocol.MessageStream:
        """Return the protocol of one answer."""
        return protocol.MessageStream(self._source)


def _endpoint(base: str) -> str:
    """Return the address of the endpoint for a base address with or without its version."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/").removesuffix("/messages").removesuffix("/v1") + "/v1/messages"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
