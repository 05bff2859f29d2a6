"""Language models that speak OpenAI's chat-completions protocol: OpenAI's, Azure's, local ones, and many others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from bargein.services.cascade.parts import Prompt
from bargein.services.providers._shared.http import is_local
from bargein.services.providers._shared.keys import checked_key
from bargein.services.providers._shared.model_error import FaultKind, LanguageModelError
from bargein.services.providers._shared.model_http import HttpModel

from . import protocol

__all__ = ["ChatCompletions", "FaultKind", "LanguageModelError"]

OPENAI = "https://api.openai.com/v1"


class ChatCompletions(HttpModel):
    """A language model behind a server of the chat-completions protocol. Needs the extra `http`.

    | where | how |
    |---|---|
    | OpenAI | `ChatCompletions("gpt-4.1-mini")` |
    | Azure | `ChatCompletions("deployment", azure="https://name.openai.azure.com", api_version="2024-10-21")` |
    | Ollama | `ChatCompletions("llama3.2", base_url="http://localhost:11434/v1")` |
    | vLLM | `ChatCompletions("name", base_url="http://localhost:8000/v1")` |
    | llama.cpp | `ChatCompletions("", base_url="http://localhost:8080/v1")` |
    | LM Studio | `ChatCompletions("name", base_url="http://localhost:1234/v1")` |
    | OpenRouter | `ChatCompletions("vendor/name", base_url="https://openrouter.ai/api/v1", api_key=...)` |
    | Groq | `ChatCompletions("name", base_url="https://api.groq.com/openai/v1", api_key=...)` |

    `api_key` is taken from `OPENAI_API_KEY` for OpenAI, and from `AZURE_OPENAI_API_KEY` for Azure, when it is not
    given: to nobody else is it sent unasked. A server in the local network needs none, and `api_key=""` sends none
    anywhere. Without an `api_version`, Azure is asked by its interface that has none. A query in `base_url` is kept.

    `max_tokens` bounds an answer, `temperature` is the model's, and `extra` holds any other fields of the request; it
    is laid over all of these, and None there leaves a field out: `extra={"stream_options": None}` for a server that
    does not know it. `images=False` keeps pictures from a model that cannot see.

    An answer that has not begun after `first_byte_seconds` is an error; so is a silence of `silent_seconds` within it.
    A server that is busy, fails or hangs up is asked again, up to `retries` times, while nothing of its answer has been
    given. Raises `ValueError` without a key where one is needed.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        azure: str | None = None,
        api_version: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        images: bool = True,
        retries: int = 2,
        first_byte_seconds: float = 15.0,
        silent_seconds: float = 15.0,
    ) -> None:
        if azure and base_url:
            raise ValueError(f"ChatCompletions(azure={azure!r}, base_url={base_url!r}): expected one of them")
        base = _azure(azure, model, api_version) if azure else base_url or OPENAI
        host = urlsplit(base).hostname or ""
        of_azure = bool(azure) or host.endswith(".azure.com")
        of_openai = host == "openai.com" or host.endswith(".openai.com")
        where = "AZURE_OPENAI_API_KEY" if of_azure else "OPENAI_API_KEY" if of_openai else ""
        key = os.environ.get(where, "") if api_key is None and where else api_key or ""
        if not key and api_key is None and not is_local(base):
            also = f", or set {where}" if where else ""
            raise ValueError(f"ChatCompletions: no key for {host}; give api_key=...{also}")
        checked_key("ChatCompletions", key, where or "the argument")
        sent = {"content-type": "application/json"}
        if key:
            sent |= {"api-key": key} if of_azure else {"authorization": f"Bearer {key}"}
        super().__init__(
            url=_completions(base, api_version),
            headers={**sent, **{name.lower(): value for name, value in (headers or {}).items()}},
            secret=key,
            retries=retries,
            first_byte_seconds=first_byte_seconds,
            silent_seconds=silent_seconds,
        )
        self.model = model
        """The model, or Azure's deployment."""
        self.images = images
        # The old name is refused by OpenAI's newer models, the new one is unknown to most other servers.
        bound = "max_completion_tokens" if of_azure or of_openai else "max_tokens"
        self._limit = {bound: max_tokens, "temperature": temperature}
        self._extra = dict(extra or {})

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The body that a prompt is asked with, as JSON."""
        return protocol.request(prompt, self.model, images=self.images, limit=self._limit, extra=self._extra)

    def stream(self) -> protocol.ChatStream:
        """The protocol of the next answer."""
        return protocol.ChatStream(self._who)


def _azure(azure: str, model: str, api_version: str | None) -> str:
    root = azure.rstrip("/")
    return f"{root}/openai/deployments/{quote(model, safe='')}" if api_version else f"{root}/openai/v1"


def _completions(base: str, api_version: str | None) -> str:
    """The address to ask, behind a base with or without a query, or with the last steps already there."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    query = parts.query
    if api_version and "api-version=" not in query:
        query = f"{query}&" * bool(query) + f"api-version={quote(api_version)}"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
