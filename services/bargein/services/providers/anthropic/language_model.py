"""Language models behind Anthropic's messages protocol."""

from __future__ import annotations

from typing import Any, Unpack
from urllib.parse import urlsplit, urlunsplit

from bargein.pipeline.lowlevel import check_options
from bargein.services.cascade.parts import Prompt
from bargein.services.providers._shared.model_error import FaultKind, LanguageModelError
from bargein.services.providers._shared.model_http import HttpModel, LanguageModelOptions, find_model_key

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
        **options: The options of every language model behind HTTP, see `LanguageModelOptions`: `temperature`, `extra`,
            `headers`, `images`, `retries`, `first_byte_seconds`, `silence_seconds`.
            `extra={"cache_control": {"type": "ephemeral"}}` caches long instructions.

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
        **options: Unpack[LanguageModelOptions],
    ) -> None:
        host = urlsplit(url).hostname or ""
        variable = "ANTHROPIC_API_KEY" if host == "anthropic.com" or host.endswith(".anthropic.com") else ""
        key = find_model_key("AnthropicMessages", api_key, variable, url)
        super().__init__(
            model,
            url=_endpoint(url),
            headers={"anthropic-version": VERSION} | ({"x-api-key": key} if key else {}),
            secret=key,
            limits={"max_tokens": max_tokens},
            options=options,
        )

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of the request for a prompt."""
        return protocol.build_request(prompt, self.model, images=self.images)

    def stream(self) -> protocol.MessageStream:
        """Return the protocol of one answer."""
        return protocol.MessageStream(self._source)


def _endpoint(base: str) -> str:
    """Return the address of the endpoint for a base address with or without its version."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/").removesuffix("/messages").removesuffix("/v1") + "/v1/messages"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
