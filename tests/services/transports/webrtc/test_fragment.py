"""Fragments of session descriptions."""

from __future__ import annotations

import pytest

from bargein.services.transports.webrtc._fragment import (
    Fragment,
    credentials_of,
    encode_fragment,
    parse_fragment,
    replace_credentials,
    split_named_candidates,
)

CANDIDATE = "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"
SDP = (
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=mid:0\r\n"
    f"a=candidate:{CANDIDATE}\r\na=end-of-candidates\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:EsAw\r\na=mid:1\r\n"
)


def test_a_fragment_has_addresses() -> None:
    """Each with its medium, as in RFC 8840 and WHIP."""
    fragment = parse_fragment(
        f"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uY\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:{CANDIDATE}\r\n"
        "a=end-of-candidates\r\n"
    )
    assert (fragment.username, fragment.password) == ("EsAw", "P2uY")
    assert fragment.candidates == ((CANDIDATE, "0"),)
    assert fragment.complete


def test_nothing_known_is_no_fragment() -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="expected a=ice-ufrag"):
        parse_fragment("hello")


def test_a_restart_is_the_old_offer_with_new_credentials() -> None:
    """The old addresses are left out."""
    new = replace_credentials(SDP, "user", "word")
    assert credentials_of(new) == ("user", "word")
    assert "candidate" not in new
    assert new.count("a=ice-ufrag:user") == 2


def test_an_answer_is_written_as_a_fragment() -> None:
    """Which can be read again."""
    fragment = parse_fragment(encode_fragment(SDP))
    assert (fragment.username, fragment.candidates) == ("EsAw", ((CANDIDATE, "0"),))
    assert credentials_of("v=0") == ("", "")


def test_names_are_set_apart() -> None:
    """They can be looked up later; until then it is not said that there are no more addresses."""
    named = CANDIDATE.replace("192.0.2.1", "5f37ae75-cb71-4a25.local")
    rest, later = split_named_candidates(SDP.replace(CANDIDATE, named))
    assert "candidate" not in rest
    assert (later.candidates, later.complete) == (((named, "0"),), True)
    assert split_named_candidates(SDP) == (SDP, Fragment())
