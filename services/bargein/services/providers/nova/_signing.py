"""AWS's signatures, version 4: of a request whose body is a stream, and of every event in it. No I/O, no clock.

Each event's signature covers the one before, so that none can be left out, added, or put elsewhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from .event_stream import encode, encode_header

__all__ = ["CONTENT_SHA256", "Credentials", "EventSigner", "Signed", "sign_request"]

CONTENT_SHA256: Final = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
"""In place of the body's hash, which nobody knows yet: its events are signed one by one."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. Never printed."""

    access_key: str
    secret_key: str
    token: str | None = None
    """Of temporary credentials."""

    def __post_init__(self) -> None:
        for name in ("access_key", "secret_key", "token"):
            value = getattr(self, name) or ""
            if not value.isascii() or not all(0x20 < ord(each) < 0x7F for each in value):
                raise ValueError(f"Credentials: {name} has characters that no key has; look at where it comes from")
        if not self.access_key or not self.secret_key:
            raise ValueError("Credentials: no access key or no secret key; give both")

    def __repr__(self) -> str:
        return "Credentials(...)"


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A signed request."""

    headers: Mapping[str, str]
    """All headers to send, by their names in small letters."""
    signature: str
    """Its signature, in hexadecimal digits: the one before the first event's."""


def sign_request(
    url: str, headers: Mapping[str, str], *, credentials: Credentials, region: str, service: str, now: datetime
) -> Signed:
    """Sign a `POST` whose body is a stream of signed events. The headers given are signed, too."""
    parts = urlsplit(url)
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed["host"] = parts.netloc
    signed["x-amz-content-sha256"] = CONTENT_SHA256
    signed["x-amz-date"] = _stamp(now)
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = sorted(signed)
    canonical = [
        "POST",
        quote(parts.path or "/", safe="/~"),  # quoted once more: only S3 has it otherwise
        "&".join(sorted(parts.query.split("&"))),
        *(f"{name}:{signed[name]}" for name in names),
        "",
        ";".join(names),
        CONTENT_SHA256,
    ]
    scope = _scope(now, region, service)
    to_sign = ["AWS4-HMAC-SHA256", _stamp(now), scope, sha256("\n".join(canonical).encode()).hexdigest()]
    signature = _sign(_key(credentials, now, region, service), to_sign).hex()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return Signed(headers=signed, signature=signature)


class EventSigner:
    """Signs the events of one stream, in the order in which they are sent."""

    def __init__(self, *, credentials: Credentials, region: str, service: str, signature: str) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._before = signature
        self._day, self._secret = "", b""

    def sign(self, payload: bytes, now: datetime) -> bytes:
        """An event around a payload, which is a whole message itself; or nothing, at the end of the stream."""
        now = now.replace(microsecond=0)  # the signature counts in seconds
        date = encode_header(":date", now)
        to_sign = [
            "AWS4-HMAC-SHA256-PAYLOAD",
            _stamp(now),
            _scope(now, self._region, self._service),
            self._before,
            sha256(date).hexdigest(),
            sha256(payload).hexdigest(),
        ]
        signature = _sign(self._key(now), to_sign)
        self._before = signature.hex()
        return encode({":date": now, ":chunk-signature": signature}, payload)

    def _key(self, now: datetime) -> bytes:
        if (day := _stamp(now)[:8]) != self._day:
            self._day, self._secret = day, _key(self._credentials, now, self._region, self._service)
        return self._secret


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _scope(now: datetime, region: str, service: str) -> str:
    return f"{_stamp(now)[:8]}/{region}/{service}/aws4_request"


def _key(credentials: Credentials, now: datetime, region: str, service: str) -> bytes:
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (_stamp(now)[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sign(key: bytes, lines: list[str]) -> bytes:
    return hmac.digest(key, "\n".join(lines).encode(), "sha256")
