"""AWS signature version 4 for a request whose body is a stream, and for every event of the stream. No I/O, no clock.

The signature of each event covers the signature before it, so that no event can be removed, added or moved.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from bargein.pipeline.lowlevel import CheckedFields

from .event_stream import encode, encode_header

__all__ = ["CONTENT_SHA256", "TOKEN_HEADER", "Credentials", "EventSigner", "SignedRequest", "sign_request"]

CONTENT_SHA256: Final = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
"""Stands in place of the body's hash. The body is not known yet, so its events are signed one by one."""
TOKEN_HEADER: Final = "x-amz-security-token"
"""The header with the session token of temporary credentials."""


class Credentials(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """AWS credentials. Their `repr` shows nothing of them.

    Raises:
        ValueError: A key is missing, or has characters that keys do not have.
    """

    access_key: str
    """The access key id."""
    secret_key: str
    """The secret access key."""
    token: str | None = None
    """The session token of temporary credentials; None for lasting ones."""

    def __post_init__(self) -> None:
        for name in ("access_key", "secret_key", "token"):
            value = getattr(self, name) or ""
            if not value.isascii() or not all(0x20 < ord(each) < 0x7F for each in value):
                raise ValueError(f"Credentials: {name} has characters that no key has; look at where it comes from")
        if not self.access_key or not self.secret_key:
            raise ValueError("Credentials: no access key or no secret key; give both")

    def __repr__(self) -> str:
        return "Credentials(...)"


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The headers of a signed request."""

    headers: Mapping[str, str]
    """All headers to send, by lower-case names."""
    signature: str
    """The signature in hexadecimal digits. The first event's signature covers it."""


def sign_request(
    url: str, headers: Mapping[str, str], *, credentials: Credentials, region: str, service: str, now: datetime
) -> SignedRequest:
    """Sign a `POST` whose body is a stream of signed events.

    Args:
        url: The address of the request.
        headers: Further headers, which are signed as well.
        credentials: The key and region to sign with.
        region: The AWS region, such as `us-east-1`.
        service: The AWS service, such as `bedrock`.
        now: The date of the request.
    """
    parts = urlsplit(url)
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed["host"] = parts.netloc
    signed["x-amz-content-sha256"] = CONTENT_SHA256
    signed["x-amz-date"] = _timestamp(now)
    if credentials.token:
        signed[TOKEN_HEADER] = credentials.token
    names = sorted(signed)
    canonical = [
        "POST",
        quote(parts.path or "/", safe="/~"),  # quoted a second time, as every AWS service but S3 wants it
        "&".join(sorted(parts.query.split("&"))),
        *(f"{name}:{signed[name]}" for name in names),
        "",
        ";".join(names),
        CONTENT_SHA256,
    ]
    scope = _scope(now, region, service)
    to_sign = ["AWS4-HMAC-SHA256", _timestamp(now), scope, sha256("\n".join(canonical).encode()).hexdigest()]
    signature = _sign(_signing_key(credentials, now, region, service), to_sign).hex()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return SignedRequest(headers=signed, signature=signature)


class EventSigner:
    """Signs the events of one stream, in the order in which they are sent.

    Args:
        credentials: The key and region to sign with.
        region: The AWS region.
        service: The AWS service.
        signature: The signature of the request.
    """

    def __init__(self, *, credentials: Credentials, region: str, service: str, signature: str) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._previous = signature
        self._day, self._day_key = "", b""

    def sign(self, payload: bytes, now: datetime) -> bytes:
        """Return a signed event around a payload, which is a whole message; an empty payload ends the stream."""
        now = now.replace(microsecond=0)  # the date in the signature has whole seconds
        date = encode_header(":date", now)
        to_sign = [
            "AWS4-HMAC-SHA256-PAYLOAD",
            _timestamp(now),
            _scope(now, self._region, self._service),
            self._previous,
            sha256(date).hexdigest(),
            sha256(payload).hexdigest(),
        ]
        signature = _sign(self._key(now), to_sign)
        self._previous = signature.hex()
        return encode({":date": now, ":chunk-signature": signature}, payload)

    def _key(self, now: datetime) -> bytes:
        if (day := _timestamp(now)[:8]) != self._day:
            self._day = day
            self._day_key = _signing_key(self._credentials, now, self._region, self._service)
        return self._day_key


def _timestamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _scope(now: datetime, region: str, service: str) -> str:
    return f"{_timestamp(now)[:8]}/{region}/{service}/aws4_request"


def _signing_key(credentials: Credentials, now: datetime, region: str, service: str) -> bytes:
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (_timestamp(now)[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sign(key: bytes, lines: list[str]) -> bytes:
    return hmac.digest(key, "\n".join(lines).encode(), "sha256")
