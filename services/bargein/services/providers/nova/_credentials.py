"""Who asks: what was given, or what botocore's chain of places finds; looked up anew for every connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from bargein.pipeline.lowlevel import import_extra
from bargein.services.providers._shared.tokens import asked
from bargein.services.sockets import SocketRefusedError

from ._signing import Credentials

__all__ = ["CredentialsSource", "find_region", "provider"]


class Refreshable(Protocol):
    """Credentials of botocore's or boto3's, which renew themselves."""

    def get_frozen_credentials(self) -> Any:
        """Those of the moment: `access_key`, `secret_key`, `token`. It may block."""


CredentialsSource = Credentials | Refreshable | Callable[[], Any | Awaitable[Any]] | None
"""Credentials; botocore's; a function that gives either, async or in a thread; None for botocore's default chain."""


def provider(source: CredentialsSource, profile: str | None = None) -> Callable[[], Awaitable[Credentials]]:
    """A function that gives the credentials of the moment.

    It raises `SocketRefusedError` where there are none. Raises `TypeError` for what is no source.
    """
    if source is None:
        import_extra("botocore.session", "nova", "NovaSonic()")
    known = isinstance(source, Credentials) or hasattr(source, "get_frozen_credentials")
    if source is not None and not known and not callable(source):
        kind = type(source).__name__
        raise TypeError(f"NovaSonic(credentials=...): got {kind}; expected Credentials, botocore's, or a function")
    chain: list[Any] = [source] if known else []

    def look() -> Any:
        if not chain:
            chain.append(_session(profile).get_credentials())
        if chain[0] is None:
            chain.clear()
            raise SocketRefusedError("no AWS credentials were found where botocore looks for them", final=True)
        return _frozen(chain[0])

    ask = source if callable(source) else look

    async def fetch() -> Credentials:
        try:
            # What botocore does may block: it reads files, and asks a network.
            return source if isinstance(source, Credentials) else _frozen(await asked(ask))
        except SocketRefusedError:
            raise
        except Exception as error:
            raise SocketRefusedError(f"no AWS credentials: {type(error).__name__}: {error}") from error

    return fetch


def find_region(profile: str | None = None) -> str | None:
    """The region of the environment or of AWS's configuration files."""
    region: str | None = _session(profile).get_config_variable("region")
    return region


def _frozen(found: Any) -> Credentials:
    if isinstance(found, Credentials):
        return found
    frozen = found.get_frozen_credentials() if hasattr(found, "get_frozen_credentials") else found
    if not hasattr(frozen, "secret_key"):
        raise TypeError(f"got {type(frozen).__name__}, where Credentials were expected")
    return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token)


def _session(profile: str | None) -> Any:
    return import_extra("botocore.session", "nova", "NovaSonic()").Session(profile=profile)
