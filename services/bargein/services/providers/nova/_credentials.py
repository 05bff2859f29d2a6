"""AWS credentials from the application or from botocore's default chain, looked up for every connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from bargein.pipeline.lowlevel import import_extra
from bargein.services.providers._shared.keys import resolve
from bargein.services.sockets import SocketRefusedError

from ._signing import Credentials

__all__ = ["CredentialsSource", "credentials_provider", "find_region"]


class Refreshable(Protocol):
    """Credentials of botocore or boto3, which renew themselves.

    This is a public interface of botocore since 1.7; tried with 1.44.
    """

    def get_frozen_credentials(self) -> Any:
        """Return the present `access_key`, `secret_key` and `token`. It may block."""


CredentialsSource = Credentials | Refreshable | Callable[[], Any | Awaitable[Any]] | None
"""Credentials, botocore's credentials, or a function that returns either (async, or plain and run in a thread); None
for botocore's default chain."""


def credentials_provider(source: CredentialsSource, profile: str | None = None) -> Callable[[], Awaitable[Credentials]]:
    """Return a function that returns the present credentials, or raises `SocketRefusedError` if there are none.

    Args:
        source: Where they come from.
        profile: The AWS profile for botocore's default chain; None for the default profile.

    Raises:
        TypeError: The source has a type that credentials cannot come from.
    """
    if source is None:
        import_extra("botocore.session", "nova", "NovaSonic()")
    is_value = isinstance(source, Credentials) or hasattr(source, "get_frozen_credentials")
    if source is not None and not is_value and not callable(source):
        kind = type(source).__name__
        raise TypeError(f"NovaSonic(credentials=...): got {kind}; expected Credentials, botocore's, or a function")
    cached: list[Any] = [source] if is_value else []

    def look_up() -> Any:
        if not cached:
            cached.append(_session(profile).get_credentials())
        if cached[0] is None:
            cached.clear()
            raise SocketRefusedError("no AWS credentials were found where botocore looks for them", final=True)
        return _freeze(cached[0])

    get = source if callable(source) else look_up

    async def fetch() -> Credentials:
        try:
            # botocore may block: it reads files and asks services. `resolve` runs it in a thread.
            return source if isinstance(source, Credentials) else _freeze(await resolve(get))
        except SocketRefusedError:
            raise
        except Exception as error:
            raise SocketRefusedError(f"no AWS credentials: {type(error).__name__}: {error}") from error

    return fetch


def find_region(profile: str | None = None) -> str | None:
    """Return the region of the environment or of AWS's configuration files; None if there is none.

    Args:
        profile: The AWS profile; None for the default profile.
    """
    region: str | None = _session(profile).get_config_variable("region")
    return region


def _freeze(value: Any) -> Credentials:
    if isinstance(value, Credentials):
        return value
    frozen = value.get_frozen_credentials() if hasattr(value, "get_frozen_credentials") else value
    if not hasattr(frozen, "secret_key"):
        raise TypeError(f"got {type(frozen).__name__}, where Credentials were expected")
    return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token)


def _session(profile: str | None) -> Any:
    return import_extra("botocore.session", "nova", "NovaSonic()").Session(profile=profile)
