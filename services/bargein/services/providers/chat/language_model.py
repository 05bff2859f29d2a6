"""Language models behind the chat-completions protocol: OpenAI, Azure, local servers and many others."""

from __future__ import annotations

from typing import Any, Unpack
from urllib.parse import quote, urlsplit, urlunsplit

from bargein.pipeline.lowlevel import check_options
from bargein.services.cascade.parts import Prompt
from bargein.services.providers._shared.model_error import FaultKind, LanguageModelError
from bargein.services.providers._shared.model_http import HttpModel, LanguageModelOptions, find_model_key

from . import protocol

__all__ = ["ChatCompletions", "FaultKind", "LanguageModelError"]


class ChatCompletions(HttpModel):
    """A language model behind a server of the chat-completions protocol. Needs the extra `http`.

    | where | how |
    |---|---|
    | OpenAI | `ChatCompletions("gpt-4.1-mini")` |
    | Azure | `ChatCompletions("deployment", url="https://name.openai.azure.com", api_version="2024-10-21")` |
    | Ollama | `ChatCompletions("llama3.2", url="http://localhost:11434/v1")` |
    | vLLM | `ChatCompletions("name", url="http://localhost:8000/v1")` |
    | llama.cpp | `ChatCompletions("", url="http://localhost:8080/v1")` |
    | LM Studio | `ChatCompletions("name", url="http://localhost:1234/v1")` |
    | OpenRouter | `ChatCompletions("vendor/name", url="https://openrouter.ai/api/v1", api_key=...)` |
    | Groq | `ChatCompletions("name", url="https://api.groq.com/openai/v1", api_key=...)` |

    A server that is busy, fails or hangs up is asked again while nothing of its answer has arrived.

    Args:
        model: The model's name; on Azure the deployment.
        api_key: The key. By default that of `OPENAI_API_KEY` for OpenAI and of `AZURE_OPENAI_API_KEY` for Azure; these
            are sent to no other server. A server in the local network needs none, and `""` sends none anywhere.
        url: The address of the API. A query is kept. Of Azure, the address of the resource suffices.
        api_version: The `api-version` of Azure; None for Azure's API without versions.
        max_tokens: Most tokens of an answer; None for the server's limit.
        **options: The options of every language model behind HTTP, see `LanguageModelOptions`: `temperature`, `extra`,
            `headers`, `images`, `retries`, `first_byte_seconds`, `silence_seconds`. `extra={"stream_options": None}` is
            for a server that does not know this field.

    Raises:
        ValueError: The key that the server needs is missing, or an argument is out of range.
    """

    @check_options
    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        url: str = "https://api.openai.com/v1",
        api_version: str | None = None,
        max_tokens: int | None = None,
        **options: Unpack[LanguageModelOptions],
    ) -> None:
        host = urlsplit(url).hostname or ""
        is_azure = host.endswith(".azure.com")
        is_openai = host == "openai.com" or host.endswith(".openai.com")
        variable = "AZURE_OPENAI_API_KEY" if is_azure else "OPENAI_API_KEY" if is_openai else ""
        key = find_model_key("ChatCompletions", api_key, variable, url)
        base = _azure_base(url, model, api_version) if is_azure else url
        # OpenAI's newer models refuse the old name of the limit; most other servers do not know the new one.
        limit = "max_completion_tokens" if is_azure or is_openai else "max_tokens"
        authorization = {"api-key": key} if is_azure else {"authorization": f"Bearer {key}"}
        super().__init__(
            model,
            url=_endpoint(base, api_version),
            headers=authorization if key else {},
            secret=key,
            limits={limit: max_tokens},
            options=options,
        )

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of the request for a prompt."""
        return protocol.build_request(prompt, self.model, images=self.images)

    def stream(self) -> protocol.ChatStream:
        """Return the protocol of one answer."""
        return protocol.ChatStream(self._source)


def _azure_base(url: str, model: str, api_version: str | None) -> str:
    """Return the base address of a deployment; `url` itself if it already has a path."""
    if urlsplit(url).path.strip("/"):
        return url
    root = url.rstrip("/")
    return f"{root}/openai/deployments/{quote(model, safe='')}" if api_version else f"{root}/openai/v1"


def _endpoint(base: str, api_version: str | None) -> str:
    """Return the address of the endpoint for a base address, which may have a query or end with the endpoint's path."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    query = parts.query
    if api_version and "api-version=" not in query:
        query = f"{query}&" * bool(query) + f"api-version={quote(api_version)}"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
