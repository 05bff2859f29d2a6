"""Signatures, against botocore's own signer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.services.providers.nova._signing import (
    CONTENT_SHA256,
    Credentials,
    EventSigner,
    SignedRequest,
    sign_request,
)
from bargein.services.providers.nova.event_stream import encode

from .verifier import RefusedError, Verifier

NOW = datetime(2026, 8, 30, 12, 36, 0, tzinfo=UTC)
WHO = Credentials(access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token=None)
URL = (
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-2-sonic-v1%3A0/invoke-with-bidirectional-stream"
)
TYPE = {"content-type": "application/vnd.amazon.eventstream"}
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
PARTS = st.text(st.sampled_from("abcXYZ019-._~%3A:+ "), min_size=1, max_size=12).filter(lambda part: part.strip("."))


def signed(who: Credentials = WHO, url: str = URL, region: str = "us-east-1", now: datetime = NOW) -> SignedRequest:
    return sign_request(url, TYPE, credentials=who, region=region, service="bedrock", now=now)


def theirs(who: Credentials, url: str, region: str, now: datetime) -> dict[str, str]:
    """What botocore makes of the same request."""
    auth = SigV4Auth(TheirCredentials(who.access_key, who.secret_key, who.token), "bedrock", region)
    headers = {**TYPE, "x-amz-content-sha256": CONTENT_SHA256}
    request = AWSRequest(method="POST", url=url, headers=headers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: now)
        auth.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(deadline=None)
@given(
    access=KEYS.filter(lambda key: "/" not in key and "," not in key),
    secret=KEYS,
    token=st.none() | KEYS,
    region=st.sampled_from(["us-east-1", "ap-northeast-1"]),
    path=st.lists(PARTS, max_size=3),
    now=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC)),
)
def test_request_signature_equals_botocores(
    access: str, secret: str, token: str | None, region: str, path: list[str], now: datetime
) -> None:
    """Every header is the same."""
    who = Credentials(access_key=access, secret_key=secret, token=token)
    url = "https://bedrock-runtime.us-east-1.amazonaws.com/" + "/".join(path)
    mine = dict(signed(who, url, region, now).headers)
    assert mine.pop("host") == urlsplit(url).netloc
    assert mine == theirs(who, url, region, now)


def test_model_is_quoted_twice_in_the_signature() -> None:
    """The query is sorted, as in botocore."""
    url = URL + "?b=2&a=1"
    assert signed(url=url).headers["authorization"] == theirs(WHO, url, "us-east-1", NOW)["authorization"]


def stream(who: Credentials = WHO) -> tuple[EventSigner, Verifier]:
    """Who signs, and who verifies, after the request."""
    request = signed(who)
    verifier = Verifier({who.access_key: (who.secret_key, who.token)}, "us-east-1", NOW)
    verifier.request("POST", URL, request.headers)
    signer = EventSigner(credentials=who, region="us-east-1", service="bedrock", signature=request.signature)
    return signer, verifier


@settings(deadline=None)
@given(
    payloads=st.lists(st.binary(max_size=300), max_size=6),
    waits=st.lists(st.integers(0, 900_000), min_size=7, max_size=7),
)
def test_each_signature_depends_on_the_last(payloads: list[bytes], waits: list[int]) -> None:
    """Whatever the events hold, and however late they come. The last event is empty."""
    signer, verifier = stream()
    now, data = NOW, b""
    for payload, wait in zip([*payloads, None], waits, strict=False):
        now += timedelta(milliseconds=wait % 60_000)
        data += signer.sign(b"" if payload is None else encode({":event-type": "chunk"}, payload), now)
    messages = verifier.events(data)
    assert [message.payload if message else None for message in messages] == [*payloads, None]


def test_stream_past_midnight() -> None:
    """The signing key changes at midnight."""
    late = datetime(2026, 8, 30, 23, 59, 59, 999_000, tzinfo=UTC)
    request = signed(now=late)
    verifier = Verifier({WHO.access_key: (WHO.secret_key, None)}, "us-east-1", late)
    verifier.request("POST", URL, request.headers)
    signer = EventSigner(credentials=WHO, region="us-east-1", service="bedrock", signature=request.signature)
    data = signer.sign(encode({}, b"1"), late) + signer.sign(encode({}, b"2"), late + timedelta(milliseconds=1))
    assert [message.payload for message in verifier.events(data) if message] == [b"1", b"2"]


@pytest.mark.parametrize("fault", ["left out", "twice", "swapped", "changed"])
def test_tampered_events_are_refused(fault: str) -> None:
    """The verifier of these tests finds any change of an event."""
    signer, verifier = stream()
    events = [signer.sign(encode({}, bytes([number])), NOW) for number in range(3)]
    if fault == "left out":
        del events[1]
    elif fault == "twice":
        events.insert(1, events[0])
    elif fault == "swapped":
        events.reverse()
    else:
        other, _ = stream(Credentials(access_key=WHO.access_key, secret_key="another"))
        events[0] = other.sign(encode({}, b"\x00"), NOW)
    with pytest.raises(RefusedError):
        verifier.events(b"".join(events))


@pytest.mark.parametrize(
    "fields",
    [{"access_key": ""}, {"secret_key": ""}, {"access_key": "AK\n"}, {"secret_key": "schlüssel"}, {"token": "a\x00"}],
)
def test_malformed_keys_are_refused(fields: dict[str, Any]) -> None:
    """The error does not repeat the key."""
    given_ = {"access_key": "AKID", "secret_key": "secret", **fields}
    with pytest.raises(ValueError, match="Credentials: ") as told:
        Credentials(**given_)
    assert not any(value and value in str(told.value) for value in fields.values())


def test_credentials_are_not_printed() -> None:
    """They are not even in a traceback's locals."""
    assert repr(WHO) == "Credentials(...)"
