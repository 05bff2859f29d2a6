"""Texts of servers never bring a key into an error."""

from __future__ import annotations

import pytest

from bargein.services.sockets import Endpoint
from bargein.services.sockets.secrets import hide_secrets

KEY = "sk-a+b/c=0123456789"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"the key {KEY} is wrong", "the key *** is wrong"),
        ("the key sk-a%2Bb%2Fc%3D0123456789 is wrong", "the key *** is wrong"),
        ("go to wss://x/y?token=another-one, please", "go to wss://x/y?*** please"),
        ("go to https://x/y#another-one please", "go to https://x/y?*** please"),
        ("see https://x/docs for it", "see https://x/docs for it"),
    ],
)
def test_a_secret_is_hidden(text: str, expected: str) -> None:
    """As it was sent, as a URL has it, and in the query of any URL."""
    assert hide_secrets(text, [KEY, ""]) == expected


def test_an_endpoint_knows_its_secrets() -> None:
    """The words of its headers and the values of its query; short words are not secret."""
    endpoint = Endpoint(url=f"wss://x/?key={'q' * 9}&v=1", headers={"Authorization": f"Bearer {KEY}"})
    assert endpoint.hide_secrets(f"Bearer {KEY}, {'q' * 9}, v 1") == "Bearer ***, ***, v 1"
    assert Endpoint(url="ws://[::1").hide_secrets("as it is") == "as it is"
