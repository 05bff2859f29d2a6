"""The language of a server: reads a client's messages as commands of OpenAI's protocol, and writes events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

__all__ = ["ServerLanguage"]


class ServerLanguage(Protocol):
    """A language for `serve`. A `Dialect` is one; a protocol of another kind can be translated by one too."""

    @property
    def path(self) -> str:
        """The path at which it is served, such as `/v1/realtime`."""

    @property
    def model(self) -> str:
        """The parameter of the address that names the model; empty where there is none."""

    @property
    def key_header(self) -> str:
        """The header that carries a key by itself; empty where the key is in `Authorization`."""

    @property
    def session_defaults(self) -> Mapping[str, Any]:
        """Fields of the session object, in OpenAI's words, that differ from OpenAI's defaults."""

    def for_connection(self) -> ServerLanguage:
        """Return the language for a new connection: a new object where it keeps state, else itself."""

    def read(self, data: str | bytes) -> Iterable[str | bytes]:
        """Translate a client's message into commands of OpenAI's protocol.

        A message that cannot be translated is returned unchanged, so that the server can refuse it.

        Args:
            data: A message, as the client wrote it.
        """

    def write(self, event: dict[str, Any]) -> Iterable[dict[str, Any] | str | bytes]:
        """Translate an event of OpenAI's protocol into messages; a dictionary is sent as JSON, its bytes as base64.

        Args:
            event: The event, as OpenAI's GA interface has it.
        """
