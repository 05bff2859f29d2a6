"""Verifies signatures as AWS does, with botocore's signer and event-stream parser, and nothing of the product's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer, EventStreamMessage

STAMP = "%Y%m%dT%H%M%SZ"
SKEW = timedelta(minutes=5)


class RefusedError(Exception):
    """The request is not let in: the kind of the error, and what it says."""


class Verifier:
    """One stream's: of its request, and of its events one after the other."""

    def __init__(self, secrets: Mapping[str, tuple[str, str | None]], region: str, now: datetime) -> None:
        self.secrets = secrets  # secret key and token by access key
        self.region = region
        self.now = now
        self._buffer = EventStreamBuffer()
        self._auth: Any = None
        self._before = ""

    def request(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        """Raises `RefusedError` unless the request was signed by somebody known, a moment ago."""
        kind, _, rest = headers["authorization"].partition(" ")
        assert kind == "AWS4-HMAC-SHA256"
        fields = dict(each.strip().split("=", 1) for each in rest.split(","))
        access_key, _, scope = fields["Credential"].partition("/")
        if access_key not in self.secrets:
            raise RefusedError("UnrecognizedClientException", "The security token included in the request is invalid.")
        secret, token = self.secrets[access_key]
        if token != headers.get("x-amz-security-token"):
            raise RefusedError("ExpiredTokenException", "The security token included in the request is expired")
        assert abs(datetime.strptime(headers["x-amz-date"], STAMP).replace(tzinfo=UTC) - self.now) < SKEW
        assert headers["x-amz-content-sha256"] == "STREAMING-AWS4-HMAC-SHA256-EVENTS"
        names = fields["SignedHeaders"].split(";")
        assert {"host", "x-amz-date", "x-amz-content-sha256", "content-type"} <= set(names)
        assert token is None or "x-amz-security-token" in names
        self._auth = SigV4Auth(Credentials(access_key, secret, token), "bedrock", self.region)
        request = AWSRequest(method=method, url=url, headers={name: headers[name] for name in names})
        request.context["timestamp"] = headers["x-amz-date"]
        assert scope == self._auth.credential_scope(request)
        to_sign = self._auth.string_to_sign(request, self._auth.canonical_request(request))
        self._before = self._auth.signature(to_sign, request)
        if self._before != fields["Signature"]:
            raise RefusedError("InvalidSignatureException", "The request signature we calculated does not match")

    def events(self, data: bytes) -> list[EventStreamMessage | None]:
        """The events in these bytes, each verified, as the messages they hold; None for the end of the stream."""
        self._buffer.add_data(data)
        return [self._event(each) for each in self._buffer]

    def _event(self, event: EventStreamMessage) -> EventStreamMessage | None:
        assert set(event.headers) == {":date", ":chunk-signature"}
        ms = event.headers[":date"]
        assert ms % 1000 == 0, "a signature counts in seconds"
        date = datetime.fromtimestamp(ms / 1000, UTC)
        assert abs(date - self.now) < SKEW + timedelta(minutes=10)
        request = AWSRequest(method="POST", url="https://unused.invalid/")
        request.context["timestamp"] = date.strftime(STAMP)
        header = b"\x05:date\x08" + ms.to_bytes(8, "big", signed=True)
        lines = [
            "AWS4-HMAC-SHA256-PAYLOAD",
            request.context["timestamp"],
            self._auth.credential_scope(request),
            self._before,
            sha256(header).hexdigest(),
            sha256(event.payload).hexdigest(),
        ]
        self._before = self._auth.signature("\n".join(lines), request)
        if event.headers[":chunk-signature"].hex() != self._before:
            raise RefusedError("InvalidSignatureException", "an event's signature does not match")
        if not event.payload:
            return None
        inner = EventStreamBuffer()
        inner.add_data(event.payload)
        (message,) = list(inner)
        return message
