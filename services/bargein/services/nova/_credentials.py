"""Who asks: what was given, or what botocore's chain of places finds; looked up anew for every connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

from .._need import need
from ..sockets import SocketRefusedError
from ._signing import Credentials

__all__ = ["CredentialsSource", "find_region", "provider"]


class Refreshable(Protocol):
    """Credentials of botocore's or boto3's, which renew themselves."""

    def get_frozen_credentials(self) -> Any:
        """Those of the moment: `access_key`, `secret_key`, `token`. It may block."""


CredentialsSource = Credentials | Refreshable | Callable[[], Awaitable[Credentials]] | None
"""Credentials; botocore's; a function that fetches them; None for botocore's default chain."""


def provider(source: CredentialsSource, profile: str | None = None) -> Callable[[], Awaitable[Credentials]]:
    """A function that gives the credentials of the moment. Raises `SocketRefusedError` where there are none."""
    if isinstance(source, Credentials):

        async def given() -> Credentials:
            return source

        return given
    if callable(source):
        return source
    if source is not None and getattr(source, "get_frozen_credentials", None) is None:
        kind = type(source).__name__
        raise TypeError(f"NovaSonic(credentials=...): got {kind}; expected Credentials, botocore's, or a function")
    found: list[Any] = [source] if source is not None else []

    def freeze() -> Credentials:
        if not found:
            session = _session(profile)
            chain = session.get_credentials()
            if chain is None:
                raise SocketRefusedError("no AWS credentials were found where botocore looks for them", 401)
            found.append(chain)
        frozen = found[0].get_frozen_credentials()
        return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token)

    async def fetch() -> Credentials:
        errors = need("botocore.exceptions", "nova", "NovaSonic()")
        try:
            # It reads files, and may ask a network.
            return await anyio.to_thread.run_sync(freeze, abandon_on_cancel=True)
        except errors.BotoCoreError as error:
            raise SocketRefusedError(f"no AWS credentials: {error}", 401) from None

    return fetch


def find_region(profile: str | None = None) -> str | None:
    """The region of the environment or of AWS's configuration files."""
    region: str | None = _session(profile).get_config_variable("region")
    return region


def _session(profile: str | None) -> Any:
    return need("botocore.session", "nova", "NovaSonic()").Session(profile=profile)
