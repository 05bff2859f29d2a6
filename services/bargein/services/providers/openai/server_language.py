"""What a server speaks: how messages of a client's are read as commands of OpenAI's, and its events are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

__all__ = ["ServerLanguage"]


class ServerLanguage(Protocol):
    """A language for `serve`. A `Dialect` is one; another protocol altogether can be put in these terms as well."""

    @property
    def path(self) -> str:
        """Where it is served."""

    @property
    def model(self) -> str:
        """The parameter of the address that names the model; empty where there is none."""

    @property
    def key_header(self) -> str:
        """The header that carries a key as it is; empty for `Authorization`."""

    @property
    def begins(self) -> Mapping[str, Any]:
        """What a session begins with, beyond OpenAI's defaults."""

    def begin(self) -> ServerLanguage:
        """For another connection."""

    def read(self, data: str | bytes) -> Iterable[str | bytes]:
        """A client's message as commands of OpenAI's."""

    def write(self, event: dict[str, Any]) -> Iterable[dict[str, Any] | str | bytes]:
        """An event as messages; a dictionary is JSON, in which bytes become base64."""
